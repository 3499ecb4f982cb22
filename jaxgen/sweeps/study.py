"""An Optuna study on disk that several workers share, and that survives the death of any of them.

Trials are numbered by the study; a worker takes them in batches under a lock, and holds a lock of its own while it is
alive. Once that lock is free, the first worker to notice takes over its trials and continues them from their last
checkpoint. So no trial is lost or run twice.
"""

import contextlib
import os
import uuid
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from jaxgen.errors import UserError, warn
from jaxgen.files import Json
from jaxgen.runs import lock, metrics
from jaxgen.sweeps import plan
from jaxgen.sweeps.space import Space

SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "halving", "none")
JOURNAL, FOLDER = "journal.log", "trial-"
WORKER, BATCH, LOST = "worker", "batch", "lost"
"""Attributes of a trial: its worker, the run it is a member of, and whether it never began."""


class _JournalLock(JournalFileOpenLock):
    """A lock that ends with the process that holds it: Optuna's own blocks others for half a minute after a kill."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._lock: lock.Lock | None = None

    def acquire(self) -> bool:
        self._lock = lock.acquire(self._path)
        return True

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()


class _Journal(JournalFileBackend):
    """Optuna's journal with a checksum in each line, so that a changed digit is detected."""

    def append_logs(self, logs: list[Json]) -> None:
        super().append_logs([metrics.with_checksum(log) for log in logs])

    def read_logs(self, log_number_from: int) -> Generator[Json, None, None]:
        yield from map(metrics.without_checksum, super().read_logs(log_number_from))


class Study:
    """The study in `directory`, as seen by one worker; a context manager."""

    def __init__(self, directory: Path, name: str, space: Space, maximize: bool, pruner: str) -> None:
        self.directory, self.space = directory, space
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._journal = directory / JOURNAL
        backend = _backend(directory)
        with self._locked():
            self.optuna = self._opened(backend, name, maximize, pruner)
            self._tell_lost()
        self.worker, self._alive = self._register()
        self._session = uuid.uuid4().hex

    def _opened(self, backend: JournalFileBackend, name: str, maximize: bool, pruner: str) -> optuna.Study:
        self._cut_half_line()
        with _replaying(self._journal):
            return optuna.create_study(
                study_name=name,
                storage=JournalStorage(backend),
                direction="maximize" if maximize else "minimize",
                pruner=_pruner(pruner),
                load_if_exists=True,
            )

    def _tell_lost(self) -> None:
        """Report trials that left a folder, but of which the journal knows nothing any more."""
        known = len(self._trials())
        numbers = {folder.name: folder.name.removeprefix(FOLDER) for folder in self.directory.glob(f"{FOLDER}*")}
        lost = sorted(name for name, number in numbers.items() if number.isdecimal() and int(number) >= known)
        if lost:
            warn(f"{self._journal} has lost its end: {', '.join(lost)} will be searched again")

    def _cut_half_line(self) -> None:
        """Remove what a process that was killed while it wrote has left at the journal's end."""
        content = self._journal.read_bytes() if self._journal.exists() else b""
        if content and not content.endswith(b"\n"):
            os.truncate(self._journal, content.rfind(b"\n") + 1)

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *error: object) -> None:
        """Mark this worker as gone."""
        self._alive.release()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        held = lock.acquire(self.directory / ".study-lock")
        try:
            yield
        finally:
            held.release()

    def _register(self) -> tuple[int, lock.Lock]:
        """The lowest number not held by a living worker, and the lock that reserves it."""
        number = 0
        while (alive := self._try(number)) is None:
            number += 1
        return number, alive

    def _try(self, worker: int) -> lock.Lock | None:
        """The worker's lock, if it is free."""
        folder = self.directory / "workers"
        folder.mkdir(exist_ok=True)
        return lock.attempt(folder / f"{worker}.lock")

    def claim(self) -> list[FrozenTrial]:
        """Claim the trials of one batch whose worker has died.

        A trial that never reached a batch is closed, and its parameters are queued again.
        """
        with self._locked():
            orphans = [trial for trial in self._trials(TrialState.RUNNING) if self._is_orphan(trial)]
            for trial in orphans:
                if BATCH not in trial.user_attrs:
                    self._requeue(trial)
            batches = sorted({t.user_attrs[BATCH] for t in orphans if BATCH in t.user_attrs})
            taken = [t for t in orphans if batches and t.user_attrs.get(BATCH) == batches[0]]
            for trial in taken:
                self._own(trial)
            return self.members(batches[0]) if taken else []

    def _is_orphan(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        if worker is None:  # killed between two lines of the journal, since asking happens under the lock
            return True
        if worker["number"] == self.worker:  # or an earlier worker with this number
            return worker["session"] != self._session
        alive = self._try(worker["number"])
        if alive is not None:
            alive.release()
        return alive is not None

    def _own(self, trial: FrozenTrial) -> None:
        self.handle(trial).set_user_attr(WORKER, {"number": self.worker, "session": self._session})

    def _requeue(self, trial: FrozenTrial) -> None:
        warn(f"trial {trial.number} of {self.directory} has no run: its parameters are tried as a new one")
        self.handle(trial).set_user_attr(LOST, True)
        self.optuna.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            self.optuna.enqueue_trial(trial.params)

    def ask(self, count: int, total: int, sampler: str, seed: int) -> list[list[FrozenTrial]]:
        """Request up to `count` new trials, at most `total` in all, in batches that share their static settings.

        The first trial decides the static settings of all, so that one program serves them.
        """
        with self._locked():
            known = [trial for trial in self._trials() if LOST not in trial.user_attrs]
            waiting = sum(trial.state == TrialState.WAITING for trial in known)
            begun = len(known) - waiting
            base = _sampler(sampler, seed, begun)
            asked: list[FrozenTrial] = []
            for _ in range(min(count, total - begun)):
                fixed = {k: v for k, v in asked[0].params.items() if not plan.is_traced(k)} if asked else {}
                self.optuna.sampler = optuna.samplers.PartialFixedSampler(fixed, base) if fixed else base
                new = self.optuna.ask(self.space)
                new.set_user_attr(WORKER, {"number": self.worker, "session": self._session})
                asked.append(self._trial(new.number))
            kinds: dict[tuple[Any, ...], list[FrozenTrial]] = {}
            for trial in asked:
                kind = tuple((k, v) for k, v in sorted(trial.params.items()) if not plan.is_traced(k))
                kinds.setdefault(kind, []).append(trial)
            for batch in kinds.values():
                for trial in batch:
                    self.handle(trial).set_user_attr(BATCH, batch[0].number)
            return [self.members(batch[0].number) for batch in kinds.values()]

    def members(self, batch: int) -> list[FrozenTrial]:
        """All trials of a batch, finished or not, in their order."""
        return [trial for trial in self._trials() if trial.user_attrs.get(BATCH) == batch]

    def handle(self, trial: FrozenTrial) -> optuna.Trial:
        """The trial as an object that can report."""
        return optuna.Trial(self.optuna, trial._trial_id)

    def _trial(self, number: int) -> FrozenTrial:
        return next(trial for trial in self._trials() if trial.number == number)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def trials(self) -> list[FrozenTrial]:
        """All trials that began."""
        return _begun(self.optuna)


def read(directory: Path) -> list[FrozenTrial]:
    """All trials that began, of a study that others may be working on."""
    if not (directory / JOURNAL).exists():
        raise UserError(f"{directory} has no trials yet: it has no {JOURNAL}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings(), _replaying(directory / JOURNAL):
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _begun(optuna.load_study(study_name=None, storage=JournalStorage(_backend(directory))))


def folder_of(batch: int) -> str:
    """The folder of a batch, by the number of its first trial."""
    return f"{FOLDER}{batch:04d}"


def logs(trial: FrozenTrial) -> dict[str, bool]:
    """Whether each number of a trial was drawn by its logarithm."""
    numbers = (FloatDistribution, IntDistribution)
    return {name: one.log for name, one in trial.distributions.items() if isinstance(one, numbers)}


def _backend(directory: Path) -> _Journal:
    return _Journal(str(directory / JOURNAL), lock_obj=_JournalLock(directory / ".journal-lock"))


def _begun(found: optuna.Study) -> list[FrozenTrial]:
    trials = found.get_trials(deepcopy=False)
    return [t for t in trials if LOST not in t.user_attrs and t.state != TrialState.WAITING]


@contextlib.contextmanager
def _replaying(journal: Path) -> Iterator[None]:
    """Name a damaged journal in one line: Optuna replays it, and raises nearly anything."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = shorten(f"{type(error).__name__}: {error}", 120)
        raise UserError(
            f"{journal} is damaged ({reason}): restore it, or search again under a new --run.name"
        ) from error


def _sampler(name: str, seed: int, begun: int) -> optuna.samplers.BaseSampler:
    """A sampler seeded by the number of trials as well, so that no two batches draw the same."""
    number = (seed * 1_000_003 + begun) % 2**32
    if name == "random":
        return optuna.samplers.RandomSampler(number)
    return optuna.samplers.TPESampler(seed=number, multivariate=True, constant_liar=True)


def _pruner(name: str) -> optuna.pruners.BasePruner:
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return optuna.pruners.NopPruner()
