"""Milliseconds for ours and for peers, measured in turn in one process, and the ratios between them."""

import math
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

from tqdm import tqdm

from benchmarks import reporting
from benchmarks.reporting import Row
from jaxgen.errors import check_at_least

Run = Callable[[int], float]
"""Runs n steps and returns the seconds taken."""

PATIENCE = 300
"""Maximum seconds for a peer to warm up; for torch.compile, this includes building its program."""


@dataclass(frozen=True)
class Measurement:
    """Base class of all subcommands; `measure` yields the rows."""

    rounds: int = 5
    """Number of times each side is measured, in turn."""
    out: Path = Path("benchmark.jsonl")
    """File to append the JSON lines to."""

    def __post_init__(self) -> None:
        check_at_least("rounds", self.rounds, 1)

    def measure(self) -> Iterator[Row]:
        """Yield each row as soon as it is known."""
        raise NotImplementedError

    def table(self, rows: list[Row]) -> str:
        """The rows for reading."""
        return reporting.table(rows)

    def conclude(self, rows: list[Row]) -> Iterator[str]:
        """Closing lines; raises `UserError` if the measurement found a fault."""
        return iter(())


def say(text: str) -> None:
    """Print a line between progress bars."""
    tqdm.write(text)


def left_out(name: str, error: BaseException) -> None:
    """Report that a peer is missing, and why."""
    reason = (str(error).splitlines() or [""])[0][:120]
    say(f"{name} is left out: {type(error).__name__}: {reason}")


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not ready after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def steps_for(run: Run, seconds: float) -> int:
    """Number of steps in about `seconds`, estimated from a run half as long, after a first step that compiles.

    A shorter run would say little: some of its work, such as the order of the data, is done once in each.
    """
    run(1)
    steps = 1
    while (took := run(steps)) < seconds / 2:
        steps = max(steps + 1, min(8 * steps, round(steps * seconds / took)))
    return max(1, round(steps * seconds / took))


def warm_up(runs: dict[str, Run], steps: int, seconds: float, bar: Any) -> dict[str, int]:
    """Steps per measurement of each: `steps`, or if 0 about `seconds` worth; failing peers are reported and skipped."""
    found = {}
    for name, run in runs.items():
        bar.set_postfix_str(f"warming up: {name}")
        if name.startswith("our"):
            found[name] = steps_for(run, seconds) if steps == 0 else _first(run, steps)
        else:
            try:
                with _at_most(PATIENCE):
                    found[name] = steps_for(run, seconds) if steps == 0 else _first(run, steps)
            except Exception as error:  # a peer's failure (say, no compiler for torch.compile) costs only its own row
                left_out(name, error)
        bar.update()
    return found


def _first(run: Run, steps: int) -> int:
    run(min(steps, 10))
    return steps


def interleave(runs: dict[str, Run], steps: int, seconds: float, rounds: int, what: str) -> dict[str, list[float]]:
    """Milliseconds per step of each of `runs`, in `rounds` turns after a warm-up; failing peers are left out."""
    with tqdm(total=len(runs) * (rounds + 1), desc=what, unit="run", leave=False) as bar:
        counts = warm_up(runs, steps, seconds, bar)
        times: dict[str, list[float]] = {name: [] for name in counts}
        for _ in range(rounds):
            for name, count in counts.items():
                bar.set_postfix_str(name)
                times[name].append(runs[name](count) / count * 1e3)
                bar.update()
    return times


def compare(name: str, ours: list[float], peer: str | None, theirs: list[float]) -> Row:
    """A row: medians, their ratio (above 1: ours is faster), and the ratio of each round."""
    row: Row = {"name": name, "ours_ms": round(median(ours), 4), "peer": peer, "peer_ms": None, "ratio": None}
    if peer is not None:
        row["peer_ms"] = round(median(theirs), 4)
        row["ratio"] = round(median(theirs) / median(ours), 3)
        row["ratios"] = [round(b / a, 3) for a, b in zip(ours, theirs, strict=True)]
    return {**row, "rounds": len(ours)}


def geometric_mean(ratios: Iterable[float]) -> float:
    """exp(mean log ratio); nan if there are no ratios."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
