"""User-supplied arrays as a data set, with one-line errors."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxgen.data.dataset import Dataset, Split
from jaxgen.errors import refuse


def dataset_of(train: Any, test: Any, name: str, class_names: Sequence[str] | None) -> Dataset:
    """The data set of two splits, each (images, labels) or images alone."""
    splits = _split("train", train), _split("test", test)
    shapes = [split.images.shape[1:] for split in splits]
    if shapes[0] != shapes[1]:
        refuse("test", f"images {_text(shapes[1])}", f"images of the training split's shape, {_text(shapes[0])}")
    highest = max(int(split.labels.max()) for split in splits)
    names = tuple(class_names) if class_names is not None else tuple(str(i) for i in range(highest + 1))
    if highest >= len(names):
        refuse("class_names", list(names), f"at least {highest + 1} names, as labels go up to {highest}")
    digest = hashlib.sha256()
    for split in splits:
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels).data)
    return Dataset(name, digest.hexdigest()[:16], *splits, names)


def _split(field: str, given: Any) -> Split:
    pair = given if isinstance(given, tuple) else (given, None)
    if len(pair) != 2:
        refuse(field, f"{len(pair)} arrays", "(images, labels), or images alone")
    images = _images(f"{field} images", np.asarray(pair[0]))
    return Split(images, _labels(f"{field} labels", pair[1], len(images)))


def _images(field: str, images: np.ndarray) -> np.ndarray:
    allowed = "uint8 or floats in [0, 1], (N, H, W) or (N, H, W, C) with C 1 or 3, N at least 1"
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) == 0 or images.dtype == object:
        refuse(field, f"{images.dtype} {_text(images.shape)}", allowed)
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        refuse(field, f"{images.dtype} {_text(images.shape)}", allowed)
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1 or low != low or high != high:  # NaN too
        refuse(field, f"floats from {low:g} to {high:g}", allowed)
    return np.round(255 * images).astype(np.uint8)


def _labels(field: str, labels: Any, count: int) -> np.ndarray:
    if labels is None:
        return np.full(count, -1, np.int32)
    labels = np.asarray(labels)
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        refuse(field, f"{labels.dtype} {_text(labels.shape)}", f"integers ({count},), one an image")
    if labels.min() < 0:
        refuse(field, int(labels.min()), "integers from 0; leave labels out where there are none")
    return labels.astype(np.int32)


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
