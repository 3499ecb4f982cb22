"""Learning curves of several runs in one figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.errors import SettingError, check_choice
from jaxgen.files import Json
from jaxgen.report.figures import COLORS, _figure, _save
from jaxgen.runs import listing
from jaxgen.runs.metrics import Row

Z = 1.96
"""Half the width of a 95% interval, in standard errors."""


def metric_of(records: Mapping[str, Json], values: Mapping[str, Mapping[str, Any]]) -> str:
    """The runs' common objective; else the first metric that all of them have."""
    common = [name for name in next(iter(values.values())) if all(name in one for one in values.values())]
    objectives = {None if (o := listing.objective_of(r)) is None else o.metric for r in records.values()}
    (one, *others) = objectives
    if not others and one in common:
        return str(one)
    if not common:
        raise SettingError(f"{', '.join(values)} have no metric in common")
    return next((name for name in common if name.startswith("test/")), common[0])


def draw(path: Path, rows: Mapping[str, Sequence[Row]], metric: str) -> None:
    """Each run's curve; over several members their mean, with its 95% interval as a band."""
    known = dict.fromkeys(name for one in rows.values() for row in one for name in row if "/" in name)
    check_choice("metric", metric, known)
    figure = _figure(7.5, 4.5)
    axes = figure.subplots()
    for number, (name, logged) in enumerate(rows.items()):
        points = [(row["step"], listing.number_of(row[metric])) for row in logged if metric in row]
        sound = [(step, value) for step, value in points if value is not None]
        steps, means = np.array([s for s, _ in sound]), np.array([v.value for _, v in sound])
        errors = np.array([v.error or 0.0 for _, v in sound])
        color = COLORS[(7, 4, 0, 1, 6, 3, 9, 8)[number % 8]]
        axes.plot(steps, means, label=name, color=color, marker="o" if len(steps) < 30 else None, markersize=3)
        if errors.any():
            axes.fill_between(steps, means - Z * errors, means + Z * errors, color=color, alpha=0.2, linewidth=0)
    axes.set(xlabel="training step", ylabel=metric)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(figure, path)
