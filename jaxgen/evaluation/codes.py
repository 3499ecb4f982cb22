"""A model's codes: active latents, information per latent, and separation of the classes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxgen import batching, distributions
from jaxgen.algorithms import vae

ACTIVE = 0.01
"""A latent is active if its posterior mean's variance over images exceeds this (Burda et al., 2015, section 5.2)."""
NEIGHBORS = 10


class Posteriors(NamedTuple):
    """The posteriors of a set of images."""

    means: Float[Array, "n d"]
    kls: Float[Array, "n d"]
    """KL of each latent's marginal posterior, nats; with full covariance they do not sum to the rate."""


def of_outputs(numbers: Float[Array, "n k"], config: vae.Config) -> Posteriors:
    """Posterior means and KLs from an encoder's outputs."""
    kls = jax.vmap(lambda n: distributions.marginal_kls(config.posterior, n))(numbers)
    return Posteriors(numbers[:, : config.latent_size], kls)


def posteriors(params: Any, images: UInt8[Array, "n h w c"], key: Array, config: vae.Config) -> Posteriors:
    """Posterior means and KLs of a whole split."""

    def of_batch(split: tuple[Array, Array]) -> Posteriors:
        return of_outputs(vae.posterior_params(params, vae.pixels(*split, config), config), config)

    return batching.map_batches(of_batch, (images, batching.keys(key, len(images))))


def active_units(means: Float[Array, "n d"]) -> int:
    """Latents whose posterior mean varies over images by more than `ACTIVE`."""
    return int((jnp.var(means, axis=0) > ACTIVE).sum())


def neighbor_accuracy(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Share of test codes whose class is the majority class of their `NEIGHBORS` nearest training codes."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(min(NEIGHBORS, len(train))).fit(train, train_labels)
    return float(classifier.score(test, test_labels))
