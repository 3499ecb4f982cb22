"""PyTorch counterparts of jaxgen's training steps: the same nets, losses, optimizers, batches and precision."""

import itertools
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn


def training(
    images: np.ndarray, batch_size: int, update: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[int], float]:
    """A function that makes n updates on batches of bytes (N, H, W, C), shuffled each epoch, and returns the seconds.

    `update` takes bytes (B, C, H, W), updates its model and returns a loss.
    """
    data = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    per_epoch = len(data) // batch_size

    def run(steps: int) -> float:
        began = time.perf_counter()
        for step in range(steps):
            if step % per_epoch == 0:
                order = torch.randperm(len(data))
            at = (step % per_epoch) * batch_size
            loss = update(data[order[at : at + batch_size]])
        loss.item()
        return time.perf_counter() - began

    return run


class _Upsample(nn.Upsample):
    def __init__(self) -> None:
        super().__init__(scale_factor=2, mode="nearest")


def dense_autoencoder() -> nn.Module:
    """784-100-20-2-20-100-784 on flattened images."""
    widths, layers = (784, 100, 20, 2, 20, 100, 784), []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [nn.Linear(a, b)] + ([nn.ReLU()] if i not in (2, 5) else [])
    return nn.Sequential(nn.Flatten(), *layers, nn.Unflatten(1, (1, 28, 28)))


def conv_autoencoder() -> nn.Module:
    """The chapter's convolutional autoencoder, 5,027 parameters."""

    def conv(a: int, b: int, padding: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=padding), nn.ReLU()]

    def pool() -> nn.Module:
        return nn.MaxPool2d(2, ceil_mode=True)

    encoder = [*conv(1, 16), pool(), *conv(16, 8), pool(), *conv(8, 8), pool(), nn.Flatten(), nn.Linear(128, 2)]
    decoder = [nn.Linear(2, 128), nn.ReLU(), nn.Unflatten(1, (8, 4, 4)), *conv(8, 8), _Upsample(), *conv(8, 8)]
    decoder += [_Upsample(), *conv(8, 16, padding=0), _Upsample(), nn.Conv2d(16, 1, 3, padding=1)]
    return nn.Sequential(*encoder, *decoder)


def autoencoder_trainer(
    net: str, images: np.ndarray, batch_size: int, channels_last: bool, compiled: bool
) -> Callable[[int], float]:
    """A function that makes n updates on bytes (N, H, W, C) and returns the seconds taken."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = (dense_autoencoder() if net == "dense" else conv_autoencoder()).to(memory_format=layout)
    optimizer: torch.optim.Optimizer
    if net == "dense":
        optimizer = torch.optim.Adamax(model.parameters(), lr=1e-2, eps=1e-7)
    else:
        optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)

    def loss_of(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy_with_logits(model(x), x, reduction="none").sum((1, 2, 3)).mean()

    loss_function = torch.compile(loss_of) if compiled else loss_of

    def update(batch: torch.Tensor) -> torch.Tensor:
        x = (batch.float() / 255).contiguous(memory_format=layout)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function(x)
        loss.backward()
        optimizer.step()
        return loss

    return training(images, batch_size, update)
