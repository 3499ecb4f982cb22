from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets.ops import diffaugment

KEYS = jax.random.split(jax.random.key(0), 6)
IMAGES = jax.random.normal(jax.random.key(1), (6, 16, 24, 3))
each = pytest.mark.parametrize("policy", diffaugment.CHANGES)


@each
def test_images_change_each_by_its_own_key_and_gradients_pass(policy):
    change = jax.jit(partial(diffaugment.augment, policy=(policy,)))
    got = change(IMAGES, KEYS)
    assert np.all(np.any(np.asarray(got != IMAGES).reshape(6, -1), axis=1))
    np.testing.assert_allclose(change(IMAGES[2:4], KEYS[2:4]), got[2:4], rtol=1e-5, atol=1e-5)
    gradient = jax.grad(lambda x: (change(x, KEYS)[3] ** 2).sum())(IMAGES)
    assert np.any(gradient[3] != 0)
    assert not np.any(np.delete(np.asarray(gradient), 3, axis=0))


def test_translation_moves_whole_images_by_at_most_an_eighth():
    got = np.asarray(diffaugment.translation(IMAGES, KEYS))
    found = set()
    for before, after in zip(np.asarray(IMAGES), got, strict=True):
        moves = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-3, 4)
            if np.array_equal(shifted(before, down, right), after)
        ]
        assert len(moves) == 1
        found.add(moves[0])
    assert len(found) > 2


def shifted(image, down, right):
    out = np.zeros_like(image)
    height, width = image.shape[:2]
    rows, columns = np.arange(height) - down, np.arange(width) - right
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    out[inside] = image[np.ix_(rows % height, columns % width)][inside]
    return out


def test_translation_reaches_every_offset():
    draws = jnp.linspace(-0.4999, 0.4999, 1001)
    offsets = np.asarray(diffaugment._whole(draws, diffaugment.SHIFT * 28))
    assert set(offsets) == {-4, -3, -2, -1, 0, 1, 2, 3, 4}
    assert np.abs(np.bincount((offsets + 4).astype(int)) - 1001 / 9).max() < 2


def test_cutout_removes_a_rectangle_of_half_the_sides():
    holes = np.asarray(diffaugment.cutout(jnp.ones((6, 16, 24, 3)), KEYS)) == 0
    for hole in holes:
        rows, columns = np.where(hole[..., 0].any(1))[0], np.where(hole[..., 0].any(0))[0]
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 4 <= len(rows) <= 8  # at the edge half of it lies outside
        assert 6 <= len(columns) <= 12


def test_color_is_affine_in_each_image():
    """Brightness moves the mean; saturation 1 + 2s and contrast 1 + c scale what is about gray and about the mean."""
    got, before = np.asarray(diffaugment.color(IMAGES, KEYS), np.float64), np.asarray(IMAGES, np.float64)
    assert np.all(np.abs(got.mean((1, 2, 3)) - before.mean((1, 2, 3))) <= 0.5)
    for new, old in zip(got, before, strict=True):
        chroma = [(x - x.mean(2, keepdims=True)).ravel() for x in (new, old)]
        ratio = chroma[0] @ chroma[1] / (chroma[1] @ chroma[1])
        np.testing.assert_allclose(chroma[0], ratio * chroma[1], atol=1e-5)
        assert 0 <= ratio <= 3


def test_a_policy_is_its_changes_in_order_and_an_empty_one_nothing():
    assert diffaugment.augment(IMAGES, KEYS, ()) is IMAGES
    got = diffaugment.augment(IMAGES, KEYS, ("translation", "cutout"))
    first = diffaugment.augment(IMAGES, KEYS, ("translation",))
    assert np.all((np.asarray(got) == np.asarray(first)) | (np.asarray(got) == 0))
