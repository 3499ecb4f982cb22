"""Generative adversarial network: a discriminator learns to tell images from G(z), z ~ N(0, I); G learns to fool it.

Goodfellow et al., Generative adversarial nets, NeurIPS 2014. Both players update simultaneously from one forward pass
of each net, as in the chapter, or the discriminator takes `critic_steps` steps before each generator step.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxgen import batching, collectives, optim
from jaxgen.algorithms.gan import fused
from jaxgen.algorithms.gan.config import Config as Config
from jaxgen.algorithms.gan.config import HParams as HParams
from jaxgen.algorithms.gan.config import adapt, divided
from jaxgen.algorithms.gan.config import validate as validate
from jaxgen.algorithms.gan.players import (
    Draws,
    Images,
    Params,
    State,
    discriminate,
    discriminator,
    draw,
    generate,
    generator,
    joined,
    losses_of,
    metrics_of,
    normalize,
    one_hot,
)
from jaxgen.contract import ImageBatch as Batch
from jaxgen.contract import Metrics, Traits
from jaxgen.losses import adversarial
from jaxgen.nets.ops import spectral

MAP_BATCH = 250
"""Batch size when mapping over many images."""
EVALUATED = 500
"""Maximum number of test images used by `evaluate`."""
COLLAPSED = 0.1
"""`diversity` below which the generator counts as collapsed."""


def health(metrics: Mapping[str, float]) -> str | None:
    """A warning if the evaluation indicates mode collapse, else None."""
    if metrics["diversity"] < COLLAPSED:
        return (
            "the generator has collapsed, or has learned nothing yet: its samples vary "
            f"{metrics['diversity']:.3f} times as much as test images do (alarm below {COLLAPSED})"
        )
    return None


TRAITS = Traits(
    progress=("generator_loss", "discriminator_loss"),
    adapt=adapt,
    complete=optim.complete_schedule,
    divided=divided,
    health=health,
    parameters=lambda state: state.params,
    bfloat16=lambda config: config.dtype == "bfloat16",
    dense=lambda config: config.net == "dense",
)


def init(key: Array, hparams: HParams, config: Config) -> State:
    """Fresh parameters and optimizer states."""
    keys = jax.random.split(key, 3)
    classes = jnp.zeros((1, config.classes)) if config.classes else None
    params = {
        "generator": generator(config).init(keys[0], jnp.zeros((1, config.noise_size)), classes)["params"],
        "discriminator": discriminator(config).init(keys[1], jnp.zeros((1, *config.image_shape)), classes)["params"],
    }
    opt_state = {name: optim.optimizer(config.optimizer, getattr(hparams, name)).init(params[name]) for name in params}
    vectors = spectral.init_vectors(keys[2], params["discriminator"]) if config.spectral_norm else {}
    ema = jax.tree.map(jnp.copy, params["generator"]) if config.ema else {}
    return State(jnp.zeros((), jnp.int32), params, opt_state, ema, vectors)


def _apply(state: State, player: str, grads: Params, hparams: HParams, config: Config) -> State:
    """One optimizer step for one player."""
    params = state.params[player]
    own = optim.scheduled(getattr(hparams, player), config.schedule, state.step, hparams.schedule_steps)
    optimizer = optim.optimizer(config.optimizer, own)
    params, opt_state = optim.descend(optimizer, params, state.opt_state[player], grads)
    return state._replace(
        params={**state.params, player: params},
        opt_state={**state.opt_state, player: opt_state},
    )


def discriminator_gradients(
    state: State, real: Images, fake: Images, classes: Any, draws: Draws, hparams: HParams, config: Config
) -> tuple[Params, Metrics, spectral.Vectors]:
    """Gradients of the discriminator alone, from one pass over real and generated images."""
    keys, classes = joined(draws.real, draws.fake), joined(classes, classes)

    def loss(params: Params) -> tuple[Array, Any]:
        logits, vectors = discriminate(params, state.spectral, (real, fake), classes, keys, config)
        real_logits, fake_logits = jnp.split(logits, 2)
        metrics = metrics_of(real_logits, fake_logits, hparams, config)
        return metrics["discriminator_loss"], (metrics, vectors)

    grads, (metrics, vectors) = jax.grad(loss, has_aux=True)(state.params["discriminator"])
    return grads, metrics, vectors


def generator_gradients(
    state: State, classes: Any, draws: Draws, hparams: HParams, config: Config
) -> tuple[Params, Metrics]:
    """Gradients of the generator alone, through the discriminator on generated images only."""

    def loss(params: Params) -> tuple[Array, Metrics]:
        fake = generate(params, draws.noise, classes, draws.generator, config)
        logits, _ = discriminate(state.params["discriminator"], state.spectral, fake, classes, draws.fake, config)
        losses = losses_of(logits, logits, hparams, config)
        return losses.generator.mean(), {"generator_loss": losses.generator.mean()}

    return jax.grad(loss, has_aux=True)(state.params["generator"])


def gradients(
    state: State, real: Images, classes: Any, draws: Draws, hparams: HParams, config: Config
) -> tuple[dict[str, Params], Metrics, spectral.Vectors]:
    """Both players' gradients at the same state, the metrics, and the updated singular vectors."""
    if config.shared_passes:
        grads, metrics, fake, vectors = fused.gradients(state, real, classes, draws, hparams, config)
    else:
        fake = generate(state.params["generator"], draws.noise, classes, draws.generator, config)
        of_discriminator, metrics, vectors = discriminator_gradients(state, real, fake, classes, draws, hparams, config)
        of_generator, _ = generator_gradients(state, classes, draws, hparams, config)
        grads = {"generator": of_generator, "discriminator": of_discriminator}
    if config.penalty != "none":
        penalty = penalty_gradients(state, real, fake, classes, draws, hparams, config)
        grads["discriminator"], metrics = add_penalty(grads["discriminator"], metrics, penalty)
    return grads, metrics, vectors


def penalty_gradients(
    state: State, real: Images, fake: Images, classes: Any, draws: Draws, hparams: HParams, config: Config
) -> tuple[Params, Float[Array, ""]]:
    """Gradients and value of the weighted penalty on every `penalty_every`-th image."""
    keys = jax.random.clone(draws.real)  # deliberately reuses the real pass's masks and augmentations
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


def add_penalty(grads: Params, metrics: Metrics, penalty: tuple[Params, Array]) -> tuple[Params, Metrics]:
    """Add the penalty to the discriminator's gradients and the metrics."""
    return jax.tree.map(jnp.add, grads, penalty[0]), {**metrics, "penalty": penalty[1]}


def _simultaneous(
    state: State, real: Images, classes: Any, key: Array, hparams: HParams, config: Config, axis_name: str | None
) -> tuple[State, Metrics]:
    draws = draw(key, real.shape[0], config, axis_name)
    grads, metrics, vectors = gradients(state, real, classes, draws, hparams, config)
    grads, metrics = collectives.mean((grads, metrics), axis_name)
    state = _apply(state, "discriminator", grads["discriminator"], hparams, config)._replace(spectral=vectors)
    return _apply(state, "generator", grads["generator"], hparams, config), metrics


def _alternating(
    state: State, real: Images, classes: Any, key: Array, hparams: HParams, config: Config, axis_name: str | None
) -> tuple[State, Metrics]:
    """`critic_steps` discriminator steps (batch image i in step i mod `critic_steps`), then one generator step."""
    count = real.shape[0] // config.critic_steps
    parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]).swapaxes(0, 1), (real, classes))

    def discriminator_step(state: State, part: Any) -> tuple[State, Metrics]:
        number, (real, classes) = part
        draws = draw(jax.random.fold_in(key, number), count, config, axis_name)
        fake = generate(state.params["generator"], draws.noise, classes, draws.generator, config)
        grads, metrics, vectors = discriminator_gradients(state, real, fake, classes, draws, hparams, config)
        if config.penalty != "none":
            penalty = penalty_gradients(state, real, fake, classes, draws, hparams, config)
            grads, metrics = add_penalty(grads, metrics, penalty)
        grads, metrics = collectives.mean((grads, metrics), axis_name)
        return _apply(state, "discriminator", grads, hparams, config)._replace(spectral=vectors), metrics

    state, metrics = lax.scan(discriminator_step, state, (jnp.arange(config.critic_steps), parts))
    draws = draw(jax.random.fold_in(key, config.critic_steps), count, config, axis_name)
    last = jax.tree.map(lambda x: x[-1], parts[1])
    grads, own = collectives.mean(generator_gradients(state, last, draws, hparams, config), axis_name)
    return _apply(state, "generator", grads, hparams, config), {**jax.tree.map(jnp.mean, metrics), **own}


def _averaged(state: State, hparams: HParams, config: Config) -> State:
    if not config.ema:
        return state
    steps = state.step.astype(jnp.float32)
    decay = jnp.minimum(hparams.ema_decay, (1.0 + steps) / (10.0 + steps))
    return state._replace(ema=optim.moving_average(state.ema, state.params["generator"], decay))


def step(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> tuple[State, Metrics]:
    """One generator update and one discriminator update (or `critic_steps`); metrics are batch means."""
    move = _alternating if config.critic_steps else _simultaneous
    classes = one_hot(batch.labels, config)
    state, metrics = move(state, normalize(batch.images), classes, key, hparams, config, axis_name)
    return _averaged(state._replace(step=state.step + 1), hparams, config), metrics


def weights(state: State, config: Config) -> Params:
    """Generator parameters used for sampling: the moving average if enabled."""
    return state.ema if config.ema else state.params["generator"]


def images_of(
    params: Params, noise: Float[Array, "n k"], labels: Any, config: Config, axis_name: str | None = None
) -> Float[Array, "n h w c"]:
    """Images in [0, 1] generated from noise (and labels), `MAP_BATCH` at a time."""

    def generated(inputs: tuple[Array, Array]) -> Array:
        return (generate(params, inputs[0], one_hot(inputs[1], config), None, config) + 1) / 2

    return batching.map_batches(generated, (noise, labels), MAP_BATCH, axis_name)


def noise_and_labels(key: Array, count: int, config: Config) -> tuple[Float[Array, "n k"], Int[Array, " n"]]:
    """Noise and labels of `count` samples; labels cycle through the classes."""
    return jax.random.normal(key, (count, config.noise_size)), jnp.arange(count) % max(1, config.classes)


def sample(params: Params, key: Array, count: int, config: Config) -> Float[Array, "n h w c"]:
    """Samples in [0, 1]; with `config.classes`, cycling through the classes."""
    return images_of(params, *noise_and_labels(key, count, config), config)


def decode(params: Params, codes: Float[Array, "n k"], config: Config) -> Float[Array, "n h w c"]:
    """Images in [0, 1] generated from noise vectors; with `config.classes`, cycling through the classes."""
    return images_of(params, codes, jnp.arange(codes.shape[0]) % max(1, config.classes), config)


def evaluate(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> Metrics:
    """Both players' losses on test images and as many samples, without dropout, augmentation or penalty.

    Uses at most the first `EVALUATED` images of `batch`. `diversity` is the standard deviation of samples about their
    mean image divided by that of the images; near 0, all samples are alike.
    """
    images, labels = (x[:EVALUATED] for x in (batch.images, batch.labels))
    noise, _ = noise_and_labels(key, images.shape[0], config)
    fake = 2 * images_of(weights(state, config), noise, labels, config, axis_name) - 1

    def logits(inputs: tuple[Array, Array]) -> Array:
        seen = normalize(inputs[0]) if inputs[0].dtype == jnp.uint8 else inputs[0]
        classes = one_hot(inputs[1], config)
        return discriminate(state.params["discriminator"], state.spectral, seen, classes, None, config)[0]

    seen = ((real, labels) for real in (images, fake))
    real_logits, fake_logits = (batching.map_batches(logits, split, MAP_BATCH, axis_name) for split in seen)
    spread = jnp.sqrt(fake.var(axis=0).mean() / normalize(images).var(axis=0).mean())
    return {**metrics_of(real_logits, fake_logits, hparams, config), "diversity": spread}
