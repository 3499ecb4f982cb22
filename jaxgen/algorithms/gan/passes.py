"""Gradients of both players of a GAN at the same state, from one pass of each net or from one for each player."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen import batching
from jaxgen.algorithms.gan.config import Config, HParams
from jaxgen.algorithms.gan.players import Images, Metrics, Params, State, discriminate, generate
from jaxgen.losses import adversarial
from jaxgen.nets.ops import spectral

SMALLEST_SLOPE = 2.0**-40
"""Least derivative of the discriminator's loss by a logit that its backward pass is started with; see `_shared`."""


class Draws(NamedTuple):
    """Everything random in one update, one row or key an image, each from the image's own key."""

    noise: Float[Array, "b k"]
    generator: Array
    real: Array
    fake: Array
    share: Float[Array, " b"]


def draw(key: Array, count: int, config: Config, axis_name: str | None) -> Draws:
    """`Draws` of images number 0, 1, ... of the whole batch, of which this device may hold a part."""
    of_use = jax.vmap(lambda key: batching.keys(key, count, axis_name))
    noise, generator, real, fake, share = of_use(jax.random.split(key, 5))
    normal = jax.vmap(lambda k: jax.random.normal(k, (config.noise_size,)))
    return Draws(normal(noise), generator, real, fake, jax.vmap(jax.random.uniform)(share))


def losses_of(real: Array, fake: Array, hparams: HParams, config: Config) -> adversarial.Losses:
    targets = adversarial.Targets(hparams.real_target, hparams.fake_target, hparams.generator_target)
    return adversarial.LOSSES[config.loss](real, fake, targets)


def metrics_of(real: Array, fake: Array, hparams: HParams, config: Config) -> Metrics:
    losses = losses_of(real, fake, hparams, config)
    return {
        "generator_loss": losses.generator.mean(),
        "discriminator_loss": losses.real.mean() + losses.fake.mean(),
        "real_logit": real.mean(),
        "fake_logit": fake.mean(),
    }


def _joined(one: Any, other: Any) -> Any:
    return None if one is None else jnp.concatenate([one, other])


def _shared(state: State, real: Images, classes: Any, draws: Draws, hparams: HParams, config: Config) -> Any:
    """Gradients of both players from one pass of each net: ({generator, discriminator}, metrics, images, vectors).

    D mixes no examples, so the slope of its loss by generated image i is that of its logit times a number, c_i, and
    the slope the generator needs is the same times another, g_i: the former is rescaled by g_i / c_i, exact to
    rounding. Where a loss is flat (c_i = 0, hinge) the pass starts from 2^-40, far below the rounding of the rest.
    """
    fake, pull_generator = jax.vjp(
        lambda params: generate(params, draws.noise, classes, draws.generator, config), state.params["generator"]
    )
    keys, classes = _joined(draws.real, draws.fake), _joined(classes, classes)
    logits, pull_discriminator, vectors = jax.vjp(
        lambda params, fake: discriminate(params, state.spectral, (real, fake), classes, keys, config),
        state.params["discriminator"],
        fake,
        has_aux=True,
    )
    real_logits, fake_logits = jnp.split(logits, 2)

    def sums(logits: Array) -> tuple[Array, Array]:
        real, fake = jnp.split(logits, 2)
        losses = losses_of(real, fake, hparams, config)
        return losses.real.sum() + losses.fake.sum(), losses.generator.sum()

    count = real.shape[0]
    slopes, generator_slopes = (jax.grad(lambda x, n=n: sums(x)[n] / count)(logits) for n in range(2))
    slopes = jnp.where(jnp.abs(slopes) < SMALLEST_SLOPE, SMALLEST_SLOPE, slopes)
    discriminator_grads, image_slopes = pull_discriminator(slopes)
    (generator_grads,) = pull_generator(image_slopes * (generator_slopes / slopes)[count:, None, None, None])
    grads = {"generator": generator_grads, "discriminator": discriminator_grads}
    return grads, metrics_of(real_logits, fake_logits, hparams, config), fake, vectors


def critic(
    state: State, real: Images, fake: Images, classes: Any, draws: Draws, hparams: HParams, config: Config
) -> tuple[Params, Metrics, spectral.Vectors]:
    """Gradients of the discriminator alone, from one pass over real and generated images."""
    keys, classes = _joined(draws.real, draws.fake), _joined(classes, classes)

    def loss(params: Params) -> tuple[Array, Any]:
        logits, vectors = discriminate(params, state.spectral, (real, fake), classes, keys, config)
        real_logits, fake_logits = jnp.split(logits, 2)
        metrics = metrics_of(real_logits, fake_logits, hparams, config)
        return metrics["discriminator_loss"], (metrics, vectors)

    grads, (metrics, vectors) = jax.grad(loss, has_aux=True)(state.params["discriminator"])
    return grads, metrics, vectors


def player(state: State, classes: Any, draws: Draws, hparams: HParams, config: Config) -> tuple[Params, Metrics]:
    """Gradients of the generator alone, through a discriminator that looks at generated images only."""

    def loss(params: Params) -> tuple[Array, Metrics]:
        fake = generate(params, draws.noise, classes, draws.generator, config)
        logits, _ = discriminate(state.params["discriminator"], state.spectral, fake, classes, draws.fake, config)
        losses = losses_of(logits, logits, hparams, config)
        return losses.generator.mean(), {"generator_loss": losses.generator.mean()}

    return jax.grad(loss, has_aux=True)(state.params["generator"])


def penalty_of(
    state: State, real: Images, fake: Images, classes: Any, draws: Draws, hparams: HParams, config: Config
) -> tuple[Params, Float[Array, ""]]:
    """Gradients and value of the weighted penalty on every `penalty_every`-th image."""
    keys = jax.random.clone(draws.real)  # on purpose the masks and changes of the pass over real images once more
    real, fake, keys, share = (x[:: config.penalty_every] for x in (real, fake, keys, draws.share))
    classes = None if classes is None else classes[:: config.penalty_every]

    def loss(params: Params) -> Float[Array, ""]:
        def logits(images: Images) -> Float[Array, " b"]:
            return discriminate(params, state.spectral, images, classes, keys, config)[0]

        if config.penalty == "r1":
            return hparams.penalty * adversarial.r1_penalty(logits, real).mean()
        return hparams.penalty * adversarial.gradient_penalty(logits, real, fake, share).mean()

    value, grads = jax.value_and_grad(loss)(state.params["discriminator"])
    return grads, value


def penalized(grads: Params, metrics: Metrics, penalty: tuple[Params, Array]) -> tuple[Params, Metrics]:
    return jax.tree.map(jnp.add, grads, penalty[0]), {**metrics, "penalty": penalty[1]}


def gradients(
    state: State, real: Images, classes: Any, draws: Draws, hparams: HParams, config: Config
) -> tuple[dict[str, Params], Metrics, spectral.Vectors]:
    """Both players' gradients at the same state, with the metrics and the singular vectors to go on with."""
    if config.shared_passes:
        grads, metrics, fake, vectors = _shared(state, real, classes, draws, hparams, config)
    else:
        fake = generate(state.params["generator"], draws.noise, classes, draws.generator, config)
        discriminator_grads, metrics, vectors = critic(state, real, fake, classes, draws, hparams, config)
        grads = {"generator": player(state, classes, draws, hparams, config)[0], "discriminator": discriminator_grads}
    if config.penalty != "none":
        penalty = penalty_of(state, real, fake, classes, draws, hparams, config)
        grads["discriminator"], metrics = penalized(grads["discriminator"], metrics, penalty)
    return grads, metrics, vectors
