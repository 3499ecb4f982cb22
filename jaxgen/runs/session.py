"""The host side of a run: compile, then train span by span, with work on the host in between.

Library code: it returns, raises or calls back. A `Watcher` is notified of events; a run directory, if any, gets the
files.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxgen.contract import Algorithm, Objective, Tree
from jaxgen.data.dataset import Dataset
from jaxgen.engine import batches, hosts, loop
from jaxgen.engine.members import Members
from jaxgen.engine.placements import Placement
from jaxgen.engine.programs import ROWS, Programs
from jaxgen.engine.streaming import Stream
from jaxgen.errors import refuse
from jaxgen.files import Json
from jaxgen.runs import metrics, progress, signals
from jaxgen.runs.checkpoint import Checkpoints
from jaxgen.runs.directory import RunDirectory
from jaxgen.runs.guard import Guard
from jaxgen.runs.metrics import MetricsLog, Row
from jaxgen.runs.settings import RunSettings
from jaxgen.runs.snapshot import MemberStates, Snapshot
from jaxgen.runs.spans import Plan, Span, next_span

Status = Literal["finished", "ended", "stopped"]
"""finished: all steps done; ended: by a callback; stopped: by a signal."""
Draw = Callable[[Snapshot], None]
OnEvaluation = Callable[[Snapshot], bool]
"""Called after each evaluation, whose row is the snapshot's last; returns True to end training."""


class Watcher:
    """Hooks for the events of a run, which do nothing by default; override the ones to display."""

    def opened(self, path: Path | None, dataset: Dataset | None, members: Members | None) -> None:
        """Settings are valid, data are loaded, and the run directory is open; compilation follows."""

    def began(self, first: int, total: int, parameters: Tree) -> None:
        """Compilation is done; training starts from step `first`."""

    def trained(self, steps: int, images_per_second: float | None, shown: dict[str, float]) -> None:
        """A span of `steps` steps is done."""

    def evaluated(self, row: Row, epoch: float, warning: str | None) -> None:
        """An evaluation has been logged."""

    def warned(self, message: str) -> None:
        """A problem that does not end the run."""

    def ended(self) -> None:
        """Training is over, or ends before it began; may be called twice."""


class Job(NamedTuple):
    """Everything a run needs, resolved and checked."""

    algorithm: Algorithm
    config: Any
    """Adapted to the data."""
    hparams: Any
    """Completed; stacked if there are members."""
    dataset: Dataset | None
    placement: Placement
    run: RunSettings
    plan: Plan
    directory: RunDirectory | None = None
    draw: Draw | None = None
    on_evaluation: OnEvaluation | None = None
    watcher: Watcher = Watcher()
    start: tuple[int, loop.Carry, float, list[Row]] | None = None
    """Steps done, carry, seconds trained and rows of an earlier session in this process, to continue from."""


class Outcome(NamedTuple):
    """The result of a session."""

    status: Status
    signal: int | None
    """The signal that stopped the run, if any."""
    step: int
    steps_per_epoch: int
    carry: loop.Carry
    """Gathered so that this process can read all of it; sums by name."""
    best: tuple[int, loop.Carry] | None
    """Step and carry (in host memory) of the best evaluation, if there is an objective."""
    rows: list[Row]
    warning: str | None
    """The algorithm's warning for the last evaluation."""
    train_seconds: float
    compile_seconds: float
    snapshot: Callable[[str], Snapshot]
    """The run as a snapshot for figures, which go into the given subfolder."""


def batches_of(algorithm: Algorithm, dataset: Dataset | None) -> tuple[Tree, Tree]:
    """Training and test splits as the algorithm's batches; empty without data."""
    if dataset is None:
        return algorithm.Batch(), algorithm.Batch()
    return tuple(algorithm.Batch(s.images, s.labels) for s in (dataset.train, dataset.test))  # type: ignore[return-value]


def plan_of(algorithm: Algorithm, config: Any, dataset: Dataset | None, run: RunSettings) -> Plan:
    """The numbers that determine a run's spans."""
    per_epoch = batches.steps_per_epoch(algorithm, batches_of(algorithm, dataset)[0], config)
    if run.epochs * per_epoch >= 2**31:
        refuse("run.epochs", run.epochs, f"at most {(2**31 - 1) // per_epoch:,}, which are 2**31 steps")
    log_every, evaluate_every = run.intervals(per_epoch)
    return Plan(
        total=run.epochs * per_epoch,
        per_epoch=per_epoch,
        log_every=log_every,
        evaluate_every=evaluate_every,
        save_every=run.save_every * per_epoch,
        draw_every=run.draw_every * per_epoch,
        intervals=ROWS - 1,
        epochs_at_once=1,
    )


class Session:
    """One process's part in a run, from compilation to the last step."""

    def __init__(self, job: Job) -> None:
        self.job = job
        stream = stream_of(job)
        data = batches_of(job.algorithm, job.dataset)
        self.programs = Programs(job.algorithm, job.config, data, job.placement, job.plan.log_every, stream)
        self.plan = job.plan._replace(epochs_at_once=self.programs.epochs, block=stream.steps if stream else 0)
        self.programs.compile(job.hparams)
        first = self.programs.start()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(first))
        self._spacing = max(1, self.plan.total // progress.evenly_kept(size))
        self._checkpoints: Checkpoints | None = None
        if job.directory is not None and job.directory.checkpoints.exists():
            self._checkpoints = self._open_checkpoints()
        self.step, self.carry, seconds = self._resumed(first)
        events = job.directory.path / "tensorboard" if job.directory and job.run.tensorboard else None
        metrics_file = job.directory.metrics if job.directory else None
        earlier = job.start[3] if job.start else ()
        self.log = MetricsLog(metrics_file, self.step, events, earlier, job.watcher.warned)
        members = job.placement.members
        self.clock = progress.Clock(job.run.chunk_steps, seconds, len(members.seeds) if members else 1, self.plan.total)
        self._guard = Guard(members, job.watcher.warned)
        self._best: tuple[int, loop.Carry] | None = None
        self._unsaved_best: tuple[int, loop.Carry, float] | None = None
        self._best_score = self._checkpoints.best_score if self._checkpoints else float("inf")
        self.warning = progress.last_health(job.algorithm, self.log.rows)

    def run(self) -> Outcome:
        """Train to the end, or until a signal or the callback stops it."""
        job, plan, programs = self.job, self.plan, self.programs
        job.watcher.began(self.step, plan.total, self._parameters())
        status: Status = "finished"
        stopping: int | None = None
        with signals.deferred() as signal, self._closing():
            if 0 < self.step < plan.total and plan.draw_every and self.step % plan.draw_every == 0:
                self._draw()  # due when the session before this one ended
            wanted = self.clock.steps()
            while self.step < plan.total:
                span = next_span(self.step, wanted, plan)
                began = time.perf_counter()
                self.carry, chunk = programs.chunk(self.carry, span.first, span.last)
                seconds = time.perf_counter() - began
                self.step = span.last
                self.clock.took(span.last - span.first, seconds)
                wanted, stopping, due = hosts.agree(self.clock.steps(), signal.received, self.clock.save_is_due())
                self._guard.check(self.carry, chunk, span.first, span.last)
                self._log(span, np.asarray(chunk.rows), seconds)
                final = span.final
                if span.evaluate and self._evaluated():
                    status, final = "ended", True
                if stopping:
                    status = "stopped"
                if (span.save and plan.save_every) or (due and not plan.save_every) or final or stopping:
                    self._save()
                if final or stopping:
                    break
                if span.draw:
                    self._draw()
            if status != "stopped" and self.step % plan.log_every:
                means = progress.means(np.asarray(self.carry.sums), programs.metrics, self.step % plan.log_every)
                self.log.write({"step": self.step, **means, "partial": True})
        return self._outcome(status, stopping if status == "stopped" else None)

    def _parameters(self) -> Tree:
        """All trained parameters of one run."""
        state, parameters = self.job.placement.one(self.carry.state), self.job.algorithm.TRAITS.parameters
        return self.job.algorithm.weights(state, self.job.config) if parameters is None else parameters(state)

    def _outcome(self, status: Status, signal: int | None) -> Outcome:
        whole = self.job.placement.whole(self.carry)
        return Outcome(
            status, signal, self.step, self.plan.per_epoch, self._named(whole), self._best, self.log.rows, self.warning,
            self.clock.seconds, self.programs.seconds, lambda folder: self.snapshot(folder, whole),
        )  # fmt: skip

    def _open_checkpoints(self) -> Checkpoints:
        assert self.job.directory is not None
        return Checkpoints(self.job.directory.checkpoints, self.job.run.keep, self._spacing, self.job.watcher.warned)

    def _resumed(self, carry: loop.Carry) -> tuple[int, loop.Carry, float]:
        """Steps done, carry (at first, the given one) and seconds trained; all processes get the first's checkpoint."""
        programs = self.programs
        if self.job.start is not None:
            step, carry, seconds, _ = self.job.start
            return step, programs.resume(self._in_order(jax.tree.map(lambda x: x.copy(), carry))), seconds
        template = self._named(programs.template(carry))
        restored = self._restored(template)
        sent = [0, 0] if restored is None else [1, restored[0]]
        found, step = (int(number) for number in hosts.from_first(np.array(sent, np.int32)))
        if not found:
            return 0, carry, 0.0
        carry = programs.resume(self._in_order(hosts.from_first(restored[1] if restored else template)))
        return step, carry, restored[2]["train_seconds"] if restored else 0.0

    def _restored(self, template: loop.Carry) -> tuple[int, loop.Carry, Json] | None:
        """The newest valid checkpoint with all rows up to it; if there is none, the newest valid one."""
        if self._checkpoints is None or self.job.directory is None:
            return None
        newest = self._checkpoints.restore(template)
        if newest is None:
            return None
        rows = metrics.read(self.job.directory.metrics, lambda message: None)
        missing = progress.first_missing(rows, newest[0], self.plan.log_every, self.plan.evaluate_every)
        if missing is None:
            return newest
        earlier = self._checkpoints.restore(template, before=missing)
        lacking = f"{self.job.directory.metrics} lacks the row of step {missing}"
        if earlier is None:
            self.job.watcher.warned(f"{lacking}, and no checkpoint before it is left: the row is lost")
            return newest
        self.job.watcher.warned(f"{lacking}: going back to step {earlier[0]} to make it again")
        return earlier

    def _named(self, carry: loop.Carry) -> loop.Carry:
        """A gathered carry with its sums by name, as it is stored."""
        return loop.by_name(carry, self.programs.metrics)

    def _in_order(self, carry: loop.Carry) -> loop.Carry:
        """The inverse of `_named`."""
        return loop.in_order(carry, self.programs.metrics)

    def _log(self, span: Span, table: np.ndarray, seconds: float) -> None:
        steps = span.last - span.first
        progress.log_rows(self.log, table, self.programs.metrics, span.first, span.last, self.plan.log_every)
        speed = steps * self.job.config.batch_size / seconds if self.job.dataset is not None else None
        self.job.watcher.trained(steps, speed, progress.shown(self.log.rows, self.job.algorithm.TRAITS.progress))

    def _evaluated(self) -> bool:
        """Evaluate and log; return whether the callback ends the run."""
        job, metrics = self.job, self.programs.evaluate(self.carry)
        self._guard.check_evaluation(metrics, self.step)
        row = {"step": self.step, **{f"test/{name}": progress.logged(value) for name, value in metrics.items()}}
        self.log.write(row)
        self.warning = progress.health(job.algorithm, metrics)
        job.watcher.evaluated(row, self.step / self.plan.per_epoch, self.warning)
        self._note_best(row)
        return job.on_evaluation is not None and job.on_evaluation(self.snapshot("", self.carry))

    def _note_best(self, row: Row) -> None:
        objective = self.job.algorithm.TRAITS.objective
        if objective is None or self.job.placement.members is not None:
            return
        score = lower_is_better(objective, row[objective.metric])
        if score < self._best_score:
            carry = self._named(jax.device_get(self.job.placement.whole(self.carry)))
            self._best_score, self._best = score, (self.step, carry)
            self._unsaved_best = self.step, carry, score

    def _save(self) -> None:
        whole = self.job.placement.whole(self.carry)
        if self.job.directory is None:
            return
        self._checkpoints = self._checkpoints or self._open_checkpoints()
        began = time.perf_counter()
        meta = {"train_seconds": self.clock.seconds}
        if self._unsaved_best is not None:
            step, carry, score = self._unsaved_best
            self._checkpoints.save(step, carry, meta, score)
            self._unsaved_best = None
        self._checkpoints.save(self.step, self._named(whole), meta)
        self.clock.saved(time.perf_counter() - began)

    def _draw(self) -> None:
        folder = f"epoch-{self.step // self.plan.per_epoch:04d}"
        whole = self.job.placement.whole(self.carry)
        if self.job.directory is not None and self.job.draw is not None:
            drawn(self.job.draw, self.snapshot(folder, whole), self.job.watcher)

    def snapshot(self, folder: str, whole: loop.Carry) -> Snapshot:
        """The run at this moment; figures go into this subfolder."""
        job, placement, rows = self.job, self.job.placement, self.log.rows
        members = placement.members
        return Snapshot(
            (Path("figures") if job.directory is None else job.directory.figures) / folder,
            placement.local(placement.one(whole.state)),
            self.programs.initial,
            placement.local(placement.one(self.programs.keys.draw)),
            job.config,
            job.dataset,
            rows if members is None else [progress.of_first(row) for row in rows],
            None if members is None else MemberStates(members, whole.state, rows),
            self.step,
            self.plan.per_epoch,
        )

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.job.watcher.ended()
            self.log.close()
            if self.programs.stream is not None:
                self.programs.stream.close()
            if self._checkpoints is not None:
                self._checkpoints.close()


def drawn(draw: Draw, snapshot: Snapshot, watcher: Watcher) -> bool:
    """Draw a run's figures and return whether that succeeded: an error is a warning, for it must not cost the run."""

    def all_of_them() -> None:
        snapshot.directory.mkdir(parents=True, exist_ok=True)
        draw(snapshot)

    return attempted(all_of_them, f"figures in {snapshot.directory} are incomplete", watcher)


def attempted(work: Callable[[], object], failure: str, watcher: Watcher) -> bool:
    """Do what must not cost the run: an error is a warning. Returns whether it succeeded."""
    try:
        work()
    except Exception as error:  # Matplotlib, Pillow and the disk raise nearly anything
        reason = (str(error).splitlines() or [""])[0][:200]
        watcher.warned(f"warning: {failure} ({type(error).__name__}: {reason})")
        return False
    return True


def lower_is_better(objective: Objective, value: float) -> float:
    """The objective's value as a score to be minimized."""
    return -value if objective.maximize else value


def stream_of(job: Job) -> Stream | None:
    """The blocks of a run whose training images stay on disk."""
    from jaxgen.data.rows import StreamedSplit

    if job.dataset is None or not isinstance(job.dataset.train, StreamedSplit):
        return None
    order = loop.keys(job.run.seed).order
    return Stream(job.dataset.train, job.algorithm.Batch, job.config.batch_size, order, job.placement.mesh)
