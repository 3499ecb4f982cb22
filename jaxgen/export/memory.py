"""The block of memory that a script's arrays lie in: buffers, and those of them that are filled from stored numbers."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from jaxgen.errors import UserError
from jaxgen.export.elementwise import is_float
from jaxgen.export.loops import Lines
from jaxgen.export.views import Buffer, View, row_major

Precision = Literal["float32", "float16"]
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
    stored: dict[str, tuple[Buffer, np.ndarray]] = field(default_factory=dict)
    """Buffers that are filled from stored weights and constants."""
    prepared: Lines = field(default_factory=list)
    """Statements to be run once, when the script is loaded."""
    scratch: int = 1
    """Numbers that convolutions need at a time."""

    def buffer(self, size: int, dtype: Any, constant: bool) -> Buffer:
        """Memory for `size` entries."""
        self.buffers.append(Buffer(f"b{len(self.buffers)}", size, np.dtype(dtype), constant))
        return self.buffers[-1]

    def store(self, key: str, array: np.ndarray) -> View:
        """A view of an array that is stored, once for a key."""
        if key in self.stored:
            buffer, before = self.stored[key]
            if before.shape != array.shape or before.tobytes() != array.tobytes():  # NaN equals itself
                raise UserError(f"two programs have different weights named {key}: give one of them another name")
        else:
            buffer = self.buffer(array.size, array.dtype, constant=True)
            self.stored[key] = buffer, array
        return View(buffer, array.shape, row_major(array.shape))

    def planned(self) -> tuple[dict[str, int], int]:
        """The place of every buffer, in bytes, and the bytes of them all."""
        places, total = {}, 0
        for buffer in self.buffers:
            places[buffer.name] = total
            total += -(-buffer.size * array_type(buffer.dtype)[1] // ALIGNMENT) * ALIGNMENT
        return places, total

    def data(self, places: Mapping[str, int], precision: Precision) -> tuple[str, list[list[Any]]]:
        """Stored arrays as base64, and for each: bytes of an entry, place, entries, whether to widen it."""
        data, parts = [], []
        for buffer, array in self.stored.values():
            flat = np.ascontiguousarray(array).reshape(-1)
            half = precision == "float16" and is_float(buffer.dtype)
            if is_float(buffer.dtype):
                flat = flat.astype("<f2" if half else "<f4")
            data.append(flat.tobytes())
            parts.append([flat.itemsize, places[buffer.name], flat.size, half])
        return base64.b64encode(b"".join(data)).decode(), parts
