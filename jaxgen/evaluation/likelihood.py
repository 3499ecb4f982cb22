"""log p(x) of a variational autoencoder by importance sampling, in memory independent of the number of samples.

log p(x) >= E[log mean_k w_k], w_k = p(x, z_k) / q(z_k | x), z_k ~ q(z | x), approaching equality as k grows: minus the
estimate is an upper bound on -log p(x), in expectation. The codes are drawn in `BLOCKS` equal blocks. Leaving out one
at a time (the jackknife) gives the estimate's variance and its bias to first order, even where a few weights
dominate the sum; the usual variance of a mean of weights is then several times too small.
"""

import math
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8
from scipy import special

from jaxgen import batching
from jaxgen.algorithms import vae
from jaxgen.algorithms.vae.objectives import distortions, draw_codes
from jaxgen.errors import refuse

IMAGES = 20
"""Images processed at once."""
FLOATS = 800_000
"""Pixels decoded at once, which determines the codes decoded at once per image."""
BLOCKS = 4
"""Blocks of codes, independent of each other."""


class LogLikelihood(NamedTuple):
    """Estimates for each image from K codes."""

    blocks: Float[Array, "n blocks"]
    """log mean_k w_k over the K / `BLOCKS` codes of each block, in nats."""
    effective_samples: Float[Array, " n"]
    """(sum_k w_k)^2 / sum_k w_k^2 of all K, between 1 and K."""


class Summary(NamedTuple):
    """-log p(x) of each image, in nats, from K codes."""

    value: np.ndarray
    """-log mean_k w_k, an upper bound in expectation."""
    half: np.ndarray
    """The same from K / 2 codes, mean over the pairs of blocks."""
    quarter: np.ndarray
    """The same from K / 4 codes, mean over the blocks."""
    corrected: np.ndarray
    """The value less the jackknife's estimate of its bias (to order 1 / K); no bound."""
    variance: np.ndarray
    """Jackknife variance of the value over the draws; trust its mean over many images, not a single one."""


class Sums(NamedTuple):
    """Sums over the weights so far, relative to the largest of them."""

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


def effective_samples(sums: Sums) -> Float[Array, " b"]:
    """(sum w)^2 / sum w^2 over all blocks, which are the first axis of `sums`."""
    shrink = jnp.exp(sums.largest - sums.largest.max(axis=0, keepdims=True))
    return (sums.total * shrink).sum(axis=0) ** 2 / (sums.squares * shrink**2).sum(axis=0)


def check_samples(samples: int) -> None:
    """Refuse a number of codes that does not split into equal blocks."""
    if samples < BLOCKS or samples % BLOCKS:
        refuse("samples", samples, f"a multiple of {BLOCKS}, at least {BLOCKS}")


def log_likelihood(
    params: Any, images: UInt8[Array, "n h w c"], key: Array, samples: int, hparams: vae.HParams, config: vae.Config
) -> LogLikelihood:
    """Estimates with `samples` codes for each image; binarized pixels are drawn once per image.

    Raises `SettingError` unless `samples` is a multiple of `BLOCKS`.
    """
    check_samples(samples)
    pixel_key, code_key = jax.random.split(key)
    in_block = samples // BLOCKS
    chunks = -(-in_block // max(1, FLOATS // math.prod(config.image_shape) // IMAGES))
    chunk = -(-in_block // chunks)

    def of_batch(split: tuple[Array, Array, Array]) -> LogLikelihood:
        images, pixel_keys, code_keys = split
        x = vae.pixels(images, pixel_keys, config)
        numbers = vae.posterior_params(params, x, config)

        def of_block(block: Array) -> Sums:
            def more(sums: Sums, number: Array) -> tuple[Sums, None]:
                keys = jax.vmap(jax.random.fold_in, (0, None))(code_keys, block * chunks + number)
                draws = draw_codes(numbers, keys, chunk, config)
                log_weights = draws.log_prior - draws.log_q - distortions(params, draws.codes, x, hparams, config)
                wanted = jnp.broadcast_to(number * chunk + jnp.arange(chunk) < in_block, log_weights.shape)
                return add(sums, jnp.where(wanted, log_weights, -jnp.inf)), None

            return lax.scan(more, nothing(len(images)), jnp.arange(chunks))[0]

        sums = lax.map(of_block, jnp.arange(BLOCKS))
        blocks = sums.largest + jnp.log(sums.total) - math.log(in_block)
        return LogLikelihood(blocks.T, effective_samples(sums))

    split = (images, batching.keys(pixel_key, len(images)), batching.keys(code_key, len(images)))
    return batching.map_batches(of_batch, split, IMAGES)


def summarize(blocks: Float[np.ndarray, "n blocks"]) -> Summary:
    """-log p(x) with its error and bias, from the estimates of log p(x) in each block."""
    blocks = np.asarray(blocks, np.float64)

    def from_blocks(count: int) -> np.ndarray:
        """Estimates of log p(x) from each choice of `count` blocks, (n, choices)."""
        chosen = np.array(list(combinations(range(BLOCKS), count)))
        return special.logsumexp(blocks[:, chosen], axis=2) - math.log(count)

    value, without_one = from_blocks(BLOCKS)[:, 0], from_blocks(BLOCKS - 1)
    return Summary(
        value=-value,
        half=-from_blocks(BLOCKS // 2).mean(axis=1),
        quarter=-from_blocks(BLOCKS // 4).mean(axis=1),
        corrected=-(BLOCKS * value - (BLOCKS - 1) * without_one.mean(axis=1)),
        variance=(BLOCKS - 1) * without_one.var(axis=1),
    )


def mean_over_images(values: np.ndarray) -> dict[str, float]:
    """The mean over images with its standard error."""
    values = np.asarray(values, np.float64)
    return {"mean": float(values.mean()), "standard_error": float(values.std(ddof=1) / np.sqrt(len(values)))}


def paired_difference(values: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """The mean of values - others for two models on the same images, with its standard error over images.

    Images that are hard for both cancel, so the error is smaller than that of either mean. It includes the error of the
    draws, but not the variation between training seeds.
    """
    if np.shape(values) != np.shape(others):
        raise ValueError(f"values of the same images are needed, got shapes {np.shape(values)} and {np.shape(others)}")
    return mean_over_images(np.asarray(values, np.float64) - np.asarray(others, np.float64))
