"""Figures of a variational autoencoder: reconstructions, latents and samples."""

from statistics import NormalDist
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxgen import batching
from jaxgen.algorithms import vae
from jaxgen.contract import Tree
from jaxgen.engine import executables
from jaxgen.evaluation import codes
from jaxgen.report import figures, models
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
    encoded = _encoded(snapshot, snapshot.state.params, len(split.labels))
    means, kls = encoded.means, encoded.kls.mean(axis=0)
    _draw_curves(snapshot)
    _draw_reconstructions(snapshot, encoded)
    _draw_samples(snapshot)
    points, axis = figures.in_the_plane(means)
    figures.code_scatter(
        snapshot.directory / "codes.png", points, np.asarray(split.labels), snapshot.dataset.class_names, axis
    )
    figures.bars(snapshot.directory / "kl_per_latent.png", kls, "KL, nats", "Mean KL of each latent, test images")
    if snapshot.config.latent_size == 2:
        _draw_manifold(snapshot)
    else:
        _draw_traversals(snapshot, means[0], kls)
        _draw_interpolations(snapshot, means)


class _Encoded(NamedTuple):
    """Posteriors of the first test images, and codes drawn from them."""

    means: Float[np.ndarray, "n d"]
    kls: Float[np.ndarray, "n d"]
    """KL of each latent's marginal posterior, nats."""
    codes: Float[np.ndarray, "n draws d"]


def _encoded(snapshot: Snapshot, params: Tree, count: int) -> _Encoded:
    """The first `count` test images, with the draws that `vae.reconstruct` makes."""
    keys = (jax.random.key_data(batching.keys(key, count)) for key in jax.random.split(snapshot.key))
    return _Encoded(*models.apply(_encode, snapshot.config, params, snapshot.dataset.test.images[:count], *keys))


def _encode(
    params: Tree, images: UInt8[Array, "n h w c"], pixel_keys: Array, code_keys: Array, config: vae.Config
) -> tuple[Array, ...]:
    numbers = vae.posterior_params(params, vae.pixels(images, jax.random.wrap_key_data(pixel_keys), config), config)
    drawn = vae.draw_codes(numbers, jax.random.wrap_key_data(code_keys), DRAWS, config)
    return *codes.of_outputs(numbers, config), drawn.codes


def _decode(snapshot: Snapshot, points: np.ndarray, params: Tree | None = None) -> np.ndarray:
    """Mean images of codes (..., latents); by default the trained model's."""
    flat = points.reshape(-1, snapshot.config.latent_size).astype(np.float32)
    images = models.apply(vae.decode, snapshot.config, params or snapshot.state.params, flat)
    return images.reshape(*points.shape[:-1], *snapshot.config.image_shape)


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


def _draw_reconstructions(snapshot: Snapshot, encoded: _Encoded) -> None:
    labels = snapshot.dataset.test.labels[:SHOWN]
    images, untrained = _decode(snapshot, encoded.codes[:SHOWN]), snapshot.initial().params
    original = _pixels(snapshot, len(labels))
    if snapshot.config.image_shape[-1] == 3:
        rows = {"original": original[:FLOWERS], "reconstructed": images[:FLOWERS, 0]}
        figures.image_rows(snapshot.directory / "flowers.png", rows)
    rows = {
        "original": original,
        "untrained": _decode(snapshot, _encoded(snapshot, untrained, len(labels)).codes[:, 0], untrained),
    }
    rows |= {f"sample {i + 1}": images[:, i] for i in range(DRAWS)}
    figures.image_rows(snapshot.directory / "reconstructions.png", rows, snapshot.dataset.names_of(labels))


def _draw_samples(snapshot: Snapshot) -> None:
    noise = executables.call(_noise, snapshot.config, snapshot.key)
    figures.sheet(snapshot.directory / "samples.png", _decode(snapshot, np.asarray(noise)), columns=SHOWN)


def _noise(key: Array, config: vae.Config) -> Array:
    """Codes from the prior, for the sheet of samples."""
    return jax.random.normal(key, (SHOWN**2, config.latent_size))


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
    ways = (straight, spherical)
    images = _decode(snapshot, np.stack([way(means[0], means[last], SHOWN) for way in ways]))
    rows = {way.__name__: row for way, row in zip(ways, images, strict=True)}
    figures.image_rows(snapshot.directory / "interpolations.png", rows)
