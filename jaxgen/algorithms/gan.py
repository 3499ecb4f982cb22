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

from jaxgen import adversarial, diffaugment
from jaxgen.algorithms import examples, optimizers
from jaxgen.algorithms.gan_settings import Config as Config
from jaxgen.algorithms.gan_settings import HParams as HParams
from jaxgen.algorithms.gan_settings import validate as validate
from jaxgen.nets import gan as nets
from jaxgen.nets import spectral

Params = Any
Metrics = dict[str, Float[Array, ""]]
Images = Float[Array, "b h w c"]

NETS: dict[str, tuple[Any, Any]] = {
    "dense": (nets.DenseGenerator, nets.DenseDiscriminator),
    "flower": (nets.FlowerGenerator, nets.FlowerDiscriminator),
    "small": (nets.SmallGenerator, nets.SmallDiscriminator),
}
MAP_BATCH = 250
"""Images a function of many looks at at once."""
EVALUATED = 500
"""Test images `evaluate` looks at, at most."""
COLLAPSED = 0.1
"""`diversity` below which the generator is said to have collapsed."""
SMALLEST_SLOPE = 2.0**-40
"""Least derivative of the discriminator's loss by a logit that its backward pass is started with; see `_shared`."""


class State(NamedTuple):
    """All that training carries; every leaf an array."""

    step: Int[Array, ""]
    params: Params
    """Of `generator` and `discriminator`."""
    opt_state: dict[str, optax.OptState]
    ema: Params
    """The generator's moving average; empty without."""
    spectral: spectral.Vectors
    """Singular vectors of the discriminator's kernels; empty without spectral norm."""


class Batch(NamedTuple):
    """Images as bytes, and their classes (looked at only with `config.classes`)."""

    images: UInt8[Array, "b h w c"]
    labels: Int[Array, " b"]


class Draws(NamedTuple):
    """Everything random in one update, one row or key an image, each from the image's own key."""

    noise: Float[Array, "b k"]
    generator: Array
    real: Array
    fake: Array
    share: Float[Array, " b"]


def generator(cfg: Config) -> Any:
    """The generator's flax module, noise (B, K) to images (B, H, W, C) in (-1, 1)."""
    widths = cfg.generator_widths or nets.GENERATOR_WIDTHS[cfg.net]
    return NETS[cfg.net][0](
        image_shape=cfg.image_shape, widths=widths, dropout_rate=cfg.dropout, dtype=jnp.dtype(cfg.dtype)
    )


def discriminator(cfg: Config) -> Any:
    """The discriminator's flax module, images (B, H, W, C) to logits (B,)."""
    widths = cfg.discriminator_widths or nets.DISCRIMINATOR_WIDTHS[cfg.net]
    return NETS[cfg.net][1](widths=widths, dropout_rate=cfg.dropout, dtype=jnp.dtype(cfg.dtype))


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


def normalise(images: UInt8[Array, "b h w c"]) -> Images:
    """Bytes to [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


def one_hot(labels: Int[Array, " b"], cfg: Config) -> Float[Array, "b n"] | None:
    """What the nets are told of the classes; None where they are told nothing."""
    return jax.nn.one_hot(labels, cfg.classes) if cfg.classes else None


def generate(params: Params, noise: Float[Array, "b k"], classes: Any, keys: Any, cfg: Config) -> Images:
    """G(z) in (-1, 1); with `keys` in training mode, without in evaluation mode."""
    return generator(cfg).apply({"params": params}, noise, classes, keys)


def discriminate(
    params: Params, vectors: spectral.Vectors, images: Any, classes: Any, keys: Any, cfg: Config
) -> tuple[Float[Array, " b"], spectral.Vectors]:
    """Logits of images in [-1, 1], and the singular vectors after a power iteration; `keys` as in `generate`.

    Images may come as a tuple of arrays of the same size, seen as one batch; classes and keys are then the batch's.
    """
    if cfg.spectral_norm:
        params, vectors = spectral.normalise(params, vectors)
    if keys is not None:
        keys, augment_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        parts = images if isinstance(images, tuple) else (images,)
        augment_keys = jnp.split(augment_keys, len(parts))
        images = tuple(diffaugment.augment(x, k, cfg.augment) for x, k in zip(parts, augment_keys, strict=True))
    return discriminator(cfg).apply({"params": params}, images, classes, keys), vectors


def _draw(key: Array, count: int, cfg: Config, axis_name: str | None) -> Draws:
    """`Draws` of images number 0, 1, ... of the whole batch, of which this device may hold a part."""
    of_use = jax.vmap(lambda key: examples.keys(key, count, axis_name))
    noise, generator, real, fake, share = of_use(jax.random.split(key, 5))
    normal = jax.vmap(lambda k: jax.random.normal(k, (cfg.noise_size,)))
    return Draws(normal(noise), generator, real, fake, jax.vmap(jax.random.uniform)(share))


def _losses(real: Array, fake: Array, hp: HParams, cfg: Config) -> adversarial.Losses:
    targets = adversarial.Targets(hp.real_target, hp.fake_target, hp.generator_target)
    return adversarial.LOSSES[cfg.loss](real, fake, targets)


def _metrics(real: Array, fake: Array, hp: HParams, cfg: Config) -> Metrics:
    losses = _losses(real, fake, hp, cfg)
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
        losses = _losses(real, fake, hp, cfg)
        return losses.real.sum() + losses.fake.sum(), losses.generator.sum()

    count = real.shape[0]
    slopes, generator_slopes = (jax.grad(lambda x, n=n: sums(x)[n] / count)(logits) for n in range(2))
    slopes = jnp.where(jnp.abs(slopes) < SMALLEST_SLOPE, SMALLEST_SLOPE, slopes)
    discriminator_grads, image_slopes = pull_discriminator(slopes)
    (generator_grads,) = pull_generator(image_slopes * (generator_slopes / slopes)[count:, None, None, None])
    grads = {"generator": generator_grads, "discriminator": discriminator_grads}
    return grads, _metrics(real_logits, fake_logits, hp, cfg), fake, vectors


def _critic(
    state: State, real: Images, fake: Images, classes: Any, draws: Draws, hp: HParams, cfg: Config
) -> tuple[Params, Metrics, spectral.Vectors]:
    """Gradients of the discriminator alone, from one pass over real and generated images."""
    keys, classes = _joined(draws.real, draws.fake), _joined(classes, classes)

    def loss(params: Params) -> tuple[Array, Any]:
        logits, vectors = discriminate(params, state.spectral, (real, fake), classes, keys, cfg)
        real_logits, fake_logits = jnp.split(logits, 2)
        metrics = _metrics(real_logits, fake_logits, hp, cfg)
        return metrics["discriminator_loss"], (metrics, vectors)

    grads, (metrics, vectors) = jax.grad(loss, has_aux=True)(state.params["discriminator"])
    return grads, metrics, vectors


def _player(state: State, classes: Any, draws: Draws, hp: HParams, cfg: Config) -> tuple[Params, Metrics]:
    """Gradients of the generator alone, through a discriminator that looks at generated images only."""

    def loss(params: Params) -> tuple[Array, Metrics]:
        fake = generate(params, draws.noise, classes, draws.generator, cfg)
        logits, _ = discriminate(state.params["discriminator"], state.spectral, fake, classes, draws.fake, cfg)
        losses = _losses(logits, logits, hp, cfg)
        return losses.generator.mean(), {"generator_loss": losses.generator.mean()}

    return jax.grad(loss, has_aux=True)(state.params["generator"])


def _penalty(
    state: State, real: Images, fake: Images, classes: Any, draws: Draws, hp: HParams, cfg: Config
) -> tuple[Params, Float[Array, ""]]:
    """Gradients and value of the weighted penalty on every `penalty_every`-th image."""
    real, fake, keys, share = (x[:: cfg.penalty_every] for x in (real, fake, draws.real, draws.share))
    classes = None if classes is None else classes[:: cfg.penalty_every]

    def loss(params: Params) -> Float[Array, ""]:
        def critic(images: Images) -> Float[Array, " b"]:
            return discriminate(params, state.spectral, images, classes, keys, cfg)[0]

        if cfg.penalty == "r1":
            return hp.penalty * adversarial.r1_penalty(critic, real).mean()
        return hp.penalty * adversarial.gradient_penalty(critic, real, fake, share).mean()

    value, grads = jax.value_and_grad(loss)(state.params["discriminator"])
    return grads, value


def _penalised(grads: Params, metrics: Metrics, penalty: tuple[Params, Array]) -> tuple[Params, Metrics]:
    return jax.tree.map(jnp.add, grads, penalty[0]), {**metrics, "penalty": penalty[1]}


def gradients(
    state: State, real: Images, classes: Any, draws: Draws, hp: HParams, cfg: Config
) -> tuple[dict[str, Params], Metrics, spectral.Vectors]:
    """Both players' gradients at the same state, with the metrics and the singular vectors to go on with."""
    if cfg.shared_passes:
        grads, metrics, fake, vectors = _shared(state, real, classes, draws, hp, cfg)
    else:
        fake = generate(state.params["generator"], draws.noise, classes, draws.generator, cfg)
        discriminator_grads, metrics, vectors = _critic(state, real, fake, classes, draws, hp, cfg)
        grads = {"generator": _player(state, classes, draws, hp, cfg)[0], "discriminator": discriminator_grads}
    if cfg.penalty != "none":
        penalty = _penalty(state, real, fake, classes, draws, hp, cfg)
        grads["discriminator"], metrics = _penalised(grads["discriminator"], metrics, penalty)
    return grads, metrics, vectors


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
    draws = _draw(key, real.shape[0], cfg, axis_name)
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
        draws = _draw(jax.random.fold_in(key, number), count, cfg, axis_name)
        fake = generate(state.params["generator"], draws.noise, classes, draws.generator, cfg)
        grads, metrics, vectors = _critic(state, real, fake, classes, draws, hp, cfg)
        if cfg.penalty != "none":
            penalty = _penalty(state, real, fake, classes, draws, hp, cfg)
            grads, metrics = _penalised(grads, metrics, penalty)
        grads, metrics = _mean((grads, metrics), axis_name)
        return _apply(state, "discriminator", grads, hp, cfg)._replace(spectral=vectors), metrics

    state, metrics = lax.scan(critic_step, state, (jnp.arange(cfg.critic_steps), parts))
    draws = _draw(jax.random.fold_in(key, cfg.critic_steps), count, cfg, axis_name)
    last = jax.tree.map(lambda x: x[-1], parts[1])
    grads, own = _mean(_player(state, last, draws, hp, cfg), axis_name)
    return _apply(state, "generator", grads, hp, cfg), {**jax.tree.map(jnp.mean, metrics), **own}


def _mean(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else lax.pmean(tree, axis_name)


def _averaged(state: State, hp: HParams, cfg: Config) -> State:
    if not cfg.ema:
        return state
    decay = jnp.minimum(hp.ema_decay, (1.0 + state.step) / (10.0 + state.step))
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
    return {**_metrics(real_logits, fake_logits, hp, cfg), "diversity": spread}


def alarm(metrics: dict[str, float]) -> str | None:
    """What is wrong with a state that `evaluate` found so, None if nothing is."""
    if metrics["diversity"] < COLLAPSED:
        return (
            "the generator has collapsed, or has learnt nothing yet: its samples vary "
            f"{metrics['diversity']:.3f} times as much as test images do (alarm below {COLLAPSED})"
        )
    return None
