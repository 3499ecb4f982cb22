"""TFRecord files, as `tfds.load` writes them to a data directory, read without TensorFlow."""

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path


class TFRecords:
    """Random access to the records of some files, like `tfds.data_source` for array_record.

    A record is its length (8 bytes, little-endian), a checksum (4), the data, and a checksum (4). The checksums are
    not verified: the images inside carry their own.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._records: list[tuple[mmap.mmap, int, int]] = []  # (file, first byte, length)
        for path in paths:
            self._index(path)

    def _index(self, path: Path) -> None:
        if path.stat().st_size == 0:
            return
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        place = 0
        while place < len(data):
            if place + 12 > len(data):
                raise ValueError(f"{path.name} ends inside a record")
            (length,) = struct.unpack_from("<Q", data, place)
            if place + 16 + length > len(data):
                raise ValueError(f"{path.name} ends inside a record")
            self._records.append((data, place + 12, length))
            place += 16 + length

    def __len__(self) -> int:
        return len(self._records)

    def __getitems__(self, rows: Sequence[int]) -> list[bytes]:
        return [data[first : first + length] for data, first, length in (self._records[row] for row in rows)]
