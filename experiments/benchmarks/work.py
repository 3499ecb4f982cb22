"""One training step of each measured model, as the engine runs it: seven on images, and a deep Q-network.

Images are random bytes with the data's shape, because the work does not depend on their content.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.engine import loop, placements
from jaxgen.engine.members import of_seeds
from jaxgen.engine.programs import Programs


class Work(NamedTuple):
    """An algorithm and its settings."""

    algorithm: Any
    config: Any
    hparams: Any


class Model(NamedTuple):
    """A measured model: our side, and the functions in `peers/` that build the other."""

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

    @property
    def work(self) -> Work:
        """Our side."""
        return Work(self.algorithm, self.config, self.hparams)


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

NAMES = (*MODELS, "dqn")
CHUNK = 400
"""Maximum steps of a chunk."""
LOG_EVERY = 46


def images(shape: tuple[int, int, int]) -> np.ndarray:
    """As many random images as MNIST has, or 2,000 large ones."""
    count = 60_000 if math.prod(shape) < 1_000 else 2_000
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def of(name: str) -> Work:
    """The settings of one of `NAMES`."""
    if name != "dqn":
        return MODELS[name].work
    import dqn_cartpole

    settings = dqn_cartpole.SOLVE
    config = replace(settings.config, learning_starts=1_000, schedule="constant", evaluation_episodes=1)
    return Work(dqn, config, settings.hparams)


def lowered(work: Work, examples: int) -> Any:
    """The engine's loop over this step, lowered for a split of so many examples."""
    algorithm, config, hparams = work
    data = batch_like(work, lambda shape, dtype: jax.ShapeDtypeStruct((examples, *shape), dtype))
    hparams, keys = jax.tree.map(jnp.float32, hparams), loop.keys(0)
    metrics = len(loop.metric_names(algorithm, keys.init, hparams, data, config))

    def start(key: jax.Array, hparams: Any) -> loop.Carry:
        return loop.start(algorithm, key, hparams, config, metrics)

    def chunk(carry: loop.Carry, *arguments: Any) -> Any:
        return loop.run_chunk(carry, *arguments, algorithm=algorithm, config=config, log_every=LOG_EVERY, rows=128)

    carry, bound = jax.eval_shape(start, keys.init, hparams), jax.ShapeDtypeStruct((), jnp.int32)
    return jax.jit(chunk, donate_argnums=0).lower(carry, keys, hparams, data, bound, bound)


@contextmanager
def compiling_anew() -> Iterator[None]:
    """Compile without the cache on disk."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)


def batch_like(work: Work, make: Callable[..., Any]) -> Any:
    """The algorithm's batch type of arrays that `make(shape of one example, dtype)` gives; a DQN's is empty."""
    if work.algorithm is dqn:
        return dqn.Batch()
    return work.algorithm.Batch(make(work.config.image_shape, jnp.uint8), make((), jnp.int32))


def data(work: Work) -> tuple[Any, Any]:
    """Random images in a training and a test split."""
    if work.algorithm is dqn:
        return dqn.Batch(), dqn.Batch()
    pixels = jax.device_put(images(work.config.image_shape))
    whole = work.algorithm.Batch(pixels, jnp.zeros(len(pixels), jnp.int32))
    return whole, jax.tree.map(lambda leaf: leaf[:500], whole)


def programs(work: Work, members: int = 0) -> Programs:
    """The engine's compiled functions."""
    many = of_seeds(0, members, work.hparams) if members else None
    found = Programs(work.algorithm, work.config, data(work), placements.of(0, many), LOG_EVERY)
    found.compile(many.hparams if many else work.hparams)
    return found


def trainer(programs: Programs, learning: bool = True) -> Callable[[int], float]:
    """A function that trains (all members, if any) for n steps in the engine's chunks, and returns the seconds taken.

    If not yet `learning`, as a deep Q-network, a chunk comes first.
    """
    carry = programs.start()

    def run(steps: int) -> float:
        nonlocal carry
        began = time.perf_counter()
        for first in range(0, steps, CHUNK):
            carry, _ = programs.chunk(carry, 0, min(CHUNK, steps - first))
        return time.perf_counter() - began

    if not learning:
        run(CHUNK)
    return run
