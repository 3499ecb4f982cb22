import jax
import numpy as np
import pytest

from jaxgen.data.dataset import Dataset, Split
from jaxgen.errors import UserError
from jaxgen.evaluation import classifier, generator


def dataset(classes=("left", "right"), version="1"):
    """Images of one bright half, left or right, in noise."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 160).astype(np.int32)
    images = rng.integers(0, 100, (160, 8, 8, 1))
    images[labels == 0, :, :4] += 120
    images[labels == 1, :, 4:] += 120
    splits = (Split(jax.device_put(images[s].astype(np.uint8)), jax.device_put(labels[s])) for s in HALVES)
    return Dataset("halves", version, *splits, classes)


HALVES = (slice(0, 100), slice(100, 160))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "jaxgen" / "classifiers"


def test_it_learns_is_cached_and_named_by_its_weights(cache, monkeypatch):
    first = classifier.load(dataset(), updates=60)
    assert first.accuracy > 0.9
    features, taken_for = first.features_and_classes(dataset().test.images)
    assert features.shape == (60, classifier.FEATURES)
    np.testing.assert_allclose((taken_for == dataset().test.labels).mean(), first.accuracy, rtol=1e-6)
    of_train, _ = first.features_and_classes(dataset().train.images)
    np.testing.assert_allclose(np.square(of_train).mean(), 1, rtol=1e-3)
    (file,) = cache.iterdir()

    def training(*args):
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(classifier, "_train", training)
        again = classifier.load(dataset(), updates=60)
        assert (again.sha256, again.accuracy) == (first.sha256, first.accuracy)
        with pytest.raises(AssertionError, match="trained again"):
            classifier.load(dataset(version="2"), updates=60)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    assert classifier.load(dataset(), updates=60).sha256 == first.sha256  # damaged: trained again, to the same


def test_the_protocol_is_a_function_of_the_seed_and_real_images_reach_the_floor():
    data = dataset()
    judge = classifier.load(data, updates=60)

    def perfect(key):
        return data.test.images[jax.random.permutation(key, 60)[:50]] / 255.0

    got = generator.evaluate(perfect, data, judge, 0)
    assert got == generator.evaluate(perfect, data, judge, 0)
    assert got["samples"]["precision"] == 1
    assert (got["samples"]["n_real"], got["samples"]["n_fake"]) == (60, 50)
    assert got["floor_train_against_test"]["n_fake"] == 50
    assert sum(got["class_histogram"]["samples"]) == 50
    assert got["classifier"] == {"test_accuracy": judge.accuracy, "weights_sha256": judge.sha256}
    assert got["alarm"] is None
    noise = generator.evaluate(lambda key: jax.random.uniform(key, (50, 8, 8, 1)), data, judge, 0)
    assert noise["samples"]["frechet_distance"] > 5 * abs(got["floor_train_against_test"]["frechet_distance"])


def test_one_class_is_refused():
    with pytest.raises(UserError, match="halves has no classes"):
        classifier.load(dataset(("all",)))
