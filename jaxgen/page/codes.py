"""The live part of an autoencoder's or a VAE's page: the code plane, and images drawn by hand."""

import base64
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import contract
from jaxgen.algorithms import vae
from jaxgen.evaluation import codes as evaluated
from jaxgen.page import models, pictures
from jaxgen.page.models import Model
from jaxgen.report.figures import COLORS
from jaxgen.runs.run import Run

POINTS, NUMBERS = 2_000, 20_000
"""Test images in the plane, and numbers in all of their codes."""
SPRITES, COLOR_SPRITES = 300, 120
"""Test images that are shown as such."""
BATCH = 200
LIMITS = {"decode": models.GRAY_LEVEL, "encode": 0.005, "terms": 0.05}
"""Changes of outputs that do not change what is shown: a pixel, codes with two decimals, nats with one."""
PRIOR = 3.2
"""Half the range of a latent under a standard normal prior."""


def of(run: Run, dataset: Any, compact: bool) -> Model:
    """The live part of the run's page."""
    is_vae = contract.name_of(run.algorithm) == vae.__name__
    shape = tuple(run.config.image_shape)
    found, worker = models.functions_of(run), shape[0] * shape[1] > models.SMALL_IMAGE
    drawable = shape[-1] == 1 and not worker
    kept = {name: one for name, one in found.items() if name == "decode" or drawable}
    images = None if dataset is None else np.asarray(dataset.test.images[: models.DRAWS])
    source, weights, stored = models.script(kept, LIMITS, compact, images)
    latents = found["decode"].inputs["codes"].shape[1]
    data = {
        "kind": "codes",
        "prior": is_vae,
        "shape": shape,
        "latents": latents,
        "drawable": drawable,
        "worker": worker,
        "colors": COLORS,
        **_plane(run, dataset, latents, is_vae),
    }
    lead = "Drag the point: the decoder draws what lies there."
    lead += " Draw a digit of your own and see its code and its reconstruction." if drawable else ""
    notes: tuple[str, ...] = (models.where(worker, "An image"), stored)
    if not drawable:
        notes += ("Test images were encoded when it was written; large ones or those in color are not drawn by hand.",)
    return Model(source, weights, data, ("codes.js",), lead, notes)


def _plane(run: Run, dataset: Any, latents: int, is_vae: bool) -> dict[str, Any]:
    """Codes, classes and sprites of test images, and latents in the order of what they carry."""
    if dataset is None:
        limit = PRIOR if is_vae else 10.0
        return {"order": list(range(latents)), "ranges": [[-limit, limit]] * latents, "classes": [], "labels": []}
    points = min(POINTS, NUMBERS // latents)
    images, labels = dataset.test.images[:points], np.asarray(dataset.test.labels[:points])
    if is_vae:
        posteriors = jax.jit(lambda p, x, k: evaluated.posteriors(p, x, k, run.config))
        means, kls = posteriors(run.weights, jnp.asarray(images), jax.random.key(0))
        codes, carried = np.asarray(means), np.asarray(kls).mean(axis=0)
        information: Any = [round(float(one), 4) for one in carried]
    else:
        parts = [np.asarray(run.encode(images[i : i + BATCH])) for i in range(0, len(labels), BATCH)]
        codes = np.concatenate(parts)
        carried, information = codes.var(axis=0), None
    step = float(np.abs(codes).max()) / 32_767 or 1.0
    count = min(len(labels), SPRITES if images.shape[-1] == 1 else COLOR_SPRITES)
    return {
        "codes": base64.b64encode(np.round(codes / step).astype("<i2").tobytes()).decode(),
        "step": step,
        "labels": labels.tolist(),
        "classes": list(dataset.class_names),
        "order": np.argsort(-carried).tolist(),
        "information": information,
        "ranges": _ranges(codes, is_vae),
        "sprites": pictures.atlas(np.asarray(images[:count])),
    }


def _ranges(codes: np.ndarray, is_vae: bool) -> list[list[float]]:
    """Each latent's range: all but the outermost codes, and what the prior makes probable."""
    low, high = np.percentile(codes, 0.2, axis=0), np.percentile(codes, 99.8, axis=0)
    room = 0.04 * (high - low) + 1e-6
    low, high = low - room, high + room
    if is_vae:
        low, high = np.minimum(low, -PRIOR), np.maximum(high, PRIOR)
    return [[round(float(a), 4), round(float(b), 4)] for a, b in zip(low, high, strict=True)]
