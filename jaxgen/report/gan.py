"""The figures of a GAN: what it draws from the same noise as it learns, and whether it only knows its data by heart."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxgen.algorithms import gan
from jaxgen.evaluation.neighbors import nearest
from jaxgen.report import figures
from jaxgen.runs.files import write_json
from jaxgen.runs.metrics import running_means
from jaxgen.runs.snapshot import Drawing

COLUMNS = 10
PATHS = 6
"""Rows of the interpolation."""
STEPS = 10
"""Images of each."""
POOL = 60_000
"""Training images a copy is looked for in."""
COMPARED = 8
"""Samples whose nearest training images are shown."""
LOSSES = ("train/generator_loss", "train/discriminator_loss")
OUTPUTS = ("train/real_logit", "train/fake_logit")


def draw(drawing: Drawing) -> None:
    """Writes the sheet of samples from fixed noise; at the end of a run all the rest too."""
    size = drawing.config.image_shape[0]
    noise, labels = gan.noise_and_labels(drawing.key, COLUMNS**2 if size < 60 else 50, drawing.config)
    scale = 2 if size < 60 else 1
    figures.image_sheet(drawing.directory / "samples.png", _images(drawing, noise, labels), COLUMNS, scale)
    if drawing.directory.name != "figures":
        return
    frames = [*sorted(drawing.directory.glob("epoch-*/samples.png")), drawing.directory / "samples.png"]
    figures.animation(drawing.directory / "training.gif", frames)
    _draw_interpolation(drawing, noise, labels)
    _draw_nearest(drawing, noise, labels)
    figures.curves(drawing.directory / "losses.png", drawing.rows, LOSSES, "nats per image")
    figures.curves(drawing.directory / "discriminator.png", drawing.rows, OUTPUTS, "mean logit of the discriminator")
    write_running_losses(drawing)


def _images(drawing: Drawing, noise: Array, labels: Array) -> np.ndarray:
    images_of = jax.jit(partial(gan.images_of, config=drawing.config))
    return np.asarray(images_of(gan.sampling_params(drawing.state, drawing.config), noise, labels))


def between(start: Array, end: Array, shares: Array) -> Array:
    """Points (S, K) on the great circle from one noise vector to another: straight lines leave the shell noise fills.

    White, Sampling generative networks, 2016.
    """
    cosine = jnp.dot(start, end) / (jnp.linalg.norm(start) * jnp.linalg.norm(end))
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    weights = jnp.stack([jnp.sin((1 - shares) * angle), jnp.sin(shares * angle)], axis=1) / jnp.sin(angle)
    return weights @ jnp.stack([start, end])


def _draw_interpolation(drawing: Drawing, noise: Array, labels: Array) -> None:
    shares = jnp.linspace(0, 1, STEPS)
    points = jnp.concatenate([between(noise[2 * i], noise[2 * i + 1], shares) for i in range(PATHS)])
    images = _images(drawing, points, jnp.repeat(labels[:PATHS], STEPS))
    scale = 2 if drawing.config.image_shape[0] < 60 else 1
    figures.image_sheet(drawing.directory / "interpolation.png", images, STEPS, scale)


def _draw_nearest(drawing: Drawing, noise: Array, labels: Array) -> None:
    """Samples above the training images (the first `POOL`) nearest to them by pixels: copies would show."""
    samples = _images(drawing, noise[:COMPARED], labels[:COMPARED])
    train = jnp.asarray(drawing.dataset.train.images[:POOL])
    distances, indices = jax.jit(partial(nearest, count=3))(jnp.asarray(samples), train)
    rows: dict[str, Any] = {"sample": samples}
    for rank, name in enumerate(("nearest in training", "second", "third")):
        rows[name] = np.asarray(train[indices[:, rank]], np.float32) / 255
    titles = [f"RMS {distance:.2f}" for distance in np.asarray(distances)[:, 0]]
    figures.image_rows(drawing.directory / "nearest.png", rows, titles)


def write_running_losses(drawing: Drawing) -> None:
    """`losses.json`: both losses' means over all steps since the start, after each epoch (the chapter's figures)."""
    per_epoch = len(drawing.dataset.train.labels) // drawing.config.batch_size
    generator, discriminator = (running_means(drawing.rows, name) for name in LOSSES)
    table = []
    for epoch in range(1, max(generator) // per_epoch + 1):
        step = max(s for s in generator if s <= epoch * per_epoch)
        table.append({"epoch": epoch, "step": step, "generator": generator[step], "discriminator": discriminator[step]})
    write_json(drawing.directory.parent / "losses.json", table)
    shown = [row for row in table if row["epoch"] % 5 == 0] or table[-1:]
    print("mean losses since the start, generator / discriminator:")
    for row in shown:
        print(f"  epoch {row['epoch']:3}: {row['generator']:.4f} / {row['discriminator']:.4f}")
