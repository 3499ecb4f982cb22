"""A group is a run of many members: trained by `train`, in a run directory of its own in the sweep's."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgen.errors import SettingError, UserError
from jaxgen.runs import directory as run_directory
from jaxgen.runs import metrics
from jaxgen.runs.files import read_json, write_json
from jaxgen.runs.guard import NonFiniteError
from jaxgen.runs.snapshot import Drawing
from jaxgen.runs.train import Stop, train
from jaxgen.sweeps import fields, plan
from jaxgen.sweeps.experiment import Experiment
from jaxgen.sweeps.plan import Group

DIVERGED = "diverged.json"
"""In a group's directory: every member of it became non-finite."""


class Outcome(NamedTuple):
    """What is left of a group."""

    rows: list[metrics.Row]
    """Its logged rows, every metric a list of one number a member."""
    diverged: str | None
    """Why there is no more of it, where all members were lost."""


def settings_of(experiment: Experiment, group: Group, directory: Path) -> Any:
    """The experiment's settings as the group has them."""
    settings = experiment.settings_with(group.static)
    return fields.replace(settings, {"run.name": group.name, "run.root": directory})


def run(experiment: Experiment, group: Group, directory: Path, stop: Stop | None = None) -> Outcome:
    """Trains the group, goes on with it, or reads what is finished."""
    path = directory / group.name
    if not (path / DIVERGED).exists():
        population = plan.population(experiment, [member.point for member in group.members])
        settings = settings_of(experiment, group, directory)
        try:
            train(experiment.name, experiment.algorithm, settings, _no_figures, population, stop)
        except NonFiniteError as error:
            print(f"{group.name}: {error}", file=sys.stderr)
            write_json(path / DIVERGED, {"reason": str(error)})
    return read(path)


def read(path: Path) -> Outcome:
    """A group's outcome from its directory."""
    diverged = read_json(path / DIVERGED)["reason"] if (path / DIVERGED).exists() else None
    return Outcome(metrics.read(path / "metrics.jsonl"), diverged)


def _no_figures(drawing: Drawing) -> None:
    """Members' figures are left to a run of the one that is wanted."""


def run_all(experiment: Experiment, planned: Sequence[Group], directory: Path) -> list[Outcome]:
    """The groups one after the other in this process."""
    outcomes = []
    for group in planned:
        print(f"{group.name} of {len(planned)}: {len(group.members)} members")
        try:
            outcomes.append(run(experiment, group, directory))
        except SystemExit:
            print(f"the sweep stops here; the same command with --run.name {directory.name} continues it")
            raise
    return outcomes


def open_directory(experiment: Experiment, planned: Sequence[Group], record: dict[str, Any]) -> Path:
    """The sweep's directory, after a check that what is in it is of the same plan."""
    path, groups = run_directory.create(f"sweep_{experiment.name}", experiment.settings.run), plan.to_json(planned)
    saved = path / "sweep.json"
    if saved.exists():
        found = read_json(saved)
        if (found["experiment"], found["groups"]) != (experiment.name, groups):
            raise SettingError(
                f"{path} is another sweep ({found['command']}); give another --run.name, or that command again"
            )
    elif any(path.iterdir()):
        raise UserError(f"{path} exists and is no sweep (it has no sweep.json); give another --run.name")
    else:
        write_json(saved, {"experiment": experiment.name, **record, "groups": groups})
    return path
