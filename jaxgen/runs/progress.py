"""Logged rows from sums of metrics, and the length of the next span."""

import time
from collections.abc import Sequence

import numpy as np

from jaxgen.contract import Algorithm
from jaxgen.files import Json
from jaxgen.runs.metrics import MetricsLog, Row

FIRST_CHUNK = 8
"""Steps of the first span, used to measure the speed."""
SAVING_SHARE = 0.1
"""Largest share of the training time that time-based checkpoints may take."""
SAVING_SECONDS = 10.0
"""Time between time-based checkpoints; less in a short run, so that there are `EVEN[1]` of them."""
EVEN = 20, 75
"""Number of evenly spaced checkpoints that are kept: the larger, if they take at most `EVEN_BYTES`."""
EVEN_BYTES = 2**28


def chunk_seconds(members: int) -> float:
    """Length of a span: a second, or more with many members, since each chunk makes data orders for each of them."""
    return min(max(members / 4, 1.0), 10.0)


class Clock:
    """Timer that sets the length of the next span from the speed so far, and when a time-based checkpoint is due."""

    def __init__(self, chunk_steps: int, seconds: float, members: int = 1, total: int = 0) -> None:
        self._fixed, self._chunk_seconds, self._total = chunk_steps, chunk_seconds(members), total
        self._per_step: float | None = None
        self._last_save, self._save_seconds = time.perf_counter(), 0.0
        self.seconds = seconds
        """Seconds trained, in all sessions."""

    def steps(self) -> int:
        """Steps of the next span."""
        if self._fixed:
            return self._fixed
        return FIRST_CHUNK if self._per_step is None else max(1, round(self._chunk_seconds / self._per_step))

    def took(self, steps: int, seconds: float) -> None:
        """Record the time of a span."""
        self.seconds += seconds
        self._per_step = seconds / steps

    def save_is_due(self) -> bool:
        """Whether a time-based checkpoint is due."""
        even = self._total * (self._per_step or 0.0) / EVEN[1]
        wait = max(min(SAVING_SECONDS, even), self._save_seconds / SAVING_SHARE)
        return time.perf_counter() - self._last_save >= wait

    def saved(self, seconds: float) -> None:
        """Record the time of a checkpoint."""
        self._last_save, self._save_seconds = time.perf_counter(), seconds


def evenly_kept(size: int) -> int:
    """Number of evenly spaced checkpoints of `size` bytes that are kept: more of small ones, to prove the run by."""
    return min(max(EVEN_BYTES // max(size, 1), EVEN[0]), EVEN[1])


def logged(value: np.ndarray) -> float | list[float | None]:
    """A metric in a row: a number, or one per member; None if not finite."""
    return float(value) if np.ndim(value) == 0 else [float(x) if np.isfinite(x) else None for x in value]


def first_missing(rows: Sequence[Row], step: int, log_every: int, evaluate_every: int) -> int | None:
    """The first step up to `step` at which a row should have been logged and is not there, if any."""
    lost = []
    for prefix, every in (("train/", log_every), ("test/", evaluate_every)):
        there = {row["step"] for row in rows if any(name.startswith(prefix) for name in row)}
        lost += [due for due in range(every, step + 1, every) if due not in there][:1]
    return min(lost, default=None)


def of_first(row: Row) -> Row:
    """A multi-member row reduced to the first member."""
    return {name: value[0] if isinstance(value, list) else value for name, value in row.items()}


def log_rows(log: MetricsLog, table: np.ndarray, names: tuple[str, ...], first: int, last: int, every: int) -> None:
    """Write a row for each logging interval that a span has completed."""
    for row, interval in enumerate(range(first // every, last // every)):
        log.write({"step": (interval + 1) * every, **means(table[..., row, :], names, every)})


def means(sums: np.ndarray, names: tuple[str, ...], steps: int) -> Row:
    """Mean metrics over an interval of `steps` steps."""
    mean = sums / np.float32(steps)
    return {f"train/{name}": logged(mean[..., i]) for i, name in enumerate(names)}


def average(value: float | list[float | None]) -> float:
    """A metric as one number: the mean over members with finite values."""
    return float(np.mean([x for x in value if x is not None])) if isinstance(value, list) else value


def describe(values: Json) -> str:
    """The metrics of a row as one line."""
    return "  ".join(f"{name} {average(value):.4f}" for name, value in values.items() if "/" in name)


def shown(rows: Sequence[Row], names: Sequence[str]) -> dict[str, float]:
    """The newest values of these training metrics, for a progress bar."""
    last = next((row for row in reversed(rows) if any(name.startswith("train/") for name in row)), {})
    return {name: average(last[f"train/{name}"]) for name in names if f"train/{name}" in last}


def last_health(algorithm: Algorithm, rows: Sequence[Row]) -> str | None:
    """The algorithm's warning for the last logged evaluation, if any."""
    for row in reversed(rows):
        values = {name.removeprefix("test/"): value for name, value in row.items() if name.startswith("test/")}
        if values:
            return health(algorithm, {name: np.asarray(value, np.float32) for name, value in values.items()})
    return None


def health(algorithm: Algorithm, metrics: dict[str, np.ndarray]) -> str | None:
    """The algorithm's warning for an evaluation, one per member."""
    if not any(np.ndim(value) for value in metrics.values()):
        return algorithm.TRAITS.health({name: float(value) for name, value in metrics.items()})
    count = len(next(iter(metrics.values())))
    found = [algorithm.TRAITS.health({name: float(value[i]) for name, value in metrics.items()}) for i in range(count)]
    return "; ".join(f"member {i}: {warning}" for i, warning in enumerate(found) if warning) or None
