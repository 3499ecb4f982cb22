"""The type of every data source: uint8 images with labels, in a train and a test split."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxgen.contract import ImageBatch as Split

__all__ = ["Dataset", "Split"]


def check_split(split: Any) -> None:
    """Raise `ValueError` unless `images` are uint8 (N, H, W, C) and `labels` int32 (N,), -1 if unlabeled."""
    images, labels = split.images, split.labels
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images must be uint8 (N, H, W, C), got {images.dtype} {images.shape}")
    if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
        raise ValueError(f"labels must be int32 ({images.shape[0]},), got {labels.dtype} {labels.shape}")


@dataclass(frozen=True)
class Dataset:
    """A named image set. `version` changes whenever the pixels or the split would."""

    name: str
    version: str
    train: Any
    """`Split` (a pytree of arrays), or a `data.rows.StreamedSplit`."""
    test: Split
    class_names: tuple[str, ...]
    settings: Any = None
    """The `DataSettings` it was loaded with; None for user-supplied arrays."""

    def __post_init__(self) -> None:
        check_split(self.train)
        check_split(self.test)

    def names_of(self, labels: Any) -> list[str]:
        """The class name of each label; the empty string for an unlabeled image."""
        return [self.class_names[label] if label >= 0 else "" for label in np.asarray(labels).tolist()]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of one image."""
        return tuple(self.train.images.shape[1:])
