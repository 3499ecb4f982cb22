"""2-D convolution, transposed convolution, pooling and upsampling: the one place where images are convolved.

Semantics, parameters and initializers are those of `flax.linen.Conv` and `ConvTranspose` (and thus of
`lax.conv_general_dilated` and `lax.conv_transpose`); kernels are (height, width, inputs, outputs).

**Layouts.** Images are NHWC at a net's boundary. Inside, a net transposes them once (`from_nhwc`, `to_nhwc`) to the
layout its layers use: HWNC for wide layers, CHWN for few channels (vectors over channels are then too short for the
processor, vectors over pixels and images are not). A layer whose formulation prefers the other layout transposes its
side with few channels.

**Why not `lax.conv`.** On GPU and TPU it is the right choice, and these functions lower to it. XLA's CPU code is up to
50 times slower than it could be: the kernel gradient of a transposed convolution runs at 1 to 4 GFLOP/s, and inside
`lax.scan` and `fori_loop`, on which the engine is built, every convolution that is not in NHWC is computed by naive
loops. The choice is made when a program is lowered, for its target platform.

**One operation, three forms.** A convolution is bilinear, y = corr(x, w); its two gradients are the bilinear maps
corr_x(g, w) and corr_w(x, g), and the three are each other's derivatives. A transposed convolution is corr_x with the
kernel's flip. So there are three operations, each differentiable any number of times (in reverse mode):

* strides: corr with strides s is corr with strides 1 on the s x s sub-pixel grid (space to depth): s^2 times the
  input channels, ceil(k / s) taps; best where s divides k, at worst 1.8 times the products (k 3, s 2);
* padding: zeros, added where the pixels are transposed anyway;
* then a formulation chosen by the number of channels (`_few`):
  few on one side (up to 16): `patches`, one matrix product with that side unfolded. k^2 c copies per pixel are cheap
  while c is small, and the transforms below would work on short vectors;
  many on both, in training: `winograd`, 2 to 6 times fewer multiplications than the definition, on batched matrix
  products, with an error in float32 of 2e-6 of the output's norm (1e-6 where `_fine`); the definition has 2e-7. The
  output and the kernel's gradient share a transform;
  many on both, in an output that is not differentiated: XLA's own convolution in NHWC, which is about as fast where
  there is nothing to share, and compiles in a tenth of the time.

bfloat16 images and kernels are convolved in float32 on CPU, and the result is rounded.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxgen.nets.ops import patches, winograd

Padding = str | Sequence[tuple[int, int]]
Pair = int | tuple[int, int]
Layout = Literal["NHWC", "HWNC", "CHWN"]
Stage = Literal["inference", "forward", "backward"]
"""A layer's output without gradients, one whose gradients follow, a gradient."""

_FEW = 16
"""Maximum number of channels for which a side is unfolded."""
_MANY = 64
"""Minimum number of channels on both sides for `_fine`: more tiles would cost narrower layers too much."""


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

    size: tuple[int, ...]
    out: tuple[int, ...]
    strides: tuple[int, ...]
    low: tuple[int, ...]
    kernel: tuple[int, ...]
    layout: Layout
    stage: Stage = "inference"

    @property
    def forward(self) -> "_Geometry":
        """The same where gradients follow."""
        return replace(self, stage="forward")

    @property
    def backward(self) -> "_Geometry":
        """The same for a gradient."""
        return replace(self, stage="backward")

    @property
    def pads(self) -> list[tuple[int, int]]:
        """Zeros before and after."""
        each = zip(self.size, self.out, self.strides, self.low, self.kernel, strict=True)
        return [(low, (out - 1) * step + k - low - size) for size, out, step, low, k in each]

    @property
    def taps(self) -> tuple[int, int]:
        """Taps on the sub-pixel grid."""
        return -(-self.kernel[0] // self.strides[0]), -(-self.kernel[1] // self.strides[1])

    @property
    def grid(self) -> tuple[int, int]:
        """Size of the sub-pixel grid."""
        return self.out[0] + self.taps[0] - 1, self.out[1] + self.taps[1] - 1


# GPU and TPU.


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


# CPU: strides and padding here, the stride-1 correlation in `patches` and `winograd`.


def _few(channels: int, kernels: int) -> bool:
    return min(channels, kernels) <= _FEW


def _fine(channels: int, kernels: int, at: _Geometry) -> bool:
    """Whether digits are worth more than products: in outputs, whose errors flip relus, and where products dominate."""
    return at.stage == "forward" and min(channels, kernels) >= _MANY


def _pad(x: Array, layout: str, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    amounts = {"H": (*pads[0], 0), "W": (*pads[1], 0)}
    return lax.pad(x, jnp.array(value, x.dtype), [amounts.get(axis, (0, 0, 0)) for axis in layout])


def _to_grid(x: Array, at: _Geometry, layout: str) -> Array:
    """Pad the inputs and gather each s x s block's pixels as channels (i, j, c)."""
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


def _wide(at: _Geometry) -> patches.Wide:
    """The layout of the side with many channels: the one the net works in."""
    return "CHWN" if at.layout == "CHWN" else "HWNC"


def _few_input(channels: int, kernels: int, at: _Geometry) -> bool:
    """Whether the input, on the grid, is the side with fewer channels."""
    return channels * math.prod(at.strides) <= kernels


def _layouts(channels: int, kernels: int, at: _Geometry) -> tuple[patches.Wide, patches.Wide]:
    """Layouts of the inputs and outputs of a correlation on the grid, for its formulation."""
    if not _few(channels, kernels):
        return "HWNC", "HWNC"
    return ("CHWN", _wide(at)) if _few_input(channels, kernels, at) else (_wide(at), "CHWN")


def _direct(x: Array, w: Array, at: _Geometry) -> Array:
    """XLA's own convolution, in the one layout for which it has fast code inside loops."""
    y = _vendor(_turn(x, at.layout, "NHWC"), w, replace(at, layout="NHWC"))
    return _turn(y, "NHWC", at.layout)


def _direct_x(g: Array, w: Array, at: _Geometry) -> Array:
    """On the sub-pixel grid, since XLA's code for dilated images is slow."""
    low = at.taps[0] - 1, at.taps[1] - 1
    full = replace(at, size=at.out, out=at.grid, strides=(1, 1), low=low, kernel=at.taps, layout="HWNC")
    x = _direct(_turn(g, at.layout, "HWNC"), patches.flip(_kernel_to_grid(w, at)), full)
    return _turn(_from_grid(x, at, "HWNC"), "HWNC", at.layout)


def _cpu(x: Array, w: Array, at: _Geometry) -> Array:
    channels, kernels = w.shape[2:]
    if at.stage == "inference" and not _few(channels, kernels):
        return _direct(x, w, at)
    inputs, outputs = _layouts(channels, kernels, at)
    x = _to_grid(_turn(x, at.layout, inputs), at, inputs)
    if not _few(channels, kernels):
        y = winograd.correlate(x, _kernel_to_grid(w, at), _fine(channels, kernels, at))
    elif _few_input(channels, kernels, at):
        y = patches.correlate(x, w, True, _wide(at), at.strides)
    else:
        y = patches.correlate(x, _kernel_to_grid(w, at), False, _wide(at))
    return _turn(y, outputs, at.layout)


def _cpu_x(g: Array, w: Array, at: _Geometry) -> Array:
    channels, kernels = w.shape[2:]
    if at.stage == "inference" and not _few(channels, kernels):
        return _direct_x(g, w, at)
    inputs, outputs = _layouts(channels, kernels, at)
    g = _turn(g, at.layout, outputs)
    if not _few(channels, kernels):
        x = winograd.correlate_input_gradient(g, _kernel_to_grid(w, at), _fine(channels, kernels, at))
    elif _few_input(channels, kernels, at):
        x = patches.correlate_input_gradient(g, w, True, _wide(at), at.strides)
    else:
        x = patches.correlate_input_gradient(g, _kernel_to_grid(w, at), False, _wide(at))
    return _turn(_from_grid(x, at, inputs), inputs, at.layout)


def _cpu_w(x: Array, g: Array, at: _Geometry) -> Array:
    channels, kernels = x.shape[at.layout.index("C")], g.shape[at.layout.index("C")]
    inputs, outputs = _layouts(channels, kernels, at)
    x, g = _to_grid(_turn(x, at.layout, inputs), at, inputs), _turn(g, at.layout, outputs)
    if not _few(channels, kernels):
        return _kernel_from_grid(winograd.correlate_kernel_gradient(x, g), at)
    if _few_input(channels, kernels, at):
        return patches.correlate_kernel_gradient(x, g, at.kernel, True, _wide(at), at.strides)
    return _kernel_from_grid(patches.correlate_kernel_gradient(x, g, at.taps, False, _wide(at)), at)


@partial(jax.jit, static_argnums=(0, 1, 4), inline=True)  # one trace serves all passes of a layer
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
    return lambda a, b, at: (operation(a, b, at if at.stage == "backward" else at.forward), (a, b))


_corr.defvjp(_keep(_corr), lambda at, kept, g: (_corr_x(g, kept[1], at.backward), _corr_w(kept[0], g, at.backward)))
_corr_x.defvjp(_keep(_corr_x), lambda at, kept, x: (_corr(x, kept[1], at.backward), _corr_w(x, kept[0], at.backward)))
_corr_w.defvjp(_keep(_corr_w), lambda at, kept, w: (_corr_x(kept[1], w, at.backward), _corr(kept[0], w, at.backward)))


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


def upsample_conv2d(
    x: Float[Array, "_ _ _ _"],
    kernel: Float[Array, "kh kw c k"],
    *,
    factor: int = 2,
    padding: Padding = "SAME",
    layout: Layout = "NHWC",
) -> Float[Array, "_ _ _ _"]:
    """`conv2d` of `upsample2d`, without the large image: each output phase is a convolution of the small one.

    Output pixel f h + a reads small pixels h + (a + i) // f, so the taps that read the same one are added first:
    with f 2 and k 3, 4 products instead of 9, on a quarter of the pixels for 4 times the channels.
    """
    _check(x, kernel, (1, 1), padding)
    small, taps = _sizes(x, kernel, layout), kernel.shape[:2]
    large = small[0] * factor, small[1] * factor
    pads = lax.padtype_to_pads(large, taps, (1, 1), padding) if isinstance(padding, str) else padding
    out = [size + sum(pad) - k + 1 for size, k, pad in zip(large, taps, pads, strict=True)]
    if min(out) < 1:
        raise ValueError(f"images of {large} are too small for a kernel of {taps} with padding {padding}")
    low = [-(-pad[0] // factor) for pad in pads]  # whole small pixels before the image; any excess is cropped
    skip = [factor * zeros - pad[0] for zeros, pad in zip(low, pads, strict=True)]
    blocks = [-(-(size + cut) // factor) for size, cut in zip(out, skip, strict=True)]
    kernels = _phase_kernels(kernel, factor)
    high = [
        count + k - 1 - size - zeros
        for count, k, size, zeros in zip(blocks, kernels.shape[:2], small, low, strict=True)
    ]
    y = conv2d(x, kernels, padding=tuple(zip(low, high, strict=True)), layout=layout)
    return _pad(
        _interleave(y, factor, layout),
        layout,
        [(-cut, size + cut - factor * count) for cut, size, count in zip(skip, out, blocks, strict=True)],
    )


def _phase_kernels(kernel: Array, factor: int) -> Array:
    """(kh, kw, c, k) to (th, tw, c, f f k): for each phase (a, b), the taps that read the same small pixel added."""
    maps = []
    for size in kernel.shape[:2]:
        reads = np.zeros((factor, (factor + size - 2) // factor + 1, size), np.float32)
        for a, i in itertools.product(range(factor), range(size)):
            reads[a, (a + i) // factor, i] = 1
        maps.append(jnp.asarray(reads, kernel.dtype))
    kernels = jnp.einsum("aui,bvj,ijck->uvcabk", *maps, kernel, precision=lax.Precision.HIGHEST)
    return kernels.reshape(*kernels.shape[:3], -1)


def _interleave(y: Array, factor: int, layout: Layout) -> Array:
    """Depth to space: channels (a, b, k) to the pixels of f x f blocks."""
    sizes = dict(zip(layout, y.shape, strict=True))
    split = {"H": ("H",), "W": ("W",), "N": ("N",), "C": ("a", "b", "C")}
    axes = [axis for name in layout for axis in split[name]]
    sizes |= {"a": factor, "b": factor, "C": sizes["C"] // factor**2}
    joined = {"H": ("H", "a"), "W": ("W", "b"), "N": ("N",), "C": ("C",)}
    y = y.reshape([sizes[axis] for axis in axes])
    y = y.transpose([axes.index(axis) for name in layout for axis in joined[name]])
    return y.reshape([math.prod(sizes[axis] for axis in joined[name]) for name in layout])


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
    return _corr_x(x, patches.flip(kernel), _Geometry(size, small, strides, low, taps, layout))


def _transposed_pads(k: int, step: int, padding: str) -> tuple[int, int]:
    """Zeros around the dilated input, as in `lax.conv_transpose`."""
    total = k + step - 2 if padding == "SAME" else k + step - 2 + max(k - step, 0)
    low = k - 1 if padding == "VALID" or step > k - 1 else -(-total // 2)
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

    def _convolve(self, convolution: Callable[..., Array], x: Array) -> Array:
        channels = self.layout.index("C")
        shape = (*_pair(self.kernel_size), x.shape[channels], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = convolution(x, kernel, padding=self.padding, layout=self.layout)
        return y if bias is None else y + jnp.expand_dims(bias, [axis for axis in range(4) if axis != channels])


class Conv(_ConvBase):
    """`flax.linen.Conv` for images: same parameters and results, Glorot-uniform kernel by default."""

    upsample: int = 1
    """Factor by which images are upsampled first (nearest neighbor)."""

    @nn.compact
    def __call__(self, x: Float[Array, "_ _ _ _"]) -> Float[Array, "_ _ _ _"]:
        if self.upsample == 1:
            return self._convolve(partial(conv2d, strides=self.strides), x)
        if _pair(self.strides) != (1, 1):
            raise ValueError(f"strides = {self.strides}: must be 1 where images are enlarged first")
        return self._convolve(partial(upsample_conv2d, factor=self.upsample), x)


class ConvTranspose(_ConvBase):
    """`flax.linen.ConvTranspose` for images: same parameters and results, Glorot-uniform kernel by default."""

    @nn.compact
    def __call__(self, x: Float[Array, "_ _ _ _"]) -> Float[Array, "_ _ _ _"]:
        return self._convolve(partial(conv_transpose2d, strides=self.strides), x)


# Pooling and upsampling over non-overlapping blocks of pixels, as sums and maxima of strided slices, forward and
# backward; XLA's CPU code would use windows and scatters, which take longer than the convolutions.


def _phases(x: Array, factor: int, layout: Layout) -> list[Array]:
    """The factor x factor sub-images of every factor-th pixel, row by row."""
    h, w = layout.index("H"), layout.index("W")

    def every(x: Array, first: int, axis: int) -> Array:
        return lax.slice_in_dim(x, first, x.shape[axis], factor, axis)

    return [every(every(x, i, h), j, w) for i in range(factor) for j in range(factor)]


def _blocks(x: Array, factor: int, layout: Layout) -> Array:
    """Each pixel as a factor x factor block: two more axes, after the spatial ones, to broadcast along."""
    h, w = layout.index("H"), layout.index("W")
    shape = list(x.shape)
    shape[w : w + 1] = [x.shape[w], 1]
    shape[h : h + 1] = [x.shape[h], 1]
    return x.reshape(shape)


def max_pool2d(
    x: Float[Array, "_ _ _ _"], window: int = 2, *, padding: str = "SAME", layout: Layout = "NHWC"
) -> Float[Array, "_ _ _ _"]:
    """Maximum over non-overlapping windows; where several pixels tie, the first one gets the gradient.

    SAME pads windows that extend beyond the image with minus infinity, VALID drops them.
    """
    if padding not in ("SAME", "VALID"):
        raise ValueError(f"padding = {padding!r}: 'SAME' or 'VALID'")
    pads = []
    for size in (x.shape[layout.index("H")], x.shape[layout.index("W")]):
        excess = -size % window if padding == "SAME" else -(size % window)
        low = excess // 2 if padding == "SAME" else 0
        pads.append((low, excess - low))
    return _max_pool(_pad(x, layout, pads, -jnp.inf), window, layout)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_pool(x: Array, window: int, layout: Layout) -> Array:
    return reduce(jnp.maximum, _phases(x, window, layout))


def _max_pool_forward(x: Array, window: int, layout: Layout) -> tuple[Array, tuple[Array, Array]]:
    y = _max_pool(x, window, layout)
    first = jnp.full(y.shape, window**2 - 1, jnp.int8)
    for index, phase in reversed(list(enumerate(_phases(x, window, layout)))):
        first = jnp.where(phase == y, jnp.int8(index), first)
    return y, (x, first)


def _max_pool_backward(window: int, layout: Layout, kept: tuple[Array, Array], g: Array) -> tuple[Array]:
    x, first = kept
    blocks = _blocks(first, window, layout)
    h, w = layout.index("H") + 1, layout.index("W") + 2
    shape = list(blocks.shape)
    shape[h] = shape[w] = window
    index = window * lax.broadcasted_iota(jnp.int8, shape, h) + lax.broadcasted_iota(jnp.int8, shape, w)
    return (jnp.where(index == blocks, _blocks(g, window, layout), 0).reshape(x.shape),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _upsample(x: Array, factor: int, layout: Layout) -> Array:
    shape = [size * factor if axis in "HW" else size for axis, size in zip(layout, x.shape, strict=True)]
    blocks = _blocks(x, factor, layout)
    full = list(blocks.shape)
    full[layout.index("H") + 1] = full[layout.index("W") + 2] = factor
    return jnp.broadcast_to(blocks, full).reshape(shape)


_upsample.defvjp(
    lambda x, factor, layout: (_upsample(x, factor, layout), None),
    lambda factor, layout, _, g: (sum(_phases(g, factor, layout)[1:], start=_phases(g, factor, layout)[0]),),
)


def upsample2d(x: Float[Array, "_ _ _ _"], factor: int = 2, *, layout: Layout = "NHWC") -> Float[Array, "_ _ _ _"]:
    """Each pixel repeated `factor` times along both spatial axes (nearest neighbor)."""
    return _upsample(x, factor, layout)
