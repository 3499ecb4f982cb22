"""The live part of a GAN's page: noise along the generator's principal directions, and the discriminator's logit."""

import base64
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.export.functions import Function
from jaxgen.page import models
from jaxgen.page.models import Model
from jaxgen.runs.run import Run

DIRECTIONS = 8
PROBES, LARGE_PROBES = 2_048, 256
"""Random directions of images along which gradients are taken."""
BATCH = 64
LARGEST_SCRIPT = 10_000_000
"""Characters above which the discriminator is left out."""


def of(run: Run, dataset: Any, float16: bool) -> Model:
    """The live part of the run's page."""
    shape = tuple(run.config.image_shape)
    worker = shape[0] * shape[1] > models.SMALL_IMAGE
    found = models.functions_of(run)
    source, stored = models.script(found, "generate", float16)
    judged = len(source) <= LARGEST_SCRIPT
    if not judged:
        stored = f"The discriminator is left out, with it the page would have {len(source) / 1e6:.0f} MB."
        source, how = models.script({"generate": found["generate"]}, "generate", float16)
        stored = f"{how} {stored}"
    directions, shares = principal_directions(found["generate"], LARGE_PROBES if worker else PROBES)
    names = [] if dataset is None else list(dataset.class_names)
    data = {
        "kind": "noise",
        "shape": shape,
        "size": run.config.noise_size,
        "classes": [names[i] if i < len(names) else str(i) for i in range(run.config.classes)],
        "drawable": shape[-1] == 1 and not worker,
        "worker": worker,
        "judged": judged,
        "logistic": run.config.loss in ("non_saturating", "minimax"),
        "directions": base64.b64encode(directions.astype("<f4").tobytes()).decode(),
        "shares": [round(float(share), 4) for share in shares],
    }
    lead = "Move the noise along the directions that change images most, or let it walk."
    notes = (models.where(worker, "An image"), stored)
    return Model(source, data, ("noise.js",), lead, notes)


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
