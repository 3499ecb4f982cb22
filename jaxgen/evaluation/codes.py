"""A model's codes: which latents are used, how much each tells, and whether they separate the classes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxgen import batching, distributions
from jaxgen.algorithms import vae

ACTIVE = 0.01
"""Variance of its posterior mean over images from which a latent is active (Burda et al., 2015, section 5.2)."""
NEIGHBORS = 10


class Posteriors(NamedTuple):
    """The posteriors of many images."""

    means: Float[Array, "n d"]
    kls: Float[Array, "n d"]
    """KL of each latent's marginal posterior, nats; with full covariance they do not sum to the rate."""


def posteriors(params: Any, images: UInt8[Array, "n h w c"], key: Array, config: vae.Config) -> Posteriors:
    """Posterior means and KLs of a whole split."""

    def of_batch(split: tuple[Array, Array]) -> Posteriors:
        numbers = vae.posterior_params(params, vae.pixels(*split, config), config)
        kls = jax.vmap(lambda n: distributions.marginal_kls(config.posterior, n))(numbers)
        return Posteriors(numbers[:, : config.latent_size], kls)

    return batching.map_batches(of_batch, (images, batching.keys(key, len(images))))


def active_units(means: Float[Array, "n d"]) -> int:
    """Latents whose posterior mean varies over images by more than `ACTIVE`."""
    return int((jnp.var(means, axis=0) > ACTIVE).sum())


def neighbor_accuracy(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Share of test codes whose class is that of most of their `NEIGHBORS` nearest training codes."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(min(NEIGHBORS, len(train))).fit(train, train_labels)
    return float(classifier.score(test, test_labels))
