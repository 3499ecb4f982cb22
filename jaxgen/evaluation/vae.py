"""Evaluation protocol for a trained variational autoencoder on the test split, a function of a seed.

Nats are per image and refer to pixels as defined by `config.inputs`: gray, binarized and thresholded versions of a data
set are different data.
"""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen import batching
from jaxgen.algorithms import vae
from jaxgen.data.dataset import Dataset
from jaxgen.errors import UserError
from jaxgen.evaluation import codes, likelihood
from jaxgen.evaluation.likelihood import mean_over_images
from jaxgen.files import interpreting, read_json, write_json
from jaxgen.losses import reconstruction

VALUES = "likelihoods{}.json"
"""File in a run's directory: -log p(x) of each image and the conditions of the estimate; with a member's suffix."""


class Judged(NamedTuple):
    """For each image: the ELBO's terms with one code, and the squared error of the posterior mean's reconstruction."""

    distortion: Float[Array, " n"]
    rate: Float[Array, " n"]
    squared_error: Float[Array, " n"]


def judge(params: Any, images: Array, key: Array, hparams: vae.HParams, config: vae.Config) -> Judged:
    """The ELBO's terms, KL in closed form, and the reconstruction error, summed over an image's pixels."""
    pixel_key, code_key = jax.random.split(key)
    config = replace(vae.for_evaluation(config), objective="elbo", samples=1)

    def of_batch(split: tuple[Array, Array, Array]) -> Judged:
        images, pixel_keys, code_keys = split
        x = vae.pixels(images, pixel_keys, config)
        each, _ = vae.terms(params, x, code_keys, 1.0, hparams, config)
        means = vae.posterior_params(params, x, config)[:, : config.latent_size]
        return Judged(each.distortion, each.rate, reconstruction.squared_error(vae.decode(params, means, config), x))

    split = (images, batching.keys(pixel_key, len(images)), batching.keys(code_key, len(images)))
    return batching.map_batches(of_batch, split)


class Evaluation(NamedTuple):
    """The protocol's numbers as stored, and -log p(x) in nats of each image it was estimated for."""

    results: dict[str, Any]
    negative_log_likelihoods: Float[np.ndarray, " n"]


def conditions(dataset: Dataset, config: vae.Config, *, samples: int, images: int | None, seed: int) -> dict[str, Any]:
    """Everything two evaluations must share for their -log p(x) to be of the same pixels and equally tight."""
    found = np.asarray(dataset.test.images[:images])
    return {
        "images_sha256": hashlib.sha256(found.tobytes()).hexdigest(),
        "images": len(found),
        "inputs": config.inputs,
        "likelihood": config.likelihood,
        "samples": samples,
        "seed": seed,
    }


def write_values(run_dir: Path, conditions: dict[str, Any], values: np.ndarray, suffix: str = "") -> None:
    """Write -log p(x) of each image, nats, where `read_values` finds them; `suffix` is a member's."""
    path = run_dir / VALUES.format(suffix)
    write_json(path, {**conditions, "negative_log_likelihoods": [float(value) for value in values]})


def read_values(run_dir: Path, conditions: dict[str, Any], suffix: str = "") -> np.ndarray:
    """Another run's -log p(x) of each image; `UserError` unless it was estimated under the same `conditions`.

    A member is compared with the other run's member of the same place, or with a run of one seed.
    """
    own, single = (run_dir / VALUES.format(one) for one in (suffix, ""))
    path = own if own.exists() else single
    if not path.exists():
        raise UserError(f"{run_dir} has no {own.name}: evaluate it first, with the same samples, images and seed")
    saved = read_json(path)
    for name, value in conditions.items():
        if saved.get(name) != value:
            raise UserError(f"{run_dir} was evaluated with {name} = {saved.get(name)!r}, this run with {value!r}")
    with interpreting(path):
        return np.asarray(saved["negative_log_likelihoods"], np.float64)


_judge = jax.jit(judge, static_argnames="config")  # traced once for all of a run's members
_estimate = jax.jit(likelihood.log_likelihood, static_argnames=("samples", "config"))
_posteriors = jax.jit(codes.posteriors, static_argnames="config")


def evaluate(
    params: Any,
    dataset: Dataset,
    hparams: vae.HParams,
    config: vae.Config,
    *,
    samples: int,
    images: int | None,
    seed: int,
) -> Evaluation:
    """Every number of the protocol; `images` limits the test images whose log likelihood is estimated."""
    likelihood.check_samples(samples)
    test, train = dataset.test, dataset.train
    keys = dict(zip(("judge", "likelihood", "test", "train"), jax.random.split(jax.random.key(seed), 4), strict=True))
    judged = _judge(params, test.images, keys["judge"], hparams, config=config)
    estimated = _estimate(
        params, test.images[:images], keys["likelihood"], samples=samples, hparams=hparams, config=config
    )
    found = jax.device_get(estimated)
    of_split = partial(_posteriors, config=config)
    tested = of_split(params, test.images, keys["test"])
    summary = likelihood.summarize(found.blocks)
    negative_elbo = mean_over_images(judged.distortion + judged.rate)
    pixels = int(np.prod(config.image_shape))
    results = {
        "inputs": config.inputs,
        "likelihood": config.likelihood,
        "seed": seed,
        "images": len(test.labels),
        "negative_elbo": negative_elbo,
        "distortion": mean_over_images(judged.distortion),
        "rate": mean_over_images(judged.rate),
        "bits_per_dimension": _bits(negative_elbo["mean"], config),
        "negative_log_likelihood": _likelihood_results(summary, found.effective_samples, samples),
        "squared_error_per_pixel": mean_over_images(judged.squared_error / pixels),
        "latents": config.latent_size,
        "active_units": codes.active_units(tested.means),
        "kl_per_latent": [float(kl) for kl in tested.kls.mean(axis=0)],
        "neighbor_accuracy": _accuracy(of_split(params, train.images, keys["train"]), tested, dataset),
    }
    return Evaluation(results, summary.value)


def _likelihood_results(summary: likelihood.Summary, effective: np.ndarray, samples: int) -> dict[str, Any]:
    return {
        **mean_over_images(summary.value),
        "sampling_error": float(np.sqrt(summary.variance.sum()) / len(summary.value)),
        "sampling_error_of_an_image": float(np.sqrt(summary.variance.mean())),
        "samples": samples,
        "images": len(summary.value),
        "mean_with_half_of_the_samples": float(summary.half.mean()),
        "mean_with_a_quarter_of_the_samples": float(summary.quarter.mean()),
        "bias_corrected": mean_over_images(summary.corrected),
        "effective_samples": {
            "mean": float(effective.mean(dtype=np.float64)),
            "median": float(np.median(effective)),
            "percentile_5": float(np.percentile(effective, 5)),
        },
    }


def _bits(nats: float, config: vae.Config) -> float | None:
    """Bits per dimension; None if the pixels are not discrete."""
    return float(reconstruction.bits_per_dimension(jnp.float32(nats), config.image_shape)) if config.discrete else None


def _accuracy(trained: codes.Posteriors, tested: codes.Posteriors, dataset: Dataset) -> float | None:
    """Neighbor accuracy of the codes; None if the images have no labels."""
    train_labels, test_labels = np.asarray(dataset.train.labels), np.asarray(dataset.test.labels)
    if (train_labels < 0).any() or (test_labels < 0).any():
        return None
    return codes.neighbor_accuracy(np.asarray(trained.means), train_labels, np.asarray(tested.means), test_labels)


def table(results: dict[str, Any]) -> str:
    """The numbers as human-readable lines."""
    rows = [
        ("negative ELBO", _pair(results["negative_elbo"]), "nats per image"),
        ("  distortion", _pair(results["distortion"]), ""),
        ("  rate", _pair(results["rate"]), ""),
        *_likelihood_rows(results["negative_log_likelihood"]),
        ("squared error per pixel", _pair(results["squared_error_per_pixel"], 5), "of the posterior mean's image"),
        ("active units", f"{results['active_units']} of {results['latents']}", ""),
        ("KL per latent", " ".join(f"{kl:.2f}" for kl in sorted(results["kl_per_latent"], reverse=True)), "nats"),
    ]
    if results["bits_per_dimension"] is not None:
        rows.insert(3, ("  the ELBO as", f"{results['bits_per_dimension']:.4f}", "bits per dimension"))
    if results["neighbor_accuracy"] is not None:
        rows.append((f"accuracy of {codes.NEIGHBORS} neighbors", f"{results['neighbor_accuracy']:.4f}", ""))
    if "against" in results:
        against = results["against"]
        rows.append(("-log p(x) minus the other's", _pair(against), f"nats, paired over images; {against['run']}"))
    head = f"{results['images']} test images, inputs {results['inputs']}, likelihood {results['likelihood']}"
    return "\n".join([head, *(f"  {name:<32} {value}  {note}".rstrip() for name, value, note in rows)])


def _likelihood_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    samples, effective = found["samples"], found["effective_samples"]
    fewer = (found["mean_with_a_quarter_of_the_samples"], found["mean_with_half_of_the_samples"])
    still = fewer[1] - found["mean"]
    return [
        (
            f"-log p(x) at most, {samples} codes",
            _pair(found),
            f"nats, {found['images']} images; the draws' part of the error {found['sampling_error']:.3f}",
        ),
        (
            f"  with {samples // 4} and {samples // 2} codes",
            f"{fewer[0]:.3f} {fewer[1]:.3f}",
            f"an upper bound in expectation: the last doubling lowered it by {still:.3f}",
        ),
        ("  less its bias to first order", _pair(found["bias_corrected"]), "by the jackknife; no bound"),
        (
            "  effective samples",
            f"{effective['median']:.1f}",
            f"median of the images; mean {effective['mean']:.1f}, 5% have fewer than {effective['percentile_5']:.1f}",
        ),
    ]


def _pair(value: dict[str, float], digits: int = 3) -> str:
    return f"{value['mean']:.{digits}f} +- {value['standard_error']:.{digits}f}"
