"""Both GAN players' gradients from one pass of each net: faster, and equal to separate passes up to rounding."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen.algorithms.gan.config import Config, HParams
from jaxgen.algorithms.gan.players import (
    Draws,
    Images,
    Params,
    State,
    discriminate,
    generate,
    joined,
    losses_of,
    metrics_of,
)
from jaxgen.contract import Metrics
from jaxgen.nets.ops import spectral

SMALLEST_SLOPE = 2.0**-40
"""Smallest d loss / d logit that the discriminator's backward pass starts from; see `gradients`."""


def gradients(
    state: State, real: Images, classes: Any, draws: Draws, hparams: HParams, config: Config
) -> tuple[dict[str, Params], Metrics, Images, spectral.Vectors]:
    """Gradients of both players, metrics, generated images and singular vectors, from one pass of each net.

    D mixes no examples, so its loss's gradient at generated image i is its logit's gradient times a scalar, c_i, and
    the generator needs the logit's gradient times another scalar, g_i. Rescaling by g_i / c_i is exact to rounding.
    Where a loss is flat (c_i = 0, hinge), the pass starts from 2^-40, far below the rounding of the rest.
    """
    fake, pull_generator = jax.vjp(
        lambda params: generate(params, draws.noise, classes, draws.generator, config), state.params["generator"]
    )
    keys, classes = joined(draws.real, draws.fake), joined(classes, classes)
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
