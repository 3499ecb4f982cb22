"""The host's side of a run: compile, then chunk after chunk, and between chunks whatever needs the host."""

import itertools
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import data as data_lib
from jaxgen.data.dataset import Dataset
from jaxgen.engine import loop, rundir
from jaxgen.engine import settings as settings_lib
from jaxgen.engine.checkpoint import Checkpoints
from jaxgen.engine.files import read_json, write_json
from jaxgen.engine.metrics import MetricsLog, Row
from jaxgen.errors import UserError, refuse

ROWS = 128
"""Logging intervals one chunk can hand back."""
FIRST_CHUNK = 8
"""Steps of the first chunk, from which the speed is measured."""


class Drawing(NamedTuple):
    """What a figure function is given."""

    directory: Path
    state: Any
    initial: Callable[[], Any]
    """The state before the first step."""
    key: jax.Array
    cfg: Any
    dataset: Dataset
    rows: list[Row]


class NonFiniteError(UserError):
    """Training produced an infinity or NaN."""


class _Signals:
    """SIGTERM and Ctrl-C, remembered until the chunk is done; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.received == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.received = number


@contextmanager
def _deferred_signals() -> Iterator[_Signals]:
    signals = _Signals()
    previous = {number: signal.signal(number, signals) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Programs:
    """The compiled functions of a run and the seconds their compilation took."""

    def __init__(self, algorithm: loop.Algorithm, run: settings_lib.RunSettings, cfg: Any, data: Any, log_every: int):
        self.seconds = 0.0
        self.metrics: tuple[str, ...] = ()
        self._algorithm, self._cfg, self._data, self._log_every = algorithm, cfg, data, log_every
        self.keys = loop.keys(run.seed)

    def compile(self, hp: Any) -> None:
        """Compiles start, chunk and evaluate for these hyperparameters' shapes."""
        began = time.perf_counter()
        algorithm, cfg, (train, test) = self._algorithm, self._cfg, self._data
        self.hp = jax.tree.map(jnp.float32, hp)
        state = jax.eval_shape(partial(algorithm.init, cfg=cfg), self.keys.init, self.hp)
        batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((cfg.batch_size, *x.shape[1:]), x.dtype), train)
        self.metrics = loop.metric_names(algorithm, state, batch, self.keys.step, self.hp, cfg)
        start = jax.jit(partial(loop.start, algorithm, cfg=cfg, metrics=len(self.metrics)))
        self._start = start.lower(self.keys.init, self.hp).compile()
        carry = jax.eval_shape(start, self.keys.init, self.hp)
        run_chunk = partial(loop.run_chunk, algorithm=algorithm, cfg=cfg, log_every=self._log_every, rows=ROWS)
        bound = jax.ShapeDtypeStruct((), jnp.int32)
        self._chunk = (
            jax.jit(run_chunk, donate_argnums=0).lower(carry, self.keys, self.hp, train, bound, bound).compile()
        )
        evaluate = jax.jit(partial(algorithm.evaluate, cfg=cfg))
        self._evaluate = evaluate.lower(carry.state, test, self.keys.evaluate, self.hp).compile()
        self.seconds = time.perf_counter() - began

    def start(self) -> loop.Carry:
        return self._start(self.keys.init, self.hp)

    def chunk(self, carry: loop.Carry, first: int, last: int) -> tuple[loop.Carry, loop.Chunk]:
        carry, chunk = self._chunk(carry, self.keys, self.hp, self._data[0], jnp.int32(first), jnp.int32(last))
        return carry, jax.device_get(chunk)

    def evaluate(self, carry: loop.Carry) -> dict[str, float]:
        metrics = self._evaluate(carry.state, self._data[1], self.keys.evaluate, self.hp)
        return {f"test/{name}": float(value) for name, value in metrics.items()}

    def alarm(self, metrics: dict[str, float]) -> str | None:
        """What the algorithm thinks wrong with an evaluation, if it exports an `alarm`."""
        if not hasattr(self._algorithm, "alarm"):
            return None
        return self._algorithm.alarm({name.removeprefix("test/"): value for name, value in metrics.items()})


class _Clock:
    """Decides how many steps make about a second, from the speed seen so far."""

    def __init__(self, chunk_steps: int, seconds: float) -> None:
        self._fixed = chunk_steps
        self._per_step: float | None = None
        self.seconds = seconds

    def steps(self) -> int:
        if self._fixed:
            return self._fixed
        return FIRST_CHUNK if self._per_step is None else max(1, round(1 / self._per_step))

    def took(self, steps: int, seconds: float) -> None:
        self.seconds += seconds
        self._per_step = seconds / steps


def _check_finite(carry: loop.Carry, chunk: loop.Chunk, first: int, last: int) -> None:
    names = loop.named_leaves(carry.state)
    bad_leaf = next((name for name, finite in zip(names, chunk.finite, strict=True) if not finite), None)
    bad_step = int(carry.first_bad)
    if bad_leaf is None and bad_step < 0:
        return
    where = f"step {bad_step}" if bad_step >= 0 else f"a step from {first} to {last - 1}"
    what = f"in {bad_leaf}" if bad_leaf else "in the metrics"
    raise NonFiniteError(
        f"training became non-finite at {where}: first {what}. No checkpoint after it was kept; try a lower "
        "hparams.learning_rate"
    )


def _log_rows(log: MetricsLog, table: np.ndarray, names: tuple[str, ...], first: int, last: int, every: int) -> None:
    for row, interval in enumerate(range(first // every, last // every)):
        means = {f"train/{n}": float(v) for n, v in zip(names, table[row] / np.float32(every), strict=True)}
        log.write({"step": (interval + 1) * every, **means})


def _describe(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items() if "/" in name)


def train(experiment: str, algorithm: loop.Algorithm, settings: Any, draw: Callable[[Drawing], None]) -> Path:
    """Runs or continues an experiment and returns its directory.

    `settings` has the fields `data`, `config`, `hparams` and `run`. Everything wrong with them is said before
    anything compiles (`SettingError`). Leaves by `SystemExit` (143, 130) when a signal stops the run.
    """
    settings_lib.validate(settings.run)
    data_lib.validate(settings.data)
    algorithm.validate(settings.hparams, settings.config)
    existing = rundir.find(experiment, settings)
    if existing is not None and _is_finished(existing, settings.run.epochs):
        print(f"{existing} is finished: {_describe(read_json(existing / 'result.json'))}")
        return existing
    dataset = data_lib.load(settings.data)
    cfg = settings_lib.fit_to_data(settings.config, dataset)
    examples = len(dataset.train.labels)
    if cfg.batch_size > examples:
        refuse("config.batch_size", cfg.batch_size, f"at most {examples}, the size of {dataset.name}'s training split")
    if getattr(cfg, "classes", 0) not in (0, len(dataset.class_names)):
        refuse("config.classes", cfg.classes, f"0, or {len(dataset.class_names)}, the classes of {dataset.name}")
    directory = rundir.open_run(experiment, settings, rundir.describe(dataset))
    print(f"{directory.path}: {dataset.name}, {examples} training and {len(dataset.test.labels)} test images")
    try:
        _train(directory, algorithm, settings, cfg, dataset, draw)
    finally:
        directory.close()
    return directory.path


def _is_finished(path: Path, epochs: int) -> bool:
    return (path / "result.json").exists() and read_json(path / "result.json")["epochs"] >= epochs


def _train(
    directory: rundir.RunDirectory,
    algorithm: loop.Algorithm,
    settings: Any,
    cfg: Any,
    dataset: Dataset,
    draw: Callable[[Drawing], None],
) -> None:
    run = settings.run
    steps_per_epoch = len(dataset.train.labels) // cfg.batch_size
    total = run.epochs * steps_per_epoch
    log_every = run.log_every or max(1, steps_per_epoch // 10)
    intervals = {name: getattr(run, f"{name}_every") * steps_per_epoch for name in ("evaluate", "draw", "save")}

    batches = tuple(algorithm.Batch(split.images, split.labels) for split in (dataset.train, dataset.test))
    programs = _Programs(algorithm, run, cfg, batches, log_every)
    programs.compile(settings.hparams)
    carry, step = programs.start(), 0
    checkpoints: Checkpoints | None = None
    alarm: str | None = None
    meta: dict[str, Any] = {"train_seconds": 0.0}
    if directory.checkpoints.exists():
        checkpoints = Checkpoints(directory.checkpoints, run.keep)
        if (restored := checkpoints.restore(carry)) is not None:
            step, carry, meta = restored
            print(f"continuing from step {step}")
    print(parameter_table(carry.state.params))
    log = MetricsLog(directory.metrics, step, directory.path / "tensorboard" if run.tensorboard else None)
    clock = _Clock(run.chunk_steps, meta["train_seconds"])

    def drawing(folder: Path) -> Drawing:
        folder.mkdir(parents=True, exist_ok=True)
        return Drawing(folder, carry.state, lambda: programs.start().state, programs.keys.draw, cfg, dataset, log.rows)

    from tqdm import tqdm

    bar = tqdm(
        total=total, initial=step, unit="step", disable=None if run.progress else True, dynamic_ncols=True, leave=False
    )
    try:
        with _deferred_signals() as signals:
            while step < total:
                first = step
                stops = [first + clock.steps(), (first // log_every + ROWS - 1) * log_every]
                step = min(*stops, (first // steps_per_epoch + 1) * steps_per_epoch)
                began = time.perf_counter()
                carry, chunk = programs.chunk(carry, first, step)
                seconds = time.perf_counter() - began
                clock.took(step - first, seconds)
                _check_finite(carry, chunk, first, step)
                _log_rows(log, np.asarray(chunk.rows), programs.metrics, first, step, log_every)
                _show(bar, step - first, (step - first) * cfg.batch_size / seconds, log.rows)
                at = {name: bool(every) and step % every == 0 for name, every in intervals.items()}
                score = None
                if at["evaluate"] or step == total:
                    score, alarm = _evaluate(programs, carry, log, step, steps_per_epoch, bar)
                if at["save"] or step == total or signals.received:
                    checkpoints = checkpoints or Checkpoints(directory.checkpoints, run.keep)
                    checkpoints.save(step, carry, {"train_seconds": clock.seconds}, score)
                if checkpoints and signals.received:
                    checkpoints.wait()
                    bar.close()
                    print(
                        f"stopped and saved at step {step}; run the same command with --run.name {directory.path.name}"
                    )
                    sys.exit(128 + signals.received)
                if at["draw"] and step < total:
                    draw(drawing(directory.figures / f"epoch-{step // steps_per_epoch:04d}"))
        if total % log_every:
            means = np.asarray(carry.sums) / np.float32(total % log_every)
            named = {f"train/{n}": float(v) for n, v in zip(programs.metrics, means, strict=True)}
            log.write({"step": total, **named, "partial": True})
    finally:
        bar.close()
        log.close()
        if checkpoints is not None:
            checkpoints.close()
    draw(drawing(directory.figures))
    evaluated = next((row for row in reversed(log.rows) if any(name.startswith("test/") for name in row)), {})
    result = {**evaluated, "epochs": run.epochs, "train_seconds": clock.seconds, "compile_seconds": programs.seconds}
    write_json(directory.result, {**result, "alarm": alarm} if alarm else result)
    print(f"finished: {_describe(result)}  trained {clock.seconds:.1f} s, compiled {programs.seconds:.1f} s")
    print(f"figures in {directory.figures}")


def _show(bar: Any, steps: int, images_per_second: float, rows: list[Row]) -> None:
    last = next((row for row in reversed(rows) if any(name.startswith("train/") for name in row)), {})
    losses = {name.removeprefix("train/"): value for name, value in last.items() if name.endswith("loss")}
    said = [f"{name} {value:.3f}" for name, value in losses.items()] + [f"{images_per_second:,.0f} images/s"]
    bar.set_postfix_str(", ".join(said), refresh=False)
    bar.update(steps)


def _evaluate(
    programs: _Programs, carry: loop.Carry, log: MetricsLog, step: int, steps_per_epoch: int, bar: Any
) -> tuple[float | None, str | None]:
    """Logs the evaluation; returns the test loss, where the algorithm has one, and what its `alarm` says."""
    metrics = programs.evaluate(carry)
    bar.write(f"epoch {step / steps_per_epoch:g}: {_describe(metrics)}", file=sys.stdout)
    for name, value in metrics.items():
        if not np.isfinite(value):
            what = name.replace("test/", "the test ")
            raise NonFiniteError(f"{what} is {value} at step {step}; this state was not saved")
    log.write({"step": step, **metrics})
    alarm = programs.alarm(metrics)
    if alarm:
        bar.write(f"warning: {alarm}", file=sys.stderr)
    return metrics.get("test/loss"), alarm


def parameter_table(params: Any) -> str:
    """Every parameter array with its shape and size, and the totals."""
    leaves = loop.named_leaves(params)
    lines = [f"  {name:<32} {'x'.join(map(str, leaf.shape)):>16} {leaf.size:>10,}" for name, leaf in leaves.items()]
    for part, names in itertools.groupby(leaves, key=lambda name: name.split(".")[0]):
        lines.append(f"  {part + ', in all':<49} {sum(leaves[name].size for name in names):>10,}")
    lines.append(f"  {'parameters':<49} {sum(leaf.size for leaf in leaves.values()):>10,}")
    return "\n".join(lines)
