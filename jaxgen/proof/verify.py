"""Parts of a run made again and compared with its record."""

import contextlib
import hashlib
import secrets
import time
from pathlib import Path

from jaxgen.contract import Algorithm
from jaxgen.data.dataset import Dataset
from jaxgen.engine import loop
from jaxgen.errors import UserError, check_at_least
from jaxgen.proof import checks, comparison, evidence, recorded, stretches
from jaxgen.proof.evidence import Evidence
from jaxgen.proof.recorded import Recorded, Say
from jaxgen.proof.verdict import Stretch, Verdict
from jaxgen.runs import machine
from jaxgen.runs.checkpoint import Reader
from jaxgen.runs.fit import Summarize


def verify(
    path: str | Path,
    segments: int = 5,
    all: bool = False,
    seed: int | None = None,
    *,
    algorithm: Algorithm | None = None,
    dataset: Dataset | None = None,
    summarize: Summarize | None = None,
    say: Say = recorded.silent,
) -> Verdict:
    """Make random stretches between checkpoints again and compare every logged number and every array, bit for bit.

    The run's beginning counts as a checkpoint. With `all`, every stretch is made again and all other contents of the
    directory are checked, too; without it, `segments` of them, chosen by `seed` (default: a random one). Where these
    have more than a twentieth of the steps, they are cut after some of their logging intervals; the shortest is always
    made whole, so that the arrays of a checkpoint are compared, and a short one is among them if there is any. On
    another machine, or with other versions or options, only the first logging interval after each checkpoint is
    compared, to rounding. Nothing is written; a run that is being trained right now is refused.

    `algorithm` and `dataset` are needed for a module outside jaxgen that is not imported, and for arrays; `summarize`
    makes the additional entries of the result again.
    """
    check_at_least("segments", segments, 1)
    began, path = time.perf_counter(), Path(path)
    run = recorded.opened(path, algorithm, dataset)
    found = evidence.of(run)
    there = stretches.between(run.beginning, found)
    if not there:
        raise UserError(f"{path} has trained nothing yet: there is nothing to prove")
    notes, exact = _machine(run, found)
    seed = secrets.randbits(32) if seed is None else seed
    if all:
        chosen = there
    elif exact:
        steps = (found.end - run.beginning) // stretches.SHARE
        chosen = stretches.cut(stretches.chosen(there, segments, seed, steps), steps, run.plan.log_every)
    else:
        chosen = stretches.chosen(there, segments, seed)
    with contextlib.closing(Reader(run.checkpoints)) as reader:
        made = []
        for number, (first, last) in enumerate(chosen, 1):
            say(f"steps {first} to {last} ({number} of {len(chosen)})")
            made.append(_made(run, found, reader, first, last, exact))
        problems, more = checks.everything(run, found, reader, summarize) if all else ([], [])
    return Verdict(
        path=path,
        steps=found.end,
        beginning=run.beginning,
        every=all,
        exact=exact,
        of=len(there),
        whole=len(set(there).intersection(one[:2] for one in made)),
        checkpoints=sum(step > run.beginning for step in found.steps),
        stretches=tuple(made),
        problems=(*found.strange, *problems),
        notes=(*notes, *more),
        seed=seed,
        settings_sha256=hashlib.sha256((path / "settings.json").read_bytes()).hexdigest(),
        seconds=time.perf_counter() - began,
        compile_seconds=run.programs.seconds,
    )


def _machine(run: Recorded, found: Evidence) -> tuple[list[str], bool]:
    """Limits of the comparison, and whether it can be exact."""
    if not found.sessions:
        return [], True
    compared = "so only the first logging interval after each checkpoint is compared, and to rounding"
    if run.is_format_0:
        return [f"format 0 does not say on which processor and with which options it was trained; {compared}"], False
    now = machine.description(run.job.algorithm.TRAITS.packages)
    warnings = dict.fromkeys(machine.warning(session, now) for session in found.sessions)
    if set(warnings) == {None}:
        return [], True
    which = "its" if None not in warnings else "a part of its"
    return [
        f"{which} training was done elsewhere: {warning}; {compared}" for warning in warnings if warning is not None
    ], False


def _made(run: Recorded, found: Evidence, reader: Reader, first: int, last: int, exact: bool) -> Stretch:
    """One stretch; a problem with a checkpoint, or a NaN, is a difference."""
    try:
        like = recorded.template(run)
        begin = run.programs.start() if first == 0 else recorded.placed(run, reader.at(first, like)[1])
        return _exactly(run, found, reader, begin, first, last) if exact else _nearly(run, found, begin, first)
    except UserError as error:
        return Stretch(first, last, 0, 0, (str(error),))


def _exactly(run: Recorded, found: Evidence, reader: Reader, begin: loop.Carry, first: int, last: int) -> Stretch:
    logged = {key: numbers for key, numbers in found.table.items() if first < key[0] <= last}
    tested = {step for step, kind in logged if kind == "test"}
    over = found.result is not None and last == found.result["step"] == found.end
    carry, rows = recorded.rerun(run, begin, first, last, tested | ({last} if last == run.plan.total else set()))
    again, _ = comparison.tabulated(rows)
    if last % run.plan.log_every and (over or (last, "partial") in logged):
        again[last, "partial"] = recorded.partial_means(run, carry, last)
    numbers = comparison.rows_agree(logged, again)
    arrays = comparison.Compared(0)
    if last in found.steps:
        like = recorded.template(run)
        arrays = comparison.arrays_agree(reader.at(last, like)[1], recorded.stored(run, carry), last)
    return Stretch(first, last, numbers.number, arrays.number, (*arrays.differences, *numbers.differences))


def _nearly(run: Recorded, found: Evidence, begin: loop.Carry, first: int) -> Stretch:
    """The first logging interval after `first`, to rounding."""
    last = (first // run.plan.log_every + 1) * run.plan.log_every
    logged = {key: numbers for key, numbers in found.table.items() if key == (last, "train")}
    if not logged and last > found.end:
        return Stretch(first, first, 0, 0, ())
    _, rows = recorded.rerun(run, begin, first, last)
    again, _ = comparison.tabulated(row for row in rows if any(name.startswith("train/") for name in row))
    compared = comparison.rows_agree(logged, again, exact=False)
    return Stretch(first, last, compared.number, 0, compared.differences)
