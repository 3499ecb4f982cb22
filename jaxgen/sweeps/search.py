"""A search worker, which requests batches of trials and trains them until there are enough."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from jaxgen.contract import Objective
from jaxgen.errors import SettingError
from jaxgen.files import Json
from jaxgen.report import search as figures
from jaxgen.runs.session import Watcher
from jaxgen.sweeps import cluster, fields, plan, results, space, table, trials
from jaxgen.sweeps import experiment as experiment_lib
from jaxgen.sweeps.axes import Point
from jaxgen.sweeps.claim import recorded
from jaxgen.sweeps.experiment import Chosen
from jaxgen.sweeps.study import Study


class Plan(NamedTuple):
    """Settings of a search."""

    trials: int
    """Total trials of all workers and sessions."""
    batch: int
    """Trials per program."""
    sampler: str
    pruner: str
    seed: int


def work(
    study: Study,
    experiment: Chosen,
    known: Mapping[str, Any],
    wanted: Plan,
    by: Objective,
    say: Callable[[str], None] = lambda line: None,
    watcher: Watcher | None = None,
) -> None:
    """Finish the trials of dead workers, then run new ones until there are enough; `say` is called with each line."""
    while True:
        batches = (
            [taken] if (taken := study.claim()) else study.ask(wanted.batch, wanted.trials, wanted.sampler, wanted.seed)
        )
        if not batches:
            return
        for batch in batches:
            state = "goes on" if taken else "begins"
            say(f"worker {study.worker}: a batch of {len(batch)} trials from {batch[0].number} {state}")
            trials.run(study, experiment, known, batch, by, watcher)
            say(_score(study.members(batch[0].number), by))


def work_as_task(
    script: Path, args: Sequence[str], axes: Sequence[str], directory: Path, wanted: Plan, by: Objective, cpus: int
) -> None:
    """A worker in its own process, on a machine that shares the study's disk."""
    cluster.prepare(wanted.batch, cpus)
    experiment = experiment_lib.load(script, args)
    known = fields.hints(experiment.settings)
    with Study(directory, experiment.name, space.parse(axes, known), by.maximize, wanted.pruner) as study:
        work(study, experiment, known, wanted, by)


def _score(batch: Sequence[FrozenTrial], by: Objective) -> str:
    done = [trial.values[0] for trial in batch if trial.state == TrialState.COMPLETE]
    pruned = sum(trial.state == TrialState.PRUNED for trial in batch)
    best = f", best {by.metric} {(max if by.maximize else min)(done):.4f}" if done else ""
    lost = len(batch) - len(done) - pruned
    return f"  {len(done)} complete, {pruned} pruned{f', {lost} diverged' if lost else ''}{best}"


def check_space(experiment: Chosen, axes: space.Space, known: Mapping[str, Any]) -> None:
    """Refuse bounds and choices that the experiment does not allow, checked one at a time."""
    plan.check(experiment, ends(axes, known))


def ends(axes: space.Space, known: Mapping[str, Any]) -> list[Point]:
    """Points at the ends of each axis, the others at the experiment's own values."""
    found = []
    for name, distribution in axes.items():
        choices = getattr(distribution, "choices", None)
        values = choices if choices is not None else (distribution.low, distribution.high)  # type: ignore[attr-defined]
        found += [space.point({name: value}, axes, known) for value in values]
    return found


def check_same(directory: Path, experiment: Chosen, axes: Sequence[str], by: Objective, command: str) -> None:
    """Record the study's settings, or refuse to continue a study with others."""
    record = {
        "experiment": experiment.name,
        "options": table.options(experiment),
        "axes": list(axes),
        **by._asdict(),
    }
    saved = recorded(directory, "search", {**record, "command": command})
    changed = [f"{name}: {saved.get(name)} -> {new}" for name, new in record.items() if saved.get(name) != new]
    if changed:
        raise SettingError(f"{directory} is another search ({'; '.join(changed)}); give another --run.name")


def report(study: Study, experiment: Chosen, known: Mapping[str, Any], by: Objective) -> list[str]:
    """Write the table of all trials and Optuna's figures; return lines about the best trial."""
    rows = [_row(trial) for trial in study.trials()]
    written = table.write(rows, study.directory)
    running = sum(row["state"] == "RUNNING" for row in rows)
    states = {state: sum(row["state"] == state for row in rows) for state in sorted({row["state"] for row in rows})}
    lines = [", ".join(f"{count} {state.lower()}" for state, count in states.items())]
    if running:
        lines.append("other workers are still at it: the last of them writes the final table and figures")
    if "COMPLETE" in states:
        best = study.optuna.best_trial
        lines.append(f"best: {by.metric} {best.value:.4f} of trial {best.number}; alone it is")
        lines.append(f"  {table.command(experiment, space.point(best.params, study.space, known))}")
    lines += figures.draw(study.optuna, study.directory / "figures", by.metric)
    return [*lines, *results.written_lines(written, study.directory)]


def _row(trial: FrozenTrial) -> Json:
    seconds = trial.duration.total_seconds() if trial.duration is not None else None
    head = {"trial": trial.number, "state": trial.state.name, "value": trial.value, **trial.params}
    return {**head, "evaluations": len(trial.intermediate_values), "seconds": seconds}
