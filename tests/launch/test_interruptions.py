"""Signals in every phase of a script: one line and an exit code, never a trace."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxgen.runs import signals

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "experiments" / "ae_mnist.py"), "--preset", "quick", "--run.epochs", "3"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5])
def test_a_signal_before_training(tmp_path, number, seconds):
    process = subprocess.Popen(COMMAND, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    time.sleep(seconds)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if process.returncode == -number:  # Python itself had not started
        assert seconds < 1
        assert said == ""
        return
    assert process.returncode in (0, 128 + number)
    if process.returncode:
        assert re.fullmatch(r"(error: interrupted.*\n)?", said), said


def test_a_signal_that_a_library_swallowed_stops_training():
    with signals.raised():
        with contextlib.suppress(KeyboardInterrupt):  # as a callback of C code does
            signal.raise_signal(signal.SIGTERM)
        with signals.deferred() as during:
            assert during.received == signal.SIGTERM
    with signals.raised(), signals.deferred() as during:
        assert during.received is None


def test_a_second_ctrl_c_interrupts_at_once():
    with signals.deferred() as during:
        signal.raise_signal(signal.SIGINT)
        assert during.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in signals.NUMBERS]
    with signals.raised(), signals.deferred():
        assert [signal.getsignal(number) for number in signals.NUMBERS] != before
    assert [signal.getsignal(number) for number in signals.NUMBERS] == before
