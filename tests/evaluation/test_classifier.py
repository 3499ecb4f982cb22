import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxgen.data.dataset import Dataset, Split
from jaxgen.errors import UserError
from jaxgen.evaluation import classifier, generator
from jaxgen.nets.classifier import FEATURES
from jaxgen.nets.classifier import Classifier as Net


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
    assert (first.origin, first.path.parent) == ("trained", cache)
    features, taken_for = first.features_and_classes(dataset().test.images)
    assert features.shape == (60, FEATURES)
    np.testing.assert_allclose((taken_for == dataset().test.labels).mean(), first.accuracy, rtol=1e-6)
    of_train, _ = first.features_and_classes(dataset().train.images)
    np.testing.assert_allclose(np.square(of_train).mean(), 1, rtol=1e-3)
    (file,) = cache.iterdir()

    def training(*args):
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(classifier, "train", training)
        again = classifier.load(dataset(), updates=60)
        assert again._replace(params=None) == first._replace(params=None)
        np.testing.assert_array_equal(again.features_and_classes(dataset().test.images)[0], features)
        with pytest.raises(AssertionError, match="trained again"):
            classifier.load(dataset(version="2"), updates=60)
    content = bytearray(file.read_bytes())
    content[-1000] ^= 0xFF
    file.write_bytes(content)
    assert classifier.load(dataset(), updates=60).sha256 == first.sha256  # damaged: trained again, to the same


def test_a_file_judges_on_another_machine_and_others_are_refused_in_a_line(tmp_path):
    path = tmp_path / "halves.safetensors"
    made = classifier.train(dataset(), 3)
    classifier.write(path, made)
    got = classifier.load(dataset(version="theirs"), path)
    assert (got.sha256, got.origin, got.path, got.version) == (made.sha256, "given", path, "1")

    def refusal(data, path):
        with pytest.raises(UserError) as caught:
            classifier.load(data, path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "knows the classes left, right; halves has up, down" in refusal(dataset(("up", "down")), path)
    larger = dataset()
    splits = (
        Split(np.pad(s.images, ((0, 0), (0, 1), (0, 1), (0, 0))), np.asarray(s.labels))
        for s in (larger.train, larger.test)
    )
    assert "judges images of (8, 8, 1), halves has (9, 9, 1)" in refusal(
        Dataset("halves", "1", *splits, larger.class_names), path
    )
    whole = path.read_bytes()
    for content, said in (
        (whole[:-1000] + b"x" + whole[-999:], "is damaged"),
        (whole.replace(b'"updates":"3"', b'"updates":"4"'), "is damaged"),
        (whole[:-1], "cannot be read"),
        (b"no safetensors", "cannot be read"),
        (b"", "cannot be read"),
        (safetensors.numpy.save({"w": np.zeros(3)}), "is not a feature net"),
        (safetensors.numpy.save({"w": np.zeros(3)}, {"jaxgen_features": "1"}), "has format 1, this jaxgen reads 2"),
    ):
        path.write_bytes(content)
        assert said in refusal(dataset(), path)
    assert "there is no such file" in refusal(dataset(), tmp_path / "other")
    assert "cannot be read" in refusal(dataset(), tmp_path)


def test_unlabeled_test_images_give_no_accuracy():
    data = dataset()
    test = Split(data.test.images, np.full(60, -1, np.int32))
    assert classifier.train(Dataset("halves", "1", data.train, test, data.class_names), 3).accuracy is None


def test_features_do_not_depend_on_the_formulation_of_the_convolutions():
    for shape in ((28, 28, 1), (80, 80, 3)):
        images = jax.random.uniform(jax.random.key(0), (3, *shape))
        params = jax.jit(Net(10, plain=True).init)(jax.random.key(1), images)
        ours, plain = (jax.jit(Net(10, plain=plain).apply)(params, images)[0] for plain in (False, True))
        np.testing.assert_allclose(ours, plain, atol=1e-4 * float(abs(plain).max()))


def test_the_protocol_is_a_function_of_the_seed_and_real_images_reach_the_floor():
    data = dataset()
    judge = classifier.load(data, updates=60)

    def perfect(key):
        return data.test.images[jax.random.permutation(key, 60)[:50]].astype(jnp.float32) / 255

    got = generator.evaluate(perfect, data, judge, 0)
    assert got == generator.evaluate(perfect, data, judge, 0)
    assert got["samples"]["precision"] == 1
    assert (got["samples"]["n_real"], got["samples"]["n_fake"]) == (60, 50)
    assert got["floor_train_against_test"]["n_fake"] == 50
    assert sum(got["class_histogram"]["samples"]) == 50
    assert got["classifier"] == {
        "origin": "trained",
        "trained_on": {"name": "halves", "version": "1", "updates": 60},
        "test_accuracy": judge.accuracy,
        "sha256": judge.sha256,
    }
    assert got["alarm"] is None
    noise = generator.evaluate(lambda key: jax.random.uniform(key, (50, 8, 8, 1)), data, judge, 0)
    assert noise["samples"]["frechet_distance"] > 5 * abs(got["floor_train_against_test"]["frechet_distance"])


def test_one_class_is_refused():
    with pytest.raises(UserError, match="halves has no classes"):
        classifier.load(dataset(("all",)))
