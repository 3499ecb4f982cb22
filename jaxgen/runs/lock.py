"""A lock on a file, which the operating system releases when the process that holds it ends, however it ends.

`flock` on POSIX systems; on Windows, which has none, a lock on the file's first byte. The library filelock would do
the same where it can, but falls back to a marker file, which outlives a killed process, on disks without `flock`.
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
"""Between two attempts to get a lock that another process holds, on Windows."""


class Lock:
    """A lock that is held until `release`, or until the process ends. `acquire` and `attempt` make them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def release(self) -> None:
        """Lets others have it; a second call does nothing."""
        if self._file.closed:
            return
        if fcntl is None:  # Windows frees the locks of a closed file only when it gets to it
            self._file.seek(0)
            _windows.locking(self._file.fileno(), _windows.LK_UNLCK, 1)
        self._file.close()


def acquire(path: Path) -> Lock:
    """The lock of the file `path`, made if it is not there; waits for whoever holds it.

    Exclusive between any two calls, in one process too. The file stays when the lock is released.
    """
    file = open(path, "ab")  # noqa: SIM115 - open as long as the lock is held
    while not _is_taken(file, wait=True):
        time.sleep(POLL_SECONDS)
    return Lock(file)


def attempt(path: Path) -> Lock | None:
    """The same without waiting; None if another holds it."""
    file = open(path, "ab")  # noqa: SIM115 - open as long as the lock is held
    if _is_taken(file, wait=False):
        return Lock(file)
    file.close()
    return None


def _is_taken(file: IO[bytes], wait: bool) -> bool:
    """Whether the lock is ours now; `wait` holds for POSIX systems alone, Windows gives up after ten seconds."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        else:
            file.seek(0)
            _windows.locking(file.fileno(), _windows.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):  # the latter is what Windows calls it
        return False
    return True
