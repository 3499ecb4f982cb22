"""Seconds for a whole process that makes one training step, with an empty and a filled compilation cache."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tqdm import tqdm

from benchmarks.measuring import Measurement, Row, say
from jaxgen.errors import UserError, check_choices

DIGITS = ("--data.source", "digits")
SCRIPTS = {
    "ae_mnist": DIGITS,
    "conv_ae_mnist": DIGITS,
    "vae_mnist": DIGITS,
    "vae_flowers": ("--data.source", "petals", "--data.count", "200"),
}
"""Experiments, and the embedded data they start with."""

_FIRST_STEP = """
import os, runpy, sys
from jaxgen.runs import guard
def stop(*_): os._exit(0)
guard.Guard.check = stop  # called when the first chunk has come back
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
sys.exit("the run ended before its first step")
"""


@dataclass(frozen=True)
class Startup(Measurement):
    """Seconds from Enter to the first finished training step, with an empty and a filled compilation cache."""

    rounds: int = 3
    """Number of starts of each kind, in turn."""
    experiments: tuple[str, ...] = tuple(SCRIPTS)
    """Scripts to start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices("experiments", self.experiments, SCRIPTS)

    def measure(self) -> Iterator[Row]:
        """Two rows per experiment; an uncounted first start fills the program and data caches."""
        for name in self.experiments:
            seconds: dict[str, list[float]] = {"cold": [], "warm": []}
            with (
                tempfile.TemporaryDirectory() as filled,
                tqdm(total=2 * self.rounds + 1, desc=name, unit="start", leave=False) as bar,
            ):
                _start(name, filled)
                bar.update()
                for _ in range(self.rounds):
                    with tempfile.TemporaryDirectory() as empty:
                        seconds["cold"].append(_start(name, empty))
                    bar.update()
                    seconds["warm"].append(_start(name, filled))
                    bar.update()
            for cache, taken in seconds.items():
                say(f"{name}, {cache}: {median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})")
                yield _row(f"startup {name} {cache}", taken)


def _row(name: str, seconds: list[float]) -> Row:
    nobody = {"peer": None, "peer_ms": None, "ratio": None}
    times = [round(second, 2) for second in seconds]
    return {"name": name, "ours_ms": round(median(seconds) * 1e3), **nobody, "rounds": len(seconds), "seconds": times}


def _start(name: str, cache: str) -> float:
    script = Path(__file__).parents[1] / f"{name}.py"
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}
    with tempfile.TemporaryDirectory() as root:
        options = [*SCRIPTS[name], "--run.root", root, "--run.chunk-steps", "1"]
        command = [sys.executable, "-c", _FIRST_STEP, str(script), *options]
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - began
    if done.returncode:
        raise UserError(f"{script} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return seconds
