"""Locks: one holder at a time, free again when the holder ends, by POSIX's means and by Windows's."""

import fcntl
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from jaxgen.runs import lock


def locking(descriptor: int, mode: int, count: int) -> None:
    """`msvcrt.locking` as Windows documents it, on this system's locks."""
    try:
        fcntl.flock(descriptor, {0: fcntl.LOCK_UN, 2: fcntl.LOCK_EX | fcntl.LOCK_NB}[mode])
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None


@pytest.fixture(params=["posix", "windows"], autouse=True)
def system(request, monkeypatch):
    if request.param == "windows":
        monkeypatch.setattr(lock, "fcntl", None)
        monkeypatch.setattr(lock, "_windows", SimpleNamespace(locking=locking, LK_UNLCK=0, LK_NBLCK=2), raising=False)


def test_one_holder_at_a_time(tmp_path):
    held = lock.attempt(tmp_path / "lock")
    assert held is not None
    assert lock.attempt(tmp_path / "lock") is None
    assert lock.attempt(tmp_path / "another") is not None
    held.release()
    held.release()
    assert lock.attempt(tmp_path / "lock") is not None


def test_acquire_waits_for_the_holder(tmp_path):
    held, got = lock.acquire(tmp_path / "lock"), []
    waiting = threading.Thread(target=lambda: got.append(lock.acquire(tmp_path / "lock")))
    waiting.start()
    waiting.join(0.2)
    assert not got
    held.release()
    waiting.join(10)
    assert len(got) == 1
    assert lock.attempt(tmp_path / "lock") is None


def test_a_killed_process_holds_nothing(tmp_path):
    code = "import sys, time, pathlib; from jaxgen.runs import lock; held = lock.acquire(pathlib.Path(sys.argv[1])); "
    command = [sys.executable, "-c", code + "print('held', flush=True); time.sleep(600)", str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert lock.attempt(tmp_path / "lock") is None
        process.kill()
    assert lock.attempt(tmp_path / "lock") is not None


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        lock.attempt(tmp_path / "missing" / "lock")
