"""Objectives of the variational autoencoder and their terms: one value per image, in nats."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen import distributions
from jaxgen.algorithms.vae.config import Config, HParams
from jaxgen.losses import bounds
from jaxgen.nets import autoencoders, flowers
from jaxgen.nets.q import ACTIVATIONS

MID_GRAY = 0.5
"""Pixel value in [0, 1] for a net output of 0, where outputs are means."""

Params = Any
Metrics = dict[str, Float[Array, ""]]


class ElboTerms(NamedTuple):
    """Terms of the objective, in nats per image."""

    loss: Float[Array, " b"]
    """The quantity to minimize."""
    distortion: Float[Array, " b"]
    """-log p(x|z), averaged over samples."""
    rate: Float[Array, " b"]
    """KL(q(z|x) || p(z)): in closed form or estimated, depending on the objective."""


def encoder(config: Config) -> Any:
    """Flax encoder: pixels (B, H, W, C) to posterior parameters (B, n)."""
    outputs, dtype = distributions.posterior_outputs(config.posterior, config.latent_size), jnp.dtype(config.dtype)
    match config.net:
        case "conv":
            return autoencoders.ConvEncoder(outputs, config.channels, dtype)
        case "flower":
            return flowers.FlowerEncoder(outputs, dtype)
    return autoencoders.DenseEncoder(outputs, config.widths, dtype, ACTIVATIONS[config.activation])


def decoder(config: Config) -> Any:
    """Flax decoder: codes (B, latent_size) to likelihood parameters (B, H, W, C)."""
    dtype = jnp.dtype(config.dtype)
    match config.net:
        case "conv":
            return autoencoders.ConvDecoder(config.image_shape, config.channels[::-1], dtype)
        case "flower":
            return flowers.FlowerDecoder(config.image_shape, dtype)
    return autoencoders.DenseDecoder(config.image_shape, config.widths[::-1], dtype, ACTIVATIONS[config.activation])


def posterior_params(params: Params, x: Float[Array, "b h w c"], config: Config) -> Float[Array, "b n"]:
    """Parameters of q(z|x), for `distributions.posterior`."""
    return encoder(config).apply({"params": params["encoder"]}, x)


def decoder_output(params: Params, codes: Float[Array, "b d"], config: Config) -> Float[Array, "b h w c"]:
    """Parameters of p(x|z), for `distributions.likelihood`; a fresh net, with outputs near 0, gives mid-gray.

    Bernoulli: logits, the net's outputs. Otherwise means: mid-gray plus the net's outputs.
    """
    outputs = decoder(config).apply({"params": params["decoder"]}, codes)
    return outputs if config.likelihood == "bernoulli" else MID_GRAY + outputs


class Draws(NamedTuple):
    """k codes per image with their log densities."""

    codes: Float[Array, "b k d"]
    log_q: Float[Array, "b k"]
    log_prior: Float[Array, "b k"]


def draw_codes(numbers: Float[Array, "b n"], keys: Array, samples: int, config: Config) -> Draws:
    """`samples` codes from each image's posterior."""

    def draw(numbers: Array, noise: Array) -> Draws:
        code, log_q = distributions.reparameterized(distributions.posterior(config.posterior, numbers), noise)
        return Draws(code, log_q, distributions.prior(config.latent_size).log_prob(code))

    noise = jax.vmap(lambda key: jax.random.normal(key, (samples, config.latent_size)))(keys)
    return jax.vmap(jax.vmap(draw, (None, 0)))(numbers, noise)


def distortions(
    params: Params, codes: Float[Array, "b k d"], x: Float[Array, "b h w c"], hparams: HParams, config: Config
) -> Float[Array, "b k"]:
    """-log p(x|z) for each code of each image."""
    count, samples, _ = codes.shape
    outputs = decoder_output(params, codes.reshape(count * samples, -1), config)
    targets = jnp.broadcast_to(x[:, None], (count, samples, *x.shape[1:])).reshape(outputs.shape)
    scale = jnp.exp(params["log_scale"]) if config.learn_scale else hparams.scale
    return distributions.negative_log_likelihood(config.likelihood, outputs, targets, scale).reshape(count, samples)


def terms(
    params: Params,
    x: Float[Array, "b h w c"],
    keys: Array,
    beta: Float[Array, ""] | float,
    hparams: HParams,
    config: Config,
    axis_name: str | None = None,
) -> tuple[ElboTerms, Metrics]:
    """The objective for each image, using one of `keys` each, and objective-specific metrics."""
    numbers = posterior_params(params, x, config)
    draws = draw_codes(numbers, keys, config.samples, config)
    match config.objective:
        case "iwae" | "dreg":
            return _importance_terms(params, x, numbers, draws, beta, hparams, config), {}
        case "tc":
            return _tc_terms(params, x, numbers, draws, beta, hparams, config, axis_name)
    distortion = distortions(params, draws.codes, x, hparams, config).mean(axis=1)
    if config.rate == "sampled":
        rate = penalty = (draws.log_q - draws.log_prior).mean(axis=1)
    elif config.rate == "free_bits":
        kls = jax.vmap(lambda n: distributions.marginal_kls(config.posterior, n))(numbers)
        rate, penalty = kls.sum(axis=1), bounds.free_bits(kls, hparams.free_bits, axis_name)
    else:
        rate = penalty = jax.vmap(lambda n: distributions.kl(config.posterior, n))(numbers)
    return ElboTerms(distortion + beta * penalty, distortion, rate), {}


def _importance_terms(
    params: Params, x: Array, numbers: Array, draws: Draws, beta: Array | float, hparams: HParams, config: Config
) -> ElboTerms:
    codes, log_q, zeros = draws.codes, draws.log_q, jnp.zeros(draws.log_q.shape)
    if config.objective == "dreg":
        codes, zeros = bounds.doubly_reparameterized(codes)
        log_q = _log_density(jax.lax.stop_gradient(numbers), codes, config)
    log_prior = jax.vmap(jax.vmap(distributions.prior(config.latent_size).log_prob))(codes)
    distortion = distortions(params, codes, x, hparams, config)
    log_weights = -distortion - beta * (log_q - log_prior) + zeros
    rate = (log_q - log_prior).mean(axis=1)
    return ElboTerms(-bounds.importance_weighted(log_weights), distortion.mean(axis=1), rate)


def _log_density(numbers: Float[Array, "b n"], codes: Float[Array, "b k d"], config: Config) -> Float[Array, "b k"]:
    """log q(z|x) of given codes."""
    return jax.vmap(lambda n, z: jax.vmap(distributions.posterior(config.posterior, n).log_prob)(z))(numbers, codes)


def _tc_terms(
    params: Params,
    x: Array,
    numbers: Array,
    draws: Draws,
    beta: Array | float,
    hparams: HParams,
    config: Config,
    axis_name: str | None,
) -> tuple[ElboTerms, Metrics]:
    place = jnp.arange(len(x))
    if axis_name is not None:
        place += jax.lax.axis_index(axis_name) * len(x)
        numbers = jax.lax.all_gather(numbers, axis_name, tiled=True)
    own = place[:, None] == jnp.arange(len(numbers))[None]
    pairs = jax.vmap(lambda z: jax.vmap(lambda n: distributions.marginal_posteriors(n).log_prob(z))(numbers))
    log_pairs = pairs(draws.codes[:, 0])
    parts = bounds.decompose(log_pairs, own, draws.log_prior[:, 0], config.tc_estimator, config.examples)
    distortion = distortions(params, draws.codes, x, hparams, config)[:, 0]
    penalty = parts.mutual_information + beta * parts.total_correlation + parts.dimension_wise
    metrics = {name: part.mean() for name, part in parts._asdict().items()}
    return ElboTerms(distortion + penalty, distortion, draws.log_q[:, 0] - draws.log_prior[:, 0]), metrics
