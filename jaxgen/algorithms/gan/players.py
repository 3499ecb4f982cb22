"""Generator and discriminator: state, forward passes and losses."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from jaxgen import batching
from jaxgen.algorithms.gan.config import Config, HParams
from jaxgen.contract import Metrics, Tree
from jaxgen.losses import adversarial
from jaxgen.nets import gan as nets
from jaxgen.nets.ops import diffaugment, spectral

Params = Tree
Images = Float[Array, "b h w c"]

NETS: dict[str, tuple[Any, Any]] = {
    "dense": (nets.DenseGenerator, nets.DenseDiscriminator),
    "flower": (nets.FlowerGenerator, nets.FlowerDiscriminator),
    "small": (nets.SmallGenerator, nets.SmallDiscriminator),
}


class State(NamedTuple):
    """Training state; every leaf is an array."""

    step: Int[Array, ""]
    params: Params
    """Keys `generator` and `discriminator`."""
    opt_state: dict[str, optax.OptState]
    ema: Params
    """The generator's moving average; empty if disabled."""
    spectral: spectral.Vectors
    """Singular vectors of the discriminator's kernels; empty without spectral norm."""


def generator(config: Config) -> Any:
    """Flax generator: noise (B, K) to images (B, H, W, C) in (-1, 1)."""
    widths = config.generator_widths or nets.GENERATOR_WIDTHS[config.net]
    return NETS[config.net][0](
        image_shape=config.image_shape, widths=widths, dropout_rate=config.dropout, dtype=jnp.dtype(config.dtype)
    )


def discriminator(config: Config) -> Any:
    """Flax discriminator: images (B, H, W, C) to logits (B,)."""
    widths = config.discriminator_widths or nets.DISCRIMINATOR_WIDTHS[config.net]
    return NETS[config.net][1](widths=widths, dropout_rate=config.dropout, dtype=jnp.dtype(config.dtype))


def normalize(images: UInt8[Array, "b h w c"]) -> Images:
    """Bytes scaled to [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


def one_hot(labels: Int[Array, " b"], config: Config) -> Float[Array, "b n"] | None:
    """One-hot classes as both nets take them; None without conditioning."""
    return jax.nn.one_hot(labels, config.classes) if config.classes else None


def generate(params: Params, noise: Float[Array, "b k"], classes: Any, keys: Any, config: Config) -> Images:
    """G(z) in (-1, 1); training mode with `keys`, evaluation mode without."""
    return generator(config).apply({"params": params}, noise, classes, keys)


def discriminate(
    params: Params, vectors: spectral.Vectors, images: Any, classes: Any, keys: Any, config: Config
) -> tuple[Float[Array, " b"], spectral.Vectors]:
    """Logits of images in [-1, 1], and the singular vectors after a power iteration; `keys` as in `generate`.

    Images may be a tuple of equal-sized arrays, treated as one batch; classes and keys are then the batch's.
    """
    if config.spectral_norm:
        params, vectors = spectral.normalize(params, vectors)
    if keys is not None:
        pairs = jax.vmap(jax.random.split)(keys)
        keys, augment_keys = pairs[:, 0], pairs[:, 1]
        parts = images if isinstance(images, tuple) else (images,)
        of_parts = augment_keys.reshape(len(parts), -1)
        images = tuple(diffaugment.augment(x, k, config.augment) for x, k in zip(parts, of_parts, strict=True))
    return discriminator(config).apply({"params": params}, images, classes, keys), vectors


class Draws(NamedTuple):
    """All random draws of one update: one row or key per image, from the image's own key."""

    noise: Float[Array, "b k"]
    generator: Array
    real: Array
    fake: Array
    share: Float[Array, " b"]


def draw(key: Array, count: int, config: Config, axis_name: str | None) -> Draws:
    """`Draws` for images 0, 1, ... of the whole batch, or for this device's part of it."""
    of_use = jax.vmap(lambda key: batching.keys(key, count, axis_name))
    noise, generator, real, fake, share = of_use(jax.random.split(key, 5))
    normal = jax.vmap(lambda k: jax.random.normal(k, (config.noise_size,)))
    return Draws(normal(noise), generator, real, fake, jax.vmap(jax.random.uniform)(share))


def losses_of(real: Array, fake: Array, hparams: HParams, config: Config) -> adversarial.Losses:
    """Each player's loss for each logit of real and generated images."""
    targets = adversarial.Targets(hparams.real_target, hparams.fake_target, hparams.generator_target)
    return adversarial.LOSSES[config.loss](real, fake, targets)


def metrics_of(real: Array, fake: Array, hparams: HParams, config: Config) -> Metrics:
    """Mean losses and logits."""
    losses = losses_of(real, fake, hparams, config)
    return {
        "generator_loss": losses.generator.mean(),
        "discriminator_loss": losses.real.mean() + losses.fake.mean(),
        "real_logit": real.mean(),
        "fake_logit": fake.mean(),
    }


def joined(one: Any, other: Any) -> Any:
    """Both arrays concatenated; None if given None."""
    return None if one is None else jnp.concatenate([one, other])
