"""A run resolved from its directory and compiled, so that any of its steps can be made again."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgen import contract
from jaxgen import data as data_lib
from jaxgen.contract import Algorithm
from jaxgen.data.dataset import Dataset
from jaxgen.engine import loop, parallel, placements
from jaxgen.engine import members as members_lib
from jaxgen.engine.members import Members
from jaxgen.engine.programs import Programs
from jaxgen.errors import UserError
from jaxgen.files import Json, interpreting
from jaxgen.runs import directory, fit, lock, progress, session
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.load import algorithm_of, members_of
from jaxgen.runs.metrics import MetricsLog, Row
from jaxgen.runs.session import Job
from jaxgen.runs.settings import Settings
from jaxgen.runs.spans import Plan, next_span

Say = Callable[[str], None]
"""Gets a line about the progress of something that takes long."""


def silent(line: str) -> None:
    """Say nothing."""


class Recorded(NamedTuple):
    """A run as its directory records it, compiled."""

    path: Path
    record: Json
    """settings.json"""
    settings: Settings
    job: Job
    plan: Plan
    programs: Programs
    members: Members | None

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def beginning(self) -> int:
        """The run's first step: 0, unless it is a fork."""
        return int(self.record.get("parent", {}).get("step", 0))

    @property
    def is_format_0(self) -> bool:
        """Whether the record is of the oldest format, which holds less."""
        return "fitted" not in self.record


def record_of(path: Path) -> Json:
    """settings.json of a run that no process is training."""
    record = directory.read_record(path)
    if lock.is_held(path / ".lock"):
        raise UserError(f"{path} is being trained right now; wait until it ends, or take a copy of it")
    return record


def opened(path: Path, algorithm: Algorithm | None = None, dataset: Dataset | None = None) -> Recorded:
    """Resolve, load the data and compile; `algorithm` and `dataset` are needed where the record cannot name them."""
    record = record_of(path)
    with interpreting(path / "settings.json"):
        algorithm = algorithm or algorithm_of(path, record["algorithm"])
        settings = settings_lib.settings_from(record["settings"], algorithm)
        members = members_of(algorithm, record.get("members"))
    run = settings.run
    mesh = parallel.mesh(run.devices) if members is None else None
    dataset = _data(path, record, settings, algorithm, dataset, on_device=mesh is None)
    config = settings.config if dataset is None else fit.adapted(algorithm, settings.config, dataset)
    plan = session.plan_of(algorithm, config, dataset, run)
    complete = partial(_completed, algorithm, config, plan.total)
    hparams = complete(settings.hparams) if members is None else members_lib.completed(members, complete).hparams
    job = Job(algorithm, config, hparams, dataset, placements.of(run.seed, members, mesh), run, plan)
    stream = session.stream_of(job)
    data = session.batches_of(algorithm, dataset)
    programs = Programs(algorithm, config, data, job.placement, plan.log_every, stream)
    programs.compile(hparams)
    plan = plan._replace(epochs_at_once=programs.epochs, block=stream.steps if stream else 0)
    return Recorded(path, record, settings, job, plan, programs, members)


def _completed(algorithm: Algorithm, config: Any, total: int, hparams: Any) -> Any:
    return algorithm.TRAITS.complete(hparams, config, total)


def _data(
    path: Path, record: Json, settings: Settings, algorithm: Algorithm, dataset: Dataset | None, on_device: bool
) -> Dataset | None:
    if not contract.takes_data(algorithm):
        return None
    if dataset is None:
        if settings.data is None:
            raise UserError(f"{path} was trained on arrays, which its record does not hold: give them as dataset=")
        dataset = data_lib.load(settings.data, on_device=on_device)
    described = directory.describe(dataset)
    if not directory.same_data(record["data"], described):
        raise UserError(f"{path} was trained on {record['data']}, the data are now {described}")
    return dataset


def fitted(run: Recorded) -> Json:
    """The adapted configuration and the completed hyperparameters, as a record holds them."""
    hparams = _completed(run.job.algorithm, run.job.config, run.plan.total, run.settings.hparams)
    return settings_lib.to_dict({"config": run.job.config, "hparams": hparams})


def template(run: Recorded) -> loop.Carry:
    """Structure and placement of a stored carry."""
    programs = run.programs
    return loop.by_name(programs.template(programs.start()), programs.metrics)


def placed(run: Recorded, stored: loop.Carry) -> loop.Carry:
    """A stored carry, ready for the programs."""
    return run.programs.resume(loop.in_order(stored, run.programs.metrics))


def stored(run: Recorded, carry: loop.Carry) -> loop.Carry:
    """A carry in the form in which it is stored."""
    return loop.by_name(run.job.placement.whole(carry), run.programs.metrics)


def rerun(
    run: Recorded, carry: loop.Carry, first: int, last: int, evaluated: Collection[int] = (), evaluate: bool = True
) -> tuple[loop.Carry, list[Row]]:
    """Steps `first` to `last` and the rows they log, with evaluations where due and after the steps in `evaluated`.

    Without `evaluate` there are none. The carry is donated.
    """
    plan, programs, log = (
        run.plan._replace(total=last, save_every=0, draw_every=0),
        run.programs,
        MetricsLog(None, 0, None),
    )
    members = run.job.placement.members
    clock, step = progress.Clock(run.settings.run.chunk_steps, 0.0, len(members.seeds) if members else 1), first
    stops = sorted(evaluated)
    with streaming(programs):
        while step < last:
            stop = next((one for one in stops if one > step), last)
            span = next_span(step, min(clock.steps(), stop - step), plan)
            carry, chunk = _timed(programs, clock, carry, span.first, span.last)
            progress.log_rows(log, np.asarray(chunk.rows), programs.metrics, step, span.last, plan.log_every)
            step = span.last
            if evaluate and (step % plan.evaluate_every == 0 or step in stops):
                log.write({"step": step, **evaluation(run, carry)})
    return carry, log.rows


def evaluation(run: Recorded, carry: loop.Carry) -> Row:
    """The metrics of an evaluation, as they are logged."""
    return {f"test/{name}": progress.logged(value) for name, value in run.programs.evaluate(carry).items()}


def partial_means(run: Recorded, carry: loop.Carry, step: int) -> Row:
    """The means since the last logged row, as the end of a run logs them."""
    sums = np.asarray(run.job.placement.whole(carry).sums)
    return progress.means(sums, run.programs.metrics, step % run.plan.log_every)


def _timed(
    programs: Programs, clock: progress.Clock, carry: loop.Carry, first: int, last: int
) -> tuple[loop.Carry, loop.Chunk]:
    began = time.perf_counter()
    done = programs.chunk(carry, first, last)
    clock.took(last - first, time.perf_counter() - began)
    return done


@contextlib.contextmanager
def streaming(programs: Programs) -> Iterator[None]:
    """A new stream, which is read in order, for each stretch."""
    if programs.stream is None:
        yield
        return
    programs.stream = programs.stream.restarted()
    try:
        yield
    finally:
        programs.stream.close()
