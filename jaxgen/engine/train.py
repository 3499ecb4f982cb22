"""The host's side of a run: compile, then chunk after chunk, and between chunks whatever needs the host."""

import itertools
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
from jaxgen.engine import loop, parallel, processes, rundir, signals
from jaxgen.engine import members as members_lib
from jaxgen.engine import settings as settings_lib
from jaxgen.engine.checkpoint import Checkpoints
from jaxgen.engine.drawing import Drawing, Population
from jaxgen.engine.files import read_json, write_json
from jaxgen.engine.members import Members
from jaxgen.engine.metrics import MetricsLog, Row
from jaxgen.engine.programs import ROWS, Programs
from jaxgen.engine.streaming import Stream
from jaxgen.errors import UserError, refuse

FIRST_CHUNK = 8
"""Steps of the first chunk, from which the speed is measured."""

Draw = Callable[[Drawing], None]
Stop = Callable[[int, dict[str, Any]], bool]
"""Told the epoch and its evaluation, says whether training ends there."""
Train = Callable[[str, loop.Algorithm, Any, Draw], Any]
"""What an experiment hands its name, algorithm, settings and figures to: `train`, or what a sweep puts in its place."""


class NonFiniteError(UserError):
    """Training produced an infinity or NaN."""


class _Clock:
    """Decides how many steps make about so many seconds, from the speed seen so far."""

    def __init__(self, chunk_steps: int, seconds: float, chunk_seconds: float = 1.0) -> None:
        self._fixed, self._chunk_seconds = chunk_steps, chunk_seconds
        self._per_step: float | None = None
        self.seconds = seconds

    def steps(self) -> int:
        if self._fixed:
            return self._fixed
        return FIRST_CHUNK if self._per_step is None else max(1, round(self._chunk_seconds / self._per_step))

    def took(self, steps: int, seconds: float) -> None:
        self.seconds += seconds
        self._per_step = seconds / steps


class _Guard:
    """Watches for infinities and NaN: the end of a lone run, the end of one member among many."""

    def __init__(self, population: Members | None) -> None:
        self._population = population
        self._lost: set[int] = set()

    def check(self, carry: loop.Carry, chunk: loop.Chunk, first: int, last: int) -> None:
        """Raises `NonFiniteError` if no member is left; says which are lost."""
        first_bad, finite = np.atleast_1d(carry.first_bad), np.atleast_2d(chunk.finite)
        names = list(loop.named_leaves(carry.state))
        bad = np.flatnonzero((first_bad >= 0) | ~finite.all(axis=1))
        for i in bad:
            leaf = next((name for name, fine in zip(names, finite[i], strict=True) if not fine), None)
            where = f"step {first_bad[i]}" if first_bad[i] >= 0 else f"a step from {first} to {last - 1}"
            what = f"became non-finite at {where}: first {f'in {leaf}' if leaf else 'in the metrics'}"
            if len(bad) == len(first_bad):
                whose = "training" if self._population is None else "training of every member"
                raise NonFiniteError(
                    f"{whose} {what}. No checkpoint after it was kept; try a lower hparams.learning_rate"
                )
            if i not in self._lost:
                print(f"member {i} {what}; the others go on", file=sys.stderr)
        self._lost.update(bad.tolist())

    def check_evaluation(self, metrics: dict[str, np.ndarray], step: int) -> None:
        """Raises `NonFiniteError` if a metric is finite for no member."""
        for name, value in metrics.items():
            if not np.isfinite(value).any():
                raise NonFiniteError(f"the test {name} is {value} at step {step}; this state was not saved")


def _logged(value: np.ndarray) -> float | list[float | None]:
    """A metric in a row: a number, or one a member, None where it is not finite."""
    return float(value) if np.ndim(value) == 0 else [float(x) if np.isfinite(x) else None for x in value]


def _of_first(row: Row) -> Row:
    """A population's row as its first member has it."""
    return {name: value[0] if isinstance(value, list) else value for name, value in row.items()}


def _log_rows(log: MetricsLog, table: np.ndarray, names: tuple[str, ...], first: int, last: int, every: int) -> None:
    for row, interval in enumerate(range(first // every, last // every)):
        log.write({"step": (interval + 1) * every, **_means(table[..., row, :], names, every)})


def _means(sums: np.ndarray, names: tuple[str, ...], steps: int) -> Row:
    means = sums / np.float32(steps)
    return {f"train/{name}": _logged(means[..., i]) for i, name in enumerate(names)}


def _mean(value: float | list[float | None]) -> float:
    """What is shown of a metric: over members, the mean of those that are finite."""
    return float(np.mean([x for x in value if x is not None])) if isinstance(value, list) else value


def _describe(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {_mean(value):.4f}" for name, value in values.items() if "/" in name)


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
    existing = rundir.find(experiment, settings, population) if first else None
    finished = existing is not None and _is_finished(existing, run.epochs)
    if processes.from_first(np.int32(finished)):
        if existing is not None:
            print(f"{existing} is finished: {_describe(read_json(existing / 'result.json'))}")
        return _done(existing)
    dataset = data_lib.load(settings.data, on_device=mesh is None) if hasattr(settings, "data") else None
    cfg = settings.config if dataset is None else fit(settings.config, dataset)
    processes.check_same(settings, rundir.describe(dataset))
    if not first:
        with processes.silence():
            _train(None, algorithm, settings, cfg, dataset, draw, population, stop, mesh)
        return _done(None)
    directory = rundir.open_run(experiment, settings, rundir.describe(dataset), population)
    print(f"{directory.path}: {_sizes(dataset, population)}")
    try:
        _train(directory, algorithm, settings, cfg, dataset, draw, population, stop, mesh)
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
    cfg, examples = settings_lib.fit_to_data(config, dataset), len(dataset.train.labels)
    if cfg.batch_size > examples:
        refuse("config.batch_size", cfg.batch_size, f"at most {examples}, the size of {dataset.name}'s training split")
    if getattr(cfg, "classes", 0) not in (0, len(dataset.class_names)):
        refuse("config.classes", cfg.classes, f"0, or {len(dataset.class_names)}, the classes of {dataset.name}")
    return cfg


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
    directory: rundir.RunDirectory | None,
    algorithm: loop.Algorithm,
    settings: Any,
    cfg: Any,
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
    steps_per_epoch = loop.steps_per_epoch(batches[0], cfg)
    total = run.epochs * steps_per_epoch
    log_every = run.log_every or max(1, steps_per_epoch // 10)
    intervals = {name: getattr(run, f"{name}_every") * steps_per_epoch for name in ("evaluate", "draw", "save")}

    stream = None
    if dataset is not None and isinstance(dataset.train, StreamedSplit):
        stream = Stream(dataset.train, algorithm.Batch, cfg.batch_size, loop.keys(run.seed).order, mesh)
    programs = Programs(algorithm, cfg, batches, log_every, run.seed, population, mesh, stream)
    programs.compile(population.hps if population else settings.hparams)
    carry = programs.start()
    alarm: str | None = None
    checkpoints = Checkpoints(directory.checkpoints, run.keep) if directory and directory.checkpoints.exists() else None
    step, carry, train_seconds = _continued(checkpoints, programs, carry)
    print(parameter_table(_lone(carry.state.params, population)))
    events = directory.path / "tensorboard" if directory and run.tensorboard else None
    log = MetricsLog(directory.metrics if directory else None, step, events)
    # A chunk makes an order of the data for each member: with many, longer chunks, that it may cost little of them.
    chunk_seconds = 1.0 if population is None else float(np.clip(len(population.seeds) / 4, 1, 5))
    clock, guard = _Clock(run.chunk_steps, train_seconds, chunk_seconds), _Guard(population)

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
            cfg,
            dataset,
            log.rows if population is None else [_of_first(row) for row in log.rows],
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
                _log_rows(log, np.asarray(chunk.rows), programs.metrics, first, step, log_every)
                _show(bar, step - first, (step - first) * cfg.batch_size / seconds if dataset else None, log.rows)
                at = {name: bool(every) and step % every == 0 for name, every in intervals.items()}
                score = None
                if at["evaluate"] or step == total:
                    metrics = programs.evaluate(carry)
                    guard.check_evaluation(metrics, step)
                    row, alarm = _log_evaluation(algorithm, metrics, log, step, steps_per_epoch, bar)
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
            means = _means(np.asarray(carry.sums), programs.metrics, total % log_every)
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
    print(f"finished: {_describe(result)}  trained {clock.seconds:.1f} s, compiled {programs.seconds:.1f} s")
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


def _show(bar: Any, steps: int, images_per_second: float | None, rows: list[Row]) -> None:
    last = next((row for row in reversed(rows) if any(name.startswith("train/") for name in row)), {})
    losses = {name.removeprefix("train/"): value for name, value in last.items() if name.endswith("loss")}
    said = [f"{name} {_mean(value):.3f}" for name, value in losses.items()]
    if images_per_second is not None:
        said.append(f"{images_per_second:,.0f} images/s")
    bar.set_postfix_str(", ".join(said), refresh=False)
    bar.update(steps)


def _log_evaluation(
    algorithm: loop.Algorithm,
    metrics: dict[str, np.ndarray],
    log: MetricsLog,
    step: int,
    steps_per_epoch: int,
    bar: Any,
) -> tuple[Row, str | None]:
    """Logs and shows an evaluation; returns its row, and what the algorithm's `alarm`, if it has one, says."""
    row = {"step": step, **{f"test/{name}": _logged(value) for name, value in metrics.items()}}
    log.write(row)
    bar.write(f"epoch {step / steps_per_epoch:g}: {_describe(row)}", file=sys.stdout)
    alarm = _alarm(algorithm, metrics)
    if alarm:
        bar.write(f"warning: {alarm}", file=sys.stderr)
    return row, alarm


def _alarm(algorithm: loop.Algorithm, metrics: dict[str, np.ndarray]) -> str | None:
    """What the algorithm thinks wrong with an evaluation, of each member where there are many."""
    if not hasattr(algorithm, "alarm"):
        return None
    if not any(np.ndim(value) for value in metrics.values()):
        return algorithm.alarm({name: float(value) for name, value in metrics.items()})
    count = len(next(iter(metrics.values())))
    said = [(i, algorithm.alarm({name: float(value[i]) for name, value in metrics.items()})) for i in range(count)]
    return "; ".join(f"member {i}: {what}" for i, what in said if what) or None


def parameter_table(params: Any) -> str:
    """Every parameter array with its shape and size, and the totals."""
    leaves = loop.named_leaves(params)
    lines = [f"  {name:<32} {'x'.join(map(str, leaf.shape)):>16} {leaf.size:>10,}" for name, leaf in leaves.items()]
    for part, names in itertools.groupby(leaves, key=lambda name: name.split(".")[0]):
        lines.append(f"  {part + ', in all':<49} {sum(leaves[name].size for name in names):>10,}")
    lines.append(f"  {'parameters':<49} {sum(leaf.size for leaf in leaves.values()):>10,}")
    return "\n".join(lines)
