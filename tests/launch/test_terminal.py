import time
from pathlib import Path

import numpy as np
import pytest

from jaxgen.launch import terminal
from jaxgen.launch.terminal import Terminal

PARAMETERS = {"net": {"kernel": np.zeros((2, 3))}}


def test_a_long_compilation_is_announced_until_training_begins(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "QUIET", 0.01)
    monkeypatch.setattr(terminal, "MINUTE", 0.01)
    shown = Terminal(bar=True)
    shown.opened(Path("runs/a"), None, None)
    time.sleep(0.2)
    shown.began(0, 10, PARAMETERS)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "runs/a: one run"
    assert sum(line.startswith("compiling for 0 s") for line in said) > 1
    time.sleep(0.1)
    assert "compiling" not in capsys.readouterr().out


def test_a_compilation_that_fails_is_announced_no_more(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "QUIET", 0.5)
    shown = Terminal(bar=True)
    shown.opened(None, None, None)
    shown.ended()
    time.sleep(0.8)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("bar", "lines"), [(True, 2), (False, 0)])
def test_a_line_a_minute_where_there_is_no_terminal(capsys, monkeypatch, bar, lines):
    monkeypatch.setattr(terminal, "MINUTE", 0.0)
    shown = Terminal(bar)
    shown.began(10, 1030, PARAMETERS)
    capsys.readouterr()
    for _ in range(2):
        shown.trained(10, 100.0, {})
    said = capsys.readouterr().out.splitlines()
    assert len(said) == lines
    assert not lines or (said[-1].startswith("step 30 of 1,030, about 0") and said[-1].endswith(" left"))
    monkeypatch.setattr(terminal, "MINUTE", 60.0)
    shown.trained(10, 100.0, {})
    assert capsys.readouterr().out == ""
