"""Operations on images: convolution with its pooling and upsampling, dropout, spectral norm, augmentation.

conv           the interface; chooses between patches, winograd and XLA's own
winograd       minimal filtering         patches      one matrix product
dropout        masks of one byte         spectral     spectral normalization      diffaugment    augmentation
"""
