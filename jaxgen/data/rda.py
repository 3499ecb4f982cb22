"""`flower.rda`, the chapter's own flowers: an R list with `train`, `labels` (of train) and `test`."""

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from jaxgen.data.cache import cached, content_version
from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.decode import to_bytes
from jaxgen.errors import UserError

CLASSES = ("daisy", "dandelion", "rose", "sunflower", "tulip")
LAYOUT = "expected a list with train (N, 80, 80, 3), labels (N, 0 to 4) and test (M, 80, 80, 3), pixels 0 to 255"


def load(path: Path, size: int | None) -> Dataset:
    """The flowers of an `.rda` file, uint8 (N, H, W, 3); the test split has no labels (-1).

    Raises UserError without the package rdata (the extra `rda`), and for a damaged or foreign file.
    """
    status = path.stat()
    key = {"bytes": status.st_size, "modified": status.st_mtime_ns}
    stem = "-".join([path.stem, *([str(size)] if size else [])])
    return cached(stem, key, path.parent, lambda: _build(path, size))


def _build(path: Path, size: int | None) -> Dataset:
    lists = _read(path)
    try:
        train, test = (_images(lists[name], name, size) for name in ("train", "test"))
        if train.shape[1:] != test.shape[1:]:
            raise ValueError(f"train and test differ in size, {train.shape} and {test.shape}")
        labels = _labels(lists["labels"], len(train))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} holds other data than flower.rda ({error}): {LAYOUT}") from error
    splits = Split(train, labels), Split(test, np.full(len(test), -1, np.int32))
    return Dataset(path.stem, content_version(*splits), *splits, CLASSES)


def _read(path: Path) -> Mapping[str, Any]:
    """The list in the file: its only variable, or its variables themselves."""
    if importlib.util.find_spec("rdata") is None:
        raise UserError(f'reading {path} needs the package rdata: pip install "jaxgen[rda]"')
    import rdata

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about R classes without a counterpart in rdata
            variables = rdata.read_rda(path)
    except Exception as error:  # rdata and the decompressors raise nearly anything for damaged files
        reason = shorten(str(error), 90) or type(error).__name__
        raise UserError(f"{path} is damaged or not an .rda file ({reason}): copy or download it again") from error
    for candidate in (variables, *variables.values()):
        if isinstance(candidate, Mapping) and {"train", "labels", "test"} <= set(candidate):
            return candidate
    raise UserError(f"{path} holds {', '.join(map(str, variables)) or 'nothing'}: {LAYOUT}")


def _images(values: Any, name: str, size: int | None) -> np.ndarray:
    """uint8 (N, H, W, 3) from numbers 0..255, or 0..1, of that shape."""
    pixels = np.asarray(values)
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or 0 in pixels.shape or pixels.dtype.kind not in "iuf":
        raise ValueError(f"{name} is {pixels.dtype} {pixels.shape}")
    least, most = pixels.min(), pixels.max()
    if not (least >= 0 and most <= 255):  # also false for NaN
        raise ValueError(f"the pixels of {name} lie in {least} to {most}")
    scale = 255 if pixels.dtype.kind == "f" and most <= 1 else 1
    images = np.empty(pixels.shape, np.uint8)
    for first in range(0, len(pixels), 256):  # in parts: the file's doubles are eight times as large
        images[first : first + 256] = np.rint(pixels[first : first + 256] * scale)
    return images if size is None else _resize(images, size)


def _resize(images: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image

    return np.stack([to_bytes(Image.fromarray(image), 3, size) for image in images])


def _labels(values: Any, count: int) -> np.ndarray:
    labels = np.asarray(values).ravel()
    if labels.shape != (count,) or labels.dtype.kind not in "iuf":
        raise ValueError(f"labels are {labels.dtype} {labels.shape} for {count} images")
    if not np.isin(labels, range(len(CLASSES))).all():
        raise ValueError(f"labels lie in {labels.min()} to {labels.max()}")
    return labels.astype(np.int32)
