"""scikit-learn's digits laid out like MNIST."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgen.data import digits


def test_layout_is_mnists() -> None:
    dataset = digits.load(28, 0.2)
    images = np.concatenate([dataset.train.images, dataset.test.images])
    assert images.shape == (1797, 28, 28, 1)
    frame = images.copy()
    frame[:, 4:24, 4:24] = 0
    assert frame.max() == 0  # the digit lies in the center box
    assert images.max() == 255
    assert len(np.unique(images)) > 200  # bytes, not 17 gray levels
    assert dataset.class_names == tuple("0123456789")


def test_images_are_the_digits_enlarged() -> None:
    """Averaged back to 8x8, every image correlates with a digit of its own label as the original does."""
    from sklearn.datasets import load_digits

    originals, labels = load_digits(return_X_y=True)
    split = digits.load(28, 0.2).test
    boxes = split.images[:50, 4:24, 4:24, 0].astype(float)
    coarse = np.repeat(np.repeat(boxes, 2, 1), 2, 2).reshape(-1, 8, 5, 8, 5).mean((2, 4)).reshape(-1, 64)
    standard = [(x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) for x in (coarse, originals)]
    correlation = standard[0] @ standard[1].T / 64
    assert correlation.max(1).min() > 0.98
    assert np.array_equal(labels[correlation.argmax(1)], split.labels[:50])


def test_split_is_stratified() -> None:
    dataset = digits.load(28, 0.25)
    every = np.bincount(dataset.train.labels) + np.bincount(dataset.test.labels)
    assert np.all(np.abs(np.bincount(dataset.test.labels) - 0.25 * every) <= 0.5)


@pytest.mark.parametrize(("size", "frame"), [(14, 2), (32, 4), (56, 8)])
def test_other_sizes_keep_the_proportions(size: int, frame: int) -> None:
    images = digits.load(size, 0.2).test.images
    assert images.shape[1:] == (size, size, 1)
    inner = images[:, frame:-frame, frame:-frame]
    assert images.sum(dtype=np.int64) == inner.sum(dtype=np.int64)
    assert inner[:, 0].max() > 0 or inner[:, -1].max() > 0


def test_second_start_needs_no_scikit_learn(user_cache: Path) -> None:
    program = (
        "import sys; from jaxgen.data import digits; d = digits.load(28, 0.2); "
        "print(d.version, 'sklearn' in sys.modules, 'jax' in sys.modules)"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(2)]
    assert [run.stderr for run in runs] == ["", ""]
    version, *imported = runs[0].stdout.split()
    assert imported == ["True", "False"]
    assert runs[1].stdout.split() == [version, "False", "False"]
    assert len(list(user_cache.iterdir())) == 2
