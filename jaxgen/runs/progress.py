"""What is logged and shown of a run between its chunks, and how long the next chunk is."""

import itertools
import sys
from typing import Any

import numpy as np

from jaxgen.engine import loop
from jaxgen.runs.metrics import MetricsLog, Row

FIRST_CHUNK = 8
"""Steps of the first chunk, from which the speed is measured."""


def chunk_seconds(members: int) -> float:
    """Length of a chunk: a second, of many members longer, for a chunk makes an order of the data for each of them."""
    return min(max(members / 4, 1.0), 10.0)


class Clock:
    """Decides how many steps make about so many seconds, from the speed seen so far."""

    def __init__(self, chunk_steps: int, seconds: float, members: int = 1) -> None:
        self._fixed, self._chunk_seconds = chunk_steps, chunk_seconds(members)
        self._per_step: float | None = None
        self.seconds = seconds

    def steps(self) -> int:
        if self._fixed:
            return self._fixed
        return FIRST_CHUNK if self._per_step is None else max(1, round(self._chunk_seconds / self._per_step))

    def took(self, steps: int, seconds: float) -> None:
        self.seconds += seconds
        self._per_step = seconds / steps


def _logged(value: np.ndarray) -> float | list[float | None]:
    """A metric in a row: a number, or one a member, None where it is not finite."""
    return float(value) if np.ndim(value) == 0 else [float(x) if np.isfinite(x) else None for x in value]


def of_first(row: Row) -> Row:
    """A population's row as its first member has it."""
    return {name: value[0] if isinstance(value, list) else value for name, value in row.items()}


def log_rows(log: MetricsLog, table: np.ndarray, names: tuple[str, ...], first: int, last: int, every: int) -> None:
    for row, interval in enumerate(range(first // every, last // every)):
        log.write({"step": (interval + 1) * every, **means(table[..., row, :], names, every)})


def means(sums: np.ndarray, names: tuple[str, ...], steps: int) -> Row:
    mean = sums / np.float32(steps)
    return {f"train/{name}": _logged(mean[..., i]) for i, name in enumerate(names)}


def _mean(value: float | list[float | None]) -> float:
    """What is shown of a metric: over members, the mean of those that are finite."""
    return float(np.mean([x for x in value if x is not None])) if isinstance(value, list) else value


def describe(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {_mean(value):.4f}" for name, value in values.items() if "/" in name)


def show(bar: Any, steps: int, images_per_second: float | None, rows: list[Row]) -> None:
    last = next((row for row in reversed(rows) if any(name.startswith("train/") for name in row)), {})
    losses = {name.removeprefix("train/"): value for name, value in last.items() if name.endswith("loss")}
    said = [f"{name} {_mean(value):.3f}" for name, value in losses.items()]
    if images_per_second is not None:
        said.append(f"{images_per_second:,.0f} images/s")
    bar.set_postfix_str(", ".join(said), refresh=False)
    bar.update(steps)


def log_evaluation(
    algorithm: loop.Algorithm,
    metrics: dict[str, np.ndarray],
    log: MetricsLog,
    step: int,
    steps_per_epoch: int,
    bar: Any,
) -> tuple[Row, str | None]:
    """Logs and shows an evaluation; returns its row, and what the algorithm's `alarm`, if it has one, says."""
    row = {"step": step, **{f"test/{name}": _logged(value) for name, value in metrics.items()}}
    log.write(row)
    bar.write(f"epoch {step / steps_per_epoch:g}: {describe(row)}", file=sys.stdout)
    alarm = _alarm(algorithm, metrics)
    if alarm:
        bar.write(f"warning: {alarm}", file=sys.stderr)
    return row, alarm


def _alarm(algorithm: loop.Algorithm, metrics: dict[str, np.ndarray]) -> str | None:
    """What the algorithm thinks wrong with an evaluation, of each member where there are many."""
    if not hasattr(algorithm, "alarm"):
        return None
    if not any(np.ndim(value) for value in metrics.values()):
        return algorithm.alarm({name: float(value) for name, value in metrics.items()})
    count = len(next(iter(metrics.values())))
    said = [(i, algorithm.alarm({name: float(value[i]) for name, value in metrics.items()})) for i in range(count)]
    return "; ".join(f"member {i}: {what}" for i, what in said if what) or None


def parameter_table(params: Any) -> str:
    """Every parameter array with its shape and size, and the totals."""
    leaves = loop.named_leaves(params)
    lines = [f"  {name:<32} {'x'.join(map(str, leaf.shape)):>16} {leaf.size:>10,}" for name, leaf in leaves.items()]
    for part, names in itertools.groupby(leaves, key=lambda name: name.split(".")[0]):
        lines.append(f"  {part + ', in all':<49} {sum(leaves[name].size for name in names):>10,}")
    lines.append(f"  {'parameters':<49} {sum(leaf.size for leaf in leaves.values()):>10,}")
    return "\n".join(lines)
