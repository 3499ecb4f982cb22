"""Strided views of flat buffers: transposing, slicing, broadcasting and most reshapes move no data."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Buffer:
    """A flat array of a translated program."""

    name: str
    size: int
    dtype: Any
    constant: bool
    """Whether its entries do not depend on inputs."""


@dataclass(frozen=True)
class View:
    """Entry (i, j, ...) is at offset + i strides[0] + j strides[1] + ... in the buffer."""

    buffer: Buffer
    shape: Shape
    strides: Shape
    offset: int = 0

    @property
    def dtype(self) -> Any:
        """Of the buffer."""
        return self.buffer.dtype

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Whether entries follow each other in row-major order."""
        wanted = row_major(self.shape)
        return all(n == 1 or s == w for n, s, w in zip(self.shape, self.strides, wanted, strict=True))

    @property
    def is_whole(self) -> bool:
        """Whether no entry is read twice."""
        return all(n == 1 or s for n, s in zip(self.shape, self.strides, strict=True))


def row_major(shape: Shape) -> Shape:
    """Strides of a contiguous array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def in_order(buffer: Buffer, shape: Shape, order: Sequence[int]) -> View:
    """A view of a whole buffer in which the axes `order` are stored from the slowest to the fastest."""
    strides = [0] * len(shape)
    for axis, stride in zip(order, row_major(tuple(shape[axis] for axis in order)), strict=True):
        strides[axis] = stride
    return View(buffer, shape, tuple(strides))


def transposed(view: View, permutation: Sequence[int]) -> View:
    """Axis i of the result is axis permutation[i]."""
    return replace(
        view,
        shape=tuple(view.shape[axis] for axis in permutation),
        strides=tuple(view.strides[axis] for axis in permutation),
    )


def broadcast(view: View, shape: Shape, axes: Sequence[int]) -> View:
    """Axis i becomes axis axes[i] of `shape`; axes of size 1 and missing ones are repeated."""
    strides = [0] * len(shape)
    for axis, size, stride in zip(axes, view.shape, view.strides, strict=True):
        strides[axis] = stride if size == shape[axis] else 0
    return replace(view, shape=shape, strides=tuple(strides))


def sliced(view: View, start: Sequence[int], limit: Sequence[int], steps: Sequence[int] | None) -> View:
    """Entries start, start + step, ... before limit along each axis."""
    steps = steps or (1,) * len(view.shape)
    offset = view.offset + sum(first * stride for first, stride in zip(start, view.strides, strict=True))
    shape = tuple(-(-(last - first) // step) for first, last, step in zip(start, limit, steps, strict=True))
    strides = tuple(stride * step for stride, step in zip(view.strides, steps, strict=True))
    return replace(view, shape=shape, strides=strides, offset=offset)


def reversed_along(view: View, axes: Sequence[int]) -> View:
    """The order of entries reversed along `axes`."""
    offset = view.offset + sum((view.shape[axis] - 1) * view.strides[axis] for axis in axes)
    strides = tuple(-stride if axis in axes else stride for axis, stride in enumerate(view.strides))
    return replace(view, strides=strides, offset=offset)


def reshaped(view: View, shape: Shape) -> View | None:
    """The same entries, in row-major order, in another shape; None where they have to be copied for it."""
    old = [(n, s) for n, s in zip(view.shape, view.strides, strict=True) if n != 1]
    new = [n for n in shape if n != 1]
    strides: list[int] = []
    while new:
        group, split = [old.pop(0)], [new.pop(0)]
        left, right = group[0][0], split[0]
        while left != right:
            if left < right:
                group.append(old.pop(0))
                left *= group[-1][0]
            else:
                split.append(new.pop(0))
                right *= split[-1]
        if any(a[1] != b[0] * b[1] for a, b in itertools.pairwise(group)):
            return None
        strides += [group[-1][1] * stride for stride in row_major(tuple(split))]
    rest = iter(strides)
    return replace(view, shape=shape, strides=tuple(0 if n == 1 else next(rest) for n in shape))
