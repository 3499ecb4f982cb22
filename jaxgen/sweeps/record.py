"""A sweep or a search as its directory has it, read without disturbing the processes that train it."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxgen.contract import Objective
from jaxgen.errors import UserError
from jaxgen.files import Json, interpreting, read_json
from jaxgen.runs import directory as run_directory
from jaxgen.runs import listing
from jaxgen.sweeps import fields, groups
from jaxgen.sweeps.axes import Point

SWEEP, SEARCH = "sweep.json", "search.json"
KINDS = {"experiment": str, "command": str, "metric": str, "maximize": bool, "options": list}
"""Types of a record's entries."""
State = Literal["finished", "unfinished", "pruned", "diverged"]


class Member(NamedTuple):
    """A member of a sweep or a trial of a search."""

    number: int
    point: Point
    state: State
    value: float | None
    """The objective: the last one logged."""
    others: dict[str, float | None]
    """The last value of each other metric of the evaluations."""
    curve: list[tuple[int, float]]
    """The objective by step (of a search, by epoch), where finite."""
    path: Path | None
    """The run directory that it is a member of, if that is known."""
    place: int
    """Its position there."""


class Record(NamedTuple):
    """A sweep or a search."""

    path: Path
    kind: Literal["sweep", "search"]
    experiment: str
    objective: Objective
    axes: tuple[str, ...]
    logs: dict[str, bool]
    """Whether an axis is spread over logarithms, for those of which that is recorded."""
    members: list[Member]
    command: str
    options: tuple[str, ...] | None
    """The experiment's options; None for a sweep that has not recorded them."""

    @property
    def best(self) -> Member | None:
        """The finished member with the best objective."""
        sound = [one for one in self.members if one.state == "finished" and one.value is not None]
        sign = -1 if self.objective.maximize else 1
        return min(sound, key=lambda one: sign * (one.value or 0.0)) if sound else None

    def command_of(self, member: Member) -> str | None:
        """The command that trains the member alone; None if the record does not say."""
        if self.options is None:
            return None
        changes = [
            word
            for name, value in member.point.items()
            for word in fields.option(name, tuple(value) if isinstance(value, list) else value)
        ]
        return shlex.join(["python", f"experiments/{self.experiment}.py", *self.options, *changes])


def is_one(path: Path) -> bool:
    """Whether the directory is that of a sweep or a search."""
    return (path / SWEEP).exists() or (path / SEARCH).exists()


def read(path: Path) -> Record:
    """The sweep or search in `path`; one that has not begun raises a `UserError`."""
    file = path / (SWEEP if (path / SWEEP).exists() else SEARCH)
    saved = read_json(file)
    with interpreting(file):
        for name, kind in KINDS.items():
            if name in saved and not isinstance(saved[name], kind):
                raise TypeError(f"{name} is {saved[name]!r}")
        found = _sweep(path, saved) if file.name == SWEEP else _search(path, saved)
    if not any(one.curve for one in found.members):
        raise UserError(f"{path} has no value of {found.objective.metric} yet: wait for its first evaluation")
    return found


def _sweep(path: Path, saved: Json) -> Record:
    objective = _objective(path, saved)
    members = [one for group in saved["groups"] for one in _group(path / group["name"], group["members"], objective)]
    members.sort(key=lambda one: one.number)
    options = tuple(saved["options"]) if "options" in saved else None
    axes = tuple(dict.fromkeys(name for one in members for name in one.point))
    return Record(
        path, "sweep", saved["experiment"], objective, axes, _logs(saved["axes"]), members, saved["command"], options
    )


def _logs(axes: Sequence[str]) -> dict[str, bool]:
    """From the axes as they were given: `lin:a:b:n`, `log:a:b:n` and the like; a list of values says nothing."""
    found = {}
    for text in axes:
        name, _, values = text.partition("=")
        kind, colon, _ = values.partition(":")
        if colon:
            found[name.strip().replace("-", "_")] = kind in ("log", "loguniform")
    return found


def _objective(path: Path, saved: Json) -> Objective:
    """The metric that members are compared by: as recorded, else the algorithm's."""
    if "metric" in saved:
        return Objective(saved["metric"], saved["maximize"])
    for group in saved["groups"]:
        if (path / group["name"] / "settings.json").exists():
            found = listing.objective_of(run_directory.read_record(path / group["name"]))
            if found is not None:
                return found
    raise UserError(f"{path / SWEEP} does not say by which metric its members are compared: run the sweep again")


def _group(path: Path, recorded: Sequence[Json], objective: Objective) -> list[Member]:
    rows, diverged = groups.read(path)
    over = (path / "result.json").exists()
    found = []
    for place, one in enumerate(recorded):
        last: dict[str, float | None] = {}
        curve = []
        for row in rows:
            values = {k: v[place] if isinstance(v, list) else v for k, v in row.items() if k.startswith("test/")}
            last |= values
            if values.get(objective.metric) is not None:
                curve.append((row["step"], values[objective.metric]))
        value = last.pop(objective.metric, None)
        gone = diverged is not None or (bool(curve or last) and value is None) or None in last.values()
        state: State = "diverged" if gone else "finished" if over else "unfinished"
        point = {name: part for name, part in one.items() if name != "number"}
        found.append(Member(one["number"], point, state, value, last, curve, path, place))
    return found


def _search(path: Path, saved: Json) -> Record:
    try:
        from jaxgen.sweeps import study, trials
    except ImportError:
        raise UserError('a search is read by Optuna, which is not installed: pip install -e ".[search]"') from None
    states: dict[str, State] = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "diverged"}
    found = study.read(path)
    batches: dict[int, list[int]] = {}
    for trial in found:
        if study.BATCH in trial.user_attrs:
            batches.setdefault(trial.user_attrs[study.BATCH], []).append(trial.number)
    places = trials.places(path, batches)
    members = []
    logs: dict[str, bool] = {}
    for trial in found:
        logs |= study.logs(trial)
        folder, place = places.get(trial.number, (None, 0))
        state = states.get(trial.state.name, "unfinished")
        curve = [(epoch, value) for epoch, value in sorted(trial.intermediate_values.items())]
        seconds = trial.duration.total_seconds() if trial.duration is not None else None
        value: Any = trial.value if trial.value is not None else (curve[-1][1] if curve else None)
        value = None if state == "diverged" else value
        others = {"evaluations": float(len(curve)), "seconds": seconds}
        members.append(Member(trial.number, trial.params, state, value, others, curve, folder, place))
    axes = tuple(dict.fromkeys(name for one in members for name in one.point))
    objective = Objective(saved["metric"], saved["maximize"])
    options = tuple(saved["options"])
    return Record(path, "search", saved["experiment"], objective, axes, logs, members, saved["command"], options)
