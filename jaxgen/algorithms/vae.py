"""Variational autoencoder: maximise E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z)) over both nets, or a tighter bound.

Kingma & Welling, Auto-encoding variational Bayes, 2013. The reconstruction term's negative is the distortion, the KL
the rate; both in nats per image. Distributions are in `jaxgen.distributions`, bounds in `jaxgen.bounds`.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from jaxgen import bounds, distributions, losses
from jaxgen.algorithms import examples, optimizers, schedules
from jaxgen.algorithms.vae_config import Config as Config
from jaxgen.algorithms.vae_config import HParams as HParams
from jaxgen.algorithms.vae_config import validate as validate
from jaxgen.algorithms.vae_objectives import (
    Metrics,
    Params,
    Terms,
    decoder,
    draw_codes,
    encoder,
    likelihood_numbers,
    posterior_numbers,
    terms,
)

MAP_BATCH = examples.MAP_BATCH
"""Images a whole-split function looks at at once."""


class State(NamedTuple):
    """All that training carries; every leaf an array."""

    step: Int[Array, ""]
    params: Params
    opt_state: optax.OptState


class Batch(NamedTuple):
    """Images as bytes; labels are carried along, training does not look at them."""

    images: UInt8[Array, "b h w c"]
    labels: Int[Array, " b"]


def init(key: Array, hp: HParams, cfg: Config) -> State:
    """Fresh parameters and optimiser state."""
    encoder_key, decoder_key = jax.random.split(key)
    params = {
        "encoder": encoder(cfg).init(encoder_key, jnp.zeros((1, *cfg.image_shape)))["params"],
        "decoder": decoder(cfg).init(decoder_key, jnp.zeros((1, cfg.latent_size)))["params"],
    }
    if cfg.learn_scale:
        params["log_scale"] = jnp.log(jnp.float32(hp.scale))
    return State(jnp.zeros((), jnp.int32), params, optimizers.optimizer(cfg.optimizer, hp).init(params))


def pixels(images: UInt8[Array, "b h w c"], keys: Array, cfg: Config) -> Float[Array, "b h w c"]:
    """Bytes as the numbers in [0, 1] that `cfg.inputs` takes them for; `keys`, one an image, are for the draws."""
    if cfg.inputs == "grey":
        return images.astype(jnp.float32) / 255
    if cfg.inputs == "threshold":
        return (images > 127).astype(jnp.float32)
    # 16 random bits a pixel, two from each word: level g is 1 with probability g / 255, exact at both ends, else to
    # 1e-5.
    words = jax.vmap(lambda key: jax.random.bits(key, (-(-images[0].size // 2),)))(keys)
    draws = jnp.concatenate([words >> 16, words & 0xFFFF], axis=-1)[:, : images[0].size].reshape(images.shape)
    levels = images.astype(jnp.uint32)
    return (draws < levels * 257 + (levels >> 7)).astype(jnp.float32)


def _metrics(terms: Terms, cfg: Config) -> Metrics:
    negative_elbo = (terms.distortion + terms.rate).mean()
    metrics = {
        "loss": terms.loss.mean(),
        "distortion": terms.distortion.mean(),
        "rate": terms.rate.mean(),
        "negative_elbo": negative_elbo,
    }
    if cfg.discrete:
        metrics["bits_per_dimension"] = losses.bits_per_dimension(negative_elbo, cfg.image_shape)
    return metrics


OBJECTIVE = ("test/negative_elbo", False)
"""What sweeps and searches compare runs by (the loss depends on beta), and whether more of it is better."""


def step(
    state: State, batch: Batch, key: Array, hp: HParams, cfg: Config, *, axis_name: str | None = None
) -> tuple[State, Metrics]:
    """One descent step on the batch mean of the objective."""
    pixel_key, code_key = jax.random.split(key)
    count = len(batch.images)
    x = pixels(batch.images, examples.keys(pixel_key, count, axis_name), cfg)
    keys = examples.keys(code_key, count, axis_name)
    beta = bounds.warm_up(hp.beta, state.step, hp.warm_up_steps)

    def mean_loss(params: Params) -> tuple[Float[Array, ""], Metrics]:
        each, extra = terms(params, x, keys, beta, hp, cfg, axis_name)
        return each.loss.mean(), {**_metrics(each, cfg), **extra}

    grads, metrics = jax.grad(mean_loss, has_aux=True)(state.params)
    if axis_name is not None:
        grads, metrics = jax.lax.pmean((grads, metrics), axis_name)
    rate = schedules.learning_rate(cfg.schedule, hp.learning_rate, state.step, hp.schedule_steps)
    optimizer = optimizers.optimizer(cfg.optimizer, replace(hp, learning_rate=rate))
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    return State(state.step + 1, optax.apply_updates(state.params, updates), opt_state), metrics


def plain(cfg: Config) -> Config:
    """The configuration to evaluate with: free bits and beta-TC are means of training, the ELBO's KL is exact."""
    return replace(cfg, rate="analytic", objective="elbo" if cfg.objective == "tc" else cfg.objective)


def evaluate(
    state: State, batch: Batch, key: Array, hp: HParams, cfg: Config, *, axis_name: str | None = None
) -> Metrics:
    """Means over all of `batch`, which may be a whole split; memory stays that of `MAP_BATCH` images."""
    pixel_key, code_key = jax.random.split(key)
    count, cfg = len(batch.images), plain(cfg)

    def batch_terms(split: tuple[Array, Array, Array]) -> Terms:
        images, pixel_keys, code_keys = split
        return terms(state.params, pixels(images, pixel_keys, cfg), code_keys, hp.beta, hp, cfg)[0]

    split = (batch.images, examples.keys(pixel_key, count), examples.keys(code_key, count))
    return _metrics(examples.map_batches(batch_terms, split, MAP_BATCH, axis_name), cfg)


def encode(params: Params, images: UInt8[Array, "b h w c"], key: Array, cfg: Config) -> Float[Array, "b d"]:
    """Posterior means of images."""
    numbers = posterior_numbers(params, pixels(images, examples.keys(key, len(images)), cfg), cfg)
    return numbers[:, : cfg.latent_size]


def decode(params: Params, codes: Float[Array, "b d"], cfg: Config) -> Float[Array, "b h w c"]:
    """Mean images in [0, 1] of codes."""
    return distributions.mean_image(cfg.likelihood, likelihood_numbers(params, codes, cfg))


def reconstruct(params: Params, images: UInt8[Array, "b h w c"], key: Array, cfg: Config) -> Float[Array, "b h w c"]:
    """Mean images in [0, 1], each of one code drawn from its image's posterior."""
    pixel_key, code_key = jax.random.split(key)
    x = pixels(images, examples.keys(pixel_key, len(images)), cfg)
    draws = draw_codes(posterior_numbers(params, x, cfg), examples.keys(code_key, len(images)), 1, cfg)
    return decode(params, draws.codes[:, 0], cfg)


def sample(params: Params, key: Array, count: int, cfg: Config) -> Float[Array, "n h w c"]:
    """Mean images in [0, 1] of `count` codes drawn from the prior."""
    return decode(params, jax.random.normal(key, (count, cfg.latent_size)), cfg)
