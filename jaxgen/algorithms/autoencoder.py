"""Autoencoder: minimize E_x[-log p(x | decode(encode(x)))] over both nets.

Hinton & Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 313, 2006.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from jaxgen import batching, collectives, optim
from jaxgen.contract import DataFacts, Metrics, Objective, Traits, Tree
from jaxgen.contract import ImageBatch as Batch
from jaxgen.errors import check_at_least, check_choice, refuse
from jaxgen.losses import reconstruction
from jaxgen.nets import autoencoders as nets
from jaxgen.optim import HParams as HParams

Params = Tree


@dataclass(frozen=True)
class Config:
    """Static settings, which fix shapes and programs; changing one recompiles."""

    image_shape: tuple[int, int, int] = (28, 28, 1)
    """Image shape (H, W, C), set from the data."""
    net: Literal["dense", "conv"] = "dense"
    """Encoder and decoder architecture."""
    code_size: int = 2
    """Dimension of the code."""
    widths: tuple[int, ...] = (100, 20)
    """Hidden widths of the dense encoder; the decoder reverses them."""
    channels: tuple[int, int, int] = (16, 8, 8)
    """Channels of the conv encoder's three layers; the decoder reverses them."""
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    """bernoulli: cross-entropy on logits; gaussian: unit variance, i.e. half the squared error."""
    optimizer: optim.Family = "adamax"
    """Optimizer family; its hyperparameters are in hparams."""
    batch_size: int = 128
    """Images per update."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute dtype of the nets; parameters, losses and optimizer stay float32."""

    def __post_init__(self) -> None:
        check_choice("config.net", self.net, ("dense", "conv"))
        check_choice("config.likelihood", self.likelihood, ("bernoulli", "gaussian"))
        check_choice("config.optimizer", self.optimizer, get_args(optim.Family))
        check_choice("config.dtype", self.dtype, ("float32", "bfloat16"))
        check_at_least("config.code_size", self.code_size, 1)
        check_at_least("config.batch_size", self.batch_size, 1)
        if any(width < 1 for width in self.widths):
            refuse("config.widths", self.widths, "positive integers")
        if len(self.channels) != 3 or any(width < 1 for width in self.channels):
            refuse("config.channels", self.channels, "three positive integers")
        if self.net == "conv":
            nets.check_conv_image_shape(self.image_shape)


class State(NamedTuple):
    """Training state; every leaf is an array."""

    step: Int[Array, ""]
    params: Params
    opt_state: optax.OptState


def validate(hparams: HParams, config: Config) -> None:
    """Refuse out-of-range hyperparameters (`Config` checks itself)."""
    optim.validate(hparams)


def adapt(config: Config, facts: DataFacts) -> Config:
    """The configuration with the data's image shape."""
    return replace(config, image_shape=facts.image_shape)


TRAITS = Traits(
    objective=Objective("test/loss"),
    progress=("loss", "loss_per_pixel"),
    adapt=adapt,
    bfloat16=lambda config: config.dtype == "bfloat16",
    dense=lambda config: config.net == "dense",
)


def encoder(config: Config) -> Any:
    """Flax encoder: images (B, H, W, C) to codes (B, code_size)."""
    dtype = jnp.dtype(config.dtype)
    if config.net == "conv":
        return nets.ConvEncoder(config.code_size, config.channels, dtype)
    return nets.DenseEncoder(config.code_size, config.widths, dtype)


def decoder(config: Config) -> Any:
    """Flax decoder: codes (B, code_size) to logits or means (B, H, W, C)."""
    dtype = jnp.dtype(config.dtype)
    if config.net == "conv":
        return nets.ConvDecoder(config.image_shape, config.channels[::-1], dtype)
    return nets.DenseDecoder(config.image_shape, config.widths[::-1], dtype)


def init(key: Array, hparams: HParams, config: Config) -> State:
    """Fresh parameters and optimizer state."""
    encoder_key, decoder_key = jax.random.split(key)
    params = {
        "encoder": encoder(config).init(encoder_key, jnp.zeros((1, *config.image_shape)))["params"],
        "decoder": decoder(config).init(decoder_key, jnp.zeros((1, config.code_size)))["params"],
    }
    return State(jnp.zeros((), jnp.int32), params, optim.optimizer(config.optimizer, hparams).init(params))


def normalize(images: UInt8[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Bytes scaled to [0, 1]."""
    return images.astype(jnp.float32) / 255


def weights(state: State, config: Config) -> Params:
    """Parameters of encoder and decoder."""
    return state.params


def encode(params: Params, images: UInt8[Array, "b h w c"], key: Array | None, config: Config) -> Float[Array, "b k"]:
    """Codes of images; `key` is unused."""
    return encoder(config).apply({"params": params["encoder"]}, normalize(images))


def decode(params: Params, codes: Float[Array, "b k"], config: Config) -> Float[Array, "b h w c"]:
    """Mean images in [0, 1] decoded from codes."""
    outputs = decoder(config).apply({"params": params["decoder"]}, codes)
    return jax.nn.sigmoid(outputs) if config.likelihood == "bernoulli" else jnp.clip(outputs, 0, 1)


def reconstruct(
    params: Params, images: UInt8[Array, "b h w c"], key: Array | None, config: Config
) -> Float[Array, "b h w c"]:
    """Mean reconstructions in [0, 1]; `key` is unused."""
    return decode(params, encode(params, images, key, config), config)


def reconstruction_loss(params: Params, images: UInt8[Array, "b h w c"], config: Config) -> Float[Array, " b"]:
    """-log p(x | code of x), nats per image."""
    outputs = decoder(config).apply({"params": params["decoder"]}, encode(params, images, None, config))
    loss = reconstruction.bernoulli_cross_entropy if config.likelihood == "bernoulli" else reconstruction.gaussian_nll
    return loss(outputs, normalize(images))


def _metrics(nats_per_image: Float[Array, ""], config: Config) -> Metrics:
    return {"loss": nats_per_image, "loss_per_pixel": reconstruction.per_dimension(nats_per_image, config.image_shape)}


def step(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> tuple[State, Metrics]:
    """One gradient step on the batch mean of `reconstruction_loss`; `key` is unused."""

    def mean_loss(params: Params) -> Float[Array, ""]:
        return reconstruction_loss(params, batch.images, config).mean()

    loss, grads = collectives.mean(jax.value_and_grad(mean_loss)(state.params), axis_name)
    optimizer = optim.optimizer(config.optimizer, hparams)
    params, opt_state = optim.descend(optimizer, state.params, state.opt_state, grads)
    return State(state.step + 1, params, opt_state), _metrics(loss, config)


def evaluate(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> Metrics:
    """Mean losses over `batch`, which may be a whole split, processed `batching.SIZE` images at a time."""

    def nats(images: UInt8[Array, "b h w c"]) -> Float[Array, " b"]:
        return reconstruction_loss(state.params, images, config)

    return _metrics(batching.map_batches(nats, batch.images, axis_name=axis_name).mean(), config)
