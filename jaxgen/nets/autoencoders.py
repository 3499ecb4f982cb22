"""Encoders and decoders of the chapter's autoencoders: images (B, H, W, C) to codes (B, K) and back to logits.

Kernels are Glorot-uniform and biases zero, Keras's defaults. Decoders return raw outputs: a sigmoid belongs to the
likelihood, not to the net.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.errors import SettingError
from jaxgen.nets.ops import conv
from jaxgen.nets.ops.dense import Dense, Dtype

ImageShape = tuple[int, int, int]
Activation = Callable[[Array], Array]

LAYOUT: conv.Layout = "CHWN"
Conv = partial(conv.Conv, layout=LAYOUT)


class DenseEncoder(nn.Module):
    """Flattened image, layers of the given widths (relu by default), a linear layer of `outputs`."""

    outputs: int = 2
    widths: tuple[int, ...] = (100, 20)
    dtype: Dtype = jnp.float32
    activation: Activation = nn.relu

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b k"]:
        x = images.reshape(images.shape[0], -1)
        for width in self.widths:
            x = self.activation(Dense(width, dtype=self.dtype)(x))
        return Dense(self.outputs, self.dtype)(x)


class DenseDecoder(nn.Module):
    """Layers of the given widths (relu by default), then one number per pixel and channel."""

    image_shape: ImageShape = (28, 28, 1)
    widths: tuple[int, ...] = (20, 100)
    dtype: Dtype = jnp.float32
    activation: Activation = nn.relu

    @nn.compact
    def __call__(self, codes: Float[Array, "b k"]) -> Float[Array, "b h w c"]:
        height, width, channels = self.image_shape
        x = codes
        for features in self.widths:
            x = self.activation(Dense(features, dtype=self.dtype)(x))
        x = Dense(height * width * channels, dtype=self.dtype)(x)
        return x.reshape(-1, *self.image_shape)


def check_conv_image_shape(image_shape: ImageShape) -> None:
    """Refuse sides other than 4 more than a multiple of 8 (such as 28), which the decoder's valid convolution needs."""
    if any(side % 8 != 4 for side in image_shape[:2]):
        raise SettingError(
            f"the convolutional net cannot take images of {image_shape[0]}x{image_shape[1]}: height and width must be "
            "4 more than a multiple of 8 (12, 20, 28, 36, ...); set data.size"
        )


class ConvEncoder(nn.Module):
    """[3x3 convolution, relu, 2x2 max-pool] for each of `channels`, then a linear layer of `outputs`."""

    outputs: int = 2
    channels: tuple[int, ...] = (16, 8, 8)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b k"]:
        x = conv.from_nhwc(images, LAYOUT)
        for features in self.channels:
            x = nn.relu(Conv(features, 3, dtype=self.dtype)(x))
            x = conv.max_pool2d(x, padding="SAME", layout="CHWN")
        x = conv.to_nhwc(x, LAYOUT).reshape(images.shape[0], -1)
        return Dense(self.outputs, self.dtype)(x)


class ConvDecoder(nn.Module):
    """Dense layer to a small map, then [3x3 convolution, relu, 2x upsampling] three times and a final convolution.

    The third convolution is valid (16 to 14), so sides grow 4, 8, 16, 28. `channels` has three entries.
    """

    image_shape: ImageShape = (28, 28, 1)
    channels: tuple[int, ...] = (8, 8, 16)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, codes: Float[Array, "b k"]) -> Float[Array, "b h w c"]:
        check_conv_image_shape(self.image_shape)
        height, width = (-(-side // 8) for side in self.image_shape[:2])
        x = nn.relu(Dense(height * width * self.channels[0], dtype=self.dtype)(codes))
        x = conv.from_nhwc(x.reshape(-1, height, width, self.channels[0]), LAYOUT)
        for features, padding, enlarge in zip(self.channels, ("SAME", "SAME", "VALID"), (1, 2, 2), strict=True):
            x = nn.relu(Conv(features, 3, padding=padding, upsample=enlarge, dtype=self.dtype)(x))
        x = Conv(self.image_shape[-1], 3, upsample=2, dtype=self.dtype)(x)
        return conv.to_nhwc(x, LAYOUT).astype(jnp.float32)
