"""Figures of an autoencoder: reconstructions, loss curves and the code plane."""

from functools import partial

import jax
import numpy as np

from jaxgen.algorithms import autoencoder
from jaxgen.report import figures, models
from jaxgen.runs.snapshot import Snapshot

SHOWN = 10
GRID = 20
CHAPTER_CODES = ((10.0, 10.0), (5.0, 5.0))
"""The codes whose images the chapter shows."""


def draw(snapshot: Snapshot) -> None:
    """Write reconstructions, loss curves and, for two-number codes, the code plane."""
    _draw_reconstructions(snapshot)
    figures.curves(
        snapshot.directory / "loss.png",
        snapshot.rows,
        ("train/loss_per_pixel", "test/loss_per_pixel"),
        "nats per pixel",
    )
    codes = models.apply(_codes, snapshot.config, snapshot.state.params, snapshot.dataset.test.images)
    _draw_scatter(snapshot, codes)
    if snapshot.config.code_size == 2:
        _draw_plane(snapshot, codes)


def _draw_reconstructions(snapshot: Snapshot) -> None:
    images = snapshot.dataset.test.images[:SHOWN]
    rows = {
        "before": np.asarray(autoencoder.normalize(images)),
        "untrained": _reconstructed(snapshot, snapshot.initial().params),
        "after": _reconstructed(snapshot, snapshot.state.params),
    }
    names = snapshot.dataset.names_of(snapshot.dataset.test.labels[:SHOWN])
    figures.image_rows(snapshot.directory / "reconstructions.png", rows, names)


def _codes(params: autoencoder.Params, images: jax.Array, config: autoencoder.Config) -> jax.Array:
    return autoencoder.encode(params, images, None, config)


def _reconstructed(snapshot: Snapshot, params: autoencoder.Params) -> np.ndarray:
    images, config = snapshot.dataset.test.images[:SHOWN], snapshot.config
    return models.apply(autoencoder.decode, config, params, models.apply(_codes, config, params, images))


def _draw_scatter(snapshot: Snapshot, codes: np.ndarray) -> None:
    points, axis = figures.in_the_plane(codes)
    labels = np.asarray(snapshot.dataset.test.labels)
    figures.code_scatter(snapshot.directory / "codes.png", points, labels, snapshot.dataset.class_names, axis)


def _draw_plane(snapshot: Snapshot, codes: np.ndarray) -> None:
    decode = partial(models.apply, autoencoder.decode, snapshot.config, snapshot.state.params)
    (left, bottom), (right, top) = np.percentile(codes, 1, axis=0), np.percentile(codes, 99, axis=0)
    xs, ys = np.meshgrid(np.linspace(left, right, GRID), np.linspace(top, bottom, GRID))
    points = np.stack([xs, ys], axis=-1).reshape(-1, 2).astype(np.float32)
    images = decode(points).reshape(GRID, GRID, *snapshot.config.image_shape)
    figures.plane(
        snapshot.directory / "code_plane.png", images, (left, right, bottom, top), "Decoded images over the code plane"
    )
    images = decode(np.array(CHAPTER_CODES, np.float32))
    titles = [f"({x:g}, {y:g})" for x, y in CHAPTER_CODES]
    figures.image_rows(snapshot.directory / "chapter_codes.png", {"decoded": images}, titles)
