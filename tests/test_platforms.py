"""Other systems than the one the tests run on, played: modules that Windows lacks are missing here too."""

import subprocess
import sys
from pathlib import Path

import pytest

from jaxgen.errors import SettingError
from jaxgen.launch import processes
from jaxgen.runs.settings import RunSettings

ROOT = Path(__file__).parents[1]

WITHOUT_POSIX = """
import fcntl, subprocess, sys, types  # subprocess takes a system with msvcrt for Windows

real, calls = fcntl, []

def locking(descriptor, mode, count):
    calls.append(mode)
    real.flock(descriptor, real.LOCK_UN if mode == 0 else real.LOCK_EX | real.LOCK_NB)

sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_UNLCK=0, LK_NBLCK=2)
for name in ("fcntl", "resource", "array_record"):
    sys.modules[name] = None
"""

IMPORT_ALL = """
import importlib, pkgutil, jaxgen

names = [module.name for module in pkgutil.walk_packages(jaxgen.__path__, "jaxgen.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""

RUN = """
import runpy

sys.argv = ["ae_mnist.py", "--data.source", "digits", "--run.epochs", "1", "--run.name", "r"]
runpy.run_path({script!r}, run_name="__main__")
print(calls)
"""


def run(code, cwd):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX + code], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_every_module_can_be_imported(tmp_path):
    done = run(IMPORT_ALL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 80


def test_an_experiment_runs(tmp_path):
    done = run(RUN.format(script=str(ROOT / "experiments" / "ae_mnist.py")), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "finished: test/loss" in done.stdout
    assert done.stdout.splitlines()[-1] == "[2, 0]"  # the run's directory, locked and released


def test_several_processes_are_refused_on_windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SettingError, match=r"run\.coordinator = 'localhost:1' is not allowed: nothing on Windows"):
        processes.start(RunSettings(coordinator="localhost:1", processes=2, process=0))
    with pytest.raises(SettingError, match=r"run\.distributed = True is not allowed: nothing on Windows"):
        processes.start(RunSettings(distributed=True))
    processes.start(RunSettings())
