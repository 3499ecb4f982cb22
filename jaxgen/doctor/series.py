"""All checks, in separate processes, two at a time: a crash or a hang affects one check only."""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Timer
from typing import Any

from jaxgen.doctor.results import Result

PATIENCE = 600.0
"""Time limit of a check in seconds; the slowest takes half a minute on two free cores."""
COMMAND = (sys.executable, "-W", "ignore", "-m", "jaxgen.doctor.worker")
"""Command that starts a worker."""


class Crashed(Exception):
    """A worker ended, or was ended, without answering; the message says how."""


class Worker:
    """A process that takes names of checks and returns results; see `worker`."""

    def __init__(self, command: Sequence[str] = COMMAND, patience: float = PATIENCE) -> None:
        # two workers cannot each take three quarters of a GPU's memory; cached programs test nothing
        settings = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_ENABLE_COMPILATION_CACHE": "false"}
        self._patience = patience
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **settings},
        )
        self.hello = self._answer()

    def ask(self, name: str) -> Result:
        """The result of the check called `name`."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended: `_answer` reports how
            print(name, file=self._process.stdin, flush=True)
        return Result(**self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        timer = Timer(self._patience, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if line:
            return json.loads(line)
        code = self._process.wait()
        if late:
            raise Crashed(f"not ready after {self._patience:.0f} s")
        raise Crashed(f"the process ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")


def run(
    begin: Callable[[dict[str, str]], None],
    report: Callable[[Result], None],
    full: bool = False,
    start: Callable[[], Worker] = Worker,
    workers: int = 2,
) -> list[Result]:
    """Run the checks, with `full` the slow ones too, and return their results.

    `begin` is called with the installation under test, `report` with each result as soon as it is known.
    """
    first = start()
    begin(first.hello["head"])
    names = [name for name, slow in first.hello["checks"] if full or not slow]
    queue, spare = deque(names), [first]
    results: dict[str, Result] = {}

    def work(_: int) -> None:
        worker = None
        while True:
            try:
                name = queue.popleft()
            except IndexError:
                break
            try:
                worker = worker or (spare.pop() if spare else start())
                results[name] = worker.ask(name)
            except Crashed as error:
                results[name] = Result(name, "failed", "", None, 0.0, 0.0, str(error))
                if worker is not None:
                    worker.close()
                worker = None
            report(results[name])
        if worker is not None:
            worker.close()

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    return [results[name] for name in names]
