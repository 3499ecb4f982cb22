"""Splits whose images stay on disk, read and decoded row by row on access."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from jaxgen.data.dataset import Split
from jaxgen.errors import SettingError, UserError

Examples = tuple[np.ndarray, np.ndarray]
Read = Callable[[Sequence[int]], Sequence[tuple[np.ndarray, int]]]
"""Pixels and labels of the given rows."""


class Column:
    """One array of a split, read when indexed by an integer, a slice or an array of integers."""

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], dtype: Any) -> None:
        self._read, self.shape, self.dtype, self.ndim = read, shape, np.dtype(dtype), len(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.arange(len(self))[index]
        return self._read(rows) if rows.ndim else self._read(rows[None])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


@dataclass(frozen=True)
class StreamedSplit:
    """A split whose `images` and `labels` are `Column`s."""

    images: Any
    labels: Any
    examples: Callable[[np.ndarray], Examples]
    """Images and labels of the given rows, read together; a `UserError` names anything unreadable."""


def of_arrays(split: Split) -> StreamedSplit:
    """An in-memory split in the form of a streamed one."""
    images, labels = np.asarray(split.images), np.asarray(split.labels)
    return StreamedSplit(images, labels, lambda rows: (images[rows], labels[rows]))


def crc_of_each(images: np.ndarray) -> np.ndarray:
    """The CRC-32 of each image's bytes, uint32 (N,)."""
    return np.array([zlib.crc32(np.ascontiguousarray(image).data) for image in images], np.uint32)


def of_checked(split: Split, sums: np.ndarray, path: Path) -> StreamedSplit:
    """A split of the file `path`, whose images are compared with their CRC-32 each time they are read.

    A damaged file raises a `UserError` and is removed, for it can be made again.
    """

    def examples(rows: np.ndarray) -> Examples:
        images = np.asarray(split.images[rows])
        if not np.array_equal(crc_of_each(images), sums[rows]):
            path.unlink(missing_ok=True)
            raise UserError(
                f"the cache {path} was damaged and has been removed: the same command decodes the images again and "
                "goes on from the last checkpoint"
            )
        return images, split.labels[rows]

    images = Column(lambda rows: examples(rows)[0], split.images.shape, np.uint8)
    return StreamedSplit(images, split.labels, examples)


def of_reader(read: Read, count: int, place: str) -> StreamedSplit:
    """A split of `count` rows that `read` reads from `place`."""

    def examples(rows: np.ndarray) -> Examples:
        try:
            found = read(rows.tolist())
        except UserError:
            raise
        except Exception as error:  # every reader and decoder raises its own errors for damaged bytes
            reason = shorten(str(error), 90) or type(error).__name__
            raise UserError(f"{place} cannot be read, in rows {rows.min()} to {rows.max()}: {reason}") from error
        other = next((pixels.shape for pixels, _ in found if pixels.shape != shape), None) if shape else None
        if other is not None:
            sizes = " and ".join(f"{height}x{width}" for height, width, _ in (shape, other))
            raise SettingError(
                f"data.size = None is not allowed: images of {place} differ in size ({sizes}); try --data.size 64"
            )
        return np.stack([pixels for pixels, _ in found]), np.array([label for _, label in found], np.int32)

    shape: tuple[int, ...] = ()
    shape = examples(np.arange(1))[0].shape[1:]
    images = Column(lambda rows: examples(rows)[0], (count, *shape), np.uint8)
    return StreamedSplit(images, Column(lambda rows: examples(rows)[1], (count,), np.int32), examples)
