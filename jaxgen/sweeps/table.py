"""Results of a sweep as one tidy table, one row per member, and the command that runs a member alone."""

import csv
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.errors import UserError
from jaxgen.files import Json, replacing
from jaxgen.runs.metrics import Row
from jaxgen.sweeps import fields
from jaxgen.sweeps.axes import Point
from jaxgen.sweeps.experiment import Chosen
from jaxgen.sweeps.groups import Outcome
from jaxgen.sweeps.plan import Group

Table = list[Json]


def rows(planned: Sequence[Group], outcomes: Sequence[Outcome]) -> Table:
    """One row per member in the order of the sweep's points: its position, its axes, its last metrics."""
    table = []
    for group, outcome in zip(planned, outcomes, strict=True):
        last = _last(outcome.rows)
        for place, member in enumerate(group.members):
            values = {name: value[place] for name, value in last.items()}
            lost = outcome.diverged is not None or any(value is None for value in values.values()) or not values
            head = {"member": member.number, "group": group.name, "place": place, **_cells(member.point)}
            table.append({**head, "diverged": lost, **values})
    table.sort(key=lambda row: row["member"])
    names = dict.fromkeys(name for row in table for name in row)
    return [{name: row.get(name) for name in names} for row in table]


def _last(logged: Sequence[Row]) -> Row:
    """The newest value of each metric, a list with one number per member."""
    newest = {name: value for row in logged for name, value in row.items() if isinstance(value, list)}
    return dict(sorted(newest.items(), key=lambda item: (not item[0].startswith("test/"), item[0])))


def _cells(point: Point) -> Json:
    return {k: v if isinstance(v, int | float | str) or v is None else str(v) for k, v in point.items()}


def curves(planned: Sequence[Group], outcomes: Sequence[Outcome], name: str) -> dict[int, list[tuple[int, float]]]:
    """The metric `name` of each member as (step, value), where finite."""
    found: dict[int, list[tuple[int, float]]] = {}
    for group, outcome in zip(planned, outcomes, strict=True):
        for place, member in enumerate(group.members):
            points = [(row["step"], row[name][place]) for row in outcome.rows if name in row]
            found[member.number] = [(step, value) for step, value in points if value is not None]
    return dict(sorted(found.items()))


def write(table: Table, directory: Path) -> list[Path]:
    """`results.csv`, and `results.parquet` where pyarrow is installed."""
    written = [directory / "results.csv"]
    with replacing(written[0]) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return written
    written.append(directory / "results.parquet")
    columns = {name: [row[name] for row in table] for name in table[0]}
    with replacing(written[1]) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns), temporary)
    return written


def best(table: Table, metric: str, maximize: bool) -> Json:
    """The row of the member with the best `metric`."""
    sound = [row for row in table if not row["diverged"] and row.get(metric) is not None]
    if not sound:
        raise UserError(f"no member has a finite {metric}; try lower learning rates")
    return (max if maximize else min)(sound, key=lambda row: row[metric])


def over_seeds(table: Table, axes: Sequence[str], metric: str) -> list[Json]:
    """For each setting apart from the seed: mean and standard error of `metric` over its seeds, and their number."""
    settings: dict[tuple[Any, ...], list[float]] = {}
    names = [name for name in axes if name != "seed"]
    for row in table:
        if not row["diverged"] and row.get(metric) is not None:
            settings.setdefault(tuple(row[name] for name in names), []).append(row[metric])
    return [
        {
            **dict(zip(names, setting, strict=True)),
            "mean": float(np.mean(values)),
            "error": float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None,
            "seeds": len(values),
        }
        for setting, values in settings.items()
    ]


def options(experiment: Chosen) -> list[str]:
    """The experiment's command line without the name and location of its directory."""
    kept, words = [], iter(experiment.args)
    for word in words:
        if word in ("--run.name", "--run.root"):
            next(words, None)
        elif not word.startswith(("--run.name=", "--run.root=")):
            kept.append(word)
    return kept


def command(experiment: Chosen, point: Mapping[str, Any]) -> str:
    """The command line that runs the member at `point` alone."""
    changes = [word for name, value in point.items() for word in fields.option(name, value)]
    return shlex.join(
        ["python", os.path.relpath(experiment.experiment.source or experiment.name), *options(experiment), *changes]
    )
