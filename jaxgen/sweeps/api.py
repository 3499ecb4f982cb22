"""Python API for sweeps: axes in, a table and the members' runs out."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgen.contract import Objective
from jaxgen.errors import NUMBERS, refuse
from jaxgen.experiment import Experiment
from jaxgen.files import Json
from jaxgen.runs.load import load
from jaxgen.runs.run import Run
from jaxgen.runs.settings import Settings
from jaxgen.sweeps import fields, groups, objective, plan, probe, table
from jaxgen.sweeps.axes import Axis, points
from jaxgen.sweeps.experiment import Chosen, choose


class Values(NamedTuple):
    """The values of an axis, and whether to plot them on a logarithmic scale."""

    values: tuple[Any, ...]
    log: bool = False


def log(first: float, last: float, count: int) -> Values:
    """`count` numbers from `first` to `last`, geometrically spaced."""
    return Values(tuple(float(f"{value:.6g}") for value in np.geomspace(first, last, count)), log=True)


def linear(first: float, last: float, count: int) -> Values:
    """`count` numbers from `first` to `last`, evenly spaced."""
    return Values(tuple(float(f"{value:.6g}") for value in np.linspace(first, last, count)))


def prepare(
    chosen: Chosen, axes: Sequence[Axis], zipped: bool, metric: str | None, maximize: bool, group_size: int
) -> tuple[list[plan.Group], Objective]:
    """Groups of all combinations of the axes' checked values, and the metric they are compared by.

    `group_size` 0: as large as memory allows.
    """
    members = points(axes, zipped)
    plan.check(chosen, members)
    several = [axis.name for axis in axes if len(set(axis.values)) > 1]
    kinds = probe.check_axes(chosen, several, map(plan.static_of, members))
    by = objective.of(chosen, *next(iter(kinds.values())), metric, maximize)

    def largest(static: Json) -> int:
        if group_size:
            return group_size
        config, data = kinds[tuple(static.items())]
        return probe.largest_group(probe.member_bytes(chosen.algorithm, config, chosen.settings.hparams, data))

    return plan.groups(members, largest), by


class Sweep:
    """The result of a sweep: a table with one row per member, and the members' runs."""

    def __init__(self, rows: table.Table, planned: Sequence[plan.Group], directory: Path, by: Objective) -> None:
        self.rows, self.objective, self.directory = rows, by, directory
        self._planned = planned

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The table as columns, ready for `pandas.DataFrame`."""
        return {name: np.array([row[name] for row in self.rows]) for name in self.rows[0]}

    def __len__(self) -> int:
        return len(self.rows)

    def run(self, member: int) -> Run:
        """The run of a member, by its number in the table."""
        row = next(row for row in self.rows if row["member"] == member)
        group = load(self.directory / row["group"])
        return group.member(row["place"]) if group.members is not None else group

    @property
    def best(self) -> Json:
        """The row of the best member."""
        return table.best(self.rows, *self.objective)


def sweep(
    experiment: Experiment,
    axes: Mapping[str, Any],
    *,
    settings: Settings | None = None,
    preset: str | None = None,
    zipped: bool = False,
    metric: str | None = None,
    maximize: bool = False,
    group_size: int = 0,
    directory: str | Path | None = None,
) -> Sweep:
    """Train every combination of the axes' values; hyperparameters and seeds vary between members of one program.

    `axes` maps a field (`hparams.learning_rate`, `config.widths`, `data.source`, `seed`) to its values: any iterable,
    or `log(a, b, n)` and `linear(a, b, n)`. With `zipped`, values are paired instead of combined. `settings` default to
    those of the preset. With a directory the sweep can be continued; otherwise its files go to a temporary folder.
    `metric` defaults to the algorithm's objective.
    """
    chosen = choose(experiment, settings or experiment.settings(preset))
    known = fields.hints(chosen.settings)
    parsed = [_axis(name, values, known) for name, values in axes.items()]
    planned, by = prepare(chosen, parsed, zipped, metric, maximize, group_size)
    place = Path(directory) if directory is not None else Path(tempfile.mkdtemp(prefix="jaxgen-sweep-"))
    run = {"run.root": place.parent, "run.name": place.name}
    chosen = chosen._replace(settings=fields.replace(chosen.settings, run))
    opened = groups.open_directory(chosen, planned, by, {"command": "jaxgen.sweep", "axes": sorted(axes)})
    outcomes = groups.run_all(chosen, planned, opened)
    rows = table.rows(planned, outcomes)
    table.write(rows, opened)
    return Sweep(rows, planned, opened, by)


_ALLOWED: dict[Any, Any] = {
    int: int | np.integer,
    float: int | np.integer | float | np.floating,
}
"""Types that the values of a numeric field may have."""


def _axis(name: str, values: Any, known: Mapping[str, Any]) -> Axis:
    found = values if isinstance(values, Values) else Values(tuple(_listed(values)))
    name = fields.find(name, known)
    if not found.values:
        refuse(name, values, "at least one value")
    kind = known[name]
    for value in found.values:
        if kind in _ALLOWED and not isinstance(value, _ALLOWED[kind]):
            refuse(name, value, NUMBERS[kind])
    return Axis(name, found.values, found.log, False)


def _listed(values: Iterable[Any] | Any) -> Iterable[Any]:
    return [values] if isinstance(values, str | int | float) else values
