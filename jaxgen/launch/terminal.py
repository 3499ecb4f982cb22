"""A run's output on a terminal."""

import itertools
import sys
import threading
import time
from pathlib import Path
from typing import Any

from jaxgen.contract import Tree
from jaxgen.data.dataset import Dataset
from jaxgen.engine.loop import named_leaves
from jaxgen.engine.members import Members
from jaxgen.runs import progress
from jaxgen.runs.bar import Bar
from jaxgen.runs.metrics import Row

SECONDS = 0.5
"""Minimum time between two displayed evaluations."""
QUIET = 10.0
"""Seconds of compilation without a word."""
MINUTE = 60.0
"""Seconds between two lines about work that goes on: compilation, and training where there is no bar."""


class Terminal(Bar):
    """Lines for events and a progress bar; where output is no terminal, a line a minute instead of the bar."""

    def __init__(self, bar: bool) -> None:
        super().__init__(None if bar else True)
        self._shown = float("-inf")
        self._compiled = threading.Event()

    def opened(self, path: Path | None, dataset: Dataset | None, members: Members | None) -> None:
        if path is not None:
            print(f"{path}: {sizes(dataset, members)}", flush=True)
        threading.Thread(target=self._compiling, daemon=True).start()

    def _compiling(self) -> None:
        began, wait, remark = time.monotonic(), QUIET, "; later starts of this program take a fraction of that"
        while not self._compiled.wait(wait):
            print(f"compiling for {time.monotonic() - began:.0f} s{remark}", flush=True)
            wait, remark = MINUTE, ""

    def began(self, first: int, total: int, parameters: Tree) -> None:
        self._compiled.set()
        if first:
            print(f"continuing from step {first}")
        print(parameter_table(parameters), flush=True)
        super().began(first, total, parameters)
        self._step, self._begin, self._total = first, first, total
        self._since = self._said = time.monotonic()

    def trained(self, steps: int, images_per_second: float | None, shown: dict[str, float]) -> None:
        super().trained(steps, images_per_second, shown)
        self._step += steps
        now = time.monotonic()
        if self.bar.disable and self._hidden is None and now - self._said >= MINUTE:
            self._said = now
            rest = (now - self._since) / (self._step - self._begin) * (self._total - self._step)
            print(f"step {self._step:,} of {self._total:,}, about {self.bar.format_interval(rest)} left", flush=True)

    def ended(self) -> None:
        self._compiled.set()
        super().ended()

    def evaluated(self, row: Row, epoch: float, warning: str | None) -> None:
        now = time.monotonic()
        if now - self._shown >= SECONDS:
            self._shown = now
            self.bar.write(f"epoch {epoch:g}: {progress.describe(row)}", file=sys.stdout)
        if warning:
            self.bar.write(f"warning: {warning}", file=sys.stderr)

    def warned(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


def sizes(dataset: Dataset | None, members: Members | None) -> str:
    """A short description of the data and the members."""
    parts = []
    if dataset is not None:
        splits = (("training", dataset.train), ("test", dataset.test))
        images = [f"{len(split.labels)} {name}" for name, split in splits]
        parts.append(f"{dataset.name}, {' and '.join(images)} images")
    if members is not None:
        parts.append(f"{len(members.seeds)} members")
    return ", ".join(parts) or "one run"


def parameter_table(params: Any) -> str:
    """Every parameter array with its shape and size, and the totals."""
    leaves = named_leaves(params)
    lines = [f"  {name:<32} {'x'.join(map(str, leaf.shape)):>16} {leaf.size:>10,}" for name, leaf in leaves.items()]
    for part, names in itertools.groupby(leaves, key=lambda name: name.split(".")[0]):
        lines.append(f"  {part + ', in all':<49} {sum(leaves[name].size for name in names):>10,}")
    lines.append(f"  {'parameters':<49} {sum(leaf.size for leaf in leaves.values()):>10,}")
    return "\n".join(lines)
