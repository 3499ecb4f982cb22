"""What a finished sweep leaves: the table, the figures, the best member and how to run it alone."""

from collections.abc import Sequence
from pathlib import Path

from jaxgen.report import sweep as figures
from jaxgen.sweep import table
from jaxgen.sweep.axes import Axis
from jaxgen.sweep.experiment import Experiment
from jaxgen.sweep.groups import Outcome
from jaxgen.sweep.objective import Objective
from jaxgen.sweep.plan import Group


def report(
    experiment: Experiment,
    axes: Sequence[Axis],
    planned: Sequence[Group],
    outcomes: Sequence[Outcome],
    objective: Objective,
    directory: Path,
) -> None:
    """Writes the table and the figures, prints the best member."""
    rows = table.rows(planned, outcomes)
    written = table.write(rows, directory)
    names = [axis.name for axis in axes]
    lost = sum(row["diverged"] for row in rows)
    if lost:
        print(f"{lost} of {len(rows)} members diverged")
    best = table.best(rows, *objective)
    if "seed" in names and len(names) > 1:
        means = table.over_seeds(rows, names, objective.metric)
        top = (max if objective.maximise else min)(means, key=lambda row: row["mean"])
        error = f" +- {top['error']:.4f}" if top["error"] is not None else ""
        where = ", ".join(f"{name}={top[name]}" for name in names if name != "seed")
        print(f"best on average: {objective.metric} {top['mean']:.4f}{error} over {top['seeds']} seeds with {where}")
    print(f"best: {objective.metric} {best[objective.metric]:.4f} of member {best['member']}; alone it is")
    points = {member.number: member.point for group in planned for member in group.members}
    print(f"  {table.command(experiment, points[best['member']])}")
    draw(
        axes,
        rows,
        {i: points[i] for i in points},
        table.curves(planned, outcomes, objective.metric),
        objective.metric,
        directory,
    )
    print(f"{', '.join(str(path) for path in written)}; figures in {directory / 'figures'}")


def draw(axes, rows, points, curves, metric, directory) -> None:
    """Curves for each axis with several values, the metric along it, a heat map for each two of them (not the seed)."""
    folder = directory / "figures"
    folder.mkdir(exist_ok=True)
    sound = [row for row in rows if not row["diverged"]]
    several = [axis for axis in axes if len(set(map(str, axis.values))) > 1]
    for axis in several:
        stem, values = axis.name.replace(".", "_"), {i: points[i][axis.name] for i in points}
        figures.learning_curves(folder / f"curves_{stem}.png", curves, values, axis.name, axis.log, metric)
        places = [values[row["member"]] for row in sound]
        scores = [row[metric] for row in sound]
        figures.along_axis(folder / f"along_{stem}.png", places, scores, axis.name, axis.log, metric)
    grid = [axis.name for axis in several if axis.name != "seed" and not axis.random]
    grid = grid if len(grid) > 1 else [axis.name for axis in several if not axis.random]
    for k, down in enumerate(grid):
        for across in grid[k + 1 :]:
            cells: dict = {}
            for row in sound:
                point = points[row["member"]]
                cells.setdefault((point[down], point[across]), []).append(row[metric])
            means = {pair: sum(values) / len(values) for pair, values in cells.items()}
            name = f"heat_{down}_{across}.png".replace(".", "_", down.count(".") + across.count("."))
            figures.heat_map(folder / name, means, (down, across), metric)
