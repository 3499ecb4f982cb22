"""jaxgen's own steps, evaluations and likelihoods: the compiled float32 programs against float64.

At realistic sizes and with more than 32,768 rows. The parameters are random, not trained, and the optimizer's epsilon
is large: otherwise dividing by the size of a gradient would turn the rounding of the smallest ones into a difference of
a whole step. Epsilon is an argument, so the program is the one used in training.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import optim
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.doctor.checks import Check, difference
from jaxgen.doctor.precise import in_float64
from jaxgen.evaluation import likelihood

MANY = 32_769
"""Rows, one more than defects have needed."""
EPS = 1e-2
SMALL = (8, 8, 1)
"""Shape of images in checks with many rows."""
FINE, COARSE = 2e-4, 5e-2
"""Tolerances. On jax 0.10.1 to 0.12 the nets for 28x28 and the DQN were off by at most 1.3e-5; the IWAE by 2.5e-4 (its
loss is of sums of exponentials) and the GAN of many images by 1.3e-4 (means of gradients that nearly cancel), which
have ten times that; the flower nets by 1.9e-2, for their fast convolutions trade digits for speed. A wrong program was
off by 1e-3 to 1."""


def compiled(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args) as compiled by XLA."""
    return jax.jit(function)(*args)


def error(function: Callable[..., Any], *args: Any) -> float:
    """`difference` between the compiled function and the one in float64."""
    return difference(jax.device_get(compiled(function, *args)), in_float64(function, *args))


def _images(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Random bytes, half of them 0 as in most of MNIST."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, *shape), dtype=np.uint8) * random.integers(0, 2, (count, *shape), np.uint8)


def _filled(tree: Any) -> Any:
    """Arrays of these shapes like those of an initializer, without compiling one."""
    random = np.random.default_rng(0)

    def fill(leaf: Any) -> jax.Array:
        fan_in = np.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 400
        return jnp.asarray(random.normal(scale=fan_in**-0.5, size=leaf.shape), leaf.dtype)

    return jax.tree.map(fill, tree)


def _state(algorithm: Any, hparams: Any, config: Any) -> Any:
    shapes = jax.eval_shape(partial(algorithm.init, config=config), jax.random.key(0), hparams)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return zeros._replace(params=_filled(shapes.params))


def _batch(algorithm: Any, count: int, shape: tuple[int, ...]) -> Any:
    return algorithm.Batch(jnp.asarray(_images(count, shape)), jnp.zeros(count, jnp.int32))


def step(algorithm: Any, config: Any) -> float:
    """Gradients, optimizer and metrics of a training step."""
    hparams = _hparams(algorithm)
    args = _state(algorithm, hparams, config), _batch(algorithm, config.batch_size, config.image_shape)
    return error(partial(algorithm.step, config=config), *args, jax.random.key(1), hparams)


def _hparams(algorithm: Any) -> Any:
    if algorithm is gan:
        player = optim.HParams(learning_rate=1e-4, eps=EPS)
        return jax.tree.map(jnp.float32, gan.HParams(player, player, real_target=0.95))
    return jax.tree.map(jnp.float32, algorithm.HParams(eps=EPS))


def evaluation(algorithm: Any, config: Any, count: int) -> float:
    """Metrics of an evaluation."""
    hparams = _hparams(algorithm)
    args = _state(algorithm, hparams, config), _batch(algorithm, count, config.image_shape)
    return error(partial(algorithm.evaluate, config=config), *args, jax.random.key(1), hparams)


def log_likelihood(config: vae.Config, count: int, samples: int) -> float:
    """Importance-sampled log p(x) of each image."""
    hparams = _hparams(vae)
    params = _state(vae, hparams, config).params

    def estimate(params: Any, images: jax.Array, key: jax.Array, hparams: Any) -> jax.Array:
        return likelihood.log_likelihood(params, images, key, samples, hparams, config).blocks

    return error(estimate, params, jnp.asarray(_images(count, config.image_shape)), jax.random.key(1), hparams)


def _dqn_state(key: jax.Array, hparams: Any, config: dqn.Config) -> dqn.State:
    return dqn.init(key, hparams, config)


def dqn_steps() -> float:
    """1,000 environment steps to begin with and three training steps of a DQN."""
    config, hparams = dqn.Config(), _hparams(dqn)

    def steps(key: jax.Array, hparams: Any) -> Any:
        state = _dqn_state(key, hparams, config)
        keys = jax.random.split(key, 3)
        return jax.lax.scan(lambda state, key: dqn.step(state, dqn.Batch(), key, hparams, config), state, keys)

    return error(steps, jax.random.key(0), hparams)


def dqn_evaluation() -> float:
    """Returns of greedy episodes."""
    config, hparams = dqn.Config(), _hparams(dqn)
    params = _filled(jax.eval_shape(partial(dqn.init, config=config), jax.random.key(0), hparams).params)
    return error(lambda params, key: dqn.greedy_returns(params, key, config, 32)[0], params, jax.random.key(1))


def dqn_loss(count: int) -> float:
    """Loss of each of many transitions, and the gradient of its mean."""
    config, hparams = dqn.Config(widths=(20, 20)), _hparams(dqn)
    shapes = jax.eval_shape(partial(dqn.init, config=config), jax.random.key(0), hparams)
    random = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)  # noqa: E731
    batch = dqn.replay.Batch(
        observation=normal(count, 4),
        action=jnp.asarray(random.integers(0, 2, count), jnp.int32),
        value=jnp.ones(count),
        discount=0.99 * jnp.ones(count),
        next_observation=normal(count, 4),
    )

    def loss(params: Any, batch: Any) -> Any:
        following = dqn.targets(params, params, batch, config)

        def mean(params: Any) -> Any:
            losses, errors = dqn.loss(params, following, batch, config)
            return losses.mean(), (losses, errors)

        return jax.value_and_grad(mean, has_aux=True)(params)

    return error(loss, _filled(shapes.params), batch)


_one_sample = partial(vae.Config, rate="sampled", optimizer="adamax")
DENSE = autoencoder.Config()
CONVOLUTIONAL = autoencoder.Config(net="conv", optimizer="rmsprop", batch_size=64)
MLP = vae.Config(inputs="binarized")
DIGITS = _one_sample(net="conv", latent_size=2, batch_size=32)
FLOWERS = _one_sample(net="flower", image_shape=(80, 80, 3), latent_size=10, posterior="full", batch_size=20)
IWAE = vae.Config(
    latent_size=50,
    widths=(200, 200),
    activation="tanh",
    inputs="binarized",
    objective="iwae",
    samples=50,
    batch_size=20,
)
FULL = _one_sample(image_shape=SMALL, latent_size=3, widths=(32,), posterior="full", batch_size=MANY)
LOGISTIC = vae.Config(image_shape=SMALL, latent_size=2, widths=(32,), likelihood="logistic", batch_size=MANY)
MANY_GAN = gan.Config(image_shape=SMALL, batch_size=MANY)
FLOWER_GAN = gan.Config(image_shape=(80, 80, 3), net="flower", dropout=0.3, batch_size=32)


def _check(name: str, measure: Callable[[], float], tolerance: float = FINE, slow: bool = False) -> Check:
    function = measure.func if isinstance(measure, partial) else measure
    return Check(name, f"{(function.__doc__ or '').rstrip('.')}, float64", measure, tolerance, slow=slow)


CHECKS = (  # the slowest first
    _check("flower GAN: step", partial(step, gan, FLOWER_GAN), COARSE, slow=True),
    _check("flower VAE: step", partial(step, vae, FLOWERS), COARSE),
    _check("flower GAN: evaluation", partial(evaluation, gan, FLOWER_GAN, 32)),
    _check("conv VAE: step", partial(step, vae, DIGITS)),
    _check("conv AE: step", partial(step, autoencoder, CONVOLUTIONAL)),
    _check("DQN: steps", dqn_steps),
    _check("IWAE: step", partial(step, vae, IWAE), 5e-3, slow=True),
    _check("VAE: step", partial(step, vae, MLP)),
    _check("GAN: step", partial(step, gan, gan.Config())),
    _check("AE: step", partial(step, autoencoder, DENSE)),
    _check(
        "AE: step, 32,769 images", partial(step, autoencoder, autoencoder.Config(image_shape=SMALL, batch_size=MANY))
    ),
    _check("VAE, full posterior: step, 32,769 images", partial(step, vae, FULL)),
    _check("VAE, logistic likelihood: step, 32,769 images", partial(step, vae, LOGISTIC), slow=True),
    _check("GAN: step, 32,769 images", partial(step, gan, MANY_GAN), 2e-3, slow=True),
    _check("DQN: loss, 32,769 transitions", partial(dqn_loss, MANY)),
    _check("AE: evaluation", partial(evaluation, autoencoder, DENSE, 2_000)),
    _check("conv AE: evaluation", partial(evaluation, autoencoder, CONVOLUTIONAL, 600), slow=True),
    _check("flower VAE: evaluation", partial(evaluation, vae, FLOWERS, 20), slow=True),
    _check("VAE: evaluation", partial(evaluation, vae, MLP, 2_000)),
    _check("VAE, full posterior: evaluation, 32,769 images", partial(evaluation, vae, FULL, MANY)),
    _check("GAN: evaluation", partial(evaluation, gan, gan.Config(), 500)),
    _check("DQN: evaluation", dqn_evaluation),
    _check("VAE: log likelihood", partial(log_likelihood, MLP, 20, 500)),
    _check("VAE, full posterior: log likelihood, 100,000 codes", partial(log_likelihood, FULL, 200, 500)),
)
