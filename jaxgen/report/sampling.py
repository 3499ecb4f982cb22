"""Images from a run's model, with what people ask of samples: classes, truncation, interpolation."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxgen import contract, memory
from jaxgen.algorithms import gan, vae
from jaxgen.engine import executables
from jaxgen.errors import SettingError, UserError
from jaxgen.report.gan import between
from jaxgen.runs.run import Run


def draw(
    run: Run, key: Array, count: int, classes: Sequence[int] = (), truncation: float = 1.0, line: int = 0
) -> np.ndarray:
    """Images (count, H, W, C) in [0, 1].

    classes: taken in turn. truncation: factor on the noise. line: if not 0, images on each path between two of them.
    """
    if not contract.supports(run.algorithm, "sample"):
        raise UserError(f"{run!r} draws no samples: {contract.name_of(run.algorithm)} has no sample")
    if not (classes or line or truncation != 1):
        return np.asarray(run.sample(key, count))
    if run.facts is not None:
        memory.check_images("count", count, run.facts.image_shape)
    if run.algorithm is vae:
        if classes:
            raise SettingError(f"classes = {tuple(classes)} is not allowed: none, a VAE has no classes")
        noise = jax.random.normal(key, (count, run.config.latent_size))
        return np.asarray(run.decode(truncation * _paths(noise, line)))
    if run.algorithm is gan:
        noise, labels = gan.noise_and_labels(key, count, run.config)
        labels = _of_paths(_labels(labels, count, classes, run), line)
        points = truncation * _paths(noise, line)
        return np.asarray(executables.call(gan.images_of, run.config, run.weights, points, labels))
    raise UserError(f"classes, truncation and interpolation are for VAEs and GANs, {run!r} is neither")


def _labels(labels: Any, count: int, classes: Sequence[int], run: Run) -> Any:
    if not classes:
        return labels
    known = run.config.classes
    if not known or not all(0 <= one < known for one in classes):
        allowed = f"0 to {known - 1}" if known else "none, the GAN is not conditioned on classes"
        raise SettingError(f"classes = {tuple(classes)} is not allowed: {allowed}")
    return jnp.asarray(np.resize(np.array(classes, np.int32), count))


def _paths(noise: Array, line: int) -> Array:
    """Each run of `line` points replaced by the great circle between the first two of them."""
    if not line:
        return noise
    shares = jnp.linspace(0, 1, line)
    starts = range(0, len(noise), line)
    ends = [noise[start + 1 if start + 1 < len(noise) else 0] for start in starts]
    return jnp.concatenate([between(noise[s], e, shares) for s, e in zip(starts, ends, strict=True)])[: len(noise)]


def _of_paths(labels: Any, line: int) -> Any:
    """One label for each path."""
    if not line or labels is None:
        return labels
    return labels[np.arange(len(labels)) // line * line]
