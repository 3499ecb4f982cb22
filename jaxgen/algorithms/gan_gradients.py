"""Gradients of both players of a GAN at the same state, from one pass of each net or from one for each player."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen import adversarial
from jaxgen.algorithms import examples
from jaxgen.algorithms.gan_players import Images, Metrics, Params, State, discriminate, generate
from jaxgen.algorithms.gan_settings import Config, HParams
from jaxgen.nets import spectral

SMALLEST_SLOPE = 2.0**-40
"""Least derivative of the discriminator's loss by a logit that its backward pass is started with; see `_shared`."""


class Draws(NamedTuple):
    """Everything random in one update, one row or key an image, each from the image's own key."""

    noise: Float[Array, "b k"]
    generator: Array
    real: Array
    fake: Array
    share: Float[Array, " b"]


def draw(key: Array, count: int, cfg: Config, axis_name: str | None) -> Draws:
    """`Draws` of images number 0, 1, ... of the whole batch, of which this device may hold a part."""
    of_use = jax.vmap(lambda key: examples.keys(key, count, axis_name))
    noise, generator, real, fake, share = of_use(jax.random.split(key, 5))
    normal = jax.vmap(lambda k: jax.random.normal(k, (cfg.noise_size,)))
    return Draws(normal(noise), generator, real, fake, jax.vmap(jax.random.uniform)(share))


def losses_of(real: Array, fake: Array, hp: HParams, cfg: Config) -> adversarial.Losses:
    targets = adversarial.Targets(hp.real_target, hp.fake_target, hp.generator_target)
    return adversarial.LOSSES[cfg.loss](real, fake, targets)


def metrics_of(real: Array, fake: Array, hp: HParams, cfg: Config) -> Metrics:
    losses = losses_of(real, fake, hp, cfg)
    return {
        "generator_loss": losses.generator.mean(),
        "discriminator_loss": losses.real.mean() + losses.fake.mean(),
        "real_logit": real.mean(),
        "fake_logit": fake.mean(),
    }


def _joined(one: Any, other: Any) -> Any:
    return None if one is None else jnp.concatenate([one, other])


def _shared(state: State, real: Images, classes: Any, draws: Draws, hp: HParams, cfg: Config) -> Any:
    """Gradients of both players from one pass of each net: ({generator, discriminator}, metrics, images, vectors).

    D mixes no examples, so the slope of its loss by generated image i is that of its logit times a number, c_i, and
    the slope the generator needs is the same times another, g_i: the former is rescaled by g_i / c_i, exact to
    rounding. Where a loss is flat (c_i = 0, hinge) the pass starts from 2^-40, far below the rounding of the rest.
    """
    fake, pull_generator = jax.vjp(
        lambda params: generate(params, draws.noise, classes, draws.generator, cfg), state.params["generator"]
    )
    keys, classes = _joined(draws.real, draws.fake), _joined(classes, classes)
    logits, pull_discriminator, vectors = jax.vjp(
        lambda params, fake: discriminate(params, state.spectral, (real, fake), classes, keys, cfg),
        state.params["discriminator"],
        fake,
        has_aux=True,
    )
    real_logits, fake_logits = jnp.split(logits, 2)

    def sums(logits: Array) -> tuple[Array, Array]:
        real, fake = jnp.split(logits, 2)
        losses = losses_of(real, fake, hp, cfg)
        return losses.real.sum() + losses.fake.sum(), losses.generator.sum()

    count = real.shape[0]
    slopes, generator_slopes = (jax.grad(lambda x, n=n: sums(x)[n] / count)(logits) for n in range(2))
    slopes = jnp.where(jnp.abs(slopes) < SMALLEST_SLOPE, SMALLEST_SLOPE, slopes)
    discriminator_grads, image_slopes = pull_discriminator(slopes)
    (generator_grads,) = pull_generator(image_slopes * (generator_slopes / slopes)[count:, None, None, None])
    grads = {"generator": generator_grads, "discriminator": discriminator_grads}
    return grads, metrics_of(real_logits, fake_logits, hp, cfg), fake, vectors


def critic(
    state: State, real: Images, fake: Images, classes: Any, draws: Draws, hp: HParams, cfg: Config
) -> tuple[Params, Metrics, spectral.Vectors]:
    """Gradients of the discriminator alone, from one pass over real and generated images."""
    keys, classes = _joined(draws.real, draws.fake), _joined(classes, classes)

    def loss(params: Params) -> tuple[Array, Any]:
        logits, vectors = discriminate(params, state.spectral, (real, fake), classes, keys, cfg)
        real_logits, fake_logits = jnp.split(logits, 2)
        metrics = metrics_of(real_logits, fake_logits, hp, cfg)
        return metrics["discriminator_loss"], (metrics, vectors)

    grads, (metrics, vectors) = jax.grad(loss, has_aux=True)(state.params["discriminator"])
    return grads, metrics, vectors


def player(state: State, classes: Any, draws: Draws, hp: HParams, cfg: Config) -> tuple[Params, Metrics]:
    """Gradients of the generator alone, through a discriminator that looks at generated images only."""

    def loss(params: Params) -> tuple[Array, Metrics]:
        fake = generate(params, draws.noise, classes, draws.generator, cfg)
        logits, _ = discriminate(state.params["discriminator"], state.spectral, fake, classes, draws.fake, cfg)
        losses = losses_of(logits, logits, hp, cfg)
        return losses.generator.mean(), {"generator_loss": losses.generator.mean()}

    return jax.grad(loss, has_aux=True)(state.params["generator"])


def penalty_of(
    state: State, real: Images, fake: Images, classes: Any, draws: Draws, hp: HParams, cfg: Config
) -> tuple[Params, Float[Array, ""]]:
    """Gradients and value of the weighted penalty on every `penalty_every`-th image."""
    keys = jax.random.clone(draws.real)  # on purpose the masks and changes of the pass over real images once more
    real, fake, keys, share = (x[:: cfg.penalty_every] for x in (real, fake, keys, draws.share))
    classes = None if classes is None else classes[:: cfg.penalty_every]

    def loss(params: Params) -> Float[Array, ""]:
        def logits(images: Images) -> Float[Array, " b"]:
            return discriminate(params, state.spectral, images, classes, keys, cfg)[0]

        if cfg.penalty == "r1":
            return hp.penalty * adversarial.r1_penalty(logits, real).mean()
        return hp.penalty * adversarial.gradient_penalty(logits, real, fake, share).mean()

    value, grads = jax.value_and_grad(loss)(state.params["discriminator"])
    return grads, value


def penalised(grads: Params, metrics: Metrics, penalty: tuple[Params, Array]) -> tuple[Params, Metrics]:
    return jax.tree.map(jnp.add, grads, penalty[0]), {**metrics, "penalty": penalty[1]}


def gradients(
    state: State, real: Images, classes: Any, draws: Draws, hp: HParams, cfg: Config
) -> tuple[dict[str, Params], Metrics, spectral.Vectors]:
    """Both players' gradients at the same state, with the metrics and the singular vectors to go on with."""
    if cfg.shared_passes:
        grads, metrics, fake, vectors = _shared(state, real, classes, draws, hp, cfg)
    else:
        fake = generate(state.params["generator"], draws.noise, classes, draws.generator, cfg)
        discriminator_grads, metrics, vectors = critic(state, real, fake, classes, draws, hp, cfg)
        grads = {"generator": player(state, classes, draws, hp, cfg)[0], "discriminator": discriminator_grads}
    if cfg.penalty != "none":
        penalty = penalty_of(state, real, fake, classes, draws, hp, cfg)
        grads["discriminator"], metrics = penalised(grads["discriminator"], metrics, penalty)
    return grads, metrics, vectors
