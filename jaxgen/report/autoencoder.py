"""Figures of an autoencoder: reconstructions, loss curves and the code plane."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import batching
from jaxgen.algorithms import autoencoder
from jaxgen.report import figures
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
    codes = np.asarray(_encode_all(snapshot))
    _draw_scatter(snapshot, codes)
    if snapshot.config.code_size == 2:
        _draw_plane(snapshot, codes)


def _draw_reconstructions(snapshot: Snapshot) -> None:
    images = snapshot.dataset.test.images[:SHOWN]
    reconstruct = jax.jit(partial(autoencoder.reconstruct, config=snapshot.config))
    rows = {
        "before": np.asarray(autoencoder.normalize(images)),
        "untrained": np.asarray(reconstruct(snapshot.initial().params, images, snapshot.key)),
        "after": np.asarray(reconstruct(snapshot.state.params, images, snapshot.key)),
    }
    names = snapshot.dataset.names_of(snapshot.dataset.test.labels[:SHOWN])
    figures.image_rows(snapshot.directory / "reconstructions.png", rows, names)


def _encode_all(snapshot: Snapshot) -> jax.Array:
    @jax.jit
    def encode(params: Any, images: jax.Array) -> jax.Array:
        return batching.map_batches(lambda x: autoencoder.encode(params, x, None, snapshot.config), images)

    return encode(snapshot.state.params, snapshot.dataset.test.images)


def _draw_scatter(snapshot: Snapshot, codes: np.ndarray) -> None:
    points, axis = figures.in_the_plane(codes)
    labels = np.asarray(snapshot.dataset.test.labels)
    figures.code_scatter(snapshot.directory / "codes.png", points, labels, snapshot.dataset.class_names, axis)


def _draw_plane(snapshot: Snapshot, codes: np.ndarray) -> None:
    decode = jax.jit(partial(autoencoder.decode, config=snapshot.config))
    (left, bottom), (right, top) = np.percentile(codes, 1, axis=0), np.percentile(codes, 99, axis=0)
    xs, ys = np.meshgrid(np.linspace(left, right, GRID), np.linspace(top, bottom, GRID))
    points = jnp.asarray(np.stack([xs, ys], axis=-1).reshape(-1, 2), jnp.float32)
    images = np.asarray(decode(snapshot.state.params, points)).reshape(GRID, GRID, *snapshot.config.image_shape)
    figures.plane(
        snapshot.directory / "code_plane.png", images, (left, right, bottom, top), "Decoded images over the code plane"
    )
    images = np.asarray(decode(snapshot.state.params, jnp.asarray(CHAPTER_CODES)))
    titles = [f"({x:g}, {y:g})" for x, y in CHAPTER_CODES]
    figures.image_rows(snapshot.directory / "chapter_codes.png", {"decoded": images}, titles)
