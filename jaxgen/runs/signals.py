"""SIGTERM and Ctrl-C: raised outside training, deferred until a span is done within it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """The signal received, if any; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.received == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.received = number


class _Raised(Signals):
    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        raise KeyboardInterrupt


_outside = _Raised()
"""The signal raised outside training: a library may have swallowed the exception, so training looks here too."""


@contextmanager
def raised() -> Iterator[Signals]:
    """Raise `KeyboardInterrupt` for either signal, which no `except Exception` on its way stops."""
    _outside.received = None
    with _handled(_outside):
        yield _outside


@contextmanager
def deferred() -> Iterator[Signals]:
    """Record the signals instead of acting on them; a no-op outside the main thread, where it is impossible."""
    signals = Signals()
    signals.received = _outside.received
    with _handled(signals):
        yield signals


@contextmanager
def _handled(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in NUMBERS}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
