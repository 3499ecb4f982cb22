"""scikit-learn's 1,797 handwritten digits, laid out like MNIST: real data that needs no network."""

import numpy as np

from jaxgen.data.cache import cached, content_version
from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.split import split_by_hash

RECIPE = 1  # incremented when the pixels drawn from the same digits would change


def load(size: int, test_fraction: float) -> Dataset:
    """The digits as uint8 (N, size, size, 1), with the digit's box filling about 20/28 of the side, as in MNIST."""
    stem = f"digits-{size}-{test_fraction}"
    return cached(stem, {"recipe": RECIPE}, None, lambda: _build(size, test_fraction))


def _build(size: int, test_fraction: float) -> Dataset:
    from sklearn.datasets import load_digits

    coarse, labels = load_digits(return_X_y=True)
    images = np.stack([_enlarge(digit, size) for digit in coarse.reshape(-1, 8, 8)])[..., None]
    labels = labels.astype(np.int32)
    train, test = (
        Split(images[rows], labels[rows])
        for rows in split_by_hash([str(row) for row in range(len(labels))], labels, test_fraction)
    )
    return Dataset("digits", content_version(train, test), train, test, tuple("0123456789"))


def _enlarge(digit: np.ndarray, size: int) -> np.ndarray:
    """One 8x8 digit of values 0..16, bicubically enlarged and framed in black: uint8 (size, size)."""
    from PIL import Image

    box = round(size * 20 / 28)
    before = (size - box) // 2
    large = Image.fromarray(digit.astype(np.float32)).resize((box, box), Image.Resampling.BICUBIC)
    pixels = np.clip(np.rint(np.asarray(large) * (255 / 16)), 0, 255).astype(np.uint8)
    return np.pad(pixels, (before, size - box - before))
