"""Logged rows: JSON lines always, TensorBoard event files on request.

Each line carries the CRC-32 of the text before it, so that a changed digit is detected.
"""

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from jaxgen.errors import warn
from jaxgen.files import Json, write_atomically

Row = Json


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def with_checksum(row: Json) -> Json:
    """A line's object with its checksum as the last entry."""
    return {**row, "crc32": _checksum(json.dumps(row))}


def without_checksum(line: Json) -> Json:
    """The inverse; a wrong checksum raises `ValueError`. Lines of older versions have none."""
    row = {name: value for name, value in line.items() if name != "crc32"}
    if line.get("crc32") not in (None, _checksum(json.dumps(row))):
        raise ValueError("wrong checksum")
    return row


def to_line(row: Row) -> str:
    """A row as a line of the file, without the newline."""
    return json.dumps(with_checksum(row))


def of_line(line: str, checked: bool = False) -> Row:
    """The row in a line; a damaged line raises `ValueError`, as does one without a checksum if it must be `checked`."""
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError("no row")
    if checked and "crc32" not in row:
        raise ValueError("no checksum")
    return without_checksum(row)


def read(path: Path, warn: Callable[[str], None] = warn) -> list[Row]:
    """The rows of a metrics file.

    A half-written last line (the process was killed) is skipped; so is a damaged line, which is reported to `warn`.
    """
    if not path.exists():
        return []
    rows, text = [], path.read_text(encoding="utf-8", errors="replace")
    checked = "crc32" in text  # written all by this version, or all by an older one
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            rows.append(of_line(line, checked))
        except ValueError as error:
            warn(f"{path}: line {number} is damaged ({error}) and left out")
    return rows


def running_means(rows: list[Row], name: str) -> dict[int, float]:
    """The mean of a logged metric over all steps since the start, keyed by the last step."""
    means, total, last = {}, 0.0, 0
    for row in rows:
        if name in row:
            total += row[name] * (row["step"] - last)
            last = row["step"]
            means[last] = total / last
    return means


def _kept(rows: Sequence[Row], step: int) -> list[Row]:
    """Rows that a run resumed at `step` will not write again."""
    return [row for row in rows if row["step"] <= step and not row.get("partial")]


class MetricsLog:
    """A log that appends rows to `path`, dropping those a resumed run will rewrite; without a path, in memory only.

    `earlier` holds the rows of a session in this process that has not written them.
    """

    def __init__(
        self,
        path: Path | None,
        step: int,
        tensorboard: Path | None,
        earlier: Sequence[Row] = (),
        warn: Callable[[str], None] = warn,
    ) -> None:
        self.rows: list[Row] = _kept(earlier, step)
        self._file: IO[str] | None = None
        self._events: Any = None
        if path is None:
            return
        self.rows = _kept(read(path, warn) or earlier, step)
        write_atomically(path, "".join(to_line(row) + "\n" for row in self.rows))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run
        if tensorboard is not None:
            from tensorboardX import SummaryWriter  # takes 0.3 s, so only on request

            self._events = SummaryWriter(str(tensorboard), purge_step=step + 1)

    def write(self, row: Row) -> None:
        """Add a row: `step` and numbers with a slash in their name, e.g. `train/loss` (lists with several members)."""
        self.rows.append(row)
        if self._file is not None:
            self._file.write(to_line(row) + "\n")
            self._file.flush()
        if self._events is not None:
            for name, value in row.items():
                if "/" in name and isinstance(value, list):
                    members = {str(i): x for i, x in enumerate(value) if x is not None}
                    self._events.add_scalars(name, members, row["step"])
                elif "/" in name:
                    self._events.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Flush and close the files."""
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()
