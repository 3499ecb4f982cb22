"""Variational autoencoder: maximize E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z)) over both nets, or a tighter bound.

Kingma & Welling, Auto-encoding variational Bayes, 2013. The negative reconstruction term is the distortion, the KL the
rate, both in nats per image. Distributions are in `jaxgen.distributions`, bounds in `jaxgen.losses.bounds`.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from jaxgen import batching, collectives, distributions, optim
from jaxgen.algorithms.vae.config import Config as Config
from jaxgen.algorithms.vae.config import HParams as HParams
from jaxgen.algorithms.vae.config import adapt
from jaxgen.algorithms.vae.config import validate as validate
from jaxgen.algorithms.vae.objectives import (
    ElboTerms,
    Params,
    decoder,
    decoder_output,
    draw_codes,
    encoder,
    posterior_params,
    terms,
)
from jaxgen.contract import ImageBatch as Batch
from jaxgen.contract import Metrics, Objective, Traits
from jaxgen.losses import bounds, reconstruction

TRAITS = Traits(
    objective=Objective("test/negative_elbo"),  # the loss depends on beta
    progress=("negative_elbo", "distortion", "rate"),
    adapt=adapt,
    complete=optim.complete_schedule,
    bfloat16=lambda config: config.dtype == "bfloat16",
    dense=lambda config: config.net == "mlp",
)


class State(NamedTuple):
    """Training state; every leaf is an array."""

    step: Int[Array, ""]
    params: Params
    opt_state: optax.OptState


def init(key: Array, hparams: HParams, config: Config) -> State:
    """Fresh parameters and optimizer state."""
    encoder_key, decoder_key = jax.random.split(key)
    params = {
        "encoder": encoder(config).init(encoder_key, jnp.zeros((1, *config.image_shape)))["params"],
        "decoder": decoder(config).init(decoder_key, jnp.zeros((1, config.latent_size)))["params"],
    }
    if config.learn_scale:
        params["log_scale"] = jnp.log(jnp.float32(hparams.scale))
    return State(jnp.zeros((), jnp.int32), params, optim.optimizer(config.optimizer, hparams).init(params))


def pixels(images: UInt8[Array, "b h w c"], keys: Array, config: Config) -> Float[Array, "b h w c"]:
    """Bytes converted to [0, 1] according to `config.inputs`; `keys`, one per image, are for binarization."""
    if config.inputs == "gray":
        return images.astype(jnp.float32) / 255
    if config.inputs == "threshold":
        return (images > 127).astype(jnp.float32)
    # 16 random bits per pixel, two pixels per word: level g becomes 1 with probability g / 255, exact at both ends,
    # elsewhere to 1e-5.
    words = jax.vmap(lambda key: jax.random.bits(key, (-(-images[0].size // 2),)))(keys)
    draws = jnp.concatenate([words >> 16, words & 0xFFFF], axis=-1)[:, : images[0].size].reshape(images.shape)
    levels = images.astype(jnp.uint32)
    return (draws < levels * 257 + (levels >> 7)).astype(jnp.float32)


def _metrics(terms: ElboTerms, config: Config) -> Metrics:
    negative_elbo = (terms.distortion + terms.rate).mean()
    metrics = {
        "loss": terms.loss.mean(),
        "distortion": terms.distortion.mean(),
        "rate": terms.rate.mean(),
        "negative_elbo": negative_elbo,
    }
    if config.discrete:
        metrics["bits_per_dimension"] = reconstruction.bits_per_dimension(negative_elbo, config.image_shape)
    return metrics


def step(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> tuple[State, Metrics]:
    """One gradient step on the batch mean of the objective."""
    pixel_key, code_key = jax.random.split(key)
    count = len(batch.images)
    x = pixels(batch.images, batching.keys(pixel_key, count, axis_name), config)
    keys = batching.keys(code_key, count, axis_name)
    beta = bounds.warm_up(hparams.beta, state.step, hparams.warm_up_steps)

    def mean_loss(params: Params) -> tuple[Float[Array, ""], Metrics]:
        each, extra = terms(params, x, keys, beta, hparams, config, axis_name)
        return each.loss.mean(), {**_metrics(each, config), **extra}

    grads, metrics = collectives.mean(jax.grad(mean_loss, has_aux=True)(state.params), axis_name)
    own = optim.scheduled(hparams, config.schedule, state.step, hparams.schedule_steps)
    optimizer = optim.optimizer(config.optimizer, own)
    params, opt_state = optim.descend(optimizer, state.params, state.opt_state, grads)
    return State(state.step + 1, params, opt_state), metrics


def for_evaluation(config: Config) -> Config:
    """The configuration for evaluation: analytic KL, and neither free bits nor beta-TC, which only serve training."""
    return replace(config, rate="analytic", objective="elbo" if config.objective == "tc" else config.objective)


def evaluate(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> Metrics:
    """Mean metrics over `batch`, which may be a whole split, processed `batching.SIZE` images at a time."""
    pixel_key, code_key = jax.random.split(key)
    count, config = len(batch.images), for_evaluation(config)

    def batch_terms(split: tuple[Array, Array, Array]) -> ElboTerms:
        images, pixel_keys, code_keys = split
        return terms(state.params, pixels(images, pixel_keys, config), code_keys, hparams.beta, hparams, config)[0]

    split = (batch.images, batching.keys(pixel_key, count), batching.keys(code_key, count))
    return _metrics(batching.map_batches(batch_terms, split, axis_name=axis_name), config)


def weights(state: State, config: Config) -> Params:
    """Parameters of encoder and decoder."""
    return state.params


def encode(params: Params, images: UInt8[Array, "b h w c"], key: Array, config: Config) -> Float[Array, "b d"]:
    """Posterior means of images."""
    numbers = posterior_params(params, pixels(images, batching.keys(key, len(images)), config), config)
    return numbers[:, : config.latent_size]


def decode(params: Params, codes: Float[Array, "b d"], config: Config) -> Float[Array, "b h w c"]:
    """Mean images in [0, 1] decoded from codes."""
    return distributions.mean_image(config.likelihood, decoder_output(params, codes, config))


def reconstruct(params: Params, images: UInt8[Array, "b h w c"], key: Array, config: Config) -> Float[Array, "b h w c"]:
    """Mean reconstructions in [0, 1], each from one code drawn from its image's posterior."""
    pixel_key, code_key = jax.random.split(key)
    x = pixels(images, batching.keys(pixel_key, len(images)), config)
    draws = draw_codes(posterior_params(params, x, config), batching.keys(code_key, len(images)), 1, config)
    return decode(params, draws.codes[:, 0], config)


def sample(params: Params, key: Array, count: int, config: Config) -> Float[Array, "n h w c"]:
    """Mean images in [0, 1] for `count` codes drawn from the prior."""
    return decode(params, jax.random.normal(key, (count, config.latent_size)), config)
