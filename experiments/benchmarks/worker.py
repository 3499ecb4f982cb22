"""One side of a comparison in its own process, so that each side can have its own XLA flags.

`python -m benchmarks.worker MODULE.FUNCTION ARGUMENTS` calls the function with a JSON list of arguments; it must
return a `Run`. Each line on standard input is then a number of steps, each line on standard output the seconds taken.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import jax

from benchmarks.measuring import Run, left_out
from jaxgen.errors import UserError


class Worker:
    """Handle to such a process; a `Run` when called with a number of steps."""

    def __init__(
        self, function: str, arguments: list[Any], flags: str = "", python: str | Path = sys.executable
    ) -> None:
        root = Path(__file__).parents[1]
        paths = [str(root), str(root.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "XLA_FLAGS": flags}
        environment.setdefault("JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir or "")
        self._errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (close() closes it)
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", function, json.dumps(arguments)],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors},
            **{"env": environment, "text": True},
        )

    def __call__(self, steps: int) -> float:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer, or its absence, gives the reason
        return self._answer()

    def ready(self) -> None:
        """Wait until the function has returned; raises `UserError` with its last line if it failed."""
        self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return float(line)
        self._process.wait()
        self._errors.seek(0)
        raise UserError((self._errors.read().strip().splitlines() or [f"exit code {self._process.returncode}"])[-1])


def ready(workers: dict[str, Worker]) -> dict[str, Run]:
    """Those that started, all at once. One that fails is reported and left out; the first one's error is raised."""
    found: dict[str, Run] = {}
    for name, worker in workers.items():
        try:
            worker.ready()
            found[name] = worker
        except UserError as error:
            if not found:
                raise
            left_out(name, error)
    return found


def _serve(function: str, arguments: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # anything the function prints is not an answer
    module, name = function.rsplit(".", 1)
    run = getattr(importlib.import_module(module), name)(*json.loads(arguments))
    print(0.0, file=answers, flush=True)
    for line in sys.stdin:
        print(run(int(line)), file=answers, flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
