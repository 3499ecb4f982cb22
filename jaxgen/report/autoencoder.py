"""The figures of an autoencoder: what it does to images, and what lies in its code plane."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.algorithms import autoencoder
from jaxgen.report import figures
from jaxgen.runs.snapshot import Drawing

SHOWN = 10
GRID = 20
CHAPTER_CODES = ((10.0, 10.0), (5.0, 5.0))
"""The codes whose images the chapter shows."""


def draw(drawing: Drawing) -> None:
    """Writes reconstructions, loss curves and, for two-number codes, the code plane."""
    _draw_reconstructions(drawing)
    figures.curves(
        drawing.directory / "loss.png", drawing.rows, ("train/loss_per_pixel", "test/loss_per_pixel"), "nats per pixel"
    )
    codes = np.asarray(_encode_all(drawing))
    _draw_scatter(drawing, codes)
    if drawing.config.code_size == 2:
        _draw_plane(drawing, codes)


def _draw_reconstructions(drawing: Drawing) -> None:
    images = drawing.dataset.test.images[:SHOWN]
    reconstruct = jax.jit(partial(autoencoder.reconstruct, config=drawing.config))
    rows = {
        "before": np.asarray(autoencoder.normalize(images)),
        "untrained": np.asarray(reconstruct(drawing.initial().params, images)),
        "after": np.asarray(reconstruct(drawing.state.params, images)),
    }
    names = [drawing.dataset.class_names[int(label)] for label in drawing.dataset.test.labels[:SHOWN]]
    figures.image_rows(drawing.directory / "reconstructions.png", rows, names)


def _encode_all(drawing: Drawing) -> jax.Array:
    encode = jax.jit(partial(autoencoder.encode_all, config=drawing.config))
    return encode(drawing.state.params, drawing.dataset.test.images)


def _draw_scatter(drawing: Drawing, codes: np.ndarray) -> None:
    points, axis = figures.in_the_plane(codes)
    labels = np.asarray(drawing.dataset.test.labels)
    figures.code_scatter(drawing.directory / "codes.png", points, labels, drawing.dataset.class_names, axis)


def _draw_plane(drawing: Drawing, codes: np.ndarray) -> None:
    decode = jax.jit(partial(autoencoder.decode, config=drawing.config))
    (left, bottom), (right, top) = np.percentile(codes, 1, axis=0), np.percentile(codes, 99, axis=0)
    xs, ys = np.meshgrid(np.linspace(left, right, GRID), np.linspace(top, bottom, GRID))
    points = jnp.asarray(np.stack([xs, ys], axis=-1).reshape(-1, 2), jnp.float32)
    images = np.asarray(decode(drawing.state.params, points)).reshape(GRID, GRID, *drawing.config.image_shape)
    figures.plane(
        drawing.directory / "code_plane.png", images, (left, right, bottom, top), "Decoded images over the code plane"
    )
    images = np.asarray(decode(drawing.state.params, jnp.asarray(CHAPTER_CODES)))
    titles = [f"({x:g}, {y:g})" for x, y in CHAPTER_CODES]
    figures.image_rows(drawing.directory / "chapter_codes.png", {"decoded": images}, titles)
