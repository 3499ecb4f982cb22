"""Stride-1 valid correlation as one matrix product, for layers where one side has few channels.

Images are (c, h, w, n): pixels are the long, contiguous axis of the product, however few the channels. The k^2 taps
are unfolded on the side with fewer channels: before the product, as copies of the input's windows (k^2 c rows), or
after it, as a sum of shifted rows of the result (k^2 k rows).
"""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float


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


def _full(g: Float[Array, "k h w n"], kernel: Sequence[int]) -> Array:
    return jnp.pad(g, ((0, 0), *[(size - 1, size - 1) for size in kernel], (0, 0)))


def correlate(x: Float[Array, "c h w n"], w: Float[Array, "kh kw c k"]) -> Float[Array, "k ho wo n"]:
    """y[h, w] = sum_ij x[h + i, w + j] w[i, j]."""
    kh, kw, c, k = w.shape
    if c <= k:
        y = jnp.einsum("qk,qm->km", w.reshape(-1, k), _unfold(x, (kh, kw)))
        return y.reshape(k, x.shape[1] - kh + 1, x.shape[2] - kw + 1, x.shape[3])
    products = jnp.einsum("qc,cm->qm", w.swapaxes(2, 3).reshape(-1, c), x.reshape(c, -1))
    products = products.reshape(kh * kw, k, *x.shape[1:])
    height, width = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    taps = itertools.product(range(kh), range(kw))
    terms = [row[:, i : i + height, j : j + width] for row, (i, j) in zip(products, taps, strict=True)]
    return sum(terms[1:], start=terms[0])


def correlate_input_gradient(g: Float[Array, "k ho wo n"], w: Float[Array, "kh kw c k"]) -> Float[Array, "c h w n"]:
    """The transpose of `correlate` in x."""
    return correlate(_full(g, w.shape[:2]), _flip(w))


def correlate_kernel_gradient(x: Float[Array, "c h w n"], g: Float[Array, "k ho wo n"]) -> Float[Array, "kh kw c k"]:
    """The transpose of `correlate` in w."""
    (c, tall, wide, _), (k, height, width, _) = x.shape, g.shape
    kernel = tall - height + 1, wide - width + 1
    if c > k:  # rows (kh - 1 - i, kw - 1 - j, k)
        return _flip(_against_patches(_full(g, kernel), x, kernel))
    return _against_patches(x, g, kernel)


def _against_patches(x: Array, y: Array, kernel: Sequence[int]) -> Array:
    """Product of the patches of x (c, ...) with y (k, ...) over the pixels, (kh, kw, c, k)."""
    columns = y.reshape(y.shape[0], -1)
    return jnp.einsum("qm,km->qk", _unfold(x, kernel), columns).reshape(*kernel, x.shape[0], y.shape[0])
