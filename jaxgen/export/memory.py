"""The block of memory that a script's arrays lie in: buffers, and those of them that are filled from stored numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jaxgen.errors import UserError
from jaxgen.export.elementwise import is_float
from jaxgen.export.loops import Lines
from jaxgen.export.views import Buffer, View, row_major

Precision = Literal["float32", "float16", "int12", "int11", "int10", "int8"]
"""Of stored weights; integers: matrices and kernels only, of int8 in steps of a 127th of the largest entry of their
column. int11 and int10 take as much room as int12, but can be compressed."""
LEVELS = {"int12": 2047, "int11": 1023, "int10": 511, "int8": 127}
ALIGNMENT = 16
_ARRAYS = {
    np.dtype(np.bool_): "Uint8Array",
    np.dtype(np.uint8): "Uint8Array",
    np.dtype(np.int8): "Int8Array",
    np.dtype(np.uint16): "Uint16Array",
    np.dtype(np.int16): "Int16Array",
    np.dtype(np.uint32): "Uint32Array",
    np.dtype(np.int32): "Int32Array",
}


def array_type(dtype: Any) -> tuple[str, int]:
    """JavaScript's type and the bytes of an entry."""
    if is_float(dtype):
        return "Float32Array", 4
    if dtype not in _ARRAYS:
        raise UserError(f"arrays of type {dtype} cannot be translated to JavaScript")
    return _ARRAYS[dtype], np.dtype(dtype).itemsize


@dataclass
class Memory:
    """Everything that a script's functions share, while it grows."""

    buffers: list[Buffer] = field(default_factory=list)
    stored: dict[str, tuple[Buffer, np.ndarray, bool]] = field(default_factory=dict)
    """Buffers that are filled from stored arrays; whether these are weights, and not constants."""
    prepared: Lines = field(default_factory=list)
    """Statements to be run once, when the script is loaded."""
    scratch: int = 1
    """Numbers that convolutions need at a time."""

    def buffer(self, size: int, dtype: Any, constant: bool) -> Buffer:
        """Memory for `size` entries."""
        self.buffers.append(Buffer(f"b{len(self.buffers)}", size, np.dtype(dtype), constant))
        return self.buffers[-1]

    def store(self, key: str, array: np.ndarray, is_weight: bool = False) -> View:
        """A view of an array that is stored, once for a key."""
        if key in self.stored:
            buffer, before, _ = self.stored[key]
            if before.shape != array.shape or before.tobytes() != array.tobytes():  # NaN equals itself
                raise UserError(f"two programs have different weights named {key}: give one of them another name")
        else:
            buffer = self.buffer(array.size, array.dtype, constant=True)
            self.stored[key] = buffer, array, is_weight
        return View(buffer, array.shape, row_major(array.shape))

    def planned(self) -> tuple[dict[str, int], int]:
        """The place of every buffer, in bytes, and the bytes of them all."""
        places, total = {}, 0
        for buffer in self.buffers:
            places[buffer.name] = total
            total += -(-buffer.size * array_type(buffer.dtype)[1] // ALIGNMENT) * ALIGNMENT
        return places, total

    def data(self, places: Mapping[str, int], precision: Precision) -> tuple[bytes, list[list[Any]]]:
        """Stored arrays one after the other, and for each: place, entries, and how they are stored, for kernels.js."""
        data, parts = [], []
        for buffer, array, is_weight in self.stored.values():
            part = [places[buffer.name], array.size, array_type(buffer.dtype)[0]]
            if not is_float(buffer.dtype):
                data.append(np.ascontiguousarray(array).tobytes())
            elif is_weight and precision in LEVELS and array.ndim > 1:
                steps, levels = quantized(array, precision)
                data.append(_packed(steps, levels, precision))
                part += ["int8" if precision == "int8" else "int12", steps.size]
            elif is_weight and precision == "float16":
                data.append(np.ascontiguousarray(array).astype("<f2").tobytes())
                part += ["float16"]
            else:
                data.append(np.ascontiguousarray(array).astype("<f4").tobytes())
            parts.append(part)
        return b"".join(data), parts


def quantized(array: np.ndarray, precision: Precision) -> tuple[np.ndarray, np.ndarray]:
    """The step of each column (the last axis), and the entries in steps."""
    columns = array.astype(np.float32).reshape(-1, array.shape[-1])
    steps = np.abs(columns).max(axis=0) / np.float32(LEVELS[precision])
    levels = np.round(columns / np.where(steps == 0, np.float32(1), steps))
    return steps.astype("<f4"), levels.astype(np.int16)


def _packed(steps: np.ndarray, levels: np.ndarray, precision: Precision) -> bytes:
    """Steps, then levels: 8 bits each, or 12, first the upper 8 of them all, then the lower 4, two in a byte."""
    flat = levels.ravel()
    if precision == "int8":
        return steps.tobytes() + flat.astype(np.int8).tobytes()
    finer = 2048 // (LEVELS[precision] + 1)
    flat = flat * finer
    low = np.zeros(flat.size + flat.size % 2, np.uint8)
    low[: flat.size] = flat & 15
    both = (flat >> 4).astype(np.int8).tobytes() + (low[::2] | low[1::2] << 4).tobytes()
    return (steps / np.float32(finer)).tobytes() + both


def rounded(array: np.ndarray, precision: Precision) -> np.ndarray:
    """A weight as it is stored."""
    if not is_float(array.dtype) or precision == "float32" or (precision in LEVELS and array.ndim < 2):
        return array
    if precision == "float16":
        return array.astype(np.float16).astype(array.dtype)
    steps, levels = quantized(array, precision)
    return (levels.astype(np.float32) * steps).astype(array.dtype).reshape(array.shape)
