"""No traces from libraries: Ctrl-C and SIGTERM while a script still imports are one line and an exit code.

Imported first by a script; does nothing where the script is imported as a module. `command_line.reported` takes the
signals over.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any


def _importer() -> str:
    """Name of the module that imports this one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_globals.get("__name__") or "").startswith(("importlib", __name__)):
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__"))


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(2, b"error: interrupted before anything began\n")
    os._exit(128 + number)


def _show(unraisable: Any) -> None:
    """Show an exception in a callback of C code, but not an interruption, which is acted on later."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


ACTIVE = _importer() == "__main__"
"""Whether this process is one of our scripts."""
if ACTIVE:
    sys.unraisablehook = _show
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
