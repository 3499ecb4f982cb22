"""Distances between sets of points, a block of rows at a time: memory is that of a block, not of all pairs."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxgen.batching import map_batches

BLOCK = 500
"""Points whose distances to all of another set are held in memory at once."""


def squared_distances(a: Float[Array, "m d"], b: Float[Array, "n d"]) -> Float[Array, "m n"]:
    """|a_i - b_j|^2, not below 0."""
    products = jnp.dot(a, b.T, precision=lax.Precision.HIGHEST)
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * products
    return jnp.maximum(squares, 0)


def _smallest(rows: Float[Array, "m n"], count: int) -> Float[Array, "m k"]:
    """The `count` smallest numbers of each row, in order: minima removed one by one (on a CPU `lax.top_k` sorts)."""

    def take(rows: Array, _: None) -> tuple[Array, Array]:
        taken = jnp.arange(rows.shape[1])[None] == jnp.argmin(rows, axis=1)[:, None]
        return jnp.where(taken, jnp.inf, rows), rows.min(1)

    return lax.scan(take, rows, None, length=count)[1].T


def squared_radii(points: Float[Array, "n d"], ks: tuple[int, ...]) -> tuple[Float[Array, " n"], ...]:
    """For each k, the squared distance of each point to its k-th nearest other."""

    def of_block(block: Array) -> tuple[Array, ...]:
        nearest = _smallest(squared_distances(block, points), max(ks) + 1)
        return tuple(nearest[:, k] for k in ks)  # the nearest of all is the point itself

    return map_batches(of_block, points, BLOCK)


def balls_around(
    points: Float[Array, "m d"], centers: Float[Array, "n d"], squared: Float[Array, " n"]
) -> tuple[Int[Array, " m"], Bool[Array, " n"]]:
    """For each point, how many of the balls around `centers` hold it; for each ball, whether it holds any point."""

    def scan_block(covered: Array, block: Array) -> tuple[Array, Array]:
        inside = squared_distances(block, centers) <= squared[None, :]
        return covered | inside.any(0), inside.sum(1)

    whole = points.shape[0] - points.shape[0] % BLOCK
    covered = jnp.zeros(centers.shape[0], bool)
    counts = []
    if whole:
        covered, of_blocks = lax.scan(scan_block, covered, points[:whole].reshape(-1, BLOCK, points.shape[1]))
        counts.append(of_blocks.reshape(whole))
    if whole < points.shape[0]:
        covered, of_rest = scan_block(covered, points[whole:])
        counts.append(of_rest)
    return jnp.concatenate(counts), covered


def nearest(images: Float[Array, "m h w c"], pool: Array, count: int) -> tuple[Float[Array, "m k"], Int[Array, "m k"]]:
    """The `count` images of `pool` (bytes) nearest to each of `images` in [0, 1]: RMS pixel distances and indices."""
    flat = images.reshape(images.shape[0], -1)

    def of_block(block: Array) -> Array:
        return squared_distances(block.reshape(block.shape[0], -1).astype(jnp.float32) / 255, flat)

    squares = map_batches(of_block, pool, BLOCK).T
    negative, indices = jax.lax.top_k(-squares, count)
    return jnp.sqrt(-negative / flat.shape[1]), indices
