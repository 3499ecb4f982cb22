"""Generative adversarial network: a discriminator learns to tell images from G(z), z ~ N(0, I); G learns to mislead it.

Goodfellow et al., Generative adversarial nets, NeurIPS 2014. Both players move at once from one forward pass of each
net, as in the chapter, or the discriminator moves `critic_steps` times before the generator does.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from jaxgen.algorithms import examples, gan_gradients, optimizers
from jaxgen.algorithms.gan_gradients import gradients as gradients
from jaxgen.algorithms.gan_players import Images, Metrics, Params
from jaxgen.algorithms.gan_players import State as State
from jaxgen.algorithms.gan_players import discriminate as discriminate
from jaxgen.algorithms.gan_players import discriminator as discriminator
from jaxgen.algorithms.gan_players import generate as generate
from jaxgen.algorithms.gan_players import generator as generator
from jaxgen.algorithms.gan_players import normalise as normalise
from jaxgen.algorithms.gan_players import one_hot as one_hot
from jaxgen.algorithms.gan_settings import Config as Config
from jaxgen.algorithms.gan_settings import HParams as HParams
from jaxgen.algorithms.gan_settings import validate as validate
from jaxgen.nets import spectral

MAP_BATCH = 250
"""Images a function of many looks at at once."""
EVALUATED = 500
"""Test images `evaluate` looks at, at most."""
COLLAPSED = 0.1
"""`diversity` below which the generator is said to have collapsed."""


class Batch(NamedTuple):
    """Images as bytes, and their classes (looked at only with `config.classes`)."""

    images: UInt8[Array, "b h w c"]
    labels: Int[Array, " b"]


def init(key: Array, hp: HParams, cfg: Config) -> State:
    """Fresh parameters and optimiser states."""
    keys = jax.random.split(key, 3)
    classes = jnp.zeros((1, cfg.classes)) if cfg.classes else None
    params = {
        "generator": generator(cfg).init(keys[0], jnp.zeros((1, cfg.noise_size)), classes)["params"],
        "discriminator": discriminator(cfg).init(keys[1], jnp.zeros((1, *cfg.image_shape)), classes)["params"],
    }
    opt_state = {name: _optimizer(name, hp, cfg).init(params[name]) for name in params}
    vectors = spectral.init_vectors(keys[2], params["discriminator"]) if cfg.spectral_norm else {}
    ema = jax.tree.map(jnp.copy, params["generator"]) if cfg.ema else {}
    return State(jnp.zeros((), jnp.int32), params, opt_state, ema, vectors)


def _optimizer(player: str, hp: HParams, cfg: Config) -> optax.GradientTransformation:
    return optimizers.optimizer(cfg.optimizer, getattr(hp, player))


def _apply(state: State, player: str, grads: Params, hp: HParams, cfg: Config) -> State:
    """One optimiser step of one player."""
    params = state.params[player]
    updates, opt_state = _optimizer(player, hp, cfg).update(grads, state.opt_state[player], params)
    return state._replace(
        params={**state.params, player: optax.apply_updates(params, updates)},
        opt_state={**state.opt_state, player: opt_state},
    )


def _simultaneous(
    state: State, real: Images, classes: Any, key: Array, hp: HParams, cfg: Config, axis_name: str | None
) -> tuple[State, Metrics]:
    draws = gan_gradients.draw(key, real.shape[0], cfg, axis_name)
    grads, metrics, vectors = gradients(state, real, classes, draws, hp, cfg)
    grads, metrics = _mean((grads, metrics), axis_name)
    state = _apply(state, "discriminator", grads["discriminator"], hp, cfg)._replace(spectral=vectors)
    return _apply(state, "generator", grads["generator"], hp, cfg), metrics


def _alternating(
    state: State, real: Images, classes: Any, key: Array, hp: HParams, cfg: Config, axis_name: str | None
) -> tuple[State, Metrics]:
    """`critic_steps` discriminator steps, image i of the batch in step i mod `critic_steps`, and one generator step."""
    count = real.shape[0] // cfg.critic_steps
    parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]).swapaxes(0, 1), (real, classes))

    def critic_step(state: State, part: Any) -> tuple[State, Metrics]:
        number, (real, classes) = part
        draws = gan_gradients.draw(jax.random.fold_in(key, number), count, cfg, axis_name)
        fake = generate(state.params["generator"], draws.noise, classes, draws.generator, cfg)
        grads, metrics, vectors = gan_gradients.critic(state, real, fake, classes, draws, hp, cfg)
        if cfg.penalty != "none":
            penalty = gan_gradients.penalty_of(state, real, fake, classes, draws, hp, cfg)
            grads, metrics = gan_gradients.penalised(grads, metrics, penalty)
        grads, metrics = _mean((grads, metrics), axis_name)
        return _apply(state, "discriminator", grads, hp, cfg)._replace(spectral=vectors), metrics

    state, metrics = lax.scan(critic_step, state, (jnp.arange(cfg.critic_steps), parts))
    draws = gan_gradients.draw(jax.random.fold_in(key, cfg.critic_steps), count, cfg, axis_name)
    last = jax.tree.map(lambda x: x[-1], parts[1])
    grads, own = _mean(gan_gradients.player(state, last, draws, hp, cfg), axis_name)
    return _apply(state, "generator", grads, hp, cfg), {**jax.tree.map(jnp.mean, metrics), **own}


def _mean(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else lax.pmean(tree, axis_name)


def _averaged(state: State, hp: HParams, cfg: Config) -> State:
    if not cfg.ema:
        return state
    steps = state.step.astype(jnp.float32)
    decay = jnp.minimum(hp.ema_decay, (1.0 + steps) / (10.0 + steps))
    average = jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), state.ema, state.params["generator"])
    return state._replace(ema=average)


def step(
    state: State, batch: Batch, key: Array, hp: HParams, cfg: Config, *, axis_name: str | None = None
) -> tuple[State, Metrics]:
    """One update of each player (of the discriminator, `critic_steps`); the means over the batch of what they pay."""
    move = _alternating if cfg.critic_steps else _simultaneous
    classes = one_hot(batch.labels, cfg)
    state, metrics = move(state, normalise(batch.images), classes, key, hp, cfg, axis_name)
    return _averaged(state._replace(step=state.step + 1), hp, cfg), metrics


def sampling_params(state: State, cfg: Config) -> Params:
    """The generator that makes samples: the moving average where there is one."""
    return state.ema if cfg.ema else state.params["generator"]


def images_of(
    params: Params, noise: Float[Array, "n k"], labels: Any, cfg: Config, axis_name: str | None = None
) -> Float[Array, "n h w c"]:
    """Images in [0, 1] of noise (and labels), in the memory of `MAP_BATCH` images."""

    def generated(inputs: tuple[Array, Array]) -> Array:
        return (generate(params, inputs[0], one_hot(inputs[1], cfg), None, cfg) + 1) / 2

    return examples.map_batches(generated, (noise, labels), MAP_BATCH, axis_name)


def noise_and_labels(key: Array, count: int, cfg: Config) -> tuple[Float[Array, "n k"], Int[Array, " n"]]:
    """What `count` samples are made of; labels run through the classes in turn."""
    return jax.random.normal(key, (count, cfg.noise_size)), jnp.arange(count) % max(1, cfg.classes)


def sample(state: State, key: Array, count: int, cfg: Config) -> Float[Array, "n h w c"]:
    """Samples in [0, 1]."""
    return images_of(sampling_params(state, cfg), *noise_and_labels(key, count, cfg), cfg)


def evaluate(
    state: State, batch: Batch, key: Array, hp: HParams, cfg: Config, *, axis_name: str | None = None
) -> Metrics:
    """What the players pay on unseen images and as many samples, without dropout, augmentation or penalty.

    At most the first `EVALUATED` images of `batch`. `diversity` is the standard deviation of samples about their mean
    image over that of the images: near 0, all samples are alike.
    """
    images, labels = (x[:EVALUATED] for x in (batch.images, batch.labels))
    noise, _ = noise_and_labels(key, images.shape[0], cfg)
    fake = 2 * images_of(sampling_params(state, cfg), noise, labels, cfg, axis_name) - 1

    def logits(inputs: tuple[Array, Array]) -> Array:
        seen = normalise(inputs[0]) if inputs[0].dtype == jnp.uint8 else inputs[0]
        classes = one_hot(inputs[1], cfg)
        return discriminate(state.params["discriminator"], state.spectral, seen, classes, None, cfg)[0]

    seen = ((real, labels) for real in (images, fake))
    real_logits, fake_logits = (examples.map_batches(logits, split, MAP_BATCH, axis_name) for split in seen)
    spread = jnp.sqrt(fake.var(axis=0).mean() / normalise(images).var(axis=0).mean())
    return {**gan_gradients.metrics_of(real_logits, fake_logits, hp, cfg), "diversity": spread}


def alarm(metrics: dict[str, float]) -> str | None:
    """What is wrong with a state that `evaluate` found so, None if nothing is."""
    if metrics["diversity"] < COLLAPSED:
        return (
            "the generator has collapsed, or has learnt nothing yet: its samples vary "
            f"{metrics['diversity']:.3f} times as much as test images do (alarm below {COLLAPSED})"
        )
    return None
