"""Run directories at a glance, read without disturbing the processes that train them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxgen.contract import Objective
from jaxgen.errors import UserError
from jaxgen.files import Json
from jaxgen.runs import checkpoint, lock, metrics
from jaxgen.runs import directory as run_directory
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.load import algorithm_of, planned_steps

State = Literal["running", "stopped", "finished", "damaged"]


class Number(NamedTuple):
    """A metric's value; over several members their mean, its standard error and their number."""

    value: float
    error: float | None = None
    members: int = 1

    def __str__(self) -> str:
        return f"{self.value:.4f}" if self.error is None else f"{self.value:.4f} +- {self.error:.4f} ({self.members})"


class Entry(NamedTuple):
    """A run in a table."""

    path: Path
    state: State
    experiment: str | None = None
    data: str | None = None
    objective: str | None = None
    """The metric that compares runs of its algorithm, if there is one."""
    value: Number | None = None
    """Its last value."""
    step: int = 0
    total: int | None = None
    """Steps of the whole run; None if its algorithm is not here."""
    seconds: float = 0.0
    """Training time of a finished run."""
    note: str | None = None
    """The damage, or the algorithm's warning."""

    def progress(self) -> str:
        """Steps done, and how many there are to be unless the run is finished."""
        unfinished = self.state != "finished" and self.total is not None
        return f"{self.step:,} of {self.total:,}" if unfinished else f"{self.step:,}"

    def to_json(self) -> Json:
        """As JSON values."""
        value = None if self.value is None else self.value._asdict()
        return {**self._asdict(), "path": str(self.path), "value": value}


def number_of(value: Any) -> Number | None:
    """A logged metric as a number; None if it is finite for no member."""
    if value is None:
        return None
    if not isinstance(value, list):
        return Number(float(value))
    finite = [one for one in value if one is not None]
    if not finite:
        return None
    error = float(np.std(finite, ddof=1) / len(finite) ** 0.5) if len(finite) > 1 else None
    return Number(float(np.mean(finite)), error, len(finite))


def last_values(rows: list[metrics.Row]) -> dict[str, Number]:
    """The last value of each logged metric."""
    newest = {name: value for row in rows for name, value in row.items() if "/" in name}
    found = {name: number_of(value) for name, value in newest.items()}
    return {name: number for name, number in found.items() if number is not None}


def objective_of(record: Json) -> Objective | None:
    """The objective of a run's algorithm; None if it has none or is not here."""
    try:
        return algorithm_of(Path(), record.get("algorithm")).TRAITS.objective
    except UserError:
        return None


def _planned(path: Path, record: Json) -> int | None:
    try:
        return planned_steps(path, record)
    except UserError:
        return None


def entry(path: Path) -> Entry:
    """One run directory."""
    try:
        record = run_directory.read_record(path)
        rows = metrics.read(path / "metrics.jsonl", lambda message: None)
        result = run_directory.read_result(path, lambda message: None)
    except (UserError, OSError) as error:
        return Entry(path, "damaged", note=str(error))
    objective, values = objective_of(record), last_values(rows)
    state: State = "running" if lock.is_held(path / ".lock") else "stopped" if result is None else "finished"
    return Entry(
        path,
        state,
        record["experiment"],
        None if record["data"] is None else record["data"].get("name"),
        None if objective is None else objective.metric,
        None if objective is None else values.get(objective.metric),
        max([0, *(row["step"] for row in rows), *checkpoint.steps(path / "checkpoints")]),
        _planned(path, record),
        0.0 if result is None else result["train_seconds"],
        None if result is None else result.get("alarm"),
    )


def entries(root: Path) -> list[Entry]:
    """All runs below `root`, at any depth (a sweep's groups too), by path."""
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give the one that holds the runs, as jaxgen runs runs")
    return [entry(file.parent) for file in sorted(root.glob("**/settings.json"))]


def differences(records: Mapping[str, Json]) -> dict[str, dict[str, Any]]:
    """The settings that differ between runs, by field: each run's value."""
    flat = {name: settings_lib.flat(record["settings"]) for name, record in records.items()}
    for name, record in records.items():
        flat[name] |= {"experiment": record["experiment"], "data": (record["data"] or {}).get("name")}
    fields = dict.fromkeys(field for one in flat.values() for field in one)
    free = {*settings_lib.FREE, "run.name"}
    table = {field: {name: one.get(field) for name, one in flat.items()} for field in fields if field not in free}
    return {field: values for field, values in table.items() if len({repr(one) for one in values.values()}) > 1}
