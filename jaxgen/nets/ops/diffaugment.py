"""DiffAugment: differentiable random augmentations, applied to real and generated images alike.

Zhao et al., Differentiable augmentation for data-efficient GAN training, NeurIPS 2020. Images (B, H, W, C) in [-1, 1]
or any other range around zero; one key per image, so no example depends on another.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

Policy = Literal["color", "translation", "cutout"]
Images = Float[Array, "b h w c"]

SHIFT = 1 / 8
"""Largest shift, as a share of the image's side."""
HOLE = 1 / 2
"""Side of the square that is cut out, as a share of the image's side."""


def _uniform(keys: Key[Array, " b"], low: float, high: float, count: int) -> list[Array]:
    """`count` numbers per image from one draw, each (B, 1, 1, 1)."""
    draws = jax.vmap(lambda key: jax.random.uniform(key, (count,), minval=low, maxval=high))(keys)
    return [draws[:, i, None, None, None] for i in range(count)]


def color(images: Images, keys: Key[Array, " b"]) -> Images:
    """Brightness + [-0.5, 0.5], saturation x [0, 2] about each pixel's gray, contrast x [0.5, 1.5] about the mean."""
    brightness, saturation, contrast = _uniform(keys, -0.5, 0.5, 3)
    images = images + brightness
    if images.shape[-1] > 1:
        gray = images.mean(axis=3, keepdims=True)
        images = (images - gray) * (1 + 2 * saturation) + gray
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return (images - mean) * (1 + contrast) + mean


def _moved(offsets: Array, side: int) -> Float[Array, "b s s"]:
    """Matrices that shift a line by whole pixels, filling with zeros: products have cheap gradients, gathers do not."""
    places = jnp.arange(side, dtype=jnp.float32)
    return (places[None, :, None] - places[None, None, :] == offsets.reshape(-1, 1, 1)).astype(jnp.float32)


def translation(images: Images, keys: Key[Array, " b"]) -> Images:
    """Images shifted by up to an eighth of the side each way, filled with zeros."""
    (height, width), exact = images.shape[1:3], lax.Precision.HIGHEST
    down, right = _uniform(keys, -0.5, 0.5, 2)
    rows = _moved(_whole(down, SHIFT * height), height)
    columns = _moved(_whole(right, SHIFT * width), width)
    images = jnp.einsum("bij,bjwc->biwc", rows, images, precision=exact)
    return jnp.einsum("bij,bhjc->bhic", columns, images, precision=exact)


def _whole(draws: Array, reach: float) -> Array:
    """Draws from (-0.5, 0.5) as integers from -reach to reach."""
    reach = int(reach + 0.5)
    return jnp.floor((draws + 0.5) * (2 * reach + 1)) - reach


def cutout(images: Images, keys: Key[Array, " b"]) -> Images:
    """A square of half the side set to zero; its center is anywhere in the image."""
    height, width = images.shape[1:3]
    down, right = _uniform(keys, 0.0, 1.0, 2)
    rows = (
        jnp.abs(jnp.arange(height, dtype=jnp.float32)[None] + 0.5 - (down * height).reshape(-1, 1)) < HOLE * height / 2
    )
    columns = (
        jnp.abs(jnp.arange(width, dtype=jnp.float32)[None] + 0.5 - (right * width).reshape(-1, 1)) < HOLE * width / 2
    )
    return jnp.where((rows[:, :, None] & columns[:, None, :])[..., None], 0, images)


CHANGES = {"color": color, "translation": translation, "cutout": cutout}


def augment(images: Images, keys: Key[Array, " b"], policy: tuple[Policy, ...]) -> Images:
    """Images with the augmentations in `policy` applied in order."""
    for number, name in enumerate(policy):
        images = CHANGES[name](images, jax.vmap(lambda key, n=number: jax.random.fold_in(key, n))(keys))
    return images
