"""Training steps of each model with other versions of JAX, one interpreter for each."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import work
from benchmarks.measuring import Row, Run, compare, interleave, say
from benchmarks.train import OURS, OfModels
from benchmarks.worker import Worker, ready
from jaxgen.errors import UserError, refuse

_LABEL = """
import platform
from importlib import metadata
print(f"jax {metadata.version('jax')}, Python {platform.python_version()}")
"""


@dataclass(frozen=True)
class Versions(OfModels):
    """Milliseconds per training step with the JAX of each interpreter; ratios are to the first one's time."""

    pythons: tuple[Path, ...] = ()
    """Interpreters of two or more environments that jaxgen is installed in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.pythons) < 2:
            refuse("pythons", tuple(map(str, self.pythons)), "two or more interpreters")

    def measure(self) -> Iterator[Row]:
        """One row per model and further interpreter."""
        labels = {label(python): python for python in self.pythons}
        if len(labels) < len(self.pythons):
            refuse("pythons", tuple(map(str, self.pythons)), f"environments that differ; these are {', '.join(labels)}")
        first, *_ = labels
        sides = {OURS if one == first else one: python for one, python in labels.items()}
        for name in self.models:
            with ExitStack() as stack:
                workers = {one: Worker("benchmarks.versions.trainer", [name], python=at) for one, at in sides.items()}
                for worker in workers.values():
                    stack.callback(worker.close)
                times = interleave(ready(workers), self.steps, self.seconds, self.rounds, name)
            ours = times.pop(OURS)
            medians = {first: median(ours)} | {other: median(theirs) for other, theirs in times.items()}
            say(f"{name}, ms: " + ", ".join(f"{one} {taken:.3f}" for one, taken in medians.items()))
            yield from ({**compare(name, ours, other, theirs), "ours": first} for other, theirs in times.items())


def label(python: Path) -> str:
    """The versions of an interpreter, for a table."""
    try:
        found = subprocess.run([python, "-c", _LABEL], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"{python} has no JAX, or is no interpreter ({type(error).__name__})") from None
    return found.stdout.strip()


def trainer(name: str) -> Run:
    """The engine's loop over a model's step, in a worker's process."""
    return work.trainer(work.programs(work.MODELS[name].work))
