"""Training steps of each model: the engine's compiled loop, our step from a Python loop, PyTorch, Keras.

Images are random bytes with the data's shape, because the work does not depend on their content.
"""

import importlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import work
from benchmarks.measuring import Measurement, Row, Run, compare, interleave, left_out, say
from benchmarks.work import MODELS, Model
from jaxgen.engine import loop
from jaxgen.errors import check_at_least, check_choices

OURS, STEP = "ours", "our step in a Python loop"


@dataclass(frozen=True)
class OfModels(Measurement):
    """Base class of all training step measurements."""

    models: tuple[str, ...] = tuple(MODELS)
    """Models to measure."""
    steps: int = 0
    """Training steps per measurement; 0: as many as take about `seconds`."""
    seconds: float = 2.0
    """Length of a measurement if `steps` is 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("steps", self.steps, 0)
        check_at_least("seconds", self.seconds, 0.01)
        check_choices("models", self.models, MODELS)


@dataclass(frozen=True)
class Train(OfModels):
    """Milliseconds per training step: ours, PyTorch (eager and compiled) and Keras."""

    compiled: bool = True
    """Measure torch.compile, which first builds its programs: up to minutes per model."""

    def measure(self) -> Iterator[Row]:
        """One row per model and peer."""
        for name in self.models:
            model = MODELS[name]
            runs = {**ours(model), **peers(model, work.images(model.config.image_shape), self.compiled)}
            times = interleave(runs, self.steps, self.seconds, self.rounds, name)
            rows = [compare(name, times[OURS], peer, theirs) for peer, theirs in times.items() if peer != OURS]
            say(f"{name}: ours {rows[0]['ours_ms']:.3f} ms a step, {best_peer(rows)}")
            yield from rows

    def conclude(self, rows: list[Row]) -> Iterator[str]:
        """The best peer of each model."""
        for name in self.models:
            yield f"{name}: {best_peer([row for row in rows if row['name'] == name])}"


def best_peer(rows: list[Row]) -> str:
    """Fastest external peer among the rows of one model."""
    others = [row for row in rows if not row["peer"].startswith("our ")]
    if not others:
        return "no peer"
    best = min(others, key=lambda row: row["peer_ms"])
    return f"best peer: {best['peer']}, ratio {best['ratio']:.2f}"


def ours(model: Model) -> dict[str, Run]:
    """Our training loop as the engine runs it; the same step, compiled alone, in a Python loop; the variant."""
    runs = {OURS: work.trainer(work.programs(model.work)), STEP: _in_python(model.work)}
    name, changes = model.variant
    if name:
        variant = model.work._replace(config=replace(model.config, **changes))
        runs[name] = work.trainer(work.programs(variant))
    return runs


def _in_python(step_of: work.Work) -> Run:
    """The compiled step also gathers the batch and folds the key, which is the best a Python loop can do."""
    algorithm, config, hparams = step_of
    hparams, run_keys = jax.tree.map(jnp.float32, hparams), loop.keys(0)
    data, _ = work.data(step_of)
    count = len(data.images)
    per_epoch = count // config.batch_size
    permute = jax.jit(lambda key: jnp.argsort(jax.random.bits(key, (count,))))
    state = jax.jit(partial(algorithm.init, config=config))(run_keys.init, hparams)

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, data: Any, order: jax.Array, t: Any) -> Any:
        index = jax.lax.dynamic_slice_in_dim(order, (t % per_epoch) * config.batch_size, config.batch_size)
        batch = jax.tree.map(lambda leaf: leaf[index], data)
        return algorithm.step(state, batch, jax.random.fold_in(run_keys.step, t), hparams, config)

    def run(steps: int) -> float:
        nonlocal state
        began = time.perf_counter()
        for t in range(steps):
            if t % per_epoch == 0:
                order = permute(jax.random.fold_in(run_keys.order, t))
            state, metrics = step(state, data, order, np.int32(t))
        jax.block_until_ready(metrics)
        return time.perf_counter() - began

    return run


def peers(model: Model, images: np.ndarray, compiled: bool) -> dict[str, Run]:
    """Trainers of the peers that are installed here."""
    sizes = model.net, images, model.config.batch_size
    found: dict[str, Run] = {}
    try:
        make = function(model.pytorch)
        for built, channels_last in itertools.product((False, True) if compiled else (False,), model.layouts):
            name = f"PyTorch {'compiled' if built else 'eager'}{', channels last' if channels_last else ''}"
            found[name] = make(*sizes, channels_last=channels_last, compiled=built)
    except ImportError as error:
        left_out("PyTorch", error)
    try:
        found["Keras"] = function(model.keras)(*sizes)
    except ImportError as error:
        left_out("Keras", error)
    return found


def function(path: str) -> Callable[..., Run]:
    module, name = path.split(".")
    return getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)
