"""The host's side of a run: compile, then chunk after chunk, and between chunks whatever needs the host."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jaxgen import data as data_lib
from jaxgen.data.dataset import Dataset
from jaxgen.data.rows import StreamedSplit
from jaxgen.engine import loop, parallel
from jaxgen.engine import members as members_lib
from jaxgen.engine.members import Members
from jaxgen.engine.programs import ROWS, Programs
from jaxgen.engine.streaming import Stream
from jaxgen.errors import refuse
from jaxgen.launch import processes
from jaxgen.runs import directory as run_directory
from jaxgen.runs import progress, signals
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.checkpoint import Checkpoints
from jaxgen.runs.files import read_json, write_json
from jaxgen.runs.guard import Guard
from jaxgen.runs.metrics import MetricsLog
from jaxgen.runs.snapshot import Drawing, Population

Draw = Callable[[Drawing], None]
Stop = Callable[[int, dict[str, Any]], bool]
"""Told the epoch and its evaluation, says whether training ends there."""
Train = Callable[[str, loop.Algorithm, Any, Draw], Any]
"""What an experiment hands its name, algorithm, settings and figures to: `train`, or what a sweep puts in its place."""


def train(
    experiment: str,
    algorithm: loop.Algorithm,
    settings: Any,
    draw: Draw,
    population: Members | None = None,
    stop: Stop | None = None,
) -> Path:
    """Runs or continues an experiment and returns its directory.

    `settings` has the fields `data` (where the algorithm takes data), `config`, `hparams` and `run`. Everything wrong
    with them is said before anything compiles (`SettingError`). Leaves by `SystemExit` (143, 130) when a signal stops
    the run, and at the end in all of several processes but the first, which has the directory. With `population`, or
    `run.seeds` above 1, many runs are one program: metrics are lists, one number a member, and `hparams` is what the
    population was made from.
    """
    run = settings.run
    settings_lib.validate(run)
    if hasattr(settings, "data"):
        data_lib.validate(settings.data)
    algorithm.validate(settings.hparams, settings.config)
    if getattr(getattr(settings, "data", None), "streaming", False) and (run.seeds > 1 or population is not None):
        refuse("data.streaming", True, "False with many members, which want the images in different orders")
    mesh = parallel.mesh(run.devices) if population is None and run.seeds == 1 else None
    if mesh is not None:
        parallel.check_config(settings.config, mesh.size)
    if population is None and run.seeds > 1:
        population = members_lib.of_seeds(run.seed, run.seeds, settings.hparams)
    first = processes.is_first()  # it alone has the run directory
    existing = run_directory.find(experiment, settings, population) if first else None
    finished = existing is not None and _is_finished(existing, run.epochs)
    if processes.from_first(np.int32(finished)):
        if existing is not None:
            print(f"{existing} is finished: {progress.describe(read_json(existing / 'result.json'))}")
        return _done(existing)
    dataset = data_lib.load(settings.data, on_device=mesh is None) if hasattr(settings, "data") else None
    config = settings.config if dataset is None else fit(settings.config, dataset)
    processes.check_same(settings, run_directory.describe(dataset))
    if not first:
        with processes.silence():
            _train(None, algorithm, settings, config, dataset, draw, population, stop, mesh)
        return _done(None)
    directory = run_directory.open_run(experiment, settings, run_directory.describe(dataset), population)
    print(f"{directory.path}: {_sizes(dataset, population)}")
    try:
        _train(directory, algorithm, settings, config, dataset, draw, population, stop, mesh)
    finally:
        directory.close()
    return directory.path


def _done(path: Path | None) -> Path:
    """The run directory; a process that has none is through with everything."""
    if path is None:
        sys.exit()
    return path


def fit(config: Any, dataset: Dataset) -> Any:
    """The configuration with what it takes from the data; refuses what does not go with them."""
    config, examples = settings_lib.fit_to_data(config, dataset), len(dataset.train.labels)
    if config.batch_size > examples:
        refuse(
            "config.batch_size", config.batch_size, f"at most {examples}, the size of {dataset.name}'s training split"
        )
    if getattr(config, "classes", 0) not in (0, len(dataset.class_names)):
        refuse("config.classes", config.classes, f"0, or {len(dataset.class_names)}, the classes of {dataset.name}")
    return config


def _sizes(dataset: Dataset | None, population: Members | None) -> str:
    images = (
        [f"{len(split.labels)} {name}" for name, split in (("training", dataset.train), ("test", dataset.test))]
        if dataset
        else []
    )
    parts = [f"{dataset.name}, {' and '.join(images)} images"] if dataset else []
    return ", ".join(parts + ([f"{len(population.seeds)} members"] if population else [])) or "one run"


def _is_finished(path: Path, epochs: int) -> bool:
    return (path / "result.json").exists() and read_json(path / "result.json")["epochs"] >= epochs


def _train(
    directory: run_directory.RunDirectory | None,
    algorithm: loop.Algorithm,
    settings: Any,
    config: Any,
    dataset: Dataset | None,
    draw: Draw,
    population: Members | None,
    stop: Stop | None,
    mesh: Mesh | None,
) -> None:
    """The run in this process; without a directory (in all processes but the first) nothing is written."""
    run = settings.run
    if dataset is None:
        batches = (algorithm.Batch(), algorithm.Batch())
    else:
        batches = tuple(algorithm.Batch(split.images, split.labels) for split in (dataset.train, dataset.test))
    steps_per_epoch = loop.steps_per_epoch(batches[0], config)
    total = run.epochs * steps_per_epoch
    log_every = run.log_every or max(1, steps_per_epoch // 10)
    intervals = {name: getattr(run, f"{name}_every") * steps_per_epoch for name in ("evaluate", "draw", "save")}

    stream = None
    if dataset is not None and isinstance(dataset.train, StreamedSplit):
        stream = Stream(dataset.train, algorithm.Batch, config.batch_size, loop.keys(run.seed).order, mesh)
    programs = Programs(algorithm, config, batches, log_every, run.seed, population, mesh, stream)
    programs.compile(population.hparams if population else settings.hparams)
    carry = programs.start()
    alarm: str | None = None
    checkpoints = Checkpoints(directory.checkpoints, run.keep) if directory and directory.checkpoints.exists() else None
    step, carry, train_seconds = _continued(checkpoints, programs, carry)
    print(progress.parameter_table(_lone(carry.state.params, population)))
    events = directory.path / "tensorboard" if directory and run.tensorboard else None
    log = MetricsLog(directory.metrics if directory else None, step, events)
    clock = progress.Clock(run.chunk_steps, train_seconds, len(population.seeds) if population else 1)
    guard = Guard(population)

    def draw_in(folder: str) -> None:
        whole = programs.whole(carry)
        if directory is None:
            return
        (directory.figures / folder).mkdir(parents=True, exist_ok=True)
        drawing = Drawing(
            directory.figures / folder,
            programs.local(_lone(whole.state, population)),
            lambda: _lone(programs.initial(), population),
            programs.local(_lone(programs.keys.draw, population)),
            config,
            dataset,
            log.rows if population is None else [progress.of_first(row) for row in log.rows],
            None if population is None else Population(population, carry.state, log.rows),
        )
        draw(drawing)

    from tqdm import tqdm

    hidden = None if run.progress and directory else True
    bar = tqdm(total=total, initial=step, unit="step", disable=hidden, dynamic_ncols=True, leave=False)
    try:
        with signals.deferred() as signal:
            steps = clock.steps()
            while step < total:
                first = step
                stops = [first + steps, (first // log_every + ROWS - 1) * log_every]
                stops += [] if stream is None else [stream.end(first)]
                step = min(*stops, (first // steps_per_epoch + 1) * steps_per_epoch)
                began = time.perf_counter()
                carry, chunk = programs.chunk(carry, first, step)
                seconds = time.perf_counter() - began
                clock.took(step - first, seconds)
                steps, stopping = processes.agree(clock.steps(), signal.received)
                guard.check(carry, chunk, first, step)
                progress.log_rows(log, np.asarray(chunk.rows), programs.metrics, first, step, log_every)
                progress.show(
                    bar, step - first, (step - first) * config.batch_size / seconds if dataset else None, log.rows
                )
                at = {name: bool(every) and step % every == 0 for name, every in intervals.items()}
                score = None
                if at["evaluate"] or step == total:
                    metrics = programs.evaluate(carry)
                    guard.check_evaluation(metrics, step)
                    row, alarm = progress.log_evaluation(algorithm, metrics, log, step, steps_per_epoch, bar)
                    score = row.get("test/loss") if population is None else None
                    if stop is not None and stop(step // steps_per_epoch, row):
                        total = step
                if at["save"] or step == total or stopping:
                    whole = programs.whole(carry)
                    if directory:
                        checkpoints = checkpoints or Checkpoints(directory.checkpoints, run.keep)
                        checkpoints.save(step, whole, {"train_seconds": clock.seconds}, score)
                if stopping:
                    if directory and checkpoints:
                        checkpoints.wait()
                        bar.close()
                        again = f"run the same command with --run.name {directory.path.name}"
                        print(f"stopped and saved at step {step}; {again}")
                    sys.exit(128 + stopping)
                if at["draw"] and step < total:
                    draw_in(f"epoch-{step // steps_per_epoch:04d}")
        if total % log_every:
            means = progress.means(np.asarray(carry.sums), programs.metrics, total % log_every)
            log.write({"step": total, **means, "partial": True})
    finally:
        bar.close()
        log.close()
        if stream is not None:
            stream.close()
        if checkpoints is not None:
            checkpoints.close()
    draw_in("")
    if directory is None:
        return
    evaluated = next((row for row in reversed(log.rows) if any(name.startswith("test/") for name in row)), {})
    result = {**evaluated, "epochs": run.epochs, "train_seconds": clock.seconds, "compile_seconds": programs.seconds}
    write_json(directory.result, {**result, "alarm": alarm} if alarm else result)
    print(f"finished: {progress.describe(result)}  trained {clock.seconds:.1f} s, compiled {programs.seconds:.1f} s")
    print(f"figures in {directory.figures}")


def _continued(checkpoints: Checkpoints | None, programs: Programs, carry: loop.Carry) -> tuple[int, loop.Carry, float]:
    """Where a run goes on: steps done, carry, seconds trained; all processes are told what the first one has saved."""
    restored = checkpoints.restore(programs.empty(carry)) if checkpoints else None
    said = [0, 0] if restored is None else [1, restored[0]]
    found, step = (int(number) for number in processes.from_first(np.array(said, np.int32)))
    if not found:
        return 0, carry, 0.0
    print(f"continuing from step {step}")
    carry = programs.resume(processes.from_first(restored[1] if restored else programs.empty(carry)))
    return step, carry, restored[2]["train_seconds"] if restored else 0.0


def _lone(tree: Any, population: Members | None) -> Any:
    """The first member where there are many."""
    return tree if population is None else members_lib.member(tree, 0)
