"""2-D convolution, transposed convolution, pooling and upsampling: the one place where images are convolved.

Semantics, parameters and initialisers are those of `flax.linen.Conv` and `ConvTranspose` (so of
`lax.conv_general_dilated` and `lax.conv_transpose`); kernels are (height, width, inputs, outputs).

**Layouts.** Images are NHWC at a net's mouth. Inside, a net turns them once (`from_nhwc`, `to_nhwc`) to the layout in
which its layers work: HWNC for wide layers, CHWN where channels are few (a vector of channels is then too short for
the processor, one over pixels and images is not). A layer whose formulation prefers the other layout turns its side
with few channels.

**Why not `lax.conv`.** On GPU and TPU it is the right thing, and what these functions lower to. XLA's CPU code is up
to 50 times slower than it could be: the kernel gradient of a transposed convolution runs at 1 to 4 GFLOP/s, and most
gradients fall to naive loops inside `lax.scan` and `fori_loop`, on which the engine is built. The choice is made when
a program is lowered, for the platform it is lowered for.

**One operation, three forms.** A convolution is bilinear, y = corr(x, w); its two gradients are the bilinear maps
corr_x(g, w) and corr_w(x, g), and the three are each other's derivatives. A transposed convolution is corr_x with the
kernel's flip. So there are three operations, each differentiable as often as one likes (in reverse mode):

* strides: corr with strides s is corr with strides 1 on the s x s sub-pixel grid (space to depth): s^2 times the
  input channels, ceil(k / s) taps; at its best where s divides k, at its worst 1.8 times the products (k 3, s 2);
* padding: zeros, added where the pixels are turned anyway;
* then a formulation by the number of channels (`_few`):
  few on one side: `patches`, one matrix product with the few side unfolded. k^2 c copies a pixel are cheap while c is
  small, and the transforms below would be made of short vectors;
  many on both: `winograd`, 2 to 6 times fewer multiplications than the definition, on batched matrix products.

bfloat16 images and kernels are convolved in float32 on CPU, and the result rounded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen.nets import patches, winograd

Padding = str | Sequence[tuple[int, int]]
Pair = int | tuple[int, int]
Pads = tuple[tuple[int, int], tuple[int, int]]
Layout = Literal["NHWC", "HWNC", "CHWN"]

_FEW = 16
"""Channels up to which a side is unfolded."""


def from_nhwc(x: Float[Array, "b h w c"], layout: Layout) -> Float[Array, "_ _ _ _"]:
    """Images as another layout."""
    return _turn(x, "NHWC", layout)


def to_nhwc(x: Float[Array, "_ _ _ _"], layout: Layout) -> Float[Array, "b h w c"]:
    """Images of another layout as NHWC."""
    return _turn(x, layout, "NHWC")


def _turn(x: Array, old: str, new: str) -> Array:
    return x.transpose([old.index(axis) for axis in new])


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


@dataclass(frozen=True)
class _Geometry:
    """A correlation: inputs of `size`, zeros of `low` before them (cut off where negative), strides, `out` outputs."""

    size: tuple[int, int]
    out: tuple[int, int]
    strides: tuple[int, int]
    low: tuple[int, int]
    kernel: tuple[int, int]
    layout: Layout

    @property
    def pads(self) -> Pads:
        """Zeros before and after."""
        each = zip(self.size, self.out, self.strides, self.low, self.kernel, strict=True)
        return tuple((low, (out - 1) * step + k - low - size) for size, out, step, low, k in each)  # type: ignore

    @property
    def taps(self) -> tuple[int, int]:
        """Taps on the sub-pixel grid."""
        return -(-self.kernel[0] // self.strides[0]), -(-self.kernel[1] // self.strides[1])

    @property
    def grid(self) -> tuple[int, int]:
        """Size of the sub-pixel grid."""
        return self.out[0] + self.taps[0] - 1, self.out[1] + self.taps[1] - 1


# What GPU and TPU run.


def _vendor(x: Array, w: Array, at: _Geometry) -> Array:
    numbers = (at.layout, "HWIO", at.layout)
    return lax.conv_general_dilated(x, w, at.strides, at.pads, dimension_numbers=numbers)


def _vendor_x(g: Array, w: Array, at: _Geometry) -> Array:
    sizes = {"H": at.size[0], "W": at.size[1], "N": g.shape[at.layout.index("N")], "C": w.shape[2]}
    like = jax.ShapeDtypeStruct([sizes[axis] for axis in at.layout], g.dtype)
    return jax.linear_transpose(lambda x: _vendor(x, w, at), like)(g)[0]


def _vendor_w(x: Array, g: Array, at: _Geometry) -> Array:
    channels = x.shape[at.layout.index("C")], g.shape[at.layout.index("C")]
    like = jax.ShapeDtypeStruct((*at.kernel, *channels), x.dtype)
    return jax.linear_transpose(lambda w: _vendor(x, w, at), like)(g)[0]


# What CPU runs: strides and padding here, the stride-1 correlation in `patches` and `winograd`.


def _few(channels: int, kernels: int) -> bool:
    return min(channels, kernels) <= _FEW


def _pad(x: Array, layout: str, pads: Sequence[tuple[int, int]]) -> Array:
    amounts = {"H": (*pads[0], 0), "W": (*pads[1], 0)}
    return lax.pad(x, jnp.zeros((), x.dtype), [amounts.get(axis, (0, 0, 0)) for axis in layout])


def _to_grid(x: Array, at: _Geometry, layout: str) -> Array:
    """Pads the inputs and brings each s x s block's pixels to one place, as channels (i, j, c)."""
    (gh, gw), (sh, sw) = at.grid, at.strides
    each = zip(at.low, at.size, at.grid, at.strides, strict=True)
    x = _pad(x, layout, [(low, grid * step - size - low) for low, size, grid, step in each])
    if at.strides == (1, 1):
        return x
    n, c = x.shape[layout.index("N")], x.shape[layout.index("C")]
    if layout == "HWNC":
        x = x.reshape(gh, sh, gw, sw, n, c).transpose(0, 2, 4, 1, 3, 5)
        return x.reshape(gh, gw, n, sh * sw * c)
    x = x.reshape(c, gh, sh, gw, sw, n).transpose(2, 4, 0, 1, 3, 5)
    return x.reshape(sh * sw * c, gh, gw, n)


def _from_grid(x: Array, at: _Geometry, layout: str) -> Array:
    """The transpose of `_to_grid`."""
    (gh, gw), (sh, sw) = at.grid, at.strides
    if at.strides != (1, 1):
        n, c = x.shape[layout.index("N")], x.shape[layout.index("C")] // (sh * sw)
        if layout == "HWNC":
            x = x.reshape(gh, gw, n, sh, sw, c).transpose(0, 3, 1, 4, 2, 5).reshape(gh * sh, gw * sw, n, c)
        else:
            x = x.reshape(sh, sw, c, gh, gw, n).transpose(2, 3, 0, 4, 1, 5).reshape(c, gh * sh, gw * sw, n)
    each = zip(at.low, at.size, at.grid, at.strides, strict=True)
    return _pad(x, layout, [(-low, size + low - grid * step) for low, size, grid, step in each])


def _kernel_to_grid(w: Array, at: _Geometry) -> Array:
    """The kernel on the sub-pixel grid, (taps, taps, s s c, k)."""
    (th, tw), (sh, sw), (c, k) = at.taps, at.strides, w.shape[2:]
    w = jnp.pad(w, ((0, th * sh - w.shape[0]), (0, tw * sw - w.shape[1]), (0, 0), (0, 0)))
    return w.reshape(th, sh, tw, sw, c, k).transpose(0, 2, 1, 3, 4, 5).reshape(th, tw, sh * sw * c, k)


def _kernel_from_grid(w: Array, at: _Geometry) -> Array:
    """The transpose of `_kernel_to_grid`."""
    (th, tw), (sh, sw), k = at.taps, at.strides, w.shape[3]
    w = w.reshape(th, tw, sh, sw, -1, k).transpose(0, 2, 1, 3, 4, 5).reshape(th * sh, tw * sw, -1, k)
    return w[: at.kernel[0], : at.kernel[1]]


def _formulation(channels: int, kernels: int) -> tuple[Any, str]:
    """The module that computes a stride-1 correlation, and the layout it takes."""
    return (patches, "CHWN") if _few(channels, kernels) else (winograd, "HWNC")


def _cpu(x: Array, w: Array, at: _Geometry) -> Array:
    module, layout = _formulation(w.shape[2], w.shape[3])
    y = module.correlate(_to_grid(_turn(x, at.layout, layout), at, layout), _kernel_to_grid(w, at))
    return _turn(y, layout, at.layout)


def _cpu_x(g: Array, w: Array, at: _Geometry) -> Array:
    module, layout = _formulation(w.shape[2], w.shape[3])
    x = module.correlate_input_gradient(_turn(g, at.layout, layout), _kernel_to_grid(w, at))
    return _turn(_from_grid(x, at, layout), layout, at.layout)


def _cpu_w(x: Array, g: Array, at: _Geometry) -> Array:
    module, layout = _formulation(x.shape[at.layout.index("C")], g.shape[at.layout.index("C")])
    x, g = _to_grid(_turn(x, at.layout, layout), at, layout), _turn(g, at.layout, layout)
    return _kernel_from_grid(module.correlate_kernel_gradient(x, g), at)


def _by_platform(cpu: Callable[..., Array], vendor: Callable[..., Array], a: Array, b: Array, at: _Geometry) -> Array:
    def in_float32(a: Array, b: Array) -> Array:
        return cpu(a.astype(jnp.float32), b.astype(jnp.float32), at).astype(a.dtype)

    return lax.platform_dependent(a, b, cpu=in_float32, default=partial(vendor, at=at))


# The three operations, each the others' derivative.


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _corr(x: Array, w: Array, at: _Geometry) -> Array:
    return _by_platform(_cpu, _vendor, x, w, at)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _corr_x(g: Array, w: Array, at: _Geometry) -> Array:
    return _by_platform(_cpu_x, _vendor_x, g, w, at)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _corr_w(x: Array, g: Array, at: _Geometry) -> Array:
    return _by_platform(_cpu_w, _vendor_w, x, g, at)


def _keep(operation: Callable[..., Array]) -> Callable[..., Any]:
    return lambda a, b, at: (operation(a, b, at), (a, b))


_corr.defvjp(_keep(_corr), lambda at, kept, g: (_corr_x(g, kept[1], at), _corr_w(kept[0], g, at)))
_corr_x.defvjp(_keep(_corr_x), lambda at, kept, x: (_corr(x, kept[1], at), _corr_w(x, kept[0], at)))
_corr_w.defvjp(_keep(_corr_w), lambda at, kept, w: (_corr_x(kept[1], w, at), _corr(kept[0], w, at)))


def _check(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> None:
    if x.ndim != 4 or kernel.ndim != 4:
        raise ValueError(f"images and kernel must have 4 axes, got {x.shape} and {kernel.shape}")
    if min(strides) < 1:
        raise ValueError(f"strides = {strides}: must be at least 1")
    if isinstance(padding, str) and padding not in ("SAME", "VALID"):
        raise ValueError(f"padding = {padding!r}: 'SAME', 'VALID' or two pairs of numbers")


def _sizes(x: Array, kernel: Array, layout: Layout) -> tuple[int, int]:
    sizes = dict(zip(layout, x.shape, strict=True))
    if sizes["C"] != kernel.shape[2]:
        raise ValueError(f"images have {sizes['C']} channels, the kernel takes {kernel.shape[2]}")
    return sizes["H"], sizes["W"]


def conv2d(
    x: Float[Array, "_ _ _ _"],
    kernel: Float[Array, "kh kw c k"],
    *,
    strides: Pair = 1,
    padding: Padding = "SAME",
    layout: Layout = "NHWC",
) -> Float[Array, "_ _ _ _"]:
    """Cross-correlation of images with a kernel."""
    strides = _pair(strides)
    _check(x, kernel, strides, padding)
    size, taps = _sizes(x, kernel, layout), kernel.shape[:2]
    pads = lax.padtype_to_pads(size, taps, strides, padding) if isinstance(padding, str) else padding
    each = zip(size, taps, strides, pads, strict=True)
    out = tuple((length + sum(pad) - k) // step + 1 for length, k, step, pad in each)
    if min(out) < 1:
        raise ValueError(f"images of {size} are too small for a kernel of {taps} with padding {padding}")
    return _corr(x, kernel, _Geometry(size, out, strides, (pads[0][0], pads[1][0]), taps, layout))


def conv_transpose2d(
    x: Float[Array, "_ _ _ _"],
    kernel: Float[Array, "kh kw c k"],
    *,
    strides: Pair = 1,
    padding: Padding = "SAME",
    layout: Layout = "NHWC",
) -> Float[Array, "_ _ _ _"]:
    """Transposed (fractionally strided) convolution; the kernel is not flipped, as in flax."""
    strides = _pair(strides)
    _check(x, kernel, strides, padding)
    small, taps = _sizes(x, kernel, layout), kernel.shape[:2]
    pads = [
        _transposed_pads(k, step, padding) if isinstance(padding, str) else padding[axis]
        for axis, (k, step) in enumerate(zip(taps, strides, strict=True))
    ]
    each = zip(small, taps, strides, pads, strict=True)
    size = tuple((length - 1) * step + sum(pad) - k + 2 for length, k, step, pad in each)
    low = tuple(k - 1 - pad[0] for k, pad in zip(taps, pads, strict=True))
    return _corr_x(x, kernel[::-1, ::-1].swapaxes(2, 3), _Geometry(size, small, strides, low, taps, layout))


def _transposed_pads(k: int, step: int, padding: str) -> tuple[int, int]:
    """Zeros around the dilated input, as `lax.conv_transpose` has them."""
    total = k + step - 2 if padding == "SAME" else k + step - 2 + max(k - step, 0)
    if padding == "VALID":
        low = k - 1
    else:
        low = k - 1 if step > k - 1 else -(-total // 2)
    return low, total - low


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
        channels = self.layout.index("C")
        shape = (*_pair(self.kernel_size), x.shape[channels], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = convolution(x, kernel, strides=self.strides, padding=self.padding, layout=self.layout)
        return y if bias is None else y + jnp.expand_dims(bias, [axis for axis in range(4) if axis != channels])


class Conv(_ConvBase):
    """`flax.linen.Conv` for images: same parameters and results, Glorot-uniform kernel by default."""

    @nn.compact
    def __call__(self, x: Float[Array, "_ _ _ _"]) -> Float[Array, "_ _ _ _"]:
        return self._convolve(conv2d, x)


class ConvTranspose(_ConvBase):
    """`flax.linen.ConvTranspose` for images: same parameters and results, Glorot-uniform kernel by default."""

    @nn.compact
    def __call__(self, x: Float[Array, "_ _ _ _"]) -> Float[Array, "_ _ _ _"]:
        return self._convolve(conv_transpose2d, x)


def _spatial_axes(layout: Layout) -> tuple[int, int]:
    return layout.index("H"), layout.index("W")


def max_pool2d(
    x: Float[Array, "_ _ _ _"], window: int = 2, *, padding: str = "SAME", layout: Layout = "NHWC"
) -> Float[Array, "_ _ _ _"]:
    """Maximum over non-overlapping windows."""
    sizes = [window if axis in _spatial_axes(layout) else 1 for axis in range(4)]
    return lax.reduce_window(x, -jnp.inf, lax.max, sizes, sizes, padding)


def upsample2d(x: Float[Array, "_ _ _ _"], factor: int = 2, *, layout: Layout = "NHWC") -> Float[Array, "_ _ _ _"]:
    """Each pixel repeated `factor` times along both spatial axes (nearest neighbour)."""
    for axis in _spatial_axes(layout):
        x = x.repeat(factor, axis=axis)
    return x
