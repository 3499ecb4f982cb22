"""Encoder and decoder for 80x80 color images: images (B, H, W, C) to outputs (B, K) and codes back to logits.

Valid convolutions throughout, leaky relu of slope 0.2. With h the side of the smallest map, image sides are 4 h + 48:
52, 56, ..., 80 (h = 8).
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.errors import SettingError
from jaxgen.nets.autoencoders import ImageShape
from jaxgen.nets.ops import conv
from jaxgen.nets.ops.dense import Dense, Dtype

LAYOUT: conv.Layout = "HWNC"
Conv = partial(conv.Conv, layout=LAYOUT)
ConvTranspose = partial(conv.ConvTranspose, layout=LAYOUT)
leaky_relu = partial(nn.leaky_relu, negative_slope=0.2)

ENCODER = ((32, 5, 1), (32, 5, 2), (64, 5, 1), (64, 5, 2), (128, 7, 1))
"""Channels, kernel size and stride of each layer."""
DECODER = ((128, 7, 1), (64, 5, 2), (64, 5, 1), (32, 5, 2), (32, 5, 1))
"""Like `ENCODER`; a final layer with kernel size 4 outputs the image channels."""


def check_flower_image_shape(image_shape: ImageShape) -> None:
    """Refuse sides that the decoder's layers cannot produce."""
    if any(side < 52 or side % 4 for side in image_shape[:2]):
        raise SettingError(
            f"the flower net cannot take images of {image_shape[0]}x{image_shape[1]}: height and width must be "
            "multiples of 4 from 52 (52, 56, ..., 80, ...); set data.size"
        )


class FlowerEncoder(nn.Module):
    """80-76-36-32-14-8, flattened, then a linear layer of `outputs`."""

    outputs: int = 65
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b k"]:
        x = conv.from_nhwc(images, LAYOUT)
        for features, size, strides in ENCODER:
            x = leaky_relu(Conv(features, size, strides=strides, padding="VALID", dtype=self.dtype)(x))
        x = conv.to_nhwc(x, LAYOUT).reshape(images.shape[0], -1)
        return Dense(self.outputs, self.dtype)(x)


class FlowerDecoder(nn.Module):
    """Dense layer to 8x8x128, then transposed convolutions without bias, 8-14-31-35-73-77-80."""

    image_shape: ImageShape = (80, 80, 3)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, codes: Float[Array, "b k"]) -> Float[Array, "b h w c"]:
        check_flower_image_shape(self.image_shape)
        height, width = ((side - 48) // 4 for side in self.image_shape[:2])
        features = DECODER[0][0]
        x = nn.relu(Dense(height * width * features, dtype=self.dtype)(codes))
        x = conv.from_nhwc(x.reshape(-1, height, width, features), LAYOUT)
        layer = partial(ConvTranspose, padding="VALID", use_bias=False, dtype=self.dtype)
        for features, size, strides in DECODER:
            x = leaky_relu(layer(features, size, strides=strides)(x))
        return conv.to_nhwc(layer(self.image_shape[-1], 4)(x), LAYOUT).astype(jnp.float32)
