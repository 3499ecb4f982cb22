"""Figures of a GAN: samples from fixed noise as it trains, and a check for memorized training images."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxgen.algorithms import gan
from jaxgen.engine import executables
from jaxgen.evaluation.neighbors import nearest
from jaxgen.report import figures, models
from jaxgen.runs.metrics import running_means
from jaxgen.runs.snapshot import Snapshot

COLUMNS = 10
PATHS = 6
"""Rows of the interpolation."""
STEPS = 10
"""Images per row."""
POOL = 60_000
"""Training images searched for copies."""
COMPARED = 8
"""Samples whose nearest training images are shown."""
LOSSES = ("train/generator_loss", "train/discriminator_loss")
OUTPUTS = ("train/real_logit", "train/fake_logit")


def draw(snapshot: Snapshot) -> None:
    """Write the sheet of samples from fixed noise; at the end of a run, all other figures too."""
    size = snapshot.config.image_shape[0]
    noise, labels = executables.call(_noise, snapshot.config, snapshot.key)
    scale = 2 if size < 60 else 1
    figures.image_sheet(snapshot.directory / "samples.png", _images(snapshot, noise, labels), COLUMNS, scale)
    if snapshot.directory.name != "figures":
        return
    frames = [*sorted(snapshot.directory.glob("epoch-*/samples.png")), snapshot.directory / "samples.png"]
    figures.animation(snapshot.directory / "training.gif", frames)
    _draw_interpolation(snapshot, noise, labels)
    _draw_nearest(snapshot, noise, labels)
    figures.curves(snapshot.directory / "losses.png", snapshot.rows, LOSSES, "nats per image")
    figures.curves(snapshot.directory / "discriminator.png", snapshot.rows, OUTPUTS, "mean logit of the discriminator")


def _noise(key: Array, config: gan.Config) -> tuple[Array, Array]:
    """Noise and labels for the sheet of samples."""
    return gan.noise_and_labels(key, COLUMNS**2 if config.image_shape[0] < 60 else 50, config)


def _images(snapshot: Snapshot, noise: Array, labels: Array) -> np.ndarray:
    config = snapshot.config
    return models.apply(gan.images_of, config, gan.weights(snapshot.state, config), noise, labels)


def between(start: Array, end: Array, shares: Array) -> Array:
    """Points (S, K) on the great circle between two noise vectors: straight lines leave the shell that noise fills.

    White, Sampling generative networks, 2016.
    """
    cosine = jnp.dot(start, end) / (jnp.linalg.norm(start) * jnp.linalg.norm(end))
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    weights = jnp.stack([jnp.sin((1 - shares) * angle), jnp.sin(shares * angle)], axis=1) / jnp.sin(angle)
    return weights @ jnp.stack([start, end])


def _draw_interpolation(snapshot: Snapshot, noise: Array, labels: Array) -> None:
    shares = jnp.linspace(0, 1, STEPS)
    points = jnp.concatenate([between(noise[2 * i], noise[2 * i + 1], shares) for i in range(PATHS)])
    images = _images(snapshot, points, jnp.repeat(labels[:PATHS], STEPS))
    scale = 2 if snapshot.config.image_shape[0] < 60 else 1
    figures.image_sheet(snapshot.directory / "interpolation.png", images, STEPS, scale)


def _draw_nearest(snapshot: Snapshot, noise: Array, labels: Array) -> None:
    """Samples above their nearest training images (of the first `POOL`) by pixels, which would reveal copies."""
    samples = _images(snapshot, noise[:COMPARED], labels[:COMPARED])
    train = jnp.asarray(snapshot.dataset.train.images[:POOL])
    distances, indices = jax.jit(partial(nearest, count=3))(jnp.asarray(samples), train)
    rows: dict[str, Any] = {"sample": samples}
    for rank, name in enumerate(("nearest in training", "second", "third")):
        rows[name] = np.asarray(train[indices[:, rank]], np.float32) / 255
    titles = [f"RMS {distance:.2f}" for distance in np.asarray(distances)[:, 0]]
    figures.image_rows(snapshot.directory / "nearest.png", rows, titles)


def summarize(snapshot: Snapshot, result: dict[str, Any]) -> dict[str, Any]:
    """Both losses' means over all steps since the start, after each epoch (the chapter's figures)."""
    if snapshot.many is not None:
        return {}
    generator, discriminator = (running_means(snapshot.rows, name) for name in LOSSES)
    table = []
    for epoch in range(1, max(generator) // snapshot.steps_per_epoch + 1):
        step = max((s for s in generator if s <= epoch * snapshot.steps_per_epoch), default=None)
        if step is None:  # nothing was logged so early
            continue
        table.append({"epoch": epoch, "step": step, "generator": generator[step], "discriminator": discriminator[step]})
    return {"running_losses": table}


def describe(result: dict[str, Any]) -> str:
    """The losses' means since the start, after every fifth epoch, as human-readable lines."""
    table = result.get("running_losses", [])
    shown = [row for row in table if row["epoch"] % 5 == 0] or table[-1:]
    lines = [f"  epoch {row['epoch']:3}: {row['generator']:.4f} / {row['discriminator']:.4f}" for row in shown]
    return "\n".join(["mean losses since the start, generator / discriminator:", *lines]) if lines else ""
