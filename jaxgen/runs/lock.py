"""File locks, which the operating system releases when the holding process ends, however it ends.

`flock` on POSIX systems; on Windows, which has none, a lock on the file's first byte. The library filelock does the
same where possible, but on disks without `flock` it falls back to a marker file, which outlives a killed process.
"""

import time
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]
    import msvcrt

    _windows: Any = msvcrt  # type checkers on other systems do not know its functions

POLL_SECONDS = 0.02
"""Delay between attempts to get a lock that another process holds, on Windows."""


class Lock:
    """A lock held until `release` or the end of the process, made by `acquire` or `attempt`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._file.closed:
            return
        if fcntl is None:  # Windows may free the locks of a closed file only later
            self._file.seek(0)
            _windows.locking(self._file.fileno(), _windows.LK_UNLCK, 1)
        self._file.close()


def acquire(path: Path) -> Lock:
    """Lock the file `path`, creating it if missing; wait for the current holder.

    Exclusive between any two calls, even in one process. The file remains after release.
    """
    file = open(path, "ab")  # noqa: SIM115 - open as long as the lock is held
    while not _is_taken(file, wait=True):
        time.sleep(POLL_SECONDS)
    return Lock(file)


def attempt(path: Path) -> Lock | None:
    """The same without waiting; None if the lock is held."""
    file = open(path, "ab")  # noqa: SIM115 - open as long as the lock is held
    if _is_taken(file, wait=False):
        return Lock(file)
    file.close()
    return None


def is_held(path: Path) -> bool:
    """Whether some process holds the lock; asks without creating the file."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError:
        return False
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            else:
                _windows.locking(file.fileno(), _windows.LK_NBRLCK, 1)
                _windows.locking(file.fileno(), _windows.LK_UNLCK, 1)
        except OSError:
            return True
    return False


def _is_taken(file: IO[bytes], wait: bool) -> bool:
    """Whether we got the lock; `wait` applies to POSIX systems only, as Windows gives up after ten seconds."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        else:
            file.seek(0)
            _windows.locking(file.fileno(), _windows.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):  # Windows raises the latter
        return False
    return True
