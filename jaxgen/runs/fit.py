"""Runs from settings to result: check, start or resume, train and plot, with or without a run directory."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import contract, imports
from jaxgen import data as data_lib
from jaxgen.contract import Algorithm
from jaxgen.data.dataset import Dataset
from jaxgen.engine import hosts, loop, memory, parallel, placements
from jaxgen.engine import members as members_lib
from jaxgen.engine.members import Members
from jaxgen.errors import SettingError, UserError, refuse
from jaxgen.files import Json, write_json
from jaxgen.runs import directory as run_directory
from jaxgen.runs import precision
from jaxgen.runs import session as session_lib
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.checkpoint import Checkpoints
from jaxgen.runs.directory import Identity
from jaxgen.runs.guard import NonFiniteError
from jaxgen.runs.metrics import MetricsLog, Row
from jaxgen.runs.run import Run
from jaxgen.runs.session import Draw, Job, OnEvaluation, Outcome, Session, Watcher
from jaxgen.runs.settings import RunSettings, Settings
from jaxgen.runs.snapshot import Snapshot

WritePage = Callable[[Run], object]
"""Writes a finished run's page into its directory."""
Summarize = Callable[[Snapshot, Json], Json]
"""(snapshot, result) -> extra entries for the result."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A run to execute: its parts and its observers."""

    experiment: str
    algorithm: Algorithm
    settings: Settings
    dataset: Dataset | None = None
    """Already loaded; if None, loaded from the data settings."""
    members: Members | None = None
    """Several runs in one program, derived from `settings.hparams`."""
    draw: Draw | None = None
    page: WritePage | None = None
    """Called at the end if the settings ask for a page."""
    summarize: Summarize | None = None
    on_evaluation: OnEvaluation | None = None
    watcher: Watcher = dataclasses.field(default_factory=Watcher)
    keep_files: bool = True
    """Whether to write a run directory."""
    start: Run | None = None
    """An in-memory run to continue."""


def check(task: Task) -> None:
    """Raise `SettingError` for invalid settings, before loading, compiling or writing anything."""
    algorithm, settings, run = task.algorithm, task.settings, task.settings.run
    contract.check(algorithm)
    settings_lib.validate(run)
    for part in ("run", "data", "config", "hparams"):
        if getattr(settings, part) is not None:
            settings_lib.check_numbers(part, getattr(settings, part))
    if contract.takes_data(algorithm) and task.dataset is None:
        if settings.data is None:
            contract.refuse_missing_data(algorithm)
        data_lib.validate(settings.data)
    algorithm.validate(settings.hparams, settings.config)
    if run.seeds > 1:  # before a list of them is made
        memory.check_state(algorithm, settings.config, settings.hparams, run.seeds)
    many = run.seeds > 1 or task.members is not None
    if many and settings.data is not None and settings.data.streaming:
        refuse("data.streaming", True, "False with many members, which want the images in different orders")


def execute(task: Task) -> Run:
    """Start a run, resume it, or load it if it is finished."""
    run = _executed(task)
    write = task.page if task.settings.run.page and hosts.is_first() and run.status != "stopped" else None
    if write is not None:
        session_lib.attempted(lambda: write(run), f"{run.directory} has no page", task.watcher)
    return run


def _executed(task: Task) -> Run:
    check(task)
    algorithm, settings, run = task.algorithm, task.settings, task.settings.run
    mesh = parallel.mesh(run.devices) if task.members is None and run.seeds == 1 else None
    if mesh is not None:
        parallel.check_config(algorithm, settings.config, mesh.size)
    if task.members is None and run.seeds > 1:
        task = dataclasses.replace(task, members=members_lib.of_seeds(run.seed, run.seeds, settings.hparams))
    identity = Identity(task.experiment, algorithm, settings, task.members)
    first = hosts.is_first()  # only this process owns the run directory
    existing = run_directory.find(identity) if first and task.keep_files else None
    if hosts.from_first(np.int32(existing is not None and is_finished(existing, run.epochs))):
        from jaxgen.runs.load import load

        finished = load(existing, algorithm=algorithm) if existing is not None else _elsewhere(task)
        if finished.status == "finished" or hosts.are_several():
            return finished  # otherwise its last checkpoint is damaged, and it trains the missing steps again
    dataset = _dataset_of(task, on_device=mesh is None)
    config = settings.config if dataset is None else adapted(algorithm, settings.config, dataset)
    plan = session_lib.plan_of(algorithm, config, dataset, run)

    memory.check_state(algorithm, config, settings.hparams, 1 if task.members is None else len(task.members.seeds))

    def complete(hparams: Any) -> Any:
        return algorithm.TRAITS.complete(hparams, config, plan.total)

    hparams, members = complete(settings.hparams), task.members
    if members is not None:
        hparams = members_lib.completed(members, complete).hparams
    described = run_directory.describe(dataset)
    hosts.check_same({"settings": settings_lib.shared(settings), "data": described})
    files = None
    if first and task.keep_files:
        fitted = settings_lib.to_dict({"config": config, "hparams": complete(settings.hparams)})
        files = run_directory.open_run(identity, described, fitted)
    slower = precision.warning(algorithm, config) if first else None
    if slower is not None:
        task.watcher.warned(f"warning: {slower}")
    task.watcher.opened(None if files is None else files.path, dataset, members)
    placement = placements.of(run.seed, members, mesh)
    job = Job(
        algorithm, config, hparams, dataset, placement, run, plan, files, task.draw, task.on_evaluation, task.watcher,
        _earlier(task.start),
    )  # fmt: skip
    if files is not None:
        imports.ahead("orbax.checkpoint", *(() if task.draw is None else ("matplotlib.backends.backend_agg",)))
    try:
        outcome = Session(job).run()
        if files is not None and outcome.status != "stopped":
            _finish(task, files, outcome)
    except NonFiniteError:
        raise
    except BaseException:
        if files is not None:
            files.discard()
        raise
    finally:
        task.watcher.ended()
        if files is not None:
            files.close()
    return _run_of(task, job, outcome)


def is_finished(path: Path, epochs: int) -> bool:
    """Whether a run has its result and figures for at least `epochs` epochs."""
    result = run_directory.read_result(path)
    return result is not None and bool(result["epochs"] >= epochs and result.get("drawn", True))


def adapted(algorithm: Algorithm, config: Any, dataset: Dataset) -> Any:
    """The configuration adapted to the data; refuses incompatible settings."""
    config, examples = algorithm.TRAITS.adapt(config, settings_lib.facts(dataset)), len(dataset.train.labels)
    if config.batch_size > examples:
        refuse(
            "config.batch_size", config.batch_size, f"at most {examples}, the size of {dataset.name}'s training split"
        )
    return config


def _dataset_of(task: Task, on_device: bool) -> Dataset | None:
    if not contract.takes_data(task.algorithm):
        return None
    return task.dataset or data_lib.load(task.settings.data, on_device=on_device)  # type: ignore[arg-type]


def _earlier(start: Run | None) -> tuple[int, loop.Carry, float, list[Any]] | None:
    return None if start is None else (start.step, start._carry, start.train_seconds, start.rows)  # type: ignore[return-value]


def _finish(task: Task, files: run_directory.RunDirectory, outcome: Outcome) -> None:
    """Write results, then figures, which the next start draws again if they fail."""
    snapshot = outcome.snapshot("")
    result = result_of(outcome.rows, task.settings.run.epochs, outcome)
    if task.summarize is not None:
        result |= task.summarize(snapshot, result)
    write_json(files.result, {**result, "drawn": False})
    if task.draw is None or session_lib.drawn(task.draw, snapshot, task.watcher):
        write_json(files.result, {**result, "drawn": True})


def result_of(rows: list[Row], epochs: int, of: Run | Outcome) -> Json:
    """The last evaluation, with training and compile times."""
    evaluated = next(
        (row for row in reversed(rows) if any(name.startswith("test/") for name in row)), {"step": of.step}
    )
    result = {**evaluated, "epochs": epochs, "train_seconds": of.train_seconds, "compile_seconds": of.compile_seconds}
    return {**result, "alarm": of.warning} if of.warning else result


def _run_of(task: Task, job: Job, outcome: Outcome) -> Run:
    dataset, members = job.dataset, job.placement.members
    best = outcome.best
    return Run(
        algorithm=job.algorithm,
        config=job.config,
        hparams=jax.tree.map(jnp.float32, job.hparams),
        seed=job.run.seed if members is None else members.seeds[0],
        step=outcome.step,
        steps_per_epoch=outcome.steps_per_epoch,
        status=outcome.status,
        state=jax.tree.map(jnp.asarray, outcome.carry.state),
        rows=outcome.rows,
        directory=None if job.directory is None else job.directory.path,
        facts=None if dataset is None else settings_lib.facts(dataset),
        members=members,
        warning=outcome.warning,
        train_seconds=outcome.train_seconds,
        compile_seconds=outcome.compile_seconds,
        experiment=task.experiment,
        signal=outcome.signal,
        _dataset=None if dataset is None else lambda: dataset,
        _best=None if best is None else lambda: best,
        _carry=outcome.carry,
        _task=task,
    )


def _elsewhere(task: Task) -> Run:
    """A finished run as returned by a process that does not own its directory."""
    return Run(
        task.algorithm, task.settings.config, task.settings.hparams, task.settings.run.seed, 0, 1, "finished", None, []
    )


def go_on(run: Run, epochs: int) -> Run:
    """Train a run further, to `epochs` epochs in total; a loaded run reloads its data."""
    task = run._task or _task_of(run)
    settings = dataclasses.replace(task.settings, run=dataclasses.replace(task.settings.run, epochs=epochs))
    dataset = run.data() if contract.takes_data(run.algorithm) else None
    start = None if task.keep_files else run
    return execute(dataclasses.replace(task, settings=settings, dataset=dataset, start=start))


def _task_of(run: Run) -> Task:
    if run.directory is None or run.experiment is None:
        raise UserError(f"{run!r} cannot be trained on: it is part of another run")
    record = run_directory.read_record(run.directory)
    settings = settings_lib.settings_from(record["settings"], run.algorithm)
    place = dataclasses.replace(settings.run, name=run.directory.name, root=run.directory.parent)
    settings = dataclasses.replace(settings, run=place)
    return Task(run.experiment, run.algorithm, settings, members=run.members, watcher=_bar())


def save(run: Run, path: Path) -> Path:
    """Write an in-memory run as a run directory: settings, rows, newest and best state, result."""
    task, carry = run._task, run._carry
    if task is None or carry is None:
        raise UserError(f"{run!r} cannot be saved: it was loaded, or is part of another run; copy its directory")
    if path.exists() and any(path.iterdir()):
        raise UserError(f"{path} exists and is not empty; give another path")
    place = dataclasses.replace(task.settings.run, name=path.name, root=path.parent)
    identity = Identity(task.experiment, task.algorithm, dataclasses.replace(task.settings, run=place), run.members)
    fitted = settings_lib.to_dict({"config": run.config, "hparams": run._hparams_of_record()})
    files = run_directory.open_run(identity, run_directory.describe(run.data() if run.facts else None), fitted)
    with contextlib.closing(files), contextlib.closing(Checkpoints(files.checkpoints, 3)) as checkpoints:
        log = MetricsLog(files.metrics, 0, None)
        for row in run.rows:
            log.write(row)
        log.close()
        meta = {"train_seconds": run.train_seconds}
        if run._best is not None and run._best()[0] < run.step:
            step, best = run._best()
            checkpoints.save(step, best, meta, 0.0)
        checkpoints.save(run.step, carry, meta, 0.0 if run._best is not None and run._best()[0] == run.step else None)
        if run.status != "stopped":
            write_json(files.result, {**result_of(run.rows, task.settings.run.epochs, run), "drawn": True})
    return path


def fit(
    algorithm: Algorithm,
    data: Dataset | str | data_lib.DataSettings | None = None,
    *,
    config: Any = None,
    hparams: Any = None,
    epochs: int = 5,
    seed: int | Sequence[int] = 0,
    directory: str | Path | None = None,
    progress: bool = True,
    on_evaluation: OnEvaluation | None = None,
    **options: Any,
) -> Run:
    """Train `algorithm` on `data` and return the run; Ctrl-C returns it too, with status `stopped`.

    `data` may also be what `jaxgen.data.load` takes, such as "digits".
    `config` and `hparams` default to the algorithm's own. Several seeds or a list of hyperparameters give one run
    with several members (a single seed, or a single set of hyperparameters, is shared by all). Without a directory
    nothing is written; a run in an existing one is continued. `on_evaluation(snapshot)` may return True to end
    training. `options` are fields of `RunSettings`: `evaluate_every`, `log_every`, `devices`, ...

    Raises `SettingError` for invalid settings before anything compiles, `NonFiniteError` if training diverges.
    """
    config = algorithm.Config() if config is None else config
    hparams = algorithm.HParams() if hparams is None else hparams
    for one in hparams if isinstance(hparams, list) else []:
        settings_lib.check_numbers("hparams", one)
        algorithm.validate(one, config)
    if options.get("page"):
        refuse("page", True, "False here, where no experiment writes it: use jaxgen report")
    members = _members(seed, hparams)
    place = Path(directory) if directory is not None else None
    run = RunSettings(
        name=None if place is None else place.name,
        root=Path("runs") if place is None else place.parent,
        seed=members.seeds[0] if members is not None else int(seed),  # type: ignore[arg-type]
        epochs=epochs,
        **options,
    )
    task = Task(
        experiment=contract.name_of(algorithm).rpartition(".")[2],
        algorithm=algorithm,
        settings=Settings(config, hparams[0] if isinstance(hparams, list) else hparams, run, _source(data)),
        dataset=data if isinstance(data, Dataset) else None,
        members=members,
        on_evaluation=on_evaluation,
        watcher=_bar() if progress else Watcher(),
        keep_files=place is not None,
    )
    return execute(task)


def _source(data: Any) -> Any:
    """The settings of the data that `fit` is given."""
    if isinstance(data, str):
        return data_lib.DataSettings(data)
    if isinstance(data, Dataset):
        return data.settings
    if data is None or isinstance(data, data_lib.DataSettings):
        return data
    allowed = "a data set (of jaxgen.data.load or from_arrays, say), the name of a source or DataSettings"
    raise SettingError(f"data of type {type(data).__name__} is not allowed: {allowed}")


def _members(seed: int | Sequence[int], hparams: Any) -> Members | None:
    several = isinstance(hparams, list)
    if isinstance(seed, int | np.integer) and not several:
        return None
    seeds = [int(seed)] if isinstance(seed, int | np.integer) else [int(one) for one in seed]
    sets = hparams if several else [hparams]
    count = max(len(seeds), len(sets))
    if not {len(seeds), len(sets)} <= {1, count}:
        refuse("seed", f"{len(seeds)} seeds", f"1 or {len(sets)}, one for each of the hyperparameters")
    return members_lib.stack(seeds * (count // len(seeds)), sets * (count // len(sets)))


def _bar() -> Watcher:
    from jaxgen.runs.bar import Bar

    return Bar()
