"""Conversion of images of any kind to bytes: the pixel arithmetic that folders and TFDS sets share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def to_bytes(image: Image.Image, channels: int, size: int | None = None) -> np.ndarray:
    """uint8 (H, W, channels) of an image of any mode: one frame, on white where it is transparent.

    channels: 1 for gray, 3 for RGB. size: height and width to squash it to, antialiased; None keeps its size.
    Raises whatever Pillow does for damaged images, ValueError for pixels without a byte range.
    """
    from PIL import Image

    image.load()
    image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, channels)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Gray images of 16 bits as 8 bits; Pillow's own conversion would clip them."""
    from PIL import Image

    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"pixels of {image.mode} mode, neither 8 nor 16 bits")
    return Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))
