"""Linear autoencoder: minimize E_x ||x - W W^T x||^2 / 2 over a matrix W with `config.code_size` columns.

At the optimum, the columns span the data's first principal components (Baldi & Hornik, Neural networks 2, 1989).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxgen import batching, collectives, optim
from jaxgen.contract import ImageBatch as Batch
from jaxgen.contract import Objective, Traits
from jaxgen.optim import HParams
from jaxgen.optim import validate as validate_optimizer


@dataclass(frozen=True)
class Config:
    """Static settings: they fix shapes, and a new value triggers recompilation."""

    image_shape: tuple[int, int, int] = (28, 28, 1)
    code_size: int = 8
    batch_size: int = 64


class State(NamedTuple):
    """W (pixels, code_size) and the optimizer's state."""

    w: Float[Array, "p k"]
    opt_state: tuple


TRAITS = Traits(Objective("test/loss"), adapt=lambda config, facts: replace(config, image_shape=facts.image_shape))


def validate(hparams: HParams, config: Config) -> None:
    validate_optimizer(hparams)


def init(key: Array, hparams: HParams, config: Config) -> State:
    height, width, channels = config.image_shape
    w = 0.03 * jax.random.normal(key, (height * width * channels, config.code_size))
    return State(w, optim.optimizer("adam", hparams).init(w))


def loss(w: Float[Array, "p k"], images: UInt8[Array, "b h w c"]) -> Float[Array, " b"]:
    """Half the squared error of each image, summed over its pixels."""
    x = images.reshape(len(images), -1).astype(jnp.float32) / 255
    return ((x - x @ w @ w.T) ** 2).sum(axis=1) / 2


def step(state: State, batch: Batch, key, hparams: HParams, config: Config, *, axis_name=None):
    value, grads = jax.value_and_grad(lambda w: loss(w, batch.images).mean())(state.w)
    value, grads = collectives.mean((value, grads), axis_name)
    return State(*optim.descend(optim.optimizer("adam", hparams), state.w, state.opt_state, grads)), {"loss": value}


def evaluate(state: State, batch: Batch, key, hparams: HParams, config: Config, *, axis_name=None):
    return {"loss": batching.map_batches(lambda x: loss(state.w, x), batch.images, axis_name=axis_name).mean()}


def weights(state: State, config: Config) -> Float[Array, "p k"]:
    return state.w


def encode(w, images, key, config: Config) -> Float[Array, "b k"]:
    return images.reshape(len(images), -1).astype(jnp.float32) / 255 @ w


def decode(w, codes, config: Config) -> Float[Array, "b h w c"]:
    return jnp.clip(codes @ w.T, 0, 1).reshape(-1, *config.image_shape)
