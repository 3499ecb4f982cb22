"""The fixed protocol for scoring a generator's samples against a data set's test split."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.data.dataset import Dataset
from jaxgen.evaluation import sample_quality
from jaxgen.evaluation.classifier import Classifier

Sampler = Callable[[Array], Float[Array, "n h w c"]]


def evaluate(sample: Sampler, dataset: Dataset, classifier: Classifier, seed: int) -> dict[str, Any]:
    """Scores of the images `sample(key)` draws against the whole test split, and a floor for comparison."""
    return next(evaluations([sample], dataset, classifier, seed))


def evaluations(
    samplers: Iterable[Sampler], dataset: Dataset, classifier: Classifier, seed: int
) -> Iterator[dict[str, Any]]:
    """Scores of several generators that draw equally many images, with what the data contribute computed once.

    The floor is the score of as many training images (drawn without replacement, or all of them) as there are samples:
    real images that a perfect generator could have drawn. Everything is a function of the seed.
    """
    sample_key, floor_key = jax.random.split(jax.random.key(seed))
    train, names = dataset.train.images, dataset.class_names
    of_test, taken_test = classifier.features_and_classes(dataset.test.images)
    in_test = sample_quality.histogram(taken_test, len(classifier.class_names))
    floor = None
    for sample in samplers:
        of_fake, taken_fake = classifier.features_and_classes(sample(sample_key))
        if floor is None:
            chosen = jax.random.permutation(floor_key, len(train))[: len(of_fake)]
            of_train, _ = classifier.features_and_classes(jnp.take(train, chosen, axis=0))
            floor = sample_quality.quality(of_test, of_train)._asdict()
        scores = sample_quality.quality(of_test, of_fake)
        in_fake = sample_quality.histogram(taken_fake, len(classifier.class_names))
        yield {
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
            "floor_train_against_test": floor,
            "class_histogram": {"class_names": list(names), "test": in_test, "samples": in_fake},
            "alarm": sample_quality.collapse_alarm(scores, in_test, in_fake, names),
        }
