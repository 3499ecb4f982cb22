"""Every kind of image becomes bytes with the colors a person would see."""

import numpy as np
import pytest
from PIL import Image

from jaxgen.data.decode import to_bytes


def pixel(image: Image.Image, channels: int = 3) -> list[int]:
    return to_bytes(image, channels)[0, 0].tolist()


@pytest.mark.parametrize(
    ("mode", "color", "seen"),
    [
        ("L", 77, [77] * 3),
        ("1", 1, [255] * 3),
        ("RGB", (1, 2, 3), [1, 2, 3]),
        ("RGBA", (9, 9, 9, 0), [255] * 3),
        ("RGBA", (255, 0, 0, 255), [255, 0, 0]),
        ("RGBA", (0, 0, 0, 51), [204] * 3),
        ("LA", (10, 0), [255] * 3),
        ("LA", (10, 255), [10] * 3),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("I;16", 65535, [255] * 3),
        ("I;16", 257 * 100, [100] * 3),
        ("I", 257 * 100 + 128, [100] * 3),
        ("I", 257 * 100 + 129, [101] * 3),
    ],
)
def test_modes(mode: str, color: int | tuple[int, ...], seen: list[int]) -> None:
    assert pixel(Image.new(mode, (2, 2), color)) == seen


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert pixel(image) == [10, 20, 30]
    image.info["transparency"] = 1
    assert pixel(image) == [255, 255, 255]


def test_gray_result_and_shape() -> None:
    image = Image.new("RGB", (5, 4), (50, 50, 50))
    assert to_bytes(image, 1).shape == (4, 5, 1)
    assert pixel(image, 1) == [50]
    assert to_bytes(image, 3, 8).shape == (8, 8, 3)


@pytest.mark.parametrize(("mode", "color"), [("F", 0.5), ("I", 70000), ("I", -1)])
def test_pixels_without_a_range_of_bytes_are_refused(mode: str, color: float) -> None:
    with pytest.raises(ValueError, match="neither 8 nor 16 bits"):
        to_bytes(Image.new(mode, (2, 2), color), 3)


def test_squashing_is_antialiased() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255  # a plain subsampling would give all black or all white
    small = to_bytes(Image.fromarray(stripes), 1, 8)
    assert np.all(np.abs(small.astype(int) - 127) <= 20)


def test_squashing_ignores_the_aspect_ratio() -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 20:] = 255
    small = to_bytes(Image.fromarray(wide), 3, 10)
    assert small[:, :4].max() == 0
    assert small[:, 6:].min() == 255
