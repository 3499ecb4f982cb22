"""One process that has imported everything and forks a child for each command; JAX itself starts in the child.

A fork costs milliseconds where an interpreter with JAX costs seconds. The parent must have no threads of JAX's.
"""

import atexit
import ctypes
import gc
import io
import json
import os
import resource
import runpy
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .strikes import Hook, Strike
from .verdicts import Done

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
LIMIT = 60.0
"""Seconds after which a command hangs, unless a kind says otherwise."""
MEMORY = 6 * 2**30
"""Bytes of resident memory that no small run needs."""
_POLL = 0.02
"""Seconds between two looks at a child."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare(cache: Path) -> None:
    """Set the environment and import what the commands import, without starting JAX."""
    os.environ |= {
        "XDG_CACHE_HOME": str(cache),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    sys.path.insert(0, str(EXPERIMENTS))
    import distrax  # noqa: F401
    import jax  # noqa: F401
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import matplotlib.font_manager  # noqa: F401
    import optuna  # noqa: F401
    import orbax.checkpoint  # noqa: F401
    import PIL.Image
    import pyarrow.parquet  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import tqdm.auto  # noqa: F401

    import jaxgen.data.digits
    import jaxgen.data.folder
    import jaxgen.data.petals
    import jaxgen.launch.early
    import jaxgen.launch.experiments
    import jaxgen.report
    import jaxgen.runs.load
    import jaxgen.sweeps.search

    PIL.Image.init()
    jaxgen.launch.early.ACTIVE = True  # a forked command ends as a script does
    _spare_time()
    gc.collect()
    gc.freeze()


def _spare_time() -> None:
    """Have forked commands draw coarsely and keep even the smallest compiled programs; real processes do as always."""
    import jax
    from matplotlib.figure import Figure

    from jaxgen.launch import command_line

    savefig, use_cache = Figure.savefig, command_line.use_compilation_cache

    def coarse(self: Any, path: Any, **options: Any) -> None:
        self.set_layout_engine("none")
        savefig(self, path, **{**options, "dpi": 20})

    def keep_all() -> None:
        use_cache()
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    Figure.savefig, command_line.use_compilation_cache = coarse, keep_all


def obey_file_modes() -> None:
    """Give up root's right to read and write any file, where we have it."""
    if os.geteuid() != 0:
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capget(header, sets)
    for place in (0, 1):  # effective and permitted: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        sets[place] &= ~0b110
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


class Child:
    """A running command."""

    def __init__(self, pid: int, folder: Path, command: str, process: subprocess.Popen[bytes] | None = None) -> None:
        self.pid, self._folder, self.command, self._process = pid, folder, command, process
        self.began = time.monotonic()
        self._status: int | None = None
        self.trained_at: float | None = None

    def poll(self) -> bool:
        """Whether it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
                if self._process is not None:
                    self._process.returncode = self._status
        return self._status is not None

    def send(self, number: int) -> None:
        """Send a signal to it, if it still runs."""
        if not self.poll():
            os.kill(self.pid, number)

    def memory(self) -> int:
        """Bytes resident."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()
        except (OSError, IndexError):
            return 0

    def cpu(self) -> float:
        """Seconds of computing."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            return 0.0

    def out(self) -> str:
        """Standard output so far."""
        return _text(self._folder / "out")

    def killed(self, seconds: float) -> Done:
        """Wait, and kill it after some seconds, if it still runs then."""
        while not self.poll() and time.monotonic() - self.began < seconds:
            time.sleep(_POLL / 4)
        if not self.poll():
            self.end()
        return self.wait()

    def wait(self, limit: float = LIMIT, enough: Callable[["Child"], bool] | None = None) -> Done:
        """Wait for its end; kill it at the limits, or once it has done `enough`."""
        try:
            return self._wait(limit, enough)
        except BaseException:
            self.end()
            raise

    def _wait(self, limit: float, enough: Callable[["Child"], bool] | None) -> Done:
        hang, stopped = "", False
        while not self.poll():
            seconds = time.monotonic() - self.began
            if seconds > limit and (self.cpu() > limit or seconds > 3 * limit):  # the machine may be busy
                hang = f"still running after {self.cpu():.0f} s of computing, {seconds:.0f} s in all"
            elif self.memory() > MEMORY:
                hang = f"more than {MEMORY // 2**30} GiB of memory after {seconds:.1f} s"
            stopped = not hang and enough is not None and enough(self)
            if hang or stopped:
                self.end()
                break
            time.sleep(_POLL)
        seconds = time.monotonic() - self.began
        code = 0 if stopped else self._status if self._status is not None else -signal.SIGKILL
        return Done(code, self.out(), _text(self._folder / "err"), seconds, hang, self.command)

    def end(self) -> None:
        """Kill it and what it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.send(signal.SIGKILL)
        while not self.poll():
            time.sleep(0.005)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


_numbers = iter(range(10**9))


def start(
    script: str,
    args: Sequence[str],
    cwd: Path,
    *,
    strike: Strike | None = None,
    listing: Path | None = None,
    real: bool = False,
    modes: bool = False,
    env: dict[str, str] | None = None,
) -> Child:
    """Start `python experiments/SCRIPT.py ARGS` in `cwd`: forked, or with `real` as a process of its own.

    `listing` is a file for the operations below `cwd`; `modes` has even root obey file modes.
    """
    path = EXPERIMENTS / f"{script}.py"
    command = shlex.join(["python", f"experiments/{script}.py", *args])
    folder = _folder(cwd)
    if real:
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            process = subprocess.Popen(
                [sys.executable, str(path), *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        return Child(process.pid, folder, command, process)

    def body() -> None:
        if strike is not None or listing is not None:
            Hook(cwd, listing, strike).install()
        if modes:
            obey_file_modes()
        sys.argv = [str(path), *args]
        runpy.run_path(str(path), run_name="__main__")

    return _forked(body, cwd, folder, command, env)


def call(function: Callable[[], Any], cwd: Path, limit: float = LIMIT) -> tuple[Done, Any]:
    """Call a function in a child; returns also its JSON-serializable result, None if it failed."""
    folder = _folder(cwd)

    def body() -> None:
        (folder / "value").write_text(json.dumps(function()), encoding="utf-8")

    done = _forked(body, cwd, folder, getattr(function, "__name__", "call"), None).wait(limit)
    value = folder / "value"
    return done, json.loads(value.read_text(encoding="utf-8")) if value.exists() else None


def _folder(cwd: Path) -> Path:
    folder = cwd.with_name(f"{cwd.name}.said") / str(next(_numbers))
    folder.mkdir(parents=True)
    return folder


def _forked(body: Callable[[], None], cwd: Path, folder: Path, command: str, env: dict[str, str] | None) -> Child:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, folder, command)
    try:
        os.setsid()
        _redirect(folder)
        for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            signal.signal(number, handler)
        os.chdir(cwd)
        os.environ |= env or {}
        code = _as_interpreter(body)
    finally:
        os._exit(code if "code" in locals() else 70)


def _redirect(folder: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
        os.close(file)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
    )


def _as_interpreter(body: Callable[[], None]) -> int:
    """Run as `python SCRIPT` does, to its exit code."""
    code = 0
    try:
        try:
            body()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
        except BaseException as error:
            traceback.print_exc()
            code = 130 if isinstance(error, KeyboardInterrupt) else 1
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        code = code or 1
    return code
