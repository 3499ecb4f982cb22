"""Startup and shutdown of several processes that work on one run, on one machine or many.

Every process runs the same program on its own share of the data, and all know the results. Only the first one writes.
Their messages are in `jaxgen.engine.hosts`.
"""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import jax

from jaxgen.errors import UserError, refuse
from jaxgen.runs.settings import RunSettings

_FAREWELL = 3600
"""Seconds that finished processes wait at exit for the rest (process 0 may still be drawing figures)."""
LOST = "lost another process of this run, or the way to it; start all again, they go on from the last checkpoint"


def start(run: RunSettings) -> None:
    """Connect to the other processes, if the settings or a cluster's environment define any.

    Must run before JAX's devices are first used. JAX detects Slurm, Open MPI, Kubernetes and Cloud TPUs.
    """
    if not (run.distributed or run.coordinator):
        return
    if sys.platform == "win32":
        field = "coordinator" if run.coordinator else "distributed"
        refuse(f"run.{field}", getattr(run, field), "nothing on Windows, where JAX's processes cannot work together")
    jax.config.update("jax_enable_preemption_service", False)  # we handle signals, between chunks
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    explicit: tuple[Any, Any, Any] = (None, None, None)
    if run.coordinator:
        explicit = (run.coordinator, run.processes, run.process)
    where = f"at {run.coordinator}" if run.coordinator else "that run.distributed looks for in the environment"
    _say_at_abort(f"could not meet the other processes {where} in {max(run.heartbeat_timeout, 60)} seconds")
    try:
        jax.distributed.initialize(
            explicit[0],
            explicit[1],
            explicit[2],
            cluster_detection_method="deactivate" if run.coordinator else None,
            initialization_timeout=max(run.heartbeat_timeout, 60),
            heartbeat_timeout_seconds=run.heartbeat_timeout,
            shutdown_timeout_seconds=_FAREWELL,
        )
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise UserError(f"could not meet the other processes {where}: {reason}") from error


@contextmanager
def silence() -> Iterator[None]:
    """Suppress all output but errors."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield


@contextmanager
def together() -> Iterator[None]:
    """End this process at once on an error; the others notice and end within `run.heartbeat_timeout` seconds.

    Otherwise it would wait at exit for others that wait for it. JAX aborts a process that has lost the others; a last
    line then reports this in place of a core dump.
    """
    if not jax.distributed.is_initialized():
        yield
        return
    _say_at_abort(LOST)
    try:
        yield
    except (UserError, OSError, KeyboardInterrupt):
        raise  # the command line reports these in one line and ends the process
    except jax.errors.JaxRuntimeError as error:
        _leave(f"error: {LOST} ({(str(error).splitlines() or [''])[0][:150]})", 1)
    except Exception:
        _leave(traceback.format_exc(), 1)


_AT_ABORT = ctypes.CFUNCTYPE(None, ctypes.c_int)
_KEPT: list[Any] = []
"""References to functions that C code holds."""


def _say_at_abort(message: str) -> None:
    """Set the last line on the terminal in case JAX's own threads abort the process."""
    handler = _AT_ABORT(lambda number: _leave(f"error: {message}", 1))
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, _AT_ABORT], ctypes.c_void_p
    libc.signal(signal.SIGABRT, handler)
    _KEPT.append(handler)


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)
