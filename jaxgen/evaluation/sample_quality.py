"""How good samples are, from features of real and of generated images: one number a question.

Frechet distance and kernel distance ask how far apart the two sets lie; precision and density, whether samples look
real; recall and coverage, whether they show all there is; the class histogram, whether classes are missing. All
depend on the features and on both counts: neither may be left out where the numbers stand.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxgen.errors import UserError
from jaxgen.evaluation import neighbours

MANIFOLD_K = 3
"""Neighbours that make precision's and recall's balls (Kynkaanniemi et al., NeurIPS 2019)."""
DENSITY_K = 5
"""Neighbours that make density's and coverage's (Naeem et al., ICML 2020)."""
KERNEL_BLOCK = 500
"""Images of each set in one estimate of the kernel distance; a quarter of them where there are fewer than 2,000."""
MISSING = 0.2
"""A class is called missing when it comes up less than this share of how often it does among real images."""


class Quality(NamedTuple):
    """Scores of `n_fake` samples against `n_real` images."""

    frechet_distance: float
    kernel_distance: float
    kernel_distance_error: float
    """Standard error of the mean over the blocks."""
    precision: float
    recall: float
    density: float
    coverage: float
    n_real: int
    n_fake: int


def moments(features: Float[Array, "n d"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """Mean and unbiased covariance."""
    mean = features.mean(0)
    centred = features - mean[None]
    return mean, jnp.dot(centred.T, centred, precision=lax.Precision.HIGHEST) / (features.shape[0] - 1)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet_distance(mean_a: Any, covariance_a: Any, mean_b: Any, covariance_b: Any) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2): squared 2-Wasserstein distance of two Gaussians.

    Dowson & Landau, 1982; in double precision on the host, the matrices are small.
    """
    mean_a, covariance_a, mean_b, covariance_b = (
        np.asarray(x, np.float64) for x in (mean_a, covariance_a, mean_b, covariance_b)
    )
    root = _root(covariance_a)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance_b @ root), 0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross)


def kernel_distances(real: Float[Array, "n d"], fake: Float[Array, "m d"], size: int) -> Float[Array, " blocks"]:
    """Unbiased squared maximum mean discrepancies with kernel (x.y / d + 1)^3, of disjoint blocks of `size` of each.

    Binkowski et al., Demystifying MMD GANs, ICLR 2018. Disjoint, so that their spread gives an honest error.
    """

    def kernel(a: Array, b: Array) -> Array:
        return (jnp.dot(a, b.T, precision=lax.Precision.HIGHEST) / a.shape[1] + 1) ** 3

    def of_block(pair: tuple[Array, Array]) -> Array:
        x, y = pair
        within = [(k.sum() - jnp.trace(k)) / (size * (size - 1)) for k in (kernel(x, x), kernel(y, y))]
        return within[0] + within[1] - 2 * kernel(x, y).mean()

    blocks = min(real.shape[0], fake.shape[0]) // size
    pairs = tuple(x[: blocks * size].reshape(blocks, size, -1) for x in (real, fake))
    return lax.map(of_block, pairs)


@jax.jit
def _on_device(real: Array, fake: Array) -> dict[str, Any]:
    size = min(KERNEL_BLOCK, min(real.shape[0], fake.shape[0]) // 4)
    of_real, density_radii = neighbours.squared_radii(real, (MANIFOLD_K, DENSITY_K))
    (of_fake,) = neighbours.squared_radii(fake, (MANIFOLD_K,))
    held_by_real, _ = neighbours.balls_around(fake, real, of_real)
    held_by_fake, _ = neighbours.balls_around(real, fake, of_fake)
    counts, covered = neighbours.balls_around(fake, real, density_radii)
    return {
        "moments": (*moments(real), *moments(fake)),
        "kernel": kernel_distances(real, fake, size),
        "precision": (held_by_real > 0).mean(),
        "recall": (held_by_fake > 0).mean(),
        "density": counts.astype(jnp.float32).mean() / DENSITY_K,
        "coverage": covered.mean(),
    }


def quality(real: Float[Array, "n d"], fake: Float[Array, "m d"]) -> Quality:
    """All scores of two sets of features; memory is that of a block of distances."""
    least = 4 * 2  # four blocks of two, and more than `DENSITY_K` neighbours
    if min(real.shape[0], fake.shape[0]) < least:
        raise UserError(f"{real.shape[0]} real and {fake.shape[0]} generated images: at least {least} of each needed")
    scores = jax.device_get(_on_device(real, fake))
    blocks = np.asarray(scores.pop("kernel"), np.float64)
    return Quality(
        frechet_distance=frechet_distance(*scores.pop("moments")),
        kernel_distance=float(blocks.mean()),
        kernel_distance_error=float(blocks.std(ddof=1) / np.sqrt(len(blocks))),
        n_real=real.shape[0],
        n_fake=fake.shape[0],
        **{name: float(value) for name, value in scores.items()},
    )


def histogram(taken_for: Int[Array, " n"], classes: int) -> list[int]:
    """How many images were taken for each class."""
    return [int(count) for count in np.bincount(np.asarray(taken_for), minlength=classes)]


def collapse_alarm(scores: Quality, real: list[int], fake: list[int], class_names: tuple[str, ...]) -> str | None:
    """Whether samples lack classes that real images have, or nearly all variety; None if neither.

    `real` and `fake` are class histograms of images taken by the same classifier.
    """
    shares = [(f / max(1, sum(fake))) / (r / sum(real)) if r else 1.0 for r, f in zip(real, fake, strict=True)]
    missing = [class_names[i] for i, share in enumerate(shares) if share < MISSING]
    if missing:
        return f"collapsed: {', '.join(missing)} come up less than {MISSING:g} times as often as among real images"
    if scores.recall < 0.01 and scores.coverage < 0.05:
        return f"collapsed: recall {scores.recall:.3f} and coverage {scores.coverage:.3f}"
    return None
