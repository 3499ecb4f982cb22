"""The protocol by which a trained variational autoencoder is judged, on the test split, as a function of a seed.

Nats are per image and refer to the pixels that `config.inputs` makes of the images: grey, binarised and thresholded
sets of one name are different data.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen import losses
from jaxgen.algorithms import examples, vae
from jaxgen.data.dataset import Dataset
from jaxgen.evaluation import codes, likelihood


class Judged(NamedTuple):
    """For each image: the ELBO's terms with one code, and the squared error of the posterior mean's reconstruction."""

    distortion: Float[Array, " n"]
    rate: Float[Array, " n"]
    squared_error: Float[Array, " n"]


def judge(params: Any, images: Array, key: Array, hp: vae.HParams, cfg: vae.Config) -> Judged:
    """The ELBO's terms, KL in closed form, and the reconstruction error, summed over an image's pixels."""
    pixel_key, code_key = jax.random.split(key)
    cfg = replace(vae.plain(cfg), objective="elbo", samples=1)

    def of_batch(split: tuple[Array, Array, Array]) -> Judged:
        images, pixel_keys, code_keys = split
        x = vae.pixels(images, pixel_keys, cfg)
        each, _ = vae.terms(params, x, code_keys, 1.0, hp, cfg)
        means = vae.posterior_numbers(params, x, cfg)[:, : cfg.latent_size]
        return Judged(each.distortion, each.rate, losses.squared_error(vae.decode(params, means, cfg), x))

    split = (images, examples.keys(pixel_key, len(images)), examples.keys(code_key, len(images)))
    return examples.map_batches(of_batch, split)


def _mean(values: np.ndarray) -> dict[str, float]:
    """The mean over images with its standard error."""
    values = np.asarray(values, np.float64)
    return {"mean": float(values.mean()), "standard_error": float(values.std(ddof=1) / np.sqrt(len(values)))}


def evaluate(
    params: Any, dataset: Dataset, hp: vae.HParams, cfg: vae.Config, *, samples: int, images: int | None, seed: int
) -> dict[str, Any]:
    """Every number of the protocol; `images` limits the test images whose log likelihood is estimated."""
    test, train = dataset.test, dataset.train
    keys = dict(zip(("judge", "likelihood", "test", "train"), jax.random.split(jax.random.key(seed), 4), strict=True))
    judged = jax.jit(partial(judge, cfg=cfg))(params, test.images, keys["judge"], hp)
    estimate = jax.jit(partial(likelihood.log_likelihood, samples=samples, cfg=cfg))
    found = jax.device_get(estimate(params, test.images[:images], keys["likelihood"], hp=hp))
    of_split = jax.jit(partial(codes.posteriors, cfg=cfg))
    tested = of_split(params, test.images, keys["test"])
    negative_elbo = _mean(judged.distortion + judged.rate)
    pixels = int(np.prod(cfg.image_shape))
    return {
        "inputs": cfg.inputs,
        "likelihood": cfg.likelihood,
        "seed": seed,
        "images": len(test.labels),
        "negative_elbo": negative_elbo,
        "distortion": _mean(judged.distortion),
        "rate": _mean(judged.rate),
        "bits_per_dimension": _bits(negative_elbo["mean"], cfg),
        "negative_log_likelihood": {
            **_mean(-found.estimate),
            "sampling_error": float(np.sqrt(found.variance.astype(np.float64).sum()) / len(found.variance)),
            "samples": samples,
            "images": len(found.estimate),
            "effective_samples": float(np.median(found.effective_samples)),
        },
        "squared_error_per_pixel": _mean(judged.squared_error / pixels),
        "latents": cfg.latent_size,
        "active_units": codes.active_units(tested.means),
        "kl_per_latent": [float(kl) for kl in tested.kls.mean(axis=0)],
        "neighbour_accuracy": _accuracy(of_split(params, train.images, keys["train"]), tested, dataset),
    }


def _bits(nats: float, cfg: vae.Config) -> float | None:
    """None where the pixels are not discrete."""
    return float(losses.bits_per_dimension(jnp.float32(nats), cfg.image_shape)) if cfg.discrete else None


def _accuracy(trained: codes.Posteriors, tested: codes.Posteriors, dataset: Dataset) -> float | None:
    """None where the images have no labels."""
    train_labels, test_labels = np.asarray(dataset.train.labels), np.asarray(dataset.test.labels)
    if (train_labels < 0).any() or (test_labels < 0).any():
        return None
    return codes.neighbour_accuracy(np.asarray(trained.means), train_labels, np.asarray(tested.means), test_labels)


def table(results: dict[str, Any]) -> str:
    """The numbers as lines for a person."""
    found = results["negative_log_likelihood"]
    rows = [
        ("negative ELBO", _pair(results["negative_elbo"]), "nats per image"),
        ("  distortion", _pair(results["distortion"]), ""),
        ("  rate", _pair(results["rate"]), ""),
        (
            f"-log p(x), {found['samples']} samples",
            _pair(found),
            f"{found['images']} images; sampling error {found['sampling_error']:.3f}, "
            f"median of {found['effective_samples']:.0f} effective samples",
        ),
        ("squared error per pixel", _pair(results["squared_error_per_pixel"], 5), "of the posterior mean's image"),
        ("active units", f"{results['active_units']} of {results['latents']}", ""),
        ("KL per latent", " ".join(f"{kl:.2f}" for kl in sorted(results["kl_per_latent"], reverse=True)), "nats"),
    ]
    if results["bits_per_dimension"] is not None:
        rows.insert(3, ("  the ELBO as", f"{results['bits_per_dimension']:.4f}", "bits per dimension"))
    if results["neighbour_accuracy"] is not None:
        rows.append((f"accuracy of {codes.NEIGHBOURS} neighbours", f"{results['neighbour_accuracy']:.4f}", ""))
    head = f"{results['images']} test images, inputs {results['inputs']}, likelihood {results['likelihood']}"
    return "\n".join([head, *(f"  {name:<32} {value}  {note}".rstrip() for name, value, note in rows)])


def _pair(value: dict[str, float], digits: int = 3) -> str:
    return f"{value['mean']:.{digits}f} +- {value['standard_error']:.{digits}f}"
