"""What every data source returns: images as bytes, with labels, a train and a test split."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # numpy while a source builds it, jax.Array once `jaxgen.data.load` has placed it


@dataclass(frozen=True)
class Split:
    """`images` uint8 (N, H, W, C), C = 1 or 3; `labels` int32 (N,), -1 where the source has none."""

    images: Array
    labels: Array

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 (N, H, W, C), got {self.images.dtype} {self.images.shape}")
        if self.labels.dtype != np.int32 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int32 ({self.images.shape[0]},), got {self.labels.dtype} {self.labels.shape}"
            )


@dataclass(frozen=True)
class Dataset:
    """A named image set. `version` changes whenever the pixels or the split would."""

    name: str
    version: str
    train: Split
    test: Split
    class_names: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of one image."""
        return tuple(self.train.images.shape[1:])
