"""Stride-1 valid correlation as one matrix product, for layers where one side has few channels.

The k^2 taps are unfolded on the side with fewer channels: before the product, as copies of the input's windows
(k^2 c rows), or after it, as a sum of shifted rows of the result (k^2 k rows). That side is CHWN: pixels are then the
long, contiguous axis, however few the channels. The other side, `wide`, is CHWN or HWNC, whichever the net works in;
the product takes and gives both.
"""

import itertools
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

Wide = Literal["CHWN", "HWNC"]


def _unfold(x: Float[Array, "c h w n"], kernel: Sequence[int]) -> Float[Array, "q m"]:
    """Patches, rows (i, j, c), columns the pixels of the output.

    Stacked in two goes: XLA's CPU code copies stacks of more than eight on one thread.
    """
    height, width = x.shape[1] - kernel[0] + 1, x.shape[2] - kernel[1] + 1
    x = jnp.stack([x[:, :, j : j + width] for j in range(kernel[1])])
    x = jnp.stack([x[:, :, i : i + height] for i in range(kernel[0])])
    return x.reshape(-1, height * width * x.shape[-1])


def _flip(w: Float[Array, "kh kw c k"]) -> Float[Array, "kh kw k c"]:
    return w[::-1, ::-1].swapaxes(2, 3)


def _full(g: Array, kernel: Sequence[int], layout: Wide) -> Array:
    """Zeros around the image, so that every window that meets it is valid."""
    pads = {"H": (kernel[0] - 1,) * 2, "W": (kernel[1] - 1,) * 2}
    return jnp.pad(g, [pads.get(axis, (0, 0)) for axis in layout])


def _columns(x: Array, wide: Wide) -> tuple[Array, str]:
    """A wide side as a matrix, and the names of its axes: c channels, m pixels."""
    return (x.reshape(x.shape[0], -1), "cm") if wide == "CHWN" else (x.reshape(-1, x.shape[-1]), "mc")


def input_is_few(w: Float[Array, "kh kw c k"]) -> bool:
    """Whether the input is the side that is unfolded."""
    return w.shape[2] <= w.shape[3]


def correlate(x: Float[Array, "_ _ _ _"], w: Float[Array, "kh kw c k"], wide: Wide) -> Float[Array, "_ _ _ _"]:
    """y[h, w] = sum_ij x[h + i, w + j] w[i, j]."""
    return _after_few(x, w, wide) if input_is_few(w) else _after_wide(x, w, wide)


def _after_few(x: Float[Array, "c h w n"], w: Array, wide: Wide) -> Array:
    kh, kw, _, k = w.shape
    size = x.shape[1] - kh + 1, x.shape[2] - kw + 1, x.shape[3]
    if wide == "CHWN":
        return jnp.einsum("qk,qm->km", w.reshape(-1, k), _unfold(x, (kh, kw))).reshape(k, *size)
    return jnp.einsum("qm,qk->mk", _unfold(x, (kh, kw)), w.reshape(-1, k)).reshape(*size, k)


def _after_wide(x: Array, w: Array, wide: Wide) -> Float[Array, "k h w n"]:
    kh, kw, c, k = w.shape
    columns, axes = _columns(x, wide)
    size = x.shape[1:] if wide == "CHWN" else x.shape[:3]
    products = jnp.einsum(f"qc,{axes}->qm", w.swapaxes(2, 3).reshape(-1, c), columns).reshape(kh * kw, k, *size)
    height, width = size[0] - kh + 1, size[1] - kw + 1
    taps = itertools.product(range(kh), range(kw))
    terms = [row[:, i : i + height, j : j + width] for row, (i, j) in zip(products, taps, strict=True)]
    return sum(terms[1:], start=terms[0])


def correlate_input_gradient(
    g: Float[Array, "_ _ _ _"], w: Float[Array, "kh kw c k"], wide: Wide
) -> Float[Array, "_ _ _ _"]:
    """The transpose of `correlate` in x."""
    if input_is_few(w):
        return _after_wide(_full(g, w.shape[:2], wide), _flip(w), wide)
    return _after_few(_full(g, w.shape[:2], "CHWN"), _flip(w), wide)


def correlate_kernel_gradient(
    x: Float[Array, "_ _ _ _"], g: Float[Array, "_ _ _ _"], kernel: Sequence[int], few_input: bool, wide: Wide
) -> Float[Array, "kh kw c k"]:
    """The transpose of `correlate` in w."""
    if few_input:
        return _against_patches(x, g, kernel, wide)
    return _flip(_against_patches(_full(g, kernel, "CHWN"), x, kernel, wide))  # rows (kh - 1 - i, kw - 1 - j, k)


def _against_patches(few: Array, other: Array, kernel: Sequence[int], wide: Wide) -> Array:
    """Product of the patches of the few side with the other side over the pixels, (kh, kw, few, wide)."""
    columns, axes = _columns(other, wide)
    product = jnp.einsum(f"qm,{axes}->qc", _unfold(few, kernel), columns)
    return product.reshape(*kernel, few.shape[0], -1)
