"""Programs that some release of XLA or JAX compiled into wrong numbers or a crash, rewritten by us.

Each stands for a published report: jax and xla are issues of jax-ml/jax and openxla/xla, tensorflow of
tensorflow/tensorflow. Reports about liberties that XLA takes with rounding and overflow on purpose (jax 37919, xla
41579 and 42732), and about releases before jax 0.10, are left out.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgen.doctor.checks import Check, difference
from jaxgen.doctor.precise import in_float64

ROUNDING = 1e-5
"""Tolerance of sums in float32: ten times the largest error measured on jax 0.10.1 to 0.12."""


def _draws(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def matrix_rows(dtype: Any = np.float32, count: int = 32_769) -> float:
    """sum((M r)^2) of every row r, a few more than 128 kB of them."""
    matrix, rows = _draws(3, 3).astype(dtype), _draws(count, 3).astype(dtype)
    computed = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(rows)
    return difference(computed, ((rows.astype(np.float64) @ matrix.T.astype(np.float64)) ** 2).sum(axis=1))


def matrix_rows_64() -> float:
    """The same in float64, where half as many rows are enough."""
    with jax.enable_x64(True):
        return matrix_rows(np.float64, 16_385)


def sum_of_broadcast(calls: int = 40) -> float:
    """Sums of ones that were broadcast, each a number of float32 exactly; a race, so it is computed often."""
    worst = 0.0
    for source, shape in (((1024, 1), (2, 1024, 1024)), ((512, 1), (4, 512, 1024)), ((1025, 1), (33, 1025, 63))):
        total = jax.jit(lambda ones, shape=shape: jnp.sum(jnp.broadcast_to(ones, shape) * ones[None]))
        ones = np.ones(source, np.float32)
        true = np.float64(np.prod(shape))
        worst = max(worst, *(difference(total(ones), true) for _ in range(calls)))
    return worst


def padded_scan() -> float:
    """Overlapping blocks of padded rows, cut out by two scans."""
    rows, columns, block, stride, count = 60, 4, 23, 19, 3
    total = (count - 1) * stride + block
    x = _draws(rows, columns)

    @jax.jit
    def blocks(x: jax.Array) -> jax.Array:
        padded = jnp.pad(x, ((0, total - rows), (0, 0)))

        def cut(_: None, i: jax.Array) -> tuple[None, jax.Array]:
            piece = lax.dynamic_slice(padded, (i * stride, 0), (block, columns))

            def pair(_: None, j: jax.Array) -> tuple[None, jax.Array]:
                return None, lax.dynamic_slice(piece, (0, 2 * j), (block, 2))

            return None, lax.scan(pair, None, jnp.arange(columns // 2))[1]

        return lax.scan(cut, None, jnp.arange(count))[1]

    padded = np.pad(x, ((0, total - rows), (0, 0)))
    true = np.stack(
        [
            [padded[i * stride : i * stride + block, 2 * j : 2 * j + 2] for j in range(columns // 2)]
            for i in range(count)
        ]
    )
    return max(difference(blocks(x), true) for _ in range(20))


def many_axes() -> float:
    """Products summed over one axis of seven and of eight."""
    seven, other = _draws(3, 1, 2, 2, 8, 8, 8), _draws(3, 1, 2, 2, 8, 8, 8)[::-1]
    error = difference(
        jax.jit(lambda a, b: jnp.sum(a * b, axis=3))(seven, other), (seven.astype(np.float64) * other).sum(axis=3)
    )
    rows, eight = np.abs(_draws(10, 4, 6)) + 0.1, np.ones((10, 4, 6, 9, 9, 9, 9, 9), np.float32)
    logs = jax.jit(lambda a, b: jnp.log(jnp.maximum(jnp.sum(a[..., None, None, None, None, None] * b, axis=2), 1e-16)))
    true = np.broadcast_to(
        np.log(rows.astype(np.float64).sum(axis=2))[..., None, None, None, None, None], (10, 4, 9, 9, 9, 9, 9)
    )
    return max(error, difference(logs(rows, eight), true))


def attention() -> float:
    """Gradients through masked attention over sets of ten."""
    x, weights = _draws(512, 10, 32), {name: _draws(32, 4, 8) / 6 for name in "qkv"}
    seen = np.arange(10) < np.arange(512)[:, None] % 10 + 1

    def loss(weights: dict[str, jax.Array]) -> jax.Array:
        q, k, v = (jnp.einsum("bpd,dhe->bphe", x, weights[name]) for name in "qkv")
        scores = jnp.where(seen[:, None, None], jnp.einsum("bqhe,bkhe->bhqk", q, k) / 8**0.5, -1e30)
        return jnp.mean(jnp.einsum("bhqk,bkhe->bqhe", jax.nn.softmax(scores), v) ** 2)

    gradients = jax.value_and_grad(loss)
    return difference(jax.jit(gradients)(weights), in_float64(gradients, weights))


def loop_of_writes() -> float:
    """Seconds of a loop that writes single numbers into a long array over those with a short one."""

    @jax.jit
    def fill(array: jax.Array) -> jax.Array:
        return lax.fori_loop(0, 1_000, lambda t, array: array.at[t + 1].set(array[t] * 0.5 + 1), array)

    def seconds(size: int) -> float:
        array = jax.block_until_ready(fill(jnp.zeros(size)))
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            jax.block_until_ready(fill(array))
            taken.append(time.perf_counter() - began)
        return min(taken)

    return seconds(200_000) / seconds(2_000)


def squared_differences() -> float:
    """Sum of squared differences of neighbors along every axis."""
    x = _draws(64, 64, 64)
    computed = jax.jit(lambda x: sum(jnp.sum(jnp.diff(x, axis=axis) ** 2) for axis in range(3)))(x)
    return difference(
        computed, np.float64(sum((np.diff(x.astype(np.float64), axis=axis) ** 2).sum() for axis in range(3)))
    )


def shift(reshape: bool) -> float:
    """Rows moved down by one within an array."""
    x = np.arange(128, dtype=np.int32).reshape(8, 16)

    def moved(x: jax.Array) -> jax.Array:
        base = x + jnp.int32(1)
        after = base.at[1:].set(base[:-1])
        return after.reshape(1, 8, 16) if reshape else after

    true = np.concatenate([x[:1], x[:-1]]) + 1
    return difference(jax.jit(moved)(x).reshape(8, 16), true)


def rolled_row() -> float:
    """One row rolled in place."""
    x = _draws(2, 100)
    return difference(jax.jit(lambda x: x.at[0].set(jnp.roll(x[0], 5)))(x), np.stack([np.roll(x[0], 5), x[1]]))


def huge_softmax() -> float:
    """Softmax of a multiple of numbers about 1e12, finite where nothing overflows."""
    x = 1e12 * _draws(4, 16)
    logits = np.float32(0.3) * x.astype(np.float64)
    true = np.exp(logits - logits.max(axis=1, keepdims=True))
    computed = jax.jit(lambda x: jax.nn.softmax(x * 0.3, axis=-1))(x)
    return difference(computed, true / true.sum(axis=1, keepdims=True))


def dilated_window() -> float:
    """Maxima of pairs of rows whose elements are set apart."""
    x = _draws(64, 128)
    window = partial(
        lax.reduce_window,
        init_value=-jnp.inf,
        computation=lax.max,
        window_dimensions=(2, 1),
        window_strides=(2, 1),
        padding=((0, 0), (0, 0)),
        base_dilation=(1, 2),
    )
    true = np.full((32, 255), -np.inf, np.float32)
    true[:, ::2] = np.maximum(x[::2], x[1::2])
    return float(not np.array_equal(jax.jit(window)(x), true))


def cropped_window() -> float:
    """Sums over windows of an array cropped on a side and padded there again."""
    x = np.array([[3, 5]], np.int32)

    def sums(x: jax.Array) -> jax.Array:
        cropped = lax.pad(x, jnp.int32(0), ((0, 0, 1), (-1, 0, 0)))
        return lax.reduce_window(cropped, jnp.int32(0), lax.add, (1, 2), (1, 1), ((0, 0), (1, 0)))

    return difference(jax.jit(sums)(x), np.array([[5]], np.int32))


def cropped_convolution() -> float:
    """A convolution of an image cropped and padded again."""
    x, kernel = _draws(1, 6, 6, 1), jnp.asarray(_draws(3, 3, 1, 1))

    def convolved(x: jax.Array) -> jax.Array:
        cropped = lax.pad(x, jnp.float32(0), ((0, 0, 0), (-1, -1, 0), (-1, -1, 0), (0, 0, 0)))
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(cropped, kernel, (1, 1), "SAME", dimension_numbers=layout)

    padded = np.pad(x[0, 1:-1, 1:-1, 0].astype(np.float64), 1)
    true = sum(float(kernel[i, j, 0, 0]) * padded[i : i + 4, j : j + 4] for i in range(3) for j in range(3))
    return difference(jax.jit(convolved)(x)[0, :, :, 0], true)


def pooling_gradient() -> float:
    """Gradient of maxima of 2x2 windows over an image of odd size: one for each window, at its largest pixel."""
    x = _draws(2, 9, 9, 3)

    def total(x: jax.Array) -> jax.Array:
        return lax.reduce_window(
            x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), ((0, 0), (0, 1), (0, 1), (0, 0))
        ).sum()

    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=-np.inf)
    windows = padded.reshape(2, 5, 2, 5, 2, 3).transpose(0, 1, 3, 5, 2, 4).reshape(2, 5, 5, 3, 4)
    ones = (windows == windows.max(axis=-1, keepdims=True)).reshape(2, 5, 5, 3, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return difference(jax.jit(jax.grad(total))(x), ones.reshape(2, 10, 10, 3)[:, :9, :9].astype(np.float32))


def zero_product() -> float:
    """Gradient of a mean over 100,001 rows with a product by zeros in it."""
    weights, rows = np.array([1, 2, 3], np.float32), jnp.ones((100_001, 3))

    def mean(x: jax.Array) -> jax.Array:
        def of_row(row: jax.Array) -> jax.Array:
            apart = row - x
            return jnp.dot(apart, weights) + jnp.dot(jnp.dot(apart, jnp.zeros((3, 3))), apart)

        return jax.vmap(of_row)(rows).mean()

    return difference(jax.jit(jax.grad(mean))(np.ones(3, np.float32)), -weights.astype(np.float64))


def floor_division() -> float:
    """Floor division in a loop."""
    x = np.array([2, 2, -3], np.int32)
    computed = jax.jit(lambda x: lax.fori_loop(1, 3, lambda i, value: value // x[i], x[0]))(x)
    return difference(computed, np.int32(-1))


def sorted_ranks() -> float:
    """x[argsort(x)][argsort(argsort(x))] = x."""
    with jax.enable_x64(True):
        x = np.random.default_rng(0).permutation(1_000)
        return difference(jax.jit(lambda x: x[jnp.argsort(x)][jnp.argsort(jnp.argsort(x))])(x), x)


def two_paddings() -> float:
    """Padding by one number before and another after."""
    x = np.arange(1, 10).reshape(3, 3)
    return float(not np.array_equal(jnp.pad(x, 3, constant_values=(1, 2)), np.pad(x, 3, constant_values=(1, 2))))


def first_axis_softmax() -> float:
    """Softmax over the first axis, of which the others are 1 long."""
    x = _draws(3, 1, 1)
    powers = np.exp(x.astype(np.float64))
    return difference(jax.jit(partial(jax.nn.softmax, axis=0))(x), powers / powers.sum(axis=0))


def scaled_affine() -> float:
    """a (A b + c) for many b."""
    matrix, rows, bias = _draws(32, 15), _draws(100, 15), 100 * _draws(32)
    computed = jax.jit(jax.vmap(lambda row: 0.1 * (matrix @ row + bias)))(rows)
    return difference(computed, 0.1 * (rows.astype(np.float64) @ matrix.T.astype(np.float64) + bias))


def operations_alone() -> float:
    """Single operations, not in one program: a square root, a sum, a bright image."""
    root, image = jnp.sqrt(jnp.float32(512)), _draws(131, 111, 3)
    computed = (jnp.ones(4) + 1, root, jnp.asarray(image) + jnp.float32(0.37))
    return difference(computed, (np.full(4, 2.0), np.float64(512**0.5), image.astype(np.float64) + np.float32(0.37)))


def first_index() -> float:
    """Index of the one row that grows."""
    pairs = np.array([[1, 2], [0, 0]], np.int32)
    found = jax.jit(lambda x: jnp.nonzero(x[:, 1] - x[:, 0] > 0, size=1, fill_value=-1)[0])(pairs)
    return difference(found, np.zeros(1, np.int32))


_UNUSED = "nothing in jaxgen computes this; a model of your own may"


def _check(
    name: str, measure: Callable[[], float], report: str, tolerance: float = ROUNDING, excuse: str = ""
) -> Check:
    said = (measure.func if isinstance(measure, partial) else measure).__doc__ or ""
    return Check(name, f"{said.rstrip('.')} ({report})", measure, tolerance, excuse)


CHECKS = (
    _check("matrix rows", matrix_rows, "jax 39103"),
    _check("matrix rows, float64", matrix_rows_64, "jax 39103", 1e-12),
    _check("sum of a broadcast", sum_of_broadcast, "tensorflow 126812", 0.0),
    _check("padded scan", padded_scan, "jax 39120", 0.0),
    _check("many axes", many_axes, "jax 39257, 40412"),
    _check("attention", attention, "jax 39264", 1e-4),
    _check("loop of writes", loop_of_writes, "jax 40101", 100.0),
    _check("squared differences", squared_differences, "jax 37465"),
    _check("shift", partial(shift, reshape=False), "jax 7461", 0.0),
    _check("shift, reshaped", partial(shift, reshape=True), "xla 49176", 0.0, _UNUSED),
    _check("rolled row", rolled_row, "jax 10129", 0.0),
    _check("huge softmax", huge_softmax, "jax 37234, 38609", ROUNDING, _UNUSED),
    _check("dilated window", dilated_window, "xla 48714", 0.0, _UNUSED),
    _check("cropped window", cropped_window, "xla 48715", 0.0, _UNUSED),
    _check("cropped convolution", cropped_convolution, "xla 48715"),
    _check("pooling gradient", pooling_gradient, "jax 6010", 0.0),
    _check("zero product", zero_product, "xla 13054"),
    _check("floor division", floor_division, "jax 9604", 0.0),
    _check("sorted ranks", sorted_ranks, "jax 34096", 0.0),
    _check("two paddings", two_paddings, "jax 26888", 0.0),
    _check("softmax, first axis", first_axis_softmax, "jax 20856"),
    _check("scaled affine", scaled_affine, "jax 39336"),
    _check("operations alone", operations_alone, "jax 7229, 40633"),
    _check("first index", first_index, "jax 37382", 0.0),
)
