"""The live part of a GAN's page: noise along the generator's principal directions, and the discriminator's logit."""

import base64
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.export.functions import Function
from jaxgen.files import Json
from jaxgen.page import models, neighbors, pictures
from jaxgen.page.models import Model
from jaxgen.runs.run import Run

DIRECTIONS = 8
PROBES, LARGE_PROBES = 2_048, 256
"""Random directions of images along which gradients are taken."""
BATCH = 64
LARGEST_SCRIPT = 10_000_000
"""Characters above which the discriminator is left out, and then the generator too."""
LIMITS = {"generate": models.GRAY_LEVEL, "discriminate": 0.005}
"""Changes of outputs that do not change what is shown: a pixel, logits with two decimals."""
SAMPLES, POSITIONS = 5, np.linspace(-3, 3, 9)
"""Images computed in advance in place of a generator that is too large."""


def of(run: Run, dataset: Any, compact: bool) -> Model:
    """The live part of the run's page."""
    shape = tuple(run.config.image_shape)
    worker = shape[0] * shape[1] > models.SMALL_IMAGE
    found = models.functions_of(run)
    images = None if dataset is None else np.asarray(dataset.test.images[: models.DRAWS])
    script = models.script(found, LIMITS, compact, images)
    size, stored = script.size, script.stored  # the size takes compressing all weights
    judged = size <= LARGEST_SCRIPT
    if not judged:
        stored = f"The discriminator is left out, with it the page would have {size / 1e6:.0f} MB."
        script = models.script({"generate": found["generate"]}, LIMITS, compact)
        size, stored = script.size, f"{script.stored} {stored}"
    directions, shares = principal_directions(found["generate"], LARGE_PROBES if worker else PROBES)
    near = neighbors.of(dataset)
    names = [] if dataset is None else list(dataset.class_names)
    if size > LARGEST_SCRIPT:
        return _precomputed(run, found["generate"], directions, shares, names, size, near)
    data = {
        "kind": "noise",
        "neighbors": near,
        "shape": shape,
        "size": run.config.noise_size,
        "classes": _names(names, run.config.classes, run.config.classes),
        "drawable": shape[-1] == 1 and not worker,
        "worker": worker,
        "judged": judged,
        "logistic": run.config.loss in ("non_saturating", "minimax"),
        "directions": base64.b64encode(directions.astype("<f4").tobytes()).decode(),
        "shares": [round(float(share), 4) for share in shares],
    }
    lead = "Move the noise along the directions that change images most, or let it walk."
    notes = (models.where(worker, "An image"), stored)
    return Model(script.source, script.weights, data, ("neighbors.js", "noise.js"), lead, notes)


def _names(known: list[str], classes: int, count: int) -> list[str]:
    """Names of `count` classes, which repeat after `classes`."""
    every = [known[i] if i < len(known) else str(i) for i in range(classes)]
    return [every[i % classes] for i in range(count)]


def _precomputed(
    run: Run,
    generate: Function,
    directions: np.ndarray,
    shares: np.ndarray,
    names: list[str],
    size: int,
    near: Json | None,
) -> Model:
    """Images along each direction from a few samples, for a generator that would make the page too large."""
    count, positions = len(directions), len(POSITIONS)
    start = np.random.default_rng(0).normal(size=(SAMPLES, run.config.noise_size))
    moved = POSITIONS - (start @ directions.T)[..., None]  # (samples, directions, positions)
    noise = start[:, None, None] + moved[..., None] * directions[:, None]
    noise = noise.reshape(-1, run.config.noise_size).astype(np.float32)
    classes = run.config.classes
    labels = np.arange(SAMPLES).repeat(count * positions) % max(1, classes)
    call = jax.jit(generate.call)
    images = []
    for first in range(0, len(noise), BATCH):
        part = np.arange(first, first + BATCH) % len(noise)  # one shape, one compilation
        rest = [jax.nn.one_hot(labels[part], classes)] if classes else []
        images.append(np.asarray(call(generate.weights, noise[part], *rest)))
    pixels = np.clip(np.round(255 * np.concatenate(images)[: len(noise)]), 0, 255).astype(np.uint8)
    data = {
        "kind": "sprites",
        "shape": tuple(run.config.image_shape),
        "neighbors": near,
        "sheet": pictures.atlas(pixels),
        "samples": SAMPLES,
        "directions": count,
        "positions": POSITIONS.tolist(),
        "shares": [round(float(share), 4) for share in shares],
        "classes": _names(names, classes, SAMPLES) if classes else [],
    }
    lead = "Move the noise along the directions that change images most."
    note = (
        f"These images were computed when the page was written: with the generator it would have {size / 1e6:.0f} MB."
    )
    return Model(None, b"", data, ("neighbors.js", "sprites.js"), lead, (note,))


def principal_directions(generate: Function, probes: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal directions of noise (n, size) that change images most, and each one's share of the squared change.

    The leading eigenvectors of E[J^T J], J the Jacobian of an image at random noise: of `probes` samples of J^T r,
    r standard normal, the second moment has this expectation.
    """
    shapes = [(BATCH, *one.shape[1:]) for one in generate.inputs.values()]

    @jax.jit
    def gradients(weights: Any, key: jax.Array) -> jax.Array:
        noise_key, probe_key, class_key = jax.random.split(key, 3)
        noise = jax.random.normal(noise_key, shapes[0])
        rest = [jax.nn.one_hot(jax.random.randint(class_key, (BATCH,), 0, s[1]), s[1]) for s in shapes[1:]]
        images, pull = jax.vjp(lambda z: generate.call(weights, z, *rest), noise)
        return jnp.asarray(pull(jax.random.normal(probe_key, images.shape))[0])

    keys = jax.random.split(jax.random.key(0), -(-probes // BATCH))
    found = np.concatenate([np.asarray(gradients(generate.weights, key), np.float64) for key in keys])
    values, vectors = np.linalg.eigh(found.T @ found / len(found))
    order = np.argsort(-values)[:DIRECTIONS]
    return vectors[:, order].T, values[order] / values.sum()
