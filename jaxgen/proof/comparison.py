"""Logged numbers and stored arrays against those of a run made again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgen.engine import loop
from jaxgen.files import Json
from jaxgen.runs.checkpoint import entry
from jaxgen.runs.metrics import Row

RELATIVE, ABSOLUTE = 0.02, 1e-3
"""Two numbers agree to rounding if they differ by at most 2% of the larger one plus 0.001."""

Table = dict[tuple[int, str], Json]
"""The numbers of a row by its step and kind: `train`, `test` or `partial` (the rest of a logging interval)."""


class Compared(NamedTuple):
    """The numbers, or arrays, that were compared, and each difference in words."""

    number: int
    differences: tuple[str, ...] = ()


def tabulated(rows: Iterable[Row]) -> tuple[Table, list[str]]:
    """Rows by step and kind, and a line for each row that a run does not log so."""
    table: Table = {}
    strange = []
    for row in rows:
        numbers = {name: value for name, value in row.items() if name not in ("step", "partial")}
        kinds = {name.split("/")[0] for name in numbers if name.startswith(("train/", "test/"))}
        if len(kinds) != 1 or not all(name.startswith(("train/", "test/")) for name in numbers):
            strange.append(f"the row of step {row['step']} holds {', '.join(numbers) or 'nothing'}")
            continue
        key = row["step"], "partial" if row.get("partial") else kinds.pop()
        if key in table:
            strange.append(f"step {key[0]} has two {key[1]} rows")
        table[key] = numbers
    return table, strange


def rows_agree(logged: Table, again: Table, exact: bool = True) -> Compared:
    """Compare the logged rows with the same ones made again."""
    count, differences = 0, []
    for step, kind in sorted(logged.keys() | again.keys()):
        if (step, kind) not in logged:
            differences.append(f"the {kind} row of step {step} is missing")
        elif (step, kind) not in again:
            differences.append(f"the {kind} row of step {step} was not due")
        else:
            found = _numbers_agree(step, logged[step, kind], again[step, kind], exact)
            count, differences = count + found.number, [*differences, *found.differences]
    return Compared(count, tuple(differences))


def _numbers_agree(step: int, logged: Json, again: Json, exact: bool) -> Compared:
    differences, count = [], 0
    for name in sorted(logged.keys() | again.keys()):
        if name not in logged or name not in again:
            differences.append(f"{name} of step {step} is {'not logged' if name not in logged else 'not computed'}")
            continue
        count += len(again[name]) if isinstance(again[name], list) else 1
        same = _same if exact else _close
        if not same(logged[name], again[name]):
            differences.append(f"{name} of step {step} is logged as {logged[name]}, made again it is {again[name]}")
    return Compared(count, tuple(differences))


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are written the same: NaN equals itself, 0.0 is not -0.0."""
    return json.dumps(one) == json.dumps(other)


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, list) or isinstance(other, list):
        together = isinstance(one, list) and isinstance(other, list) and len(one) == len(other)
        return together and all(_close(a, b) for a, b in zip(one, other, strict=True))
    if one is None or other is None:
        return one is other
    return bool(abs(one - other) <= RELATIVE * max(abs(one), abs(other)) + ABSOLUTE)


def arrays_agree(stored: loop.Carry, again: loop.Carry, step: int) -> Compared:
    """Compare shape, type and SHA-256 of every array of a checkpoint with those made again."""
    saved, made = _entries(stored), _entries(again)
    wrong = [name for name in saved if saved[name] != made[name]]
    if not wrong:
        return Compared(len(saved))
    return Compared(len(saved), (f"{len(wrong)} of {len(saved)} arrays of checkpoint {step} differ, first {wrong[0]}",))


def _entries(carry: loop.Carry) -> Mapping[str, Json]:
    return {name: entry(np.asarray(leaf)) for name, leaf in loop.named_leaves(carry).items()}


def shortened(differences: Sequence[str], most: int = 3) -> list[str]:
    """The first differences, and the number of the others."""
    rest = len(differences) - most
    return [*differences[:most], *([f"and {rest} more"] if rest > 0 else [])]
