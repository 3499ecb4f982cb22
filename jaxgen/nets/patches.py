"""Stride-1 valid correlation as one matrix product, for layers where one side has few channels.

The side with few channels is unfolded into a matrix (kh kw c, pixels): by copying its patches when it is the input,
by summing shifted rows of the product when it is the output. Pixels are the last axis, (h, w, n) flattened, so that
copies are long and the product has a long contiguous axis even for a handful of channels. Images are `Pixels`:
(c, h, w, n).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def _shifts(x: Array, kernel: tuple[int, int], height: int, width: int) -> list[Array]:
    """The windows of (..., h, w, n) that each tap of the kernel sees."""
    return [x[..., i : i + height, j : j + width, :] for i in range(kernel[0]) for j in range(kernel[1])]


def _unfold(x: Float[Array, "c h w n"], kernel: tuple[int, int]) -> Float[Array, "q m"]:
    """Patches, rows (i, j, c), columns the pixels of the output."""
    height, width = x.shape[1] - kernel[0] + 1, x.shape[2] - kernel[1] + 1
    return jnp.stack(_shifts(x, kernel, height, width)).reshape(kernel[0] * kernel[1] * x.shape[0], -1)


def _flip(w: Float[Array, "kh kw c k"]) -> Float[Array, "kh kw k c"]:
    return w[::-1, ::-1].swapaxes(2, 3)


def _full(g: Float[Array, "k h w n"], kernel: tuple[int, int]) -> Array:
    return jnp.pad(g, ((0, 0), *[(size - 1, size - 1) for size in kernel], (0, 0)))


def correlate(x: Float[Array, "c h w n"], w: Float[Array, "kh kw c k"]) -> Float[Array, "k ho wo n"]:
    """y[h, w] = sum_ij x[h + i, w + j] w[i, j]."""
    kh, kw, c, k = w.shape
    height, width, n = x.shape[1] - kh + 1, x.shape[2] - kw + 1, x.shape[3]
    if c <= k:
        return jnp.einsum("qk,qm->km", w.reshape(-1, k), _unfold(x, (kh, kw))).reshape(k, height, width, n)
    rows = w.swapaxes(2, 3).reshape(-1, c)  # (i, j, k), c
    products = jnp.einsum("qc,cm->qm", rows, x.reshape(c, -1)).reshape(kh, kw, k, *x.shape[1:])
    terms = [products[i, j, :, i : i + height, j : j + width] for i in range(kh) for j in range(kw)]
    return sum(terms[1:], start=terms[0])


def correlate_input_gradient(
    g: Float[Array, "k ho wo n"], w: Float[Array, "kh kw c k"]
) -> Float[Array, "c h w n"]:
    """The transpose of `correlate` in x."""
    return correlate(_full(g, w.shape[:2]), _flip(w))


def correlate_kernel_gradient(
    x: Float[Array, "c h w n"], g: Float[Array, "k ho wo n"]
) -> Float[Array, "kh kw c k"]:
    """The transpose of `correlate` in w."""
    (c, tall, wide, _), (k, height, width, _) = x.shape, g.shape
    kernel = tall - height + 1, wide - width + 1
    if c <= k:
        return jnp.einsum("qm,km->qk", _unfold(x, kernel), g.reshape(k, -1)).reshape(*kernel, c, k)
    patches = _unfold(_full(g, kernel), kernel)  # rows (kh - 1 - i, kw - 1 - j, k)
    return _flip(jnp.einsum("qm,cm->qc", patches, x.reshape(c, -1)).reshape(*kernel, k, c))
