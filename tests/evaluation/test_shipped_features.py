"""The feature nets jaxgen ships: whole, good, used for their own data sets only, the same scores everywhere."""

import jax
import numpy as np
import pytest

from jaxgen import data as data_lib
from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.petals import CLASS_NAMES
from jaxgen.evaluation import classifier, generator, sample_quality

TEN = tuple("0123456789")
SETS = {
    "mnist": ("3.0.1", (28, 28, 1), TEN, 0.99),
    "digits": ("99ec9f24ddf5", (28, 28, 1), TEN, 0.97),
    "petals": ("1", (80, 80, 3), CLASS_NAMES, 0.97),
}


def empty(name, version, shape, classes):
    """A data set of one black image a split."""
    split = Split(np.zeros((1, *shape), np.uint8), np.zeros(1, np.int32))
    return Dataset(name, version, split, split, classes)


@pytest.mark.parametrize("name", SETS)
def test_each_is_whole_and_good_and_for_its_own_data_only(name):
    version, shape, classes, accuracy = SETS[name]
    net = classifier.load(empty(name, version, shape, classes))
    assert (net.origin, net.path.name) == ("shipped", f"{name}.safetensors")
    assert net.accuracy >= accuracy
    assert net.path.stat().st_size < 700_000
    for other in (
        (f"{name}s", version, shape, classes),
        (name, f"{version} all", shape, classes),
        (name, version, (32, 32, shape[2]), classes),
        (name, version, shape, classes[::-1]),
    ):
        assert classifier.shipped(empty(*other)) is None


def test_digits_are_classified_as_its_file_says():
    dataset = data_lib.load(data_lib.DataSettings(source="digits"))
    net = classifier.load(dataset)
    features, taken_for = net.features_and_classes(dataset.test.images)
    assert (taken_for == np.asarray(dataset.test.labels)).mean() == pytest.approx(net.accuracy, abs=1 / 359)
    floats, _ = net.features_and_classes(dataset.test.images.astype(np.float32) / 255)
    np.testing.assert_allclose(floats, features, atol=1e-5 * np.abs(features).max())


def waves(count, shape, seed, tilt):
    """Images of a colored wave each, of directions up to `tilt`: uint8 (N, H, W, C)."""
    rng = np.random.RandomState(seed)  # its numbers never change
    y, x = np.mgrid[: shape[0], : shape[1]] / shape[0]
    angle, length, phase = (rng.uniform(a, b, (count, 1, 1, 1)) for a, b in ((0, tilt), (0.15, 0.8), (0, 1)))
    color = rng.uniform(0, 1, (count, 1, 1, shape[2]))
    along = (x[None, ..., None] * np.cos(angle) + y[None, ..., None] * np.sin(angle)) / length + phase
    return np.rint(127.5 * (1 + np.sin(2 * np.pi * along) * color)).astype(np.uint8)


KNOWN = {
    "mnist": [4.276986, 0.1188501, 0.0588006, 0.95, 0.876667, 0.987, 0.916667, 300, 200],
    "digits": [4.215287, 0.1316677, 0.1168365, 0.93, 0.9, 0.96, 0.9, 300, 200],
    "petals": [2.671173, 0.1671654, 0.0927435, 0.925, 0.936667, 0.964, 0.906667, 300, 200],
}


def scores(name):
    """Scores of 300 waves against 200 of fewer directions, by one net."""
    version, shape, classes, _ = SETS[name]
    net = classifier.load(empty(name, version, shape, classes))
    real, fake = (
        net.features_and_classes(waves(n, shape, s, tilt))[0] for n, s, tilt in ((300, 0, 2.0), (200, 1, 1.5))
    )
    return sample_quality.quality(real, fake)


@pytest.mark.parametrize("name", SETS)
def test_scores_are_those_of_every_machine(name):
    """To a thousandth of each distance and of each share (of 1): these numbers change only with the nets."""
    got = scores(name)
    np.testing.assert_allclose(got[:3], KNOWN[name][:3], rtol=1e-3)
    np.testing.assert_allclose(got[3:], KNOWN[name][3:], atol=1e-3)


def test_the_protocol_names_the_net_it_used():
    dataset = data_lib.load(data_lib.DataSettings(source="digits"))
    net = classifier.load(dataset)
    got = generator.evaluate(lambda key: jax.random.uniform(key, (40, 28, 28, 1)), dataset, net, 0)["classifier"]
    assert got == {
        "origin": "shipped",
        "trained_on": {"name": "digits", "version": "99ec9f24ddf5", "updates": 1500},
        "test_accuracy": net.accuracy,
        "sha256": net.sha256,
    }
