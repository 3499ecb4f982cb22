"""Clauses about a run's directory that need no training: they follow from its settings, rows and manifests."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.files import Json
from jaxgen.proof import comparison, recorded
from jaxgen.proof.evidence import Evidence
from jaxgen.proof.recorded import Recorded
from jaxgen.runs import fit, metrics, progress
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.checkpoint import Reader
from jaxgen.runs.run import Run
from jaxgen.runs.session import lower_is_better
from jaxgen.runs.snapshot import MemberStates, Snapshot

Lines = Iterator[str]


def everything(
    run: Recorded, found: Evidence, reader: Reader, summarize: fit.Summarize | None
) -> tuple[list[str], list[str]]:
    """(problems, notes) of all clauses."""
    notes: list[str] = []
    clauses: list[Callable[[], Lines]] = [
        partial(_settings, run),
        partial(_sessions, run, found),
        partial(_manifests, run, found, reader),
        partial(_end, run, found, notes),
        partial(_result, run, found, reader, summarize, notes),
        partial(_parent, run, found, reader, notes),
    ]
    return [problem for clause in clauses for problem in _safely(clause)], notes


def _safely(clause: Callable[[], Lines]) -> Lines:
    try:
        yield from clause()
    except UserError as error:
        yield str(error)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _settings(run: Recorded) -> Lines:
    """The entry `fitted` follows from the settings, and the members' seeds from the first one."""
    again = _plain(recorded.fitted(run))
    saved = again if run.is_format_0 else run.record["fitted"]
    for part in again:
        given, before, now = (settings_lib.flat(one[part]) for one in (run.record["settings"], saved, again))
        newer = now.keys() - given.keys() - before.keys()  # settings that the record is older than
        for name in sorted((before.keys() | now.keys()) - newer):
            if before.get(name) != now.get(name):
                yield (
                    f"settings.json has the fitted {part}.{name} = {before.get(name)}, its settings give "
                    f"{now.get(name)}"
                )
    seeds, settings = run.members.seeds if run.members else (), run.settings.run
    if settings.seeds > 1 and len(seeds) == settings.seeds and seeds[0] != settings.seed:
        yield f"settings.json has run.seed = {settings.seed}, its members begin at seed {seeds[0]}"


def _sessions(run: Recorded, found: Evidence) -> Lines:
    if found.sessions is None and found.end > run.beginning:
        yield "sessions.json is missing or damaged: nothing says where the run was trained"
    for session in found.sessions or ():
        has_options = run.is_format_0 or isinstance(session.get("options"), dict)
        if not isinstance(session.get("packages"), dict) or not has_options:
            yield "sessions.json does not say with which versions and options the run was trained"


def _manifests(run: Recorded, found: Evidence, reader: Reader) -> Lines:
    """The best step on record is that of the best row so far."""
    objective = run.job.algorithm.TRAITS.objective
    for step in found.steps:
        best = reader.manifest(step)["best"]
        if objective is None or run.members is not None:
            if best["step"] is not None:
                yield f"checkpoint {step} names step {best['step']} as the best of a run that has none"
            continue
        if best["score"] == 0.0 or (run.is_format_0 and best["step"] is None):
            continue  # of a run saved from memory, or when its algorithm had no objective yet
        rows = {at: row for (at, kind), row in found.table.items() if kind == "test" and run.beginning < at <= step}
        scores = {at: lower_is_better(objective, row[objective.metric]) for at, row in sorted(rows.items())}
        first = min(scores, key=lambda at: scores[at], default=None)
        if (best["step"], best["score"]) != (first, scores.get(first, float("inf"))):  # type: ignore[arg-type]
            yield f"checkpoint {step} names step {best['step']} as the best with {best['score']}, the rows say {first}"


def _end(run: Recorded, found: Evidence, notes: list[str]) -> Lines:
    """The last step is one that the settings lead to."""
    newest = max(found.steps, default=run.beginning)
    if found.end > run.plan.total:
        yield f"there is a step {found.end}, its settings end at {run.plan.total}"
    if found.result is None:
        notes.append(f"not finished: {found.end} of {run.plan.total} steps")
        return
    ended, epochs = found.result["step"], found.result["epochs"]
    if epochs > run.settings.run.epochs:
        yield f"result.json is of {epochs} epochs, the settings of {run.settings.run.epochs}"
    if epochs < run.settings.run.epochs:
        notes.append(f"result.json is of the first {epochs} epochs; the run has been continued to step {found.end}")
        return
    if newest != found.end:
        yield f"the newest checkpoint of a finished run is of step {newest}, its last row of step {found.end}"
    if found.end != run.plan.total:
        notes.append(f"ended by its callback at step {found.end} of {run.plan.total}")
        if found.end % run.plan.evaluate_every:
            yield f"ended at step {found.end}, where no evaluation is due"
    last = max((step for step, kind in found.table if kind == "test"), default=ended)
    if ended != last:
        yield f"result.json is of step {ended}, the last evaluation of step {last}"


def _result(run: Recorded, found: Evidence, reader: Reader, summarize: fit.Summarize | None, notes: list[str]) -> Lines:
    """Every entry of the result follows from the rows and the last checkpoint, except the time for compilation."""
    if found.result is None or found.result["epochs"] < run.settings.run.epochs or not found.steps:
        return
    kept = {name: value for name, value in found.result.items() if name != "drawn"}
    step, stored, manifest = reader.at(max(found.steps), recorded.template(run))
    again = _result_again(run, found, step, manifest["meta"]["train_seconds"])
    if summarize is not None:
        again |= _plain(summarize(_snapshot(run, found, step, stored), again))
    for name in sorted(again.keys() | kept.keys()):
        if name not in again and summarize is None and name != "alarm" and "/" not in name:
            notes.append(f"result.json's {name} was not made again (only its experiment can)")
        elif json.dumps(kept.get(name)) != json.dumps(again.get(name)):
            yield f"result.json has {name} = {_short(kept.get(name))}, made again it is {_short(again.get(name))}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 80 else text[:77] + "..."


def _result_again(run: Recorded, found: Evidence, step: int, seconds: float) -> Json:
    assert found.result is not None
    warning = progress.last_health(run.job.algorithm, found.rows)
    outcome = Run(
        run.job.algorithm, run.job.config, run.job.hparams, run.settings.run.seed, step, run.plan.per_epoch, "finished",
        None, found.rows, warning=warning, train_seconds=seconds, compile_seconds=found.result["compile_seconds"],
    )  # fmt: skip
    return _plain(fit.result_of(found.rows, run.settings.run.epochs, outcome))


def _snapshot(run: Recorded, found: Evidence, step: int, stored: Any) -> Snapshot:
    """The end of the run, as its summary saw it; the folder for figures is not to be written to."""
    placement, members = run.job.placement, run.members
    state = recorded.placed(run, stored).state
    return Snapshot(
        run.path / "figures",
        placement.local(placement.one(state)),
        run.programs.initial,
        placement.local(placement.one(run.programs.keys.draw)),
        run.job.config,
        run.job.dataset,
        found.rows if members is None else [progress.of_first(row) for row in found.rows],
        None if members is None else MemberStates(placement.members or members, state, found.rows),
        step,
        run.plan.per_epoch,
    )


def _parent(run: Recorded, found: Evidence, reader: Reader, notes: list[str]) -> Lines:
    """A fork begins with its parent's rows and arrays."""
    parent = run.record.get("parent")
    if parent is None:
        return
    folder = Path(parent["directory"])
    if not folder.exists():
        folder = run.path.absolute().parent / folder.name
    notes.append(f"before step {run.beginning} it rests on {folder}: verify that, too")
    if run.beginning not in found.steps:
        yield f"its first checkpoint, of step {run.beginning}, is missing"
    if not (folder / "settings.json").exists():
        notes.append(f"{folder} is not there, so that nothing shows that the run began with its checkpoint")
        return
    theirs, _ = comparison.tabulated(metrics.read(folder / "metrics.jsonl", lambda line: None))
    mine, before = (
        {key: row for key, row in table.items() if key[0] <= run.beginning and key[1] != "partial"}
        for table in (found.table, theirs)
    )
    yield from (f"{difference} (in {folder})" for difference in comparison.rows_agree(mine, before).differences)
    other = Reader(folder / "checkpoints")
    try:
        if parent["checkpoint"] != run.beginning:
            notes.append(f"its first state was made from {folder}'s checkpoint {parent['checkpoint']}")
            return
        manifest = other.manifest(run.beginning)
    except UserError as error:
        notes.append(f"{error}, so that nothing shows that the run began with it")
        return
    finally:
        other.close()
    if manifest["sha256"] != parent["manifest"]:
        yield f"its parent's checkpoint {run.beginning} is no longer the one that it began with"
    if run.beginning in found.steps and manifest["arrays"] != reader.manifest(run.beginning)["arrays"]:
        yield f"its checkpoint {run.beginning} is not its parent's"
