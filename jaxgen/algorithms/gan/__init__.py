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

from jaxgen import batching, optim
from jaxgen.algorithms.gan import passes as gan_gradients
from jaxgen.algorithms.gan.config import Config as Config
from jaxgen.algorithms.gan.config import HParams as HParams
from jaxgen.algorithms.gan.config import validate as validate
from jaxgen.algorithms.gan.passes import gradients as gradients
from jaxgen.algorithms.gan.players import Images, Metrics, Params
from jaxgen.algorithms.gan.players import State as State
from jaxgen.algorithms.gan.players import discriminate as discriminate
from jaxgen.algorithms.gan.players import discriminator as discriminator
from jaxgen.algorithms.gan.players import generate as generate
from jaxgen.algorithms.gan.players import generator as generator
from jaxgen.algorithms.gan.players import normalize as normalize
from jaxgen.algorithms.gan.players import one_hot as one_hot
from jaxgen.nets.ops import spectral

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


def init(key: Array, hparams: HParams, config: Config) -> State:
    """Fresh parameters and optimizer states."""
    keys = jax.random.split(key, 3)
    classes = jnp.zeros((1, config.classes)) if config.classes else None
    params = {
        "generator": generator(config).init(keys[0], jnp.zeros((1, config.noise_size)), classes)["params"],
        "discriminator": discriminator(config).init(keys[1], jnp.zeros((1, *config.image_shape)), classes)["params"],
    }
    opt_state = {name: _optimizer(name, hparams, config).init(params[name]) for name in params}
    vectors = spectral.init_vectors(keys[2], params["discriminator"]) if config.spectral_norm else {}
    ema = jax.tree.map(jnp.copy, params["generator"]) if config.ema else {}
    return State(jnp.zeros((), jnp.int32), params, opt_state, ema, vectors)


def _optimizer(player: str, hparams: HParams, config: Config) -> optax.GradientTransformation:
    return optim.optimizer(config.optimizer, getattr(hparams, player))


def _apply(state: State, player: str, grads: Params, hparams: HParams, config: Config) -> State:
    """One optimizer step of one player."""
    params = state.params[player]
    updates, opt_state = _optimizer(player, hparams, config).update(grads, state.opt_state[player], params)
    return state._replace(
        params={**state.params, player: optax.apply_updates(params, updates)},
        opt_state={**state.opt_state, player: opt_state},
    )


def _simultaneous(
    state: State, real: Images, classes: Any, key: Array, hparams: HParams, config: Config, axis_name: str | None
) -> tuple[State, Metrics]:
    draws = gan_gradients.draw(key, real.shape[0], config, axis_name)
    grads, metrics, vectors = gradients(state, real, classes, draws, hparams, config)
    grads, metrics = _mean((grads, metrics), axis_name)
    state = _apply(state, "discriminator", grads["discriminator"], hparams, config)._replace(spectral=vectors)
    return _apply(state, "generator", grads["generator"], hparams, config), metrics


def _alternating(
    state: State, real: Images, classes: Any, key: Array, hparams: HParams, config: Config, axis_name: str | None
) -> tuple[State, Metrics]:
    """`critic_steps` discriminator steps, image i of the batch in step i mod `critic_steps`, and one generator step."""
    count = real.shape[0] // config.critic_steps
    parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]).swapaxes(0, 1), (real, classes))

    def critic_step(state: State, part: Any) -> tuple[State, Metrics]:
        number, (real, classes) = part
        draws = gan_gradients.draw(jax.random.fold_in(key, number), count, config, axis_name)
        fake = generate(state.params["generator"], draws.noise, classes, draws.generator, config)
        grads, metrics, vectors = gan_gradients.critic(state, real, fake, classes, draws, hparams, config)
        if config.penalty != "none":
            penalty = gan_gradients.penalty_of(state, real, fake, classes, draws, hparams, config)
            grads, metrics = gan_gradients.penalized(grads, metrics, penalty)
        grads, metrics = _mean((grads, metrics), axis_name)
        return _apply(state, "discriminator", grads, hparams, config)._replace(spectral=vectors), metrics

    state, metrics = lax.scan(critic_step, state, (jnp.arange(config.critic_steps), parts))
    draws = gan_gradients.draw(jax.random.fold_in(key, config.critic_steps), count, config, axis_name)
    last = jax.tree.map(lambda x: x[-1], parts[1])
    grads, own = _mean(gan_gradients.player(state, last, draws, hparams, config), axis_name)
    return _apply(state, "generator", grads, hparams, config), {**jax.tree.map(jnp.mean, metrics), **own}


def _mean(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else lax.pmean(tree, axis_name)


def _averaged(state: State, hparams: HParams, config: Config) -> State:
    if not config.ema:
        return state
    steps = state.step.astype(jnp.float32)
    decay = jnp.minimum(hparams.ema_decay, (1.0 + steps) / (10.0 + steps))
    average = jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), state.ema, state.params["generator"])
    return state._replace(ema=average)


def step(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> tuple[State, Metrics]:
    """One update of each player (of the discriminator, `critic_steps`); the means over the batch of what they pay."""
    move = _alternating if config.critic_steps else _simultaneous
    classes = one_hot(batch.labels, config)
    state, metrics = move(state, normalize(batch.images), classes, key, hparams, config, axis_name)
    return _averaged(state._replace(step=state.step + 1), hparams, config), metrics


def sampling_params(state: State, config: Config) -> Params:
    """The generator that makes samples: the moving average where there is one."""
    return state.ema if config.ema else state.params["generator"]


def images_of(
    params: Params, noise: Float[Array, "n k"], labels: Any, config: Config, axis_name: str | None = None
) -> Float[Array, "n h w c"]:
    """Images in [0, 1] of noise (and labels), in the memory of `MAP_BATCH` images."""

    def generated(inputs: tuple[Array, Array]) -> Array:
        return (generate(params, inputs[0], one_hot(inputs[1], config), None, config) + 1) / 2

    return batching.map_batches(generated, (noise, labels), MAP_BATCH, axis_name)


def noise_and_labels(key: Array, count: int, config: Config) -> tuple[Float[Array, "n k"], Int[Array, " n"]]:
    """What `count` samples are made of; labels run through the classes in turn."""
    return jax.random.normal(key, (count, config.noise_size)), jnp.arange(count) % max(1, config.classes)


def sample(state: State, key: Array, count: int, config: Config) -> Float[Array, "n h w c"]:
    """Samples in [0, 1]."""
    return images_of(sampling_params(state, config), *noise_and_labels(key, count, config), config)


def evaluate(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> Metrics:
    """What the players pay on unseen images and as many samples, without dropout, augmentation or penalty.

    At most the first `EVALUATED` images of `batch`. `diversity` is the standard deviation of samples about their mean
    image over that of the images: near 0, all samples are alike.
    """
    images, labels = (x[:EVALUATED] for x in (batch.images, batch.labels))
    noise, _ = noise_and_labels(key, images.shape[0], config)
    fake = 2 * images_of(sampling_params(state, config), noise, labels, config, axis_name) - 1

    def logits(inputs: tuple[Array, Array]) -> Array:
        seen = normalize(inputs[0]) if inputs[0].dtype == jnp.uint8 else inputs[0]
        classes = one_hot(inputs[1], config)
        return discriminate(state.params["discriminator"], state.spectral, seen, classes, None, config)[0]

    seen = ((real, labels) for real in (images, fake))
    real_logits, fake_logits = (batching.map_batches(logits, split, MAP_BATCH, axis_name) for split in seen)
    spread = jnp.sqrt(fake.var(axis=0).mean() / normalize(images).var(axis=0).mean())
    return {**gan_gradients.metrics_of(real_logits, fake_logits, hparams, config), "diversity": spread}


def alarm(metrics: dict[str, float]) -> str | None:
    """What is wrong with a state that `evaluate` found so, None if nothing is."""
    if metrics["diversity"] < COLLAPSED:
        return (
            "the generator has collapsed, or has learned nothing yet: its samples vary "
            f"{metrics['diversity']:.3f} times as much as test images do (alarm below {COLLAPSED})"
        )
    return None
