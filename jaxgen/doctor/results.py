"""Results of checks, as lines and as JSON."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Status = Literal["ok", "WRONG", "known", "failed"]
"""Right; wrong; wrong in what jaxgen does not compute; ended by an exception, a crash or a hang."""


class Result(NamedTuple):
    """The outcome of a check."""

    name: str
    status: Status
    compares: str
    error: float | None
    tolerance: float
    seconds: float
    note: str = ""


def passed(results: Sequence[Result]) -> bool:
    """Whether every result is right or excused."""
    return all(result.status in ("ok", "known") for result in results)


def line(result: Result) -> str:
    """One line: status, name, error and tolerance, what was compared."""
    numbers = "" if result.error is None else f"{result.error:.1e} of {result.tolerance:.0e}"
    text = "; ".join(part for part in (result.compares, result.note) if part)
    return f"{result.status:6}  {result.name:50}  {numbers:16}  {text}"


def summary(results: Sequence[Result], seconds: float) -> str:
    """Counts of each status."""
    statuses = [result.status for result in results]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in ("ok", "known", "WRONG", "failed"))
    verdict = "this JAX computes right" if passed(results) else "do not trust what this JAX computes"
    return f"{counts} in {seconds:.0f} s: {verdict}"
