"""Sample quality from features of real and generated images, one number per question.

Frechet and kernel distance measure how far apart the two sets are; precision and density, whether samples look real;
recall and coverage, whether they cover the real images; the class histogram, whether classes are missing. All depend on
the features and on both image counts, so report these with every score.

Moments and kernels are summed in float64 on the host: both distances are small differences of large sums, and two
machines must agree. Neighbors are found in float32 on the device, with features centered on the mean of the real ones.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.errors import UserError
from jaxgen.evaluation import neighbors

MANIFOLD_K = 3
"""Neighbors that define the balls of precision and recall (Kynkaanniemi et al., NeurIPS 2019)."""
DENSITY_K = 5
"""Neighbors that define the balls of density and coverage (Naeem et al., ICML 2020)."""
KERNEL_BLOCK = 500
"""Images of each set in one estimate of the kernel distance; fewer if that would leave less than `KERNEL_BLOCKS`."""
KERNEL_BLOCKS = 10
"""Minimum number of such estimates, so that their spread is known to within a quarter."""
MISSING = 0.2
"""A class is missing if its frequency is below this share of its frequency among real images."""


class Quality(NamedTuple):
    """Scores of `n_fake` samples against `n_real` images."""

    frechet_distance: float
    kernel_distance: float
    kernel_distance_error: float
    """Its standard error over draws of both the real images and the samples."""
    precision: float
    recall: float
    density: float
    coverage: float
    n_real: int
    n_fake: int


def moments(features: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Mean and unbiased covariance, in float64."""
    features = np.asarray(features, np.float64)
    mean = features.mean(0)
    centered = features - mean
    return mean, centered.T @ centered / (len(features) - 1)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet_distance(mean_a: Any, covariance_a: Any, mean_b: Any, covariance_b: Any) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2): squared 2-Wasserstein distance of two Gaussians.

    Dowson & Landau, 1982. In float64; eigenvalues that rounding made negative count as 0.
    """
    mean_a, covariance_a, mean_b, covariance_b = (
        np.asarray(x, np.float64) for x in (mean_a, covariance_a, mean_b, covariance_b)
    )
    root = _root(covariance_a)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance_b @ root), 0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross)


def kernel_distances(
    real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], size: int
) -> Float[np.ndarray, " blocks"]:
    """Unbiased squared maximum mean discrepancies with kernel (x.y / d + 1)^3, of disjoint blocks of `size` of each.

    Binkowski et al., Demystifying MMD GANs, ICLR 2018. There the blocks are drawn again from the same images, and their
    spread is no standard error; disjoint blocks are independent, so that of their mean is spread / sqrt(blocks).
    A fixed key assigns images to blocks, as a split may be sorted by class.
    """
    blocks = min(len(real), len(fake)) // size
    orders = [jax.random.permutation(jax.random.key(seed), len(x)) for seed, x in enumerate((real, fake))]
    in_blocks = [
        np.asarray(x, np.float64)[np.asarray(order)[: blocks * size]].reshape(blocks, size, -1)
        for x, order in zip((real, fake), orders, strict=True)
    ]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def of_block(x: np.ndarray, y: np.ndarray) -> float:
        within = [(k.sum() - np.trace(k)) / (size * (size - 1)) for k in (kernel(x, x), kernel(y, y))]
        return within[0] + within[1] - 2 * kernel(x, y).mean()

    return np.array([of_block(x, y) for x, y in zip(*in_blocks, strict=True)])


@jax.jit
def _by_neighbors(real: Array, fake: Array) -> dict[str, Array]:
    of_real, density_radii = neighbors.squared_radii(real, (MANIFOLD_K, DENSITY_K))
    (of_fake,) = neighbors.squared_radii(fake, (MANIFOLD_K,))
    held_by_real, _ = neighbors.balls_around(fake, real, of_real)
    held_by_fake, _ = neighbors.balls_around(real, fake, of_fake)
    counts, covered = neighbors.balls_around(fake, real, density_radii)
    return {
        "precision": (held_by_real > 0).mean(),
        "recall": (held_by_fake > 0).mean(),
        "density": counts.astype(jnp.float32).mean() / DENSITY_K,
        "coverage": covered.mean(),
    }


def quality(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"]) -> Quality:
    """All scores of two sets of features; memory is that of a block of distances."""
    count = min(len(real), len(fake))
    least = 2 * KERNEL_BLOCKS
    if count < least:
        raise UserError(f"{len(real)} real and {len(fake)} generated images: at least {least} of each needed")
    real, fake = (np.asarray(x, np.float64) for x in (real, fake))
    of_real, of_fake = moments(real), moments(fake)
    blocks = kernel_distances(real, fake, min(KERNEL_BLOCK, count // KERNEL_BLOCKS))
    centered = [np.asarray(x - of_real[0], np.float32) for x in (real, fake)]
    return Quality(
        frechet_distance=frechet_distance(*of_real, *of_fake),
        kernel_distance=float(blocks.mean()),
        kernel_distance_error=float(blocks.std(ddof=1) / np.sqrt(len(blocks))),
        n_real=len(real),
        n_fake=len(fake),
        **{name: float(value) for name, value in jax.device_get(_by_neighbors(*centered)).items()},
    )


def histogram(taken_for: Int[np.ndarray, " n"], classes: int) -> list[int]:
    """Number of images predicted as each class."""
    return [int(count) for count in np.bincount(np.asarray(taken_for), minlength=classes)]


def collapse_alarm(scores: Quality, real: list[int], fake: list[int], class_names: tuple[str, ...]) -> str | None:
    """A warning if samples lack classes that real images have, or nearly all variety; None if neither.

    `real` and `fake` are class histograms from the same classifier.
    """
    shares = [(f / max(1, sum(fake))) / (r / sum(real)) if r else 1.0 for r, f in zip(real, fake, strict=True)]
    missing = [class_names[i] for i, share in enumerate(shares) if share < MISSING]
    if missing:
        return f"collapsed: {', '.join(missing)} come up less than {MISSING:g} times as often as among real images"
    if scores.recall < 0.01 and scores.coverage < 0.05:
        return f"collapsed: recall {scores.recall:.3f} and coverage {scores.coverage:.3f}"
    return None
