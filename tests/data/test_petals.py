"""`petals`: the same flower for the same seed, size and place; five kinds that can be told apart; smooth edges."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from jaxgen.data import petals
from jaxgen.data.dataset import Dataset
from jaxgen.data.petals_shapes import angle, cosine
from jaxgen.errors import SettingError

SIZE = 24


@pytest.fixture(scope="module")
def flowers() -> Dataset:
    return petals.load(count=500, size=SIZE, test_fraction=0.2, seed=3)


def test_shapes_types_and_names(flowers):
    assert flowers.train.images.shape == (400, SIZE, SIZE, 3)
    assert flowers.test.images.shape == (100, SIZE, SIZE, 3)
    assert flowers.image_shape == (SIZE, SIZE, 3)
    assert flowers.train.images.dtype == np.uint8
    assert flowers.class_names == ("daisy", "dandelion", "rose", "sunflower", "tulip")
    assert (flowers.name, flowers.version) == ("petals", petals.VERSION)


def test_both_splits_are_balanced(flowers):
    assert np.bincount(flowers.train.labels).tolist() == [80] * 5
    assert np.bincount(flowers.test.labels).tolist() == [20] * 5


def test_a_flower_depends_on_seed_and_place_but_not_on_count(flowers):
    fewer = petals.load(count=33, size=SIZE, test_fraction=0.5, seed=3)
    images = np.concatenate([fewer.train.images, fewer.test.images])
    labels = np.concatenate([fewer.train.labels, fewer.test.labels])
    np.testing.assert_array_equal(images, flowers.train.images[:33])
    np.testing.assert_array_equal(labels, flowers.train.labels[:33])


def test_two_seeds_share_no_flower(flowers):
    other = petals.load(count=50, size=SIZE, test_fraction=0.2, seed=4).train.images.astype(float)
    difference = np.abs(other - flowers.train.images[: len(other)]).mean(axis=(1, 2, 3))
    assert difference.min() > 5.0


def test_no_two_flowers_are_equal_and_none_is_flat(flowers):
    images = flowers.train.images
    assert len({image.tobytes() for image in images}) == len(images)
    assert images.std(axis=(1, 2)).mean(axis=1).min() > 12.0
    assert images.min() < 20
    assert images.max() > 235


def test_an_edge_falls_smoothly_over_its_width():
    distance = np.linspace(-1.0, 1.0, 81)
    cover = np.asarray(petals.inside(distance, 0.1))
    assert cover[0] == 1.0
    assert cover[-1] == 0.0
    assert cover[40] == pytest.approx(0.5)
    assert ((cover > 0.0) & (cover < 1.0)).sum() == 3


def test_kinds_can_be_told_apart_on_held_out_flowers(flowers):
    """A linear probe on 4x4x4 color histograms of the picture and of its middle: chance is 0.2, measured 0.9."""

    def histogram(images):
        bins = (images // 64).astype(int) @ np.array([16, 4, 1])
        return np.stack([np.bincount(row, minlength=64) for row in bins.reshape(len(images), -1)])

    def features(images):
        return np.sqrt(np.hstack([histogram(images), 4 * histogram(images[:, 6:18, 6:18])])) / SIZE

    probe = RidgeClassifier().fit(features(flowers.train.images), flowers.train.labels)
    assert probe.score(features(flowers.test.images), flowers.test.labels) > 0.75


@pytest.mark.slow
def test_traced_once_a_size_and_the_same_flower_at_half_the_size(flowers, monkeypatch):
    """Were an edge aliased, the small picture would differ from the large one averaged over 2x2 pixels."""
    traces = []
    draw = petals.draw
    monkeypatch.setattr(petals, "draw", lambda key, label, size: traces.append(size) or draw(key, label, size))
    small = petals.load(count=20, size=SIZE // 2, test_fraction=0.2, seed=3).train.images
    petals.load(count=200, size=SIZE // 2, test_fraction=0.2, seed=1)
    assert traces == [SIZE // 2]

    large = flowers.train.images[: len(small)].astype(float)
    averaged = large.reshape(len(small), SIZE // 2, 2, SIZE // 2, 2, 3).mean(axis=(2, 4))
    assert np.abs(averaged - small).mean(axis=(1, 2, 3)).max() < 20.0
    assert np.abs(averaged - np.roll(small, 5, axis=0)).mean() > 40.0


@pytest.mark.slow
def test_a_flower_alone_equals_the_one_in_a_batch(flowers):
    alone = jax.jit(petals.draw, static_argnames="size")
    for i in range(5):
        image = np.asarray(alone(jax.random.fold_in(jax.random.key(3), i), i, SIZE))
        np.testing.assert_allclose(image * 255.0, flowers.train.images[i], atol=0.6)


def test_large_pictures_are_drawn_a_few_at_a_time():
    assert petals.batch_size(8) == petals.batch_size(80) == petals.BATCH
    assert petals.batch_size(256) == 3
    assert petals.batch_size(1024) == 1


def test_angle_and_cosine_follow_the_exact_functions():
    u, v = np.meshgrid(np.linspace(-2.0, 2.0, 41), np.linspace(-2.0, 2.0, 40))
    np.testing.assert_allclose(angle(u, v), np.arctan2(v, u), atol=5e-6)
    x = np.linspace(-30.0, 30.0, 1001)
    np.testing.assert_allclose(cosine(x), np.cos(x), atol=3e-4)


@pytest.mark.parametrize(
    ("field", "value"), [("count", 1), ("size", 7), ("test_fraction", 0.0), ("test_fraction", 1.0), ("seed", -1)]
)
def test_wrong_settings_are_refused_by_name(field, value):
    settings = {"count": 10, "size": SIZE, "test_fraction": 0.2, "seed": 0} | {field: value}
    with pytest.raises(SettingError, match=f"data.{field} = {value}"):
        petals.load(**settings)
