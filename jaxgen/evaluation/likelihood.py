"""log p(x) of a variational autoencoder by importance sampling, in memory that does not depend on the samples.

log p(x) >= E[log mean_k p(x, z_k) / q(z_k | x)], z_k ~ q(z | x), which becomes equal as k grows.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8

from jaxgen.algorithms import examples, vae
from jaxgen.algorithms.vae_objectives import distortions, draw_codes

IMAGES = 20
"""Images looked at at once."""
FLOATS = 800_000
"""Pixels decoded at once, which decides how many codes of an image are."""


class LogLikelihood(NamedTuple):
    """Estimates for each image, in nats."""

    estimate: Float[Array, " n"]
    """log mean_k w_k."""
    variance: Float[Array, " n"]
    """Of the estimate over the draws, to first order: that of the mean weight over its square."""
    effective_samples: Float[Array, " n"]
    """(sum w)^2 / sum w^2, between 1 and k."""


class Sums(NamedTuple):
    """Sums over weights seen so far, relative to the largest of them."""

    largest: Float[Array, " b"]
    total: Float[Array, " b"]
    squares: Float[Array, " b"]


def nothing(count: int) -> Sums:
    """The sums before any weight."""
    return Sums(jnp.full(count, -jnp.inf), jnp.zeros(count), jnp.zeros(count))


def add(sums: Sums, log_weights: Float[Array, "b c"]) -> Sums:
    """The sums with c more weights of each image."""
    largest = jnp.maximum(sums.largest, log_weights.max(axis=1))
    shrink, weights = jnp.exp(sums.largest - largest), jnp.exp(log_weights - largest[:, None])
    return Sums(
        largest,
        sums.total * shrink + weights.sum(axis=1),
        sums.squares * shrink**2 + (weights**2).sum(axis=1),
    )


def summarise(sums: Sums, samples: int) -> LogLikelihood:
    """The estimates after `samples` weights."""
    effective = sums.total**2 / sums.squares
    return LogLikelihood(sums.largest + jnp.log(sums.total) - math.log(samples), 1 / effective - 1 / samples, effective)


def log_likelihood(
    params: Any, images: UInt8[Array, "n h w c"], key: Array, samples: int, hp: vae.HParams, cfg: vae.Config
) -> LogLikelihood:
    """Estimates with `samples` codes for each image; binarised pixels are drawn once an image."""
    pixel_key, code_key = jax.random.split(key)
    chunk = max(1, FLOATS // math.prod(cfg.image_shape) // IMAGES)

    def of_batch(split: tuple[Array, Array, Array]) -> LogLikelihood:
        images, pixel_keys, code_keys = split
        x = vae.pixels(images, pixel_keys, cfg)
        numbers = vae.posterior_numbers(params, x, cfg)

        def more(sums: Sums, number: Array) -> tuple[Sums, None]:
            draws = draw_codes(numbers, jax.vmap(jax.random.fold_in, (0, None))(code_keys, number), chunk, cfg)
            log_weights = draws.log_prior - draws.log_q - distortions(params, draws.codes, x, hp, cfg)
            wanted = jnp.broadcast_to(number * chunk + jnp.arange(chunk) < samples, log_weights.shape)
            return add(sums, jnp.where(wanted, log_weights, -jnp.inf)), None

        sums, _ = lax.scan(more, nothing(len(images)), jnp.arange(-(-samples // chunk)))
        return summarise(sums, samples)

    split = (images, examples.keys(pixel_key, len(images)), examples.keys(code_key, len(images)))
    return examples.map_batches(of_batch, split, IMAGES)
