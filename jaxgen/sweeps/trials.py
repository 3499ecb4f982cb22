"""A batch of trials as a run with several members, each judged between epochs and possibly pruned.

A batch that has lost half of its members continues as a run of half the size (so that sizes, and programs, are few),
with pruned ones in places that would be empty; a batch with no surviving trials stops.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from jaxgen.contract import Objective
from jaxgen.files import interpreting, read_json, write_json
from jaxgen.runs.metrics import Row
from jaxgen.runs.session import Watcher
from jaxgen.runs.settings import RunSettings
from jaxgen.runs.snapshot import Snapshot
from jaxgen.runs.subset import subset
from jaxgen.sweeps import groups, plan, space
from jaxgen.sweeps.experiment import Chosen
from jaxgen.sweeps.plan import Group, Member
from jaxgen.sweeps.study import Study, folder_of


def run(
    study: Study,
    experiment: Chosen,
    known: Mapping[str, Any],
    batch: Sequence[FrozenTrial],
    by: Objective,
    watcher: Watcher | None = None,
) -> None:
    """Train a batch to its end, or resume where another worker left it, and report to the study."""
    members = {t.number: Member(t.number, space.point(t.params, study.space, known)) for t in batch}
    folder = study.directory / folder_of(batch[0].number)
    folder.mkdir(exist_ok=True)
    stage, numbers = _newest_stage(folder, list(members))
    while True:
        judge = _Judge(study, numbers, by)
        static = {k: v for k, v in members[numbers[0]].point.items() if not plan.is_traced(k)}
        group = Group(stage, static, tuple(members[number] for number in numbers))
        outcome = groups.run(experiment, group, folder, judge, watcher)
        kept = judge.half()
        if outcome.diverged is not None or kept is None or _is_over(outcome.rows, experiment.settings.run, by):
            break
        stage, old, numbers = stage + 1, folder / group.name, [numbers[place] for place in kept]
        new = folder / Group(stage, {}, ()).name
        if not new.exists():  # killed before the next line
            subset(old, new, kept)
        write_json(folder / "stages.json", {"stage": stage, "trials": numbers})
    judge.finish([] if outcome.diverged is not None else outcome.rows)


def places(directory: Path, batches: Mapping[int, list[int]]) -> dict[int, tuple[Path, int]]:
    """For each trial of `batches` that is still trained in its newest stage: the run directory, and its place there."""
    found: dict[int, tuple[Path, int]] = {}
    for batch, every in batches.items():
        folder = directory / folder_of(batch)
        stage, numbers = _newest_stage(folder, every)
        found |= {number: (folder / Group(stage, {}, ()).name, place) for place, number in enumerate(numbers)}
    return found


def _is_over(rows: Sequence[Row], run: RunSettings, by: Objective) -> bool:
    """Whether the last evaluation has been made."""
    return sum(by.metric in row for row in rows) >= -(-run.epochs // run.evaluate_every)


def _newest_stage(folder: Path, numbers: list[int]) -> tuple[int, list[int]]:
    if not (folder / "stages.json").exists():
        return 0, numbers
    with interpreting(folder / "stages.json"):
        saved = read_json(folder / "stages.json")
        stage, trials = saved["stage"], saved["trials"]
        if not (isinstance(stage, int) and set(trials) <= set(numbers)):
            raise ValueError("it is of another batch")
    return stage, trials


class _Judge:
    """Callback of a run: reports each member's metric, prunes, and ends the run when half of its members are gone."""

    def __init__(self, study: Study, numbers: Sequence[int], by: Objective) -> None:
        self._study, self._numbers, self._by = study, numbers, by
        found = {trial.number: trial for trial in study.trials()}
        self._open = {number: found[number] for number in numbers if not found[number].state.is_finished()}

    def __call__(self, snapshot: Snapshot) -> bool:
        many = snapshot.many
        assert many is not None  # a batch of trials is always a run of many
        epoch, row = snapshot.step // snapshot.steps_per_epoch, many.rows[-1]
        values = dict(zip(self._numbers, row[self._by.metric], strict=True))
        for number, trial in list(self._open.items()):
            handle = self._study.handle(trial)
            if values[number] is None:
                self._close(number, TrialState.FAIL)
            elif epoch not in trial.intermediate_values:  # otherwise it was judged before a kill
                handle.report(values[number], epoch)
                if handle.should_prune():
                    self._close(number, TrialState.PRUNED)
        return self.half() is not None or not self._open

    def _close(self, number: int, state: TrialState, value: float | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self._study.optuna.tell(number, value, state)
        del self._open[number]

    def half(self) -> list[int] | None:
        """Positions of the members to continue with, if at most half (but not none) are left."""
        size = len(self._numbers)
        if not self._open or 2 * len(self._open) > size or size == 1:
            return None
        kept = [place for place, number in enumerate(self._numbers) if number in self._open]
        others = [place for place in range(size) if place not in kept]
        return sorted(kept + others[: size // 2 - len(kept)])

    def finish(self, rows: Sequence[Row]) -> None:
        """Report the last values of the trials that were not pruned."""
        last: Row = next((row for row in reversed(rows) if self._by.metric in row), {})
        values = dict(zip(self._numbers, last.get(self._by.metric, [None] * len(self._numbers)), strict=True))
        for number in list(self._open):
            lost = values[number] is None
            self._close(number, TrialState.FAIL if lost else TrialState.COMPLETE, values[number])
