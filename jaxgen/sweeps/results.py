"""A finished sweep's results: the table, the figures, the best member and how to run it alone."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.contract import Objective
from jaxgen.report import sweep as figures
from jaxgen.sweeps import table
from jaxgen.sweeps.axes import Axis, Point
from jaxgen.sweeps.experiment import Chosen
from jaxgen.sweeps.groups import Outcome
from jaxgen.sweeps.plan import Group

NO_PARQUET = 'no results.parquet, for pyarrow is not installed: pip install -e ".[sweep]"'


def report(
    experiment: Chosen,
    axes: Sequence[Axis],
    planned: Sequence[Group],
    outcomes: Sequence[Outcome],
    objective: Objective,
    directory: Path,
) -> list[str]:
    """Write the table and the figures; return lines about the best member."""
    lines = []
    rows = table.rows(planned, outcomes)
    written = table.write(rows, directory)
    names = [axis.name for axis in axes]
    lost = sum(row["diverged"] for row in rows)
    if lost:
        lines.append(f"{lost} of {len(rows)} members diverged")
    best = table.best(rows, *objective)
    if "seed" in names and len(names) > 1:
        means = table.over_seeds(rows, names, objective.metric)
        top = (max if objective.maximize else min)(means, key=lambda row: row["mean"])
        error = f" +- {top['error']:.4f}" if top["error"] is not None else ""
        where = ", ".join(f"{name}={top[name]}" for name in names if name != "seed")
        score = f"{objective.metric} {top['mean']:.4f}{error}"
        lines.append(f"best on average: {score} over {top['seeds']} seeds with {where}")
    lines.append(f"best: {objective.metric} {best[objective.metric]:.4f} of member {best['member']}; alone it is")
    points = {member.number: member.point for group in planned for member in group.members}
    lines.append(f"  {table.command(experiment, points[best['member']])}")
    draw(axes, rows, points, table.curves(planned, outcomes, objective.metric), objective, directory / "figures")
    return [*lines, *written_lines(written, directory)]


def written_lines(written: Sequence[Path], directory: Path) -> list[str]:
    """Lines about the locations of tables and figures."""
    missing = [] if any(path.suffix == ".parquet" for path in written) else [NO_PARQUET]
    return [*missing, f"{', '.join(map(str, written))}; figures in {directory / 'figures'}"]


def draw(
    axes: Sequence[Axis],
    rows: table.Table,
    points: dict[int, Point],
    curves: dict[int, list[tuple[int, float]]],
    objective: Objective,
    folder: Path,
) -> None:
    """For each axis the learning curves and the metric along it, and a heat map for each pair of axes."""
    folder.mkdir(exist_ok=True)
    sound = [row for row in rows if not row["diverged"]]
    scores = [row[objective.metric] for row in sound]
    several = [axis for axis in axes if len(set(map(str, axis.values))) > 1]
    for axis in several:
        values = {i: point[axis.name] for i, point in points.items()}
        places = [values[row["member"]] for row in sound]
        stem = _stem(axis.name)
        figures.learning_curves(folder / f"curves_{stem}.png", curves, values, axis.name, axis.log, objective)
        figures.along_axis(folder / f"along_{stem}.png", places, scores, axis.name, axis.log, objective.metric)
    grid = [axis.name for axis in several if not axis.random]
    for down, across in itertools.combinations(grid, 2):
        if "seed" in (down, across) and len(grid) > 2:  # seeds are then averaged over
            continue
        cells: dict[tuple[Any, Any], list[float]] = {}
        for row, score in zip(sound, scores, strict=True):
            point = points[row["member"]]
            cells.setdefault((point[down], point[across]), []).append(score)
        means = {pair: sum(values) / len(values) for pair, values in cells.items()}
        path = folder / f"heat_{_stem(down)}_{_stem(across)}.png"
        figures.heat_map(path, means, (down, across), objective)


def _stem(name: str) -> str:
    return name.replace(".", "_")
