"""Stride-1 valid correlation as one matrix product, for layers where one side has few channels.

The taps are unfolded on the side with fewer channels: before the product, as copies of the input's windows (k^2 c
rows), or after it, as a sum of shifted rows of the result (k^2 k rows). That side is CHWN: pixels are then the long,
contiguous axis, however few the channels. The other side, `wide`, is CHWN or HWNC, whichever the net works in; the
product takes and gives both.

An input with few channels may be on the sub-pixel grid of a convolution with strides, its channels (a, b, c) those of
s x s blocks of pixels. Tap i of the kernel then reads phase i mod s of block i // s, and no tap is wasted.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

Wide = Literal["CHWN", "HWNC"]
Size = Sequence[int]


def _blocks(kernel: Size, strides: Size) -> tuple[int, int]:
    """Number of grid blocks that a kernel spans."""
    return -(-kernel[0] // strides[0]), -(-kernel[1] // strides[1])


def _phases(x: Float[Array, "q h w n"], strides: Size) -> Float[Array, "a b c h w n"]:
    return x.reshape(*strides, -1, *x.shape[1:])


def _unfold(x: Float[Array, "_ h w n"], kernel: Size, strides: Size) -> Float[Array, "q m"]:
    """Patches, rows (i, j, c), columns the pixels of the output.

    Stacked in two passes: XLA's CPU code copies stacks of more than eight arrays on one thread.
    """
    (sh, sw), (th, tw) = strides, _blocks(kernel, strides)
    height, width, n = x.shape[1] - th + 1, x.shape[2] - tw + 1, x.shape[3]
    x = _phases(x, strides)
    x = jnp.stack([x[:, j % sw, :, :, j // sw : j // sw + width] for j in range(kernel[1])])
    x = jnp.stack([x[:, i % sh, :, i // sh : i // sh + height] for i in range(kernel[0])])
    return x.reshape(-1, height * width * n)


def flip(w: Float[Array, "kh kw c k"]) -> Float[Array, "kh kw k c"]:
    """The kernel of the transposed correlation."""
    return w[::-1, ::-1].swapaxes(2, 3)


def _full(g: Array, kernel: Size, layout: Wide) -> Array:
    """Zeros around the image, so that every window that overlaps it is valid."""
    pads = {"H": (kernel[0] - 1,) * 2, "W": (kernel[1] - 1,) * 2}
    return jnp.pad(g, [pads.get(axis, (0, 0)) for axis in layout])


def _columns(x: Array, wide: Wide) -> tuple[Array, str]:
    """A wide side as a matrix, and the names of its axes: c channels, m pixels."""
    return (x.reshape(x.shape[0], -1), "cm") if wide == "CHWN" else (x.reshape(-1, x.shape[-1]), "mc")


def correlate(
    x: Float[Array, "_ _ _ _"], w: Float[Array, "kh kw c k"], few_input: bool, wide: Wide, strides: Size = (1, 1)
) -> Float[Array, "_ _ _ _"]:
    """y[h, w] = sum_ij x[h + i, w + j] w[i, j]; `few_input` says which side is unfolded."""
    return _after_few(x, w, wide, strides) if few_input else _sum(_products(x, w, wide), w.shape[:2])


def _after_few(x: Float[Array, "_ h w n"], w: Array, wide: Wide, strides: Size) -> Array:
    kernel, k = w.shape[:2], w.shape[3]
    th, tw = _blocks(kernel, strides)
    size, patches = (x.shape[1] - th + 1, x.shape[2] - tw + 1, x.shape[3]), _unfold(x, kernel, strides)
    if wide == "CHWN":
        return jnp.einsum("qk,qm->km", w.reshape(-1, k), patches).reshape(k, *size)
    return jnp.einsum("qm,qk->mk", patches, w.reshape(-1, k)).reshape(*size, k)


def _products(x: Array, w: Float[Array, "kh kw c k"], wide: Wide) -> Float[Array, "kh kw k h w n"]:
    """Every tap's product with every pixel of the wide side."""
    kh, kw, c, k = w.shape
    columns, axes = _columns(x, wide)
    size = x.shape[1:] if wide == "CHWN" else x.shape[:3]
    return jnp.einsum(f"qc,{axes}->qm", w.swapaxes(2, 3).reshape(-1, c), columns).reshape(kh, kw, k, *size)


def _sum(products: Float[Array, "kh kw k h w n"], kernel: Size) -> Float[Array, "k ho wo n"]:
    """The sum of each output pixel's products."""
    height, width = products.shape[3] - kernel[0] + 1, products.shape[4] - kernel[1] + 1
    taps = itertools.product(range(kernel[0]), range(kernel[1]))
    terms = [products[i, j, :, i : i + height, j : j + width] for i, j in taps]
    return sum(terms[1:], start=terms[0])


def correlate_input_gradient(
    g: Float[Array, "_ _ _ _"], w: Float[Array, "kh kw c k"], few_input: bool, wide: Wide, strides: Size = (1, 1)
) -> Float[Array, "_ _ _ _"]:
    """The transpose of `correlate` in x."""
    if not few_input:
        return _after_few(_full(g, w.shape[:2], "CHWN"), flip(w), wide, (1, 1))
    blocks = _blocks(w.shape[:2], strides)
    products = _products(_full(g, blocks, wide), w.swapaxes(2, 3), wide)
    grid = products.shape[3] - blocks[0] + 1, products.shape[4] - blocks[1] + 1

    def phase(a: int, b: int) -> Array:
        terms = [
            products[i, j, :, blocks[0] - 1 - u : blocks[0] - 1 - u + grid[0], blocks[1] - 1 - v :][..., : grid[1], :]
            for (u, i), (v, j) in itertools.product(_taps(a, w.shape[0], strides[0]), _taps(b, w.shape[1], strides[1]))
        ]
        return sum(terms[1:], start=terms[0]) if terms else jnp.zeros((w.shape[2], *grid, products.shape[5]), g.dtype)

    x = jnp.stack([jnp.stack([phase(a, b) for b in range(strides[1])]) for a in range(strides[0])])
    return x.reshape(-1, *x.shape[3:])


def _taps(phase: int, taps: int, stride: int) -> Iterator[tuple[int, int]]:
    """(block, tap) for each tap that reads `phase`."""
    return enumerate(range(phase, taps, stride))


def correlate_kernel_gradient(
    x: Float[Array, "_ _ _ _"],
    g: Float[Array, "_ _ _ _"],
    kernel: Size,
    few_input: bool,
    wide: Wide,
    strides: Size = (1, 1),
) -> Float[Array, "kh kw c k"]:
    """The transpose of `correlate` in w."""
    if few_input:
        return _against(_unfold(x, kernel, strides), g, kernel, wide)
    patches = _unfold(_full(g, kernel, "CHWN"), kernel, (1, 1))  # rows (kh - 1 - i, kw - 1 - j, k)
    return flip(_against(patches, x, kernel, wide))


def _against(patches: Float[Array, "q m"], other: Array, kernel: Size, wide: Wide) -> Array:
    """Product of patches with the wide side over the pixels, (kh, kw, few, wide)."""
    columns, axes = _columns(other, wide)
    product = jnp.einsum(f"qm,{axes}->qc", patches, columns)
    return product.reshape(*kernel, -1, product.shape[1])
