"""Pictures inside a page: the run's figures with captions, and sheets of small images."""

import base64
import html
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgen.errors import warn

CAPTIONS = {
    "loss": "The loss as training goes on. Test values that rise while training values fall mean overfitting.",
    "terms": "Distortion, the nats lost in reconstruction, and rate, the nats that the code carries. Their sum is the "
    "negative ELBO.",
    "codes": "Each test image as a point at its code, colored by class. Separate clouds mean that the code tells the "
    "classes apart, though no label was ever seen.",
    "code_plane": "What the decoder draws at each point of the code plane.",
    "chapter_codes": "What the decoder draws at the two codes that the chapter shows.",
    "manifold": "What the decoder draws over the prior's quantiles: equal areas are equally probable.",
    "kl_per_latent": "Nats that each latent carries. Bars near zero are latents that the model leaves unused.",
    "reconstructions": "Test images above what the untrained and the trained model make of them.",
    "samples": "Images drawn at random from the model.",
    "traversals": "One test image's code, each latent in turn moved through the prior.",
    "interpolations": "From one test image to another, along a straight line and along a great circle of codes.",
    "flowers": "Test images above their reconstructions.",
    "training": "Samples from the same noise as training goes on.",
    "interpolation": "Each row goes from one noise vector to another. Smooth changes mean that noise is not memorized.",
    "nearest": "Samples above the training images nearest to them by pixels. Equal pictures would be copies.",
    "losses": "Both players' losses. Neither says how good the samples are.",
    "discriminator": "Mean logit of the discriminator for real and for generated images. Far apart: it wins.",
    "returns": "Return of an episode as training goes on; 500 is the most that CartPole gives.",
    "values": "Action values over angle and angular velocity of the pole. On the black line both actions are equal.",
    "scores": "Length of each episode of training.",
    "history": "The objective of each trial in their order, and the best so far.",
    "importance": "The part of the objective's variance that each setting explains (fANOVA).",
    "parallel_coordinate": "Each trial as a line through its settings.",
    "slices": "The objective against each setting.",
    "intermediate_values": "The objective of each trial as training goes on.",
    "pole": "An episode of the trained policy, in real time.",
}
BEGINNINGS = {
    "along_": "The last objective of each member against this setting, and the mean at each of its values.",
    "curves_": "The objective as training goes on, colored by this setting.",
    "heat_": "The objective at each pair of values, averaged over everything else.",
}
"""Captions of figures that are named by the settings of a sweep."""
COLORS = 64
"""Colors of a figure without losses: axes, lines and gray images need no more."""
LARGE = 20_000
"""Bytes above which a figure is also tried with losses."""
MIME = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp"}


class Figure(NamedTuple):
    """A figure as part of a page."""

    name: str
    caption: str
    uri: str
    width: int
    height: int
    moves: bool = False


def figures(folder: Path) -> list[Figure]:
    """The figures in a folder, those that move first; damaged ones are left out."""
    paths = sorted(folder.glob("*.gif")) + sorted(folder.glob("*.png")) if folder.is_dir() else []
    found = []
    for path in paths:
        try:
            found.append(_figure(path))
        except (OSError, SyntaxError, ValueError) as error:  # Pillow's errors for a damaged file
            warn(f"{path} is damaged and left out of the page ({error})")
    return found


def _figure(path: Path) -> Figure:
    from PIL import Image

    data, kind, moves = path.read_bytes(), path.suffix, path.suffix == ".gif"
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        if kind == ".png":
            plain = image.convert("RGB")
            smaller = _webp(plain.quantize(COLORS, dither=Image.Dither.NONE).convert("RGB"), lossless=True)
            if min(len(data), len(smaller)) > LARGE:
                smaller = min(smaller, _webp(plain, lossless=False), key=len)
        else:
            smaller = _moving(image)
        if len(smaller) < len(data):
            data, kind = smaller, ".webp"
    return Figure(path.stem, caption(path.stem), uri(data, MIME[kind]), width, height, moves)


def caption(name: str) -> str:
    """A sentence on the figure of this name."""
    title = name.replace("_", " ").capitalize()
    said = next((f"{title}. {text}" for start, text in BEGINNINGS.items() if name.startswith(start)), f"{title}.")
    return CAPTIONS.get(name, said)


def _webp(image: Any, lossless: bool) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=lossless, quality=75 if lossless else 65, method=5 if lossless else 4)
    return file.getvalue()


def _moving(image: Any) -> bytes:
    """An animation's frames and their durations."""
    from PIL import ImageSequence

    frames, times = [], []
    for frame in ImageSequence.Iterator(image):
        frames.append(frame.convert("RGB"))
        times.append(frame.info.get("duration", 100))
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=times, loop=0, quality=80, method=3)
    return file.getvalue()


def uri(data: bytes, kind: str) -> str:
    """Bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def atlas(images: np.ndarray, columns: int = 20) -> dict[str, Any]:
    """Images (N, H, W, C) of bytes as one sheet without gaps, and where they are in it."""
    from PIL import Image

    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.zeros((rows * columns, height, width, channels), np.uint8)
    sheet[:count] = images
    sheet = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    if channels == 1:
        data = _webp(Image.fromarray(sheet[..., 0]).convert("RGB"), lossless=True)
    else:
        data = _webp(Image.fromarray(sheet), lossless=False)
    return {"uri": uri(data, MIME[".webp"]), "count": count, "columns": columns, "width": width, "height": height}


def html_of(figures: list[Figure]) -> str:
    """Figures with their captions."""
    parts = []
    for one in figures:
        caption = html.escape(one.caption)
        image = (
            f'<img src="{one.uri}" width="{one.width}" height="{one.height}" decoding="async" '
            f'alt="{html.escape(one.name.replace("_", " "))}: {caption}">'
        )
        if one.moves:  # what moves must be possible to stop
            image = f'<details class="moving" open><summary>Animation</summary>{image}</details>'
        parts.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    return "\n".join(parts)
