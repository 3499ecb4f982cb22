"""The figures of a variational autoencoder: what it keeps of images, what its latents mean, what it makes up."""

from functools import partial
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import batching
from jaxgen.algorithms import vae
from jaxgen.evaluation import codes
from jaxgen.report import figures
from jaxgen.runs.snapshot import Drawing

SHOWN = 10
GRID = 20
DRAWS = 3
"""Posterior samples shown of each image."""
TRAVERSED = 10
"""Latents traversed at most, those of the largest KL."""
FLOWERS = 3
"""Reconstructions the chapter shows of its flowers."""


def draw(drawing: Drawing) -> None:
    """Writes every figure that fits the latents and the images."""
    split = drawing.dataset.test
    posteriors = jax.jit(partial(codes.posteriors, config=drawing.config))(
        drawing.state.params, split.images, drawing.key
    )
    means, kls = np.asarray(posteriors.means), np.asarray(posteriors.kls.mean(axis=0))
    _draw_curves(drawing)
    _draw_reconstructions(drawing)
    _draw_samples(drawing)
    points, axis = figures.in_the_plane(means)
    figures.code_scatter(
        drawing.directory / "codes.png", points, np.asarray(split.labels), drawing.dataset.class_names, axis
    )
    figures.bars(drawing.directory / "kl_per_latent.png", kls, "KL, nats", "Mean KL of each latent, test images")
    if drawing.config.image_shape[-1] == 3:
        _draw_flowers(drawing)
    if drawing.config.latent_size == 2:
        _draw_manifold(drawing)
    else:
        _draw_traversals(drawing, means[0], kls)
        _draw_interpolations(drawing, means)


def _decode(drawing: Drawing, points: np.ndarray) -> np.ndarray:
    """Mean images of codes (..., latents)."""
    decode = jax.jit(partial(vae.decode, config=drawing.config))
    flat = jnp.asarray(points.reshape(-1, drawing.config.latent_size), jnp.float32)
    return np.asarray(decode(drawing.state.params, flat)).reshape(*points.shape[:-1], *drawing.config.image_shape)


def _pixels(drawing: Drawing, count: int) -> np.ndarray:
    """The first test images as the model is given them."""
    keys = batching.keys(jax.random.split(drawing.key)[0], count)  # the draws that `reconstruct` makes
    return np.asarray(vae.pixels(drawing.dataset.test.images[:count], keys, drawing.config))


def _draw_curves(drawing: Drawing) -> None:
    names = [f"{split}/{term}" for term in ("distortion", "rate") for split in ("train", "test")]
    figures.curves(drawing.directory / "terms.png", drawing.rows, names, "nats per image")
    figures.curves(
        drawing.directory / "loss.png", drawing.rows, ("train/negative_elbo", "test/negative_elbo"), "nats per image"
    )


def _draw_reconstructions(drawing: Drawing) -> None:
    test, count = drawing.dataset.test, min(SHOWN, len(drawing.dataset.test.labels))
    reconstruct = jax.jit(partial(vae.reconstruct, config=drawing.config))
    code_key = jax.random.split(drawing.key)[1]
    numbers = jax.jit(partial(vae.posterior_numbers, config=drawing.config))(
        drawing.state.params, jnp.asarray(_pixels(drawing, count))
    )
    draws = vae.draw_codes(numbers, batching.keys(code_key, count), DRAWS, drawing.config).codes
    images = _decode(drawing, np.asarray(draws))
    rows = {"original": _pixels(drawing, count)}
    rows["untrained"] = np.asarray(reconstruct(drawing.initial().params, test.images[:count], drawing.key))
    rows |= {f"sample {i + 1}": images[:, i] for i in range(DRAWS)}
    names = [drawing.dataset.class_names[int(label)] for label in test.labels[:count]]
    figures.image_rows(drawing.directory / "reconstructions.png", rows, names)


def _draw_flowers(drawing: Drawing) -> None:
    reconstruct = jax.jit(partial(vae.reconstruct, config=drawing.config))
    images = drawing.dataset.test.images[:FLOWERS]
    rows = {
        "original": _pixels(drawing, len(images)),
        "reconstructed": np.asarray(reconstruct(drawing.state.params, images, drawing.key)),
    }
    figures.image_rows(drawing.directory / "flowers.png", rows)


def _draw_samples(drawing: Drawing) -> None:
    sample = jax.jit(partial(vae.sample, count=SHOWN**2, config=drawing.config))
    figures.sheet(
        drawing.directory / "samples.png", np.asarray(sample(drawing.state.params, drawing.key)), columns=SHOWN
    )


def _normal(quantiles: np.ndarray) -> np.ndarray:
    """Values of a standard normal at its quantiles."""
    return np.array([NormalDist().inv_cdf(quantile) for quantile in quantiles])


def _draw_manifold(drawing: Drawing) -> None:
    """Images over the prior's quantiles: equal areas of the picture are equally probable."""
    quantiles = (np.arange(GRID) + 0.5) / GRID
    xs, ys = np.meshgrid(_normal(quantiles), _normal(quantiles[::-1]))
    images = _decode(drawing, np.stack([xs, ys], axis=-1))
    figures.plane(
        drawing.directory / "manifold.png",
        images,
        (0, 1, 0, 1),
        "Decoded images over quantiles of the prior",
        axis="quantile of latent",
    )


def _draw_traversals(drawing: Drawing, code: np.ndarray, kls: np.ndarray) -> None:
    """The first test image's code with one latent after the other moved through the prior."""
    chosen = np.argsort(kls)[::-1][:TRAVERSED]
    line = np.linspace(-3, 3, SHOWN + 1)
    points = np.tile(code, (len(chosen), len(line), 1))
    for row, latent in enumerate(chosen):
        points[row, :, latent] = line
    images = _decode(drawing, points)
    rows = {f"latent {latent + 1}": images[row] for row, latent in enumerate(chosen)}
    figures.image_rows(drawing.directory / "traversals.png", rows, [f"{value:+.1f}" for value in line])


def straight(first: np.ndarray, last: np.ndarray, steps: int) -> np.ndarray:
    """Codes (steps, latents) along the line between two."""
    t = np.linspace(0, 1, steps)[:, None]
    return (1 - t) * first + t * last


def spherical(first: np.ndarray, last: np.ndarray, steps: int) -> np.ndarray:
    """Codes (steps, latents) from one to the other at a constant angular speed (Shoemake, 1985)."""
    cosine = np.dot(first, last) / (np.linalg.norm(first) * np.linalg.norm(last))
    angle, t = np.arccos(np.clip(cosine, -1, 1)), np.linspace(0, 1, steps)[:, None]
    if np.sin(angle) < 1e-6:
        return straight(first, last, steps)
    return (np.sin((1 - t) * angle) * first + np.sin(t * angle) * last) / np.sin(angle)


def _draw_interpolations(drawing: Drawing, means: np.ndarray) -> None:
    """Between the first test image and the first of another class, if there is one."""
    labels = np.asarray(drawing.dataset.test.labels)
    last = int(np.argmax(labels != labels[0])) or len(labels) - 1
    rows = {way.__name__: _decode(drawing, way(means[0], means[last], SHOWN)) for way in (straight, spherical)}
    figures.image_rows(drawing.directory / "interpolations.png", rows)
