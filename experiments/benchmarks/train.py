"""Training steps of each model: the engine's compiled loop, our step from a Python loop, PyTorch, Keras.

Images are random bytes with the data's shape, because the work does not depend on their content.
"""

import dataclasses
import importlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measuring import Measurement, Row, Run, compare, interleave, left_out, say
from jaxgen.algorithms import autoencoder, gan, vae
from jaxgen.engine import loop
from jaxgen.errors import check_at_least, check_choice

OURS, STEP = "ours", "our step in a Python loop"


class Model(NamedTuple):
    """A row: our side, and the functions in `peers/` that build the other."""

    algorithm: Any
    config: Any
    hparams: Any
    pytorch: str
    """module.function(net, images, batch_size, channels_last, compiled) -> Run."""
    keras: str
    """module.function(net, images, batch_size) -> Run."""
    net: str
    """The model's name in those functions."""
    layouts: tuple[bool, ...] = (False, True)
    """Values of channels_last to measure."""
    variant: tuple[str, dict[str, Any]] = ("", {})
    """Name and settings of a second variant of ours, measured beside the first."""


_autoencoder = partial(Model, autoencoder, pytorch="pytorch.autoencoder_trainer", keras="keras.autoencoder_trainer")
_vae = partial(Model, vae, pytorch="pytorch_vae.vae_trainer", keras="keras_vae.vae_trainer")
_gan = partial(
    Model,
    gan,
    pytorch="pytorch_gan.gan_trainer",
    keras="keras_gan.gan_trainer",
    variant=("our step with two forward passes", {"shared_passes": False}),
)
_one_sample = partial(vae.Config, rate="sampled", optimizer="adamax")

MODELS = {
    "dense_ae": _autoencoder(
        config=autoencoder.Config(), hparams=autoencoder.HParams(learning_rate=1e-2), net="dense", layouts=(False,)
    ),
    "conv_ae": _autoencoder(
        config=autoencoder.Config(net="conv", optimizer="rmsprop", batch_size=64),
        hparams=autoencoder.HParams(),
        net="conv",
    ),
    "mlp_vae": _vae(config=vae.Config(inputs="binarized"), hparams=vae.HParams(), net="mlp_vae", layouts=(False,)),
    "mnist_vae": _vae(
        config=_one_sample(net="conv", latent_size=2, batch_size=32),
        hparams=vae.HParams(learning_rate=2e-3),
        net="mnist_vae",
    ),
    "flower_vae": _vae(
        config=_one_sample(net="flower", image_shape=(80, 80, 3), latent_size=10, posterior="full", batch_size=20),
        hparams=vae.HParams(learning_rate=3e-4, beta=0.0006),
        net="flower_vae",
    ),
    "dense_gan": _gan(config=gan.Config(), hparams=gan.HParams(), net="dense_gan", layouts=(False,)),
    "flower_gan": _gan(
        config=gan.Config(image_shape=(80, 80, 3), net="flower", dropout=0.3, batch_size=32),
        hparams=gan.HParams(real_target=0.95, fake_target=0.05, generator_target=0.95),
        net="flower_gan",
    ),
}


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
        for model in self.models:
            check_choice("models", model, MODELS)


@dataclass(frozen=True)
class Train(OfModels):
    """Milliseconds per training step: ours, PyTorch (eager and compiled) and Keras."""

    compiled: bool = True
    """Measure torch.compile, which first builds its programs: up to minutes per model."""

    def measure(self) -> Iterator[Row]:
        """One row per model and peer."""
        for name in self.models:
            model = MODELS[name]
            data = images(model.config.image_shape)
            runs = {**ours(model, data), **peers(model, data, self.compiled)}
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


def images(shape: tuple[int, int, int]) -> np.ndarray:
    """As many random images as MNIST has, or 2,000 large ones."""
    count = 60_000 if math.prod(shape) < 1_000 else 2_000
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def ours(model: Model, images: np.ndarray) -> dict[str, Run]:
    """Our training loop as the engine runs it; the same step, compiled alone, in a Python loop; the variant."""
    algorithm, config = model.algorithm, model.config
    data = algorithm.Batch(jax.device_put(images), jnp.zeros(len(images), jnp.int32))
    hparams, run_keys = jax.tree.map(jnp.float32, model.hparams), loop.keys(0)
    runs = {
        OURS: in_chunks(algorithm, config, hparams, run_keys, data),
        STEP: _in_python(algorithm, config, hparams, run_keys, data),
    }
    name, changes = model.variant
    if name:
        runs[name] = in_chunks(algorithm, dataclasses.replace(config, **changes), hparams, run_keys, data)
    return runs


def in_chunks(algorithm: Any, config: Any, hparams: Any, run_keys: loop.Keys, data: Any) -> Run:
    per_epoch = len(data.images) // config.batch_size
    metrics = len(loop.metric_names(algorithm, run_keys.init, hparams, data, config))
    carry = jax.jit(partial(loop.start, algorithm, config=config, metrics=metrics))(run_keys.init, hparams)
    run_chunk = partial(loop.run_chunk, algorithm=algorithm, config=config, log_every=max(1, per_epoch // 10), rows=128)
    chunk = jax.jit(run_chunk, donate_argnums=0)

    def run(steps: int) -> float:
        nonlocal carry
        began = time.perf_counter()
        for done in range(0, steps, per_epoch):
            last = min(steps - done, per_epoch)
            carry, rows = chunk(carry, run_keys, hparams, data, jnp.int32(0), jnp.int32(last))
            jax.device_get(rows)
        return time.perf_counter() - began

    return run


def _in_python(algorithm: Any, config: Any, hparams: Any, run_keys: loop.Keys, data: Any) -> Run:
    """The compiled step also gathers the batch and folds the key, which is the best a Python loop can do."""
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
    work = model.net, images, model.config.batch_size
    found: dict[str, Run] = {}
    try:
        make = function(model.pytorch)
        for built, channels_last in itertools.product((False, True) if compiled else (False,), model.layouts):
            name = f"PyTorch {'compiled' if built else 'eager'}{', channels last' if channels_last else ''}"
            found[name] = make(*work, channels_last=channels_last, compiled=built)
    except ImportError as error:
        left_out("PyTorch", error)
    try:
        found["Keras"] = function(model.keras)(*work)
    except ImportError as error:
        left_out("Keras", error)
    return found


def function(path: str) -> Callable[..., Run]:
    module, name = path.split(".")
    return getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)
