"""Faults aimed at one operation of a process: the n-th time it opens, renames, removes or makes a certain file.

Python reports file operations to audit hooks before it does them, whichever library asks. Training steps are reported
the same way. A first, undisturbed run lists its operations; a strike names one of them.
"""

import errno
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Operation(NamedTuple):
    """A file operation below the watched folder, or a call of the compiled program."""

    kind: str
    path: str
    """Relative, with process ids and times replaced."""
    nth: int
    """How many of the same kind and path came before."""


class Strike(NamedTuple):
    """A fault, just before an operation is done."""

    at: Operation
    signal: int = 0
    """The signal to send; 0: the disk is full from here on."""
    delay: float = 0.0
    """Seconds after it, for SIGKILL: in the middle of a write."""


def stable(path: str) -> str:
    """A path without what changes from one process to the next."""
    return re.sub(r"\d{4,}|[0-9a-f]{12,}", "#", path)


class Hook:
    """The audit hook: lists operations to a file, and strikes once."""

    def __init__(self, root: Path, listing: Path | None, strike: Strike | None) -> None:
        self._root, self._strike = str(root) + os.sep, strike
        self._counts: Counter[tuple[str, str]] = Counter()
        self._listing = None if listing is None else os.open(listing, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._full, self._inside = False, False

    def install(self) -> None:
        """Watch this process from now on."""
        from jaxgen.engine.programs import Programs

        sys.addaudithook(self._audit)
        for name in ("compile", "chunk", "evaluate"):
            setattr(Programs, name, self._reported(name, getattr(Programs, name)))

    def _reported(self, name, function):
        def call(*args, **kwargs):
            self._met(name, "")
            return function(*args, **kwargs)

        return call

    def _audit(self, event: str, args: tuple) -> None:
        if self._inside or not (event == "open" or event.startswith(("os.", "shutil."))):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & _WRITING):
            return
        if event not in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.move"):
            return
        target = args[1] if event == "os.rename" else args[0]
        if not isinstance(target, str | bytes | os.PathLike):
            return
        self._inside = True
        try:
            path = os.path.abspath(os.fsdecode(target))
            if (path + os.sep).startswith(self._root):
                self._met(event, stable(path[len(self._root) :]))
        finally:
            self._inside = False

    def _met(self, kind: str, path: str) -> None:
        key = (kind, path)
        self._counts[key] += 1
        here = Operation(kind, path, self._counts[key] - 1)
        if self._listing is not None:
            os.write(self._listing, "\t".join(map(str, here)).encode("utf-8", "surrogateescape") + b"\n")
        strike = self._strike
        if strike is not None and here == strike.at:
            self._hit(strike)
        if self._full and kind in ("open", "os.mkdir", "os.rename"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def _hit(self, strike: Strike) -> None:
        if strike.signal == 0:
            self._full = True
        elif strike.delay:  # the kernel ends the process, without a word of Python's
            signal.setitimer(signal.ITIMER_REAL, strike.delay)
        else:
            os.kill(os.getpid(), strike.signal)


def read(listing: Path) -> list[Operation]:
    """The operations that a process listed."""
    rows = [line.split("\t") for line in listing.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    return [Operation(kind, path, int(nth)) for kind, path, nth in rows]


def phases(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    """The operations of an undisturbed run, by what they interrupt."""

    def commits(operation: Operation) -> bool:
        return operation.kind == "os.rename" and re.fullmatch(r"(.*/)?checkpoints/\d+", operation.path) is not None

    places = [place for place, operation in enumerate(operations) if commits(operation)]
    first, last = (places[0], places[-1]) if places else (len(operations), len(operations))
    found: dict[str, list[Operation]] = {}
    for place, operation in enumerate(operations):
        if "/figures/" in operation.path:
            phase = "drawing"
        elif "/checkpoints/" in operation.path:
            phase = "saving"
        else:
            phase = "before the first" if place < first else "after the last" if place > last else "between"
        found.setdefault(phase, []).append(operation)
    return found
