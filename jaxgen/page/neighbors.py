"""Small training images inside a page, among which it looks for those nearest to what a generator draws."""

from typing import Any

import numpy as np

from jaxgen.files import Json
from jaxgen.page import pictures

COUNT, COLOR_COUNT = 2_000, 1_000
"""Training images in a page, gray and in color."""
SIDE = 14
"""Pixels of a side that small images have at least."""
COLUMNS = 50


def of(dataset: Any) -> Json | None:
    """A sheet of evenly spaced training images, made smaller, with their labels; None without data."""
    if dataset is None:
        return None
    height, width, channels = dataset.image_shape
    train = dataset.train
    total = len(train.labels)
    rows = np.unique(np.linspace(0, total - 1, COUNT if channels == 1 else COLOR_COUNT).round().astype(int))
    by = factor(height, width)
    return {
        "sheet": pictures.atlas(smaller(np.asarray(train.images[rows]), by), COLUMNS),
        "factor": by,
        "labels": np.asarray(train.labels[rows]).tolist(),
        "names": list(dataset.class_names),
        "total": total,
    }


def factor(height: int, width: int) -> int:
    """The largest divisor of both sides that leaves at least `SIDE` pixels."""
    return max(n for n in range(1, max(1, min(height, width) // SIDE) + 1) if height % n == width % n == 0)


def smaller(images: np.ndarray, by: int) -> np.ndarray:
    """Images (N, H, W, C) of bytes, each square of `by` pixels replaced by its mean."""
    count, height, width, channels = images.shape
    blocks = images.reshape(count, height // by, by, width // by, by, channels)
    return np.round(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
