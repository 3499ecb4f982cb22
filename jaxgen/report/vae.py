"""Figures of a variational autoencoder: reconstructions, latents and samples."""

from functools import partial
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import batching
from jaxgen.algorithms import vae
from jaxgen.evaluation import codes
from jaxgen.report import figures
from jaxgen.runs.snapshot import Snapshot

SHOWN = 10
GRID = 20
DRAWS = 3
"""Posterior samples shown per image."""
TRAVERSED = 10
"""Maximum number of latents traversed, those with the largest KL."""
FLOWERS = 3
"""Reconstructions the chapter shows of its flowers."""


def draw(snapshot: Snapshot) -> None:
    """Write every figure that fits the latents and the images."""
    split = snapshot.dataset.test
    posteriors = jax.jit(partial(codes.posteriors, config=snapshot.config))(
        snapshot.state.params, split.images, snapshot.key
    )
    means, kls = np.asarray(posteriors.means), np.asarray(posteriors.kls.mean(axis=0))
    _draw_curves(snapshot)
    _draw_reconstructions(snapshot)
    _draw_samples(snapshot)
    points, axis = figures.in_the_plane(means)
    figures.code_scatter(
        snapshot.directory / "codes.png", points, np.asarray(split.labels), snapshot.dataset.class_names, axis
    )
    figures.bars(snapshot.directory / "kl_per_latent.png", kls, "KL, nats", "Mean KL of each latent, test images")
    if snapshot.config.image_shape[-1] == 3:
        _draw_flowers(snapshot)
    if snapshot.config.latent_size == 2:
        _draw_manifold(snapshot)
    else:
        _draw_traversals(snapshot, means[0], kls)
        _draw_interpolations(snapshot, means)


def _decode(snapshot: Snapshot, points: np.ndarray) -> np.ndarray:
    """Mean images of codes (..., latents)."""
    decode = jax.jit(partial(vae.decode, config=snapshot.config))
    flat = jnp.asarray(points.reshape(-1, snapshot.config.latent_size), jnp.float32)
    return np.asarray(decode(snapshot.state.params, flat)).reshape(*points.shape[:-1], *snapshot.config.image_shape)


def _pixels(snapshot: Snapshot, count: int) -> np.ndarray:
    """The first test images as the model sees them."""
    keys = batching.keys(jax.random.split(snapshot.key)[0], count)  # the draws that `reconstruct` makes
    return np.asarray(vae.pixels(snapshot.dataset.test.images[:count], keys, snapshot.config))


def _draw_curves(snapshot: Snapshot) -> None:
    names = [f"{split}/{term}" for term in ("distortion", "rate") for split in ("train", "test")]
    figures.curves(snapshot.directory / "terms.png", snapshot.rows, names, "nats per image")
    figures.curves(
        snapshot.directory / "loss.png", snapshot.rows, ("train/negative_elbo", "test/negative_elbo"), "nats per image"
    )


def _draw_reconstructions(snapshot: Snapshot) -> None:
    test, count = snapshot.dataset.test, min(SHOWN, len(snapshot.dataset.test.labels))
    reconstruct = jax.jit(partial(vae.reconstruct, config=snapshot.config))
    code_key = jax.random.split(snapshot.key)[1]
    numbers = jax.jit(partial(vae.posterior_params, config=snapshot.config))(
        snapshot.state.params, jnp.asarray(_pixels(snapshot, count))
    )
    draws = vae.draw_codes(numbers, batching.keys(code_key, count), DRAWS, snapshot.config).codes
    images = _decode(snapshot, np.asarray(draws))
    rows = {"original": _pixels(snapshot, count)}
    rows["untrained"] = np.asarray(reconstruct(snapshot.initial().params, test.images[:count], snapshot.key))
    rows |= {f"sample {i + 1}": images[:, i] for i in range(DRAWS)}
    names = snapshot.dataset.names_of(test.labels[:count])
    figures.image_rows(snapshot.directory / "reconstructions.png", rows, names)


def _draw_flowers(snapshot: Snapshot) -> None:
    reconstruct = jax.jit(partial(vae.reconstruct, config=snapshot.config))
    images = snapshot.dataset.test.images[:FLOWERS]
    rows = {
        "original": _pixels(snapshot, len(images)),
        "reconstructed": np.asarray(reconstruct(snapshot.state.params, images, snapshot.key)),
    }
    figures.image_rows(snapshot.directory / "flowers.png", rows)


def _draw_samples(snapshot: Snapshot) -> None:
    sample = jax.jit(partial(vae.sample, count=SHOWN**2, config=snapshot.config))
    figures.sheet(
        snapshot.directory / "samples.png", np.asarray(sample(snapshot.state.params, snapshot.key)), columns=SHOWN
    )


def _normal(quantiles: np.ndarray) -> np.ndarray:
    """Values of a standard normal at its quantiles."""
    return np.array([NormalDist().inv_cdf(quantile) for quantile in quantiles])


def _draw_manifold(snapshot: Snapshot) -> None:
    """Images over the prior's quantiles: equal areas of the picture are equally probable."""
    quantiles = (np.arange(GRID) + 0.5) / GRID
    xs, ys = np.meshgrid(_normal(quantiles), _normal(quantiles[::-1]))
    images = _decode(snapshot, np.stack([xs, ys], axis=-1))
    figures.plane(
        snapshot.directory / "manifold.png",
        images,
        (0, 1, 0, 1),
        "Decoded images over quantiles of the prior",
        axis="quantile of latent",
    )


def _draw_traversals(snapshot: Snapshot, code: np.ndarray, kls: np.ndarray) -> None:
    """The first test image's code with each latent in turn moved through the prior."""
    chosen = np.argsort(kls)[::-1][:TRAVERSED]
    line = np.linspace(-3, 3, SHOWN + 1)
    points = np.tile(code, (len(chosen), len(line), 1))
    for row, latent in enumerate(chosen):
        points[row, :, latent] = line
    images = _decode(snapshot, points)
    rows = {f"latent {latent + 1}": images[row] for row, latent in enumerate(chosen)}
    figures.image_rows(snapshot.directory / "traversals.png", rows, [f"{value:+.1f}" for value in line])


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


def _draw_interpolations(snapshot: Snapshot, means: np.ndarray) -> None:
    """Between the first test image and the first of another class, if there is one."""
    labels = np.asarray(snapshot.dataset.test.labels)
    last = int(np.argmax(labels != labels[0])) or len(labels) - 1
    rows = {way.__name__: _decode(snapshot, way(means[0], means[last], SHOWN)) for way in (straight, spherical)}
    figures.image_rows(snapshot.directory / "interpolations.png", rows)
