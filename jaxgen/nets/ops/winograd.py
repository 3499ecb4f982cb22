"""Winograd's minimal filtering: stride-1 valid correlation of spatial-major images (H, W, N, C), with few products.

F(m, k) computes m outputs of a k-tap correlation with t = m + k - 1 products instead of m k (Winograd 1980; Lavin &
Gray, arXiv:1509.09308), one for each of t points at which polynomials are evaluated (Cook-Toom). Both axes together,
over tiles of m x m outputs:

    x^ = B^T x B,  w^ = G w G^T,  y^_p = x^_p w^_p  for each of the t^2 points p,  y = A^T y^ A

The transforms are sums of scaled strided slices; the products are one batched matrix product over the points, with
(tile, image) as rows. The gradients are the transposes of these maps: g^ = A g A^T, dx = B (g^_p w^_p^T) B^T with
overlapping tiles added, dw = G^T (x^_p^T g^_p) G. A compiled training step computes x^ and g^ once each, since the
expressions that share them are the same.

The points set the rounding error. Those below were found by a search over small fractions. Norm of the error of random
layers in float32, relative to the output's: 3e-6 with eight points, 1e-6 with six; 2e-5 with ten, which are not used;
by the definition, 2e-7. Small errors matter in a layer's output: they flip relus near 0, which changes gradients by
about the square root of their number.
"""

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache, reduce
from math import prod
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_PAIRS = {
    1: ((1, 1),),
    2: ((2, 3), (3, 2)),
    3: ((1, 2), (1, 1), (2, 1)),
}
"""Points besides 0 and infinity, by the number of pairs +-p."""
_FINE_POINTS, _COARSE_POINTS = 6, 8
"""Largest tiles: more points take fewer products and lose more digits."""
_MAX_TAPS = 5
"""Longer kernels are cut into pieces."""

Matrix = tuple[tuple[float, ...], ...]
Size = Sequence[int]


class Transform(NamedTuple):
    """The matrices of F(m, k), t = m + k - 1: `inputs` B^T (t, t), `kernels` G (t, k), `outputs` A^T (m, t)."""

    m: int
    k: int
    inputs: Matrix
    kernels: Matrix
    outputs: Matrix

    @property
    def t(self) -> int:
        """Points per tile."""
        return self.m + self.k - 1


def _points(count: int) -> list[Fraction]:
    """`count` points besides infinity."""
    pairs = [Fraction(sign * a, b) for a, b in _PAIRS.get(count // 2, ()) for sign in (1, -1)]
    return ([Fraction(0), *pairs])[:count]


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), lowest power first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


@lru_cache
def transform(m: int, k: int) -> Transform:
    """F(m, k); m + k - 1 at most eight."""
    points = _points(m + k - 2)
    others = [[q for q in points if q != p] for p in points]
    inputs = [[*_polynomial(rest), Fraction(0)] for rest in others] + [_polynomial(points)]
    scales = [prod((p - q for q in rest), start=Fraction(1)) for p, rest in zip(points, others, strict=True)]
    kernels = [[p**i / scale for i in range(k)] for p, scale in zip(points, scales, strict=True)]
    kernels.append([Fraction(int(i == k - 1)) for i in range(k)])
    outputs = [[p**i for p in points] + [Fraction(int(i == m - 1))] for i in range(m)]

    def plain(matrix: list[list[Fraction]]) -> Matrix:
        return tuple(tuple(float(entry) for entry in row) for row in matrix)

    return Transform(m, k, plain(inputs), plain(kernels), plain(outputs))


@lru_cache
def choose(outputs: int, k: int, fine: bool = False) -> Transform:
    """The tile along an axis that needs the fewest products for `outputs` outputs; a smaller one if nearly as few.

    Kernels of up to 4 taps are always `fine`: eight points save them little.
    """
    sizes = range(1, (_FINE_POINTS if fine or k <= 4 else _COARSE_POINTS) - k + 2)
    products = {m: -(-outputs // m) * (m + k - 1) for m in sizes}
    return transform(next(m for m in sizes if products[m] <= 1.06 * min(products.values())), k)


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _combine(coefficients: Sequence[float], terms: Sequence[Array]) -> Array:
    """sum_i coefficients_i terms_i, written out: it fuses with whatever computed the terms.

    In `lax`, because a program has thousands of these operations, and `jnp` takes several times as long to trace one.
    """
    number = terms[0].dtype.type
    pairs = zip(coefficients, terms, strict=True)
    scaled = [x if c == 1 else lax.neg(x) if c == -1 else lax.mul(number(c), x) for c, x in pairs if c != 0]
    return reduce(lax.add, scaled)


def _apply(matrix: Matrix, terms: Sequence[Array], axis: int) -> Array:
    """matrix @ terms, stacked along `axis`."""
    return jnp.stack([_combine(row, terms) for row in matrix], axis)


def _strided(x: Array, step: int, count: int, axis: int, taps: int) -> list[Array]:
    last = (count - 1) * step + 1
    return [lax.slice_in_dim(x, i, i + last, step, axis) for i in range(taps)]


def _runs(tiles: int, overlap: int) -> Iterator[tuple[int, int, range]]:
    """Blocks of an overlap-add, in runs (first, end, shifts): block q is the sum over j in shifts of tile q - j."""
    shifts = [range(max(0, q - tiles + 1), min(overlap - 1, q) + 1) for q in range(tiles + overlap - 1)]
    for _, run in itertools.groupby(range(len(shifts)), key=lambda q: shifts[q]):
        blocks = list(run)
        yield blocks[0], blocks[-1] + 1, shifts[blocks[0]]


def _overlap_add(matrix: Matrix, m: int, terms: Sequence[Array], axis: int) -> Array:
    """Sum of the tiles matrix @ terms, tile i placed at pixel m i; tiles along `axis`, which becomes the pixels."""
    tiles, length = terms[0].shape[axis], len(matrix)
    zero = (0.0,) * len(terms)
    blocks = []
    for first, end, shifts in _runs(tiles, -(-length // m)):
        shifted = [lax.slice_in_dim(x, first - j, end - j, axis=axis) for j in shifts for x in terms]
        rows = [[c for j in shifts for c in (matrix[m * j + a] if m * j + a < length else zero)] for a in range(m)]
        nothing = jnp.zeros_like(shifted[0])
        blocks.append(jnp.stack([_combine(row, shifted) if any(row) else nothing for row in rows], axis + 1))
    y = jnp.concatenate(blocks, axis)
    y = y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])
    return lax.slice_in_dim(y, 0, (tiles - 1) * m + length, axis=axis)


class _Tiling(NamedTuple):
    """The transforms along both axes and the numbers of tiles for (height, width) outputs."""

    rows: Transform
    columns: Transform
    tiles: tuple[int, int]

    @classmethod
    def of(cls, size: Size, kernel: Size, fine: bool = False) -> "_Tiling":
        rows, columns = choose(size[0], kernel[0], fine), choose(size[1], kernel[1], fine)
        return cls(rows, columns, (-(-size[0] // rows.m), -(-size[1] // columns.m)))

    def _forward(self, x: Array, rows: Matrix, columns: Matrix) -> Array:
        """(H, W, N, C) to (points, tiles N, C)."""
        (n, c), (tall, wide) = x.shape[2:], self.tiles
        needed = (tall - 1) * self.rows.m + len(rows[0]), (wide - 1) * self.columns.m + len(columns[0])
        edges = [(0, length - size, 0) for length, size in zip(needed, x.shape[:2], strict=True)]
        x = lax.pad(x, jnp.zeros((), x.dtype), [*edges, (0, 0, 0), (0, 0, 0)]).reshape(*needed, n * c)
        x = _apply(rows, _strided(x, self.rows.m, tall, 0, len(rows[0])), 0)
        x = _apply(columns, _strided(x, self.columns.m, wide, 2, len(columns[0])), 1)
        return x.reshape(len(rows) * len(columns), -1, c)

    def _backward(self, points: Array, n: int, rows: Matrix, columns: Matrix, size: Size) -> Array:
        """(points, tiles N, C) to the sum of overlapping tiles, cut to `size`: the transpose of `_forward`."""
        x = points.reshape(self.rows.t, self.columns.t, *self.tiles, -1)
        x = _overlap_add(rows, self.rows.m, list(x), 1)
        x = _overlap_add(columns, self.columns.m, list(x), 1)
        return x[: size[0], : size[1]].reshape(*size, n, -1)

    def inputs(self, x: Array) -> Array:
        return self._forward(x, self.rows.inputs, self.columns.inputs)

    def inputs_transposed(self, points: Array, n: int, size: Size) -> Array:
        return self._backward(points, n, _transposed(self.rows.inputs), _transposed(self.columns.inputs), size)

    def outputs(self, points: Array, n: int, size: Size) -> Array:
        return self._backward(points, n, self.rows.outputs, self.columns.outputs, size)

    def outputs_transposed(self, g: Array) -> Array:
        return self._forward(g, _transposed(self.rows.outputs), _transposed(self.columns.outputs))

    def _kernel(self, w: Array, rows: Matrix, columns: Matrix) -> Array:
        w = _apply(rows, list(w.reshape(*w.shape[:2], -1)), 0)
        return _apply(columns, list(w.swapaxes(0, 1)), 1)

    def kernels(self, w: Array) -> Array:
        return self._kernel(w, self.rows.kernels, self.columns.kernels).reshape(-1, *w.shape[2:])

    def kernels_transposed(self, points: Array) -> Array:
        w = points.reshape(self.rows.t, self.columns.t, *points.shape[1:])
        w = self._kernel(w, _transposed(self.rows.kernels), _transposed(self.columns.kernels))
        return w.reshape(*w.shape[:2], *points.shape[1:])


def _pieces(taps: int) -> list[slice]:
    """Cut a kernel of `taps` into near-equal pieces that a transform can take."""
    count = -(-taps // _MAX_TAPS)
    bounds = [taps * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(bounds)]


def _sight(piece: tuple[slice, slice], size: Size) -> tuple[slice, slice]:
    """The inputs that a piece of a kernel reads for `size` outputs."""
    rows, columns = piece
    return slice(rows.start, rows.stop + size[0] - 1), slice(columns.start, columns.stop + size[1] - 1)


def correlate(
    x: Float[Array, "h w n c"], w: Float[Array, "kh kw c k"], fine: bool = False
) -> Float[Array, "ho wo n k"]:
    """y[h, w] = sum_ij x[h + i, w + j] w[i, j]."""
    size = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1

    def part(piece: tuple[slice, slice]) -> Array:
        taps = w[piece]
        tiling = _Tiling.of(size, taps.shape[:2], fine)
        points = jnp.einsum("pmc,pck->pmk", tiling.inputs(x[_sight(piece, size)]), tiling.kernels(taps))
        return tiling.outputs(points, x.shape[2], size)

    parts = [part(piece) for piece in itertools.product(_pieces(w.shape[0]), _pieces(w.shape[1]))]
    return sum(parts[1:], start=parts[0])


def correlate_input_gradient(
    g: Float[Array, "ho wo n k"], w: Float[Array, "kh kw c k"], fine: bool = False
) -> Float[Array, "h w n c"]:
    """The transpose of `correlate` in x: the sum of w[i, j] g[h - i, w - j] over the taps."""
    size, whole = g.shape[:2], (g.shape[0] + w.shape[0] - 1, g.shape[1] + w.shape[1] - 1)

    def part(piece: tuple[slice, slice]) -> Array:
        taps = w[piece]
        tiling, sight = _Tiling.of(size, taps.shape[:2], fine), _sight(piece, size)
        points = jnp.einsum("pmk,pck->pmc", tiling.outputs_transposed(g), tiling.kernels(taps))
        x = tiling.inputs_transposed(points, g.shape[2], tuple(s.stop - s.start for s in sight))
        edges = [(s.start, length - s.stop) for s, length in zip(sight, whole, strict=True)]
        return jnp.pad(x, (*edges, (0, 0), (0, 0)))

    parts = [part(piece) for piece in itertools.product(_pieces(w.shape[0]), _pieces(w.shape[1]))]
    return sum(parts[1:], start=parts[0])


def correlate_kernel_gradient(x: Float[Array, "h w n c"], g: Float[Array, "ho wo n k"]) -> Float[Array, "kh kw c k"]:
    """The transpose of `correlate` in w: x[h + i, w + j]^T g[h, w] summed over images and pixels."""
    size = g.shape[:2]
    kernel = x.shape[0] - size[0] + 1, x.shape[1] - size[1] + 1

    def part(piece: tuple[slice, slice]) -> Array:
        tiling = _Tiling.of(size, tuple(s.stop - s.start for s in piece))
        inputs, outputs = tiling.inputs(x[_sight(piece, size)]), tiling.outputs_transposed(g)
        return tiling.kernels_transposed(jnp.einsum("pmc,pmk->pck", inputs, outputs))

    rows = [[part((i, j)) for j in _pieces(kernel[1])] for i in _pieces(kernel[0])]
    return jnp.concatenate([jnp.concatenate(row, 1) for row in rows], 0)
