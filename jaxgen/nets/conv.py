"""2-D convolution, transposed convolution, pooling and upsampling: the one place where images are convolved.

Semantics are those of `lax.conv_general_dilated` and `lax.conv_transpose` as flax uses them; kernels are HWIO. Images
are NHWC at a net's mouth and spatial-major, HWNC, inside: a net turns its input once (`spatial_major`), works with
`layout="HWNC"`, and turns its output once (`batch_major`).
"""

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Padding = str | Sequence[tuple[int, int]]
Pair = int | tuple[int, int]
Layout = Literal["NHWC", "HWNC"]


def spatial_major(x: Float[Array, "b h w c"]) -> Float[Array, "h w b c"]:
    """NHWC to HWNC."""
    return x.transpose(1, 2, 0, 3)


def batch_major(x: Float[Array, "h w b c"]) -> Float[Array, "b h w c"]:
    """HWNC to NHWC."""
    return x.transpose(2, 0, 1, 3)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _check(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> None:
    if x.ndim != 4 or kernel.ndim != 4:
        raise ValueError(f"images and kernel must have 4 axes, got {x.shape} and {kernel.shape}")
    if x.shape[-1] != kernel.shape[2]:
        raise ValueError(f"images have {x.shape[-1]} channels, the kernel takes {kernel.shape[2]}")
    if min(strides) < 1:
        raise ValueError(f"strides = {strides}: must be at least 1")
    if isinstance(padding, str) and padding not in ("SAME", "VALID"):
        raise ValueError(f"padding = {padding!r}: 'SAME', 'VALID' or two pairs of numbers")


def conv2d(
    x: Float[Array, "_ _ _ c"],
    kernel: Float[Array, "kh kw c k"],
    *,
    strides: Pair = 1,
    padding: Padding = "SAME",
    layout: Layout = "NHWC",
) -> Float[Array, "_ _ _ k"]:
    """Cross-correlation of images with a kernel."""
    _check(x, kernel, _pair(strides), padding)
    return lax.conv_general_dilated(x, kernel, _pair(strides), padding, dimension_numbers=(layout, "HWIO", layout))


def conv_transpose2d(
    x: Float[Array, "_ _ _ c"],
    kernel: Float[Array, "kh kw c k"],
    *,
    strides: Pair = 1,
    padding: Padding = "SAME",
    layout: Layout = "NHWC",
) -> Float[Array, "_ _ _ k"]:
    """Transposed (fractionally strided) convolution; the kernel is not flipped, as in flax."""
    _check(x, kernel, _pair(strides), padding)
    return lax.conv_transpose(x, kernel, _pair(strides), padding, dimension_numbers=(layout, "HWIO", layout))


class _ConvBase(nn.Module):
    features: int
    kernel_size: Pair
    strides: Pair = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()
    layout: Layout = "NHWC"

    def _convolve(self, convolution: Any, x: Array) -> Array:
        shape = (*_pair(self.kernel_size), x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = convolution(x, kernel, strides=self.strides, padding=self.padding, layout=self.layout)
        return y if bias is None else y + bias.reshape(1, 1, 1, -1)


class Conv(_ConvBase):
    """`flax.linen.Conv` for images: same parameters and results, Glorot-uniform kernel by default."""

    @nn.compact
    def __call__(self, x: Float[Array, "_ _ _ c"]) -> Float[Array, "_ _ _ k"]:
        return self._convolve(conv2d, x)


class ConvTranspose(_ConvBase):
    """`flax.linen.ConvTranspose` for images: same parameters and results, Glorot-uniform kernel by default."""

    @nn.compact
    def __call__(self, x: Float[Array, "_ _ _ c"]) -> Float[Array, "_ _ _ k"]:
        return self._convolve(conv_transpose2d, x)


def _spatial_axes(layout: Layout) -> tuple[int, int]:
    return (1, 2) if layout == "NHWC" else (0, 1)


def max_pool2d(
    x: Float[Array, "_ _ _ c"], window: int = 2, *, padding: str = "SAME", layout: Layout = "NHWC"
) -> Float[Array, "_ _ _ c"]:
    """Maximum over non-overlapping windows."""
    sizes = [window if axis in _spatial_axes(layout) else 1 for axis in range(4)]
    return lax.reduce_window(x, -jnp.inf, lax.max, sizes, sizes, padding)


def upsample2d(x: Float[Array, "_ _ _ c"], factor: int = 2, *, layout: Layout = "NHWC") -> Float[Array, "_ _ _ c"]:
    """Each pixel repeated `factor` times along both spatial axes (nearest neighbour)."""
    for axis in _spatial_axes(layout):
        x = x.repeat(factor, axis=axis)
    return x
