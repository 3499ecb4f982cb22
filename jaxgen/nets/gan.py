"""Generators, noise (B, K) to images (B, H, W, C) in (-1, 1), and discriminators, images to one logit each.

There are three of each: the chapter's dense nets (for 28x28), its convolutional ones (for 80x80), and small
convolutional ones. All take `classes` (B, N), one-hot rows, or None; and `keys`, one key per example for dropout, or
None for evaluation. No net mixes examples. Kernels are Glorot-uniform and biases zero.

A discriminator takes images in one array or several, treated as one batch: only the first layers run separately, so
that no gradient is computed with respect to images that need none (the real ones).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxgen.errors import SettingError
from jaxgen.nets.autoencoders import ImageShape
from jaxgen.nets.ops import conv
from jaxgen.nets.ops.dense import Dense
from jaxgen.nets.ops.dropout import dropout

OptionalKeys = Key[Array, " b"] | None
Classes = Float[Array, "b n"] | None
Images = Float[Array, "_ h w c"] | tuple[Float[Array, "_ h w c"], ...]
Turned = Float[Array, "_ _ _ _"]

DENSE, FLOWER, SMALL = "dense", "flower", "small"
GENERATOR_WIDTHS = {DENSE: (200, 200), FLOWER: (128, 256, 128, 64), SMALL: (32, 16)}
DISCRIMINATOR_WIDTHS = {DENSE: (200, 100), FLOWER: (64, 128, 256), SMALL: (16, 32)}
LAYOUTS: dict[str, conv.Layout] = {FLOWER: "HWNC", SMALL: "CHWN"}


class _Net(nn.Module):
    """Base of all six: leaky relu and dropout after a hidden layer, and two kinds of class conditioning."""

    widths: tuple[int, ...] = ()
    slope: float = 0.3
    dropout_rate: float = 0.0
    dtype: Any = jnp.float32

    def _activate(self, x: Array, keys: OptionalKeys, layer: int, axis: int = 0) -> Array:
        return dropout(nn.leaky_relu(x, self.slope), _layer_keys(keys, layer), self.dropout_rate, axis=axis)

    def _beside(self, noise: Array, classes: Classes) -> Array:
        """Generator conditioning: the class concatenated to the noise."""
        return noise if classes is None else jnp.concatenate([noise, classes], axis=-1)

    def _logits(self, features: Array, classes: Classes) -> Float[Array, " b"]:
        """Discriminator conditioning by projection: w.h + e(class).h (Miyato & Koyama, ICLR 2018)."""
        logits = Dense(1, dtype=self.dtype, name="logit")(features)[:, 0]
        if classes is None:
            return logits
        embedding = Dense(features.shape[-1], use_bias=False, dtype=self.dtype, name="class_embedding")(classes)
        return logits + (embedding * features.astype(jnp.float32)).sum(-1)


def _layer_keys(keys: OptionalKeys, layer: int) -> OptionalKeys:
    return None if keys is None else jax.vmap(lambda key: jax.random.fold_in(key, layer))(keys)


class DenseGenerator(_Net):
    """Leaky relu layers of `widths`, then tanh: 217,984 parameters as 100-200-200-784."""

    image_shape: ImageShape = (28, 28, 1)
    widths: tuple[int, ...] = GENERATOR_WIDTHS[DENSE]

    @nn.compact
    def __call__(
        self, noise: Float[Array, "b k"], classes: Classes = None, keys: OptionalKeys = None
    ) -> Float[Array, "b h w c"]:
        height, width, channels = self.image_shape
        x = self._beside(noise, classes)
        for layer, features in enumerate(self.widths):
            x = self._activate(Dense(features, dtype=self.dtype)(x), keys, layer)
        x = Dense(height * width * channels, dtype=self.dtype)(x)
        return jnp.tanh(x).reshape(-1, *self.image_shape)


class DenseDiscriminator(_Net):
    """Leaky relu layers of `widths`, then a logit: 177,201 parameters as 784-200-100-1."""

    widths: tuple[int, ...] = DISCRIMINATOR_WIDTHS[DENSE]

    @nn.compact
    def __call__(self, images: Images, classes: Classes = None, keys: OptionalKeys = None) -> Float[Array, " b"]:
        first = Dense(self.widths[0], dtype=self.dtype)
        x = jnp.concatenate([first(part.reshape(part.shape[0], -1)) for part in _parts(images)])
        x = self._activate(x, keys, 0)
        for layer, features in enumerate(self.widths[1:], start=1):
            x = self._activate(Dense(features, dtype=self.dtype)(x), keys, layer)
        return self._logits(x, classes)


def _parts(images: Images) -> tuple[Array, ...]:
    return images if isinstance(images, tuple) else (images,)


def check_conv_image_shape(image_shape: ImageShape, doublings: int = 2) -> None:
    """Refuse sides that no map gives when it is doubled so often; the flower generator doubles twice."""
    if any(side % 2**doublings for side in image_shape[:2]):
        raise SettingError(
            f"a convolutional generator that doubles its map {doublings} times cannot make images of "
            f"{image_shape[0]}x{image_shape[1]}: height and width must be multiples of {2**doublings}; set data.size"
        )


class _ConvNet(_Net):
    """Base of the four convolutional nets; between input and output, images are in `layout` (`Turned`)."""

    layout: conv.Layout = "HWNC"

    def _activate_images(self, x: Turned, keys: OptionalKeys, layer: int) -> Turned:
        return self._activate(x, keys, layer, axis=self.layout.index("N"))

    def _from_vectors(self, x: Float[Array, "b k"], image_shape: ImageShape, use_bias: bool, doublings: int) -> Turned:
        """A dense layer to a map with `widths[0]` channels that `doublings` turn into the image's sides."""
        height, width = (side // 2**doublings for side in image_shape[:2])
        x = Dense(height * width * self.widths[0], use_bias=use_bias, dtype=self.dtype)(x)
        return conv.from_nhwc(x.reshape(-1, height, width, self.widths[0]), self.layout)

    def _up(self, features: int, kernel: int, strides: int, use_bias: bool) -> conv.ConvTranspose:
        return conv.ConvTranspose(features, kernel, strides, use_bias=use_bias, dtype=self.dtype, layout=self.layout)

    def _images(self, x: Turned) -> Float[Array, "b h w c"]:
        return jnp.tanh(conv.to_nhwc(x, self.layout).astype(jnp.float32))


class FlowerGenerator(_ConvNet):
    """The chapter's 80x80x3 generator, without biases, 6,443,712 parameters: a 20x20 map, three transposed convolutions
    with kernels 3, 5, 5 (the last doubles the size), one with kernel 5 to the image (doubles again), tanh. `widths` has
    four entries."""

    image_shape: ImageShape = (80, 80, 3)
    layout: conv.Layout = LAYOUTS[FLOWER]
    widths: tuple[int, ...] = GENERATOR_WIDTHS[FLOWER]
    dropout_rate: float = 0.3

    @nn.compact
    def __call__(
        self, noise: Float[Array, "b k"], classes: Classes = None, keys: OptionalKeys = None
    ) -> Float[Array, "b h w c"]:
        check_conv_image_shape(self.image_shape)
        x = self._from_vectors(self._beside(noise, classes), self.image_shape, use_bias=False, doublings=2)
        x = self._activate_images(x, keys, 0)
        layers = zip(self.widths[1:], (3, 5, 5), (1, 1, 2), strict=True)
        for layer, (features, kernel, strides) in enumerate(layers, start=1):
            x = self._activate_images(self._up(features, kernel, strides, use_bias=False)(x), keys, layer)
        return self._images(self._up(self.image_shape[-1], 5, 2, use_bias=False)(x))


class _ConvDiscriminator(_ConvNet):
    def _convolve(
        self, images: Images, kernels: tuple[int, ...], classes: Classes, keys: OptionalKeys
    ) -> Float[Array, " b"]:
        """Convolutions of stride 2 with `widths` channels, then a logit."""
        first, *others = (
            conv.Conv(features, kernel, strides=2, dtype=self.dtype, layout=self.layout)
            for features, kernel in zip(self.widths, kernels, strict=True)
        )
        maps = [first(conv.from_nhwc(part, self.layout)) for part in _parts(images)]
        x = self._activate_images(jnp.concatenate(maps, axis=self.layout.index("N")), keys, 0)
        for layer, convolution in enumerate(others, start=1):
            x = self._activate_images(convolution(x), keys, layer)
        x = conv.to_nhwc(x, self.layout)
        return self._logits(x.reshape(x.shape[0], -1), classes)


class FlowerDiscriminator(_ConvDiscriminator):
    """The chapter's 80x80x3 discriminator, 530,561 parameters: stride-2 convolutions, kernels 5, 5, 3, and a logit."""

    layout: conv.Layout = LAYOUTS[FLOWER]
    widths: tuple[int, ...] = DISCRIMINATOR_WIDTHS[FLOWER]
    dropout_rate: float = 0.3

    @nn.compact
    def __call__(self, images: Images, classes: Classes = None, keys: OptionalKeys = None) -> Float[Array, " b"]:
        return self._convolve(images, (5, 5, 3), classes, keys)


class SmallGenerator(_ConvNet):
    """A small map, then a transposed 5x5 convolution that doubles its sides for each of `widths`, tanh."""

    image_shape: ImageShape = (28, 28, 1)
    layout: conv.Layout = LAYOUTS[SMALL]
    widths: tuple[int, ...] = GENERATOR_WIDTHS[SMALL]

    @nn.compact
    def __call__(
        self, noise: Float[Array, "b k"], classes: Classes = None, keys: OptionalKeys = None
    ) -> Float[Array, "b h w c"]:
        doublings = len(self.widths)
        check_conv_image_shape(self.image_shape, doublings)
        x = self._from_vectors(self._beside(noise, classes), self.image_shape, use_bias=True, doublings=doublings)
        x = self._activate_images(x, keys, 0)
        for layer, features in enumerate(self.widths[1:], start=1):
            x = self._activate_images(self._up(features, 5, 2, use_bias=True)(x), keys, layer)
        return self._images(self._up(self.image_shape[-1], 5, 2, use_bias=True)(x))


class SmallDiscriminator(_ConvDiscriminator):
    """[5x5 convolution of stride 2] for each of `widths`, then a logit."""

    layout: conv.Layout = LAYOUTS[SMALL]
    widths: tuple[int, ...] = DISCRIMINATOR_WIDTHS[SMALL]

    @nn.compact
    def __call__(self, images: Images, classes: Classes = None, keys: OptionalKeys = None) -> Float[Array, " b"]:
        return self._convolve(images, (5,) * len(self.widths), classes, keys)
