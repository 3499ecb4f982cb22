"""Groups: runs with several members, each trained in its own run directory inside the sweep's."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgen.contract import Objective
from jaxgen.errors import Interrupted, SettingError
from jaxgen.files import Json, read_json, write_json
from jaxgen.runs import directory as run_directory
from jaxgen.runs import metrics
from jaxgen.runs.fit import Task, execute
from jaxgen.runs.guard import NonFiniteError
from jaxgen.runs.session import OnEvaluation, Watcher
from jaxgen.sweeps import fields, plan
from jaxgen.sweeps.claim import recorded
from jaxgen.sweeps.experiment import Chosen
from jaxgen.sweeps.plan import Group

DIVERGED = "diverged.json"
"""File in a group's directory that records that every member became non-finite."""


class Outcome(NamedTuple):
    """The result of a group."""

    rows: list[metrics.Row]
    """Its logged rows; every metric is a list with one number per member."""
    diverged: str | None
    """Reason for an early end, if all members were lost."""


def settings_of(experiment: Chosen, group: Group, directory: Path) -> Any:
    """The experiment's settings for the group."""
    settings = experiment.settings_with(group.static)
    return fields.replace(settings, {"run.name": group.name, "run.root": directory, "run.page": False})


def run(
    experiment: Chosen,
    group: Group,
    directory: Path,
    on_evaluation: OnEvaluation | None = None,
    watcher: Watcher | None = None,
) -> Outcome:
    """Train the group, resume it, or read it if finished."""
    path = directory / group.name
    if not (path / DIVERGED).exists():
        members = plan.members_of(experiment, [member.point for member in group.members])
        settings = settings_of(experiment, group, directory)
        try:
            run = execute(
                Task(
                    experiment.name,
                    experiment.algorithm,
                    settings,
                    members=members,
                    on_evaluation=on_evaluation,
                    watcher=watcher or Watcher(),
                )
            )
            if run.signal is not None:
                raise Interrupted(run.signal)
        except NonFiniteError as error:
            (watcher or Watcher()).warned(f"{group.name}: {error}")
            write_json(path / DIVERGED, {"reason": str(error)})
    return read(path)


def read(path: Path) -> Outcome:
    """A group's outcome from its directory."""
    diverged = str(read_json(path / DIVERGED).get("reason")) if (path / DIVERGED).exists() else None
    rows, result = metrics.read(path / "metrics.jsonl"), run_directory.read_result(path)
    last = {} if result is None else {k: v for k, v in result.items() if k == "step" or k.startswith("test/")}
    if len(last) > 1 and not any(last.items() <= row.items() for row in rows):
        rows.append(last)  # its row was damaged
    return Outcome(rows, diverged)


def run_all(
    experiment: Chosen,
    planned: Sequence[Group],
    directory: Path,
    began: Callable[[Group], None] = lambda group: None,
    watcher: Watcher | None = None,
) -> list[Outcome]:
    """Run the groups one after the other in this process; `began` is called with each. Raises `Interrupted`."""
    outcomes = []
    for group in planned:
        began(group)
        outcomes.append(run(experiment, group, directory, watcher=watcher))
    return outcomes


def open_directory(experiment: Chosen, planned: Sequence[Group], by: Objective, record: Json) -> Path:
    """The sweep's directory, after a check that its contents match the plan.

    `by` is the metric that its members are compared by.
    """
    path, groups = run_directory.create(f"sweep_{experiment.name}", experiment.settings.run), plan.to_json(planned)
    found = recorded(path, "sweep", {"experiment": experiment.name, **record, **by._asdict(), "groups": groups})
    if (found.get("experiment"), found.get("groups")) != (experiment.name, groups):
        raise SettingError(
            f"{path} is another sweep ({found.get('command')}); give another --run.name, or that command again"
        )
    return path
