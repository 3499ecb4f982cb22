"""The fixed protocol for scoring a generator's samples against a data set's test split."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.data.dataset import Dataset
from jaxgen.evaluation import sample_quality
from jaxgen.evaluation.classifier import Classifier

Sampler = Callable[[Array], Float[Array, "n h w c"]]


def evaluate(sample: Sampler, dataset: Dataset, classifier: Classifier, seed: int) -> dict[str, Any]:
    """Scores of the images `sample(key)` draws against the whole test split, and a floor for comparison.

    The floor is the score of as many training images (drawn without replacement, or all of them) as there are samples:
    real images that a perfect generator could have drawn. Everything is a function of the seed.
    """
    sample_key, floor_key = jax.random.split(jax.random.key(seed))
    of_test, taken_test = classifier.features_and_classes(dataset.test.images)
    of_fake, taken_fake = classifier.features_and_classes(sample(sample_key))
    count = min(of_fake.shape[0], dataset.train.images.shape[0])
    chosen = jax.random.permutation(floor_key, dataset.train.images.shape[0])[:count]
    of_train, _ = classifier.features_and_classes(jnp.take(dataset.train.images, chosen, axis=0))
    scores = sample_quality.quality(of_test, of_fake)
    in_test, in_fake = (
        sample_quality.histogram(taken, len(classifier.class_names)) for taken in (taken_test, taken_fake)
    )
    return {
        "features": "penultimate layer of a small classifier; not Inception's",
        "classifier": {
            "origin": classifier.origin,
            "trained_on": {"name": classifier.name, "version": classifier.version, "updates": classifier.updates},
            "test_accuracy": classifier.accuracy,
            "sha256": classifier.sha256,
        },
        "dataset": {"name": dataset.name, "version": dataset.version},
        "seed": seed,
        "samples": scores._asdict(),
        "floor_train_against_test": sample_quality.quality(of_test, of_train)._asdict(),
        "class_histogram": {"class_names": list(dataset.class_names), "test": in_test, "samples": in_fake},
        "alarm": sample_quality.collapse_alarm(scores, in_test, in_fake, dataset.class_names),
    }
