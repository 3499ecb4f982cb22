"""The first run's checks: made once, remembered if right, and no reason to fail for a folder's sake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgen.doctor import quick
from jaxgen.doctor.checks import Check
from jaxgen.errors import UserError


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Names of the checks that were made; their cache folder is empty."""
    names = []

    def right() -> float:
        names.append("right")
        return 0.0

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(quick, "CHECKS", (Check("right", "", right),))
    return names


def _memories(folder):
    return list((folder / "jaxgen" / "doctor").glob("*.json"))


def test_a_right_answer_is_remembered(made, tmp_path):
    quick.once()
    quick.once()
    assert made == ["right"]
    (memory,) = _memories(tmp_path)
    assert json.loads(memory.read_text())["right"] is True


def test_other_flags_are_another_question(made, monkeypatch):
    quick.once()
    monkeypatch.setenv("XLA_FLAGS", "--xla_another=1")
    quick.once()
    assert made == ["right"] * 2


def test_another_jaxlib_is_another_question(made, monkeypatch):
    quick.once()
    monkeypatch.setattr(quick.jaxlib, "__version__", "9.9.9")
    quick.once()
    assert made == ["right"] * 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"right": 1}', "\x00\xff", '{"wrong": true}'])
def test_a_damaged_memory_is_replaced(made, tmp_path, damage):
    quick.once()
    (memory,) = _memories(tmp_path)
    memory.write_text(damage, encoding="latin-1")
    quick.once()
    quick.once()
    assert made == ["right"] * 2


def test_a_folder_that_cannot_be_written_is_no_hindrance(made, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    quick.once()
    quick.once()
    assert made == ["right"] * 2


def test_a_wrong_answer_is_refused_each_time(made, monkeypatch, tmp_path):
    monkeypatch.setattr(quick, "CHECKS", (Check("bad", "issue 1", lambda: 0.5, 1e-5),))
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"computes wrong numbers here \(bad, issue 1, off by 5\.0e-01\).*jaxgen doctor"
        ) as e:
            quick.once()
        assert "\n" not in str(e.value)
    assert not _memories(tmp_path)


def test_a_check_that_cannot_be_made_is_one_line(made, monkeypatch, capsys, tmp_path):
    def broken() -> float:
        raise MemoryError("no room")

    monkeypatch.setattr(quick, "CHECKS", (Check("bad", "", broken),))
    quick.once()
    assert capsys.readouterr().err == "warning: could not test jaxlib: bad: MemoryError: no room\n"
    assert not _memories(tmp_path)


def test_an_experiment_asks_once(tmp_path):
    """A run in a process of its own leaves the memory behind, before it looks at its data."""
    command = [sys.executable, "experiments/ae_mnist.py", "--data.source", "folder", "--data.path", "nowhere"]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert "nowhere" in result.stderr
    assert len(_memories(tmp_path)) == 1
