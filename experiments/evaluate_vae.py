"""Evaluation of a finished variational autoencoder on its test split.

    python experiments/evaluate_vae.py runs/vae_mnist-001
    python experiments/evaluate_vae.py runs/iwae_mnist-001 --samples 5000
    python experiments/evaluate_vae.py runs/iwae_mnist-002 --samples 5000 --against runs/iwae_mnist-001

Prints a table and writes evaluation.json into the run directory: test ELBO and its terms, importance-sampled log
likelihood with its errors, its dependence on the number of codes and its effective sample size, active units, KL per
latent, nearest-neighbor accuracy of the codes, and reconstruction error. The same seed gives the same numbers.

likelihoods.json beside it holds -log p(x) for each image. --against computes the difference to another run image by
image; evaluate that run first, with the same samples, images and seed.

A run of several seeds (--run.seeds) is evaluated member by member, in files ending in -member-0, -member-1 and so on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen.errors import UserError, check_at_least
from jaxgen.launch import command_line


@dataclass(frozen=True)
class Settings:
    """The run to evaluate, and how to evaluate it."""

    path: Annotated[Path, tyro.conf.Positional] = Path()
    """The run directory."""
    samples: int = 500
    """Codes per image in the estimate of log p(x); a multiple of 4."""
    images: int | None = None
    """Use only the first N test images in the estimate of log p(x); default: all."""
    seed: int = 0
    """Random seed."""
    member: int | None = None
    """With several seeds in the run: whose model; default: each in turn."""
    against: Path | None = None
    """Directory of another run: also print the difference to its -log p(x), paired over images."""


OVER_SEEDS = {
    "negative ELBO": "negative_elbo",
    "  distortion": "distortion",
    "  rate": "rate",
    "-log p(x) at most": "negative_log_likelihood",
    "squared error per pixel": "squared_error_per_pixel",
}


def main(settings: Settings) -> None:
    """Restore, evaluate, write and print."""
    from jaxgen.algorithms import vae
    from jaxgen.evaluation import likelihood, seeds
    from jaxgen.evaluation import vae as evaluation
    from jaxgen.files import write_json
    from jaxgen.runs.load import load

    likelihood.check_samples(settings.samples)
    check_at_least("seed", settings.seed, 0)
    if settings.images is not None:
        check_at_least("images", settings.images, 2)
    if settings.path == Path():
        raise UserError("name the run directory: python experiments/evaluate_vae.py RUN_DIR")
    run = load(settings.path, algorithm=vae)
    dataset = run.data()
    budget: Any = {"samples": settings.samples, "images": settings.images, "seed": settings.seed}
    conditions = evaluation.conditions(dataset, run.config, **budget)
    found = []
    for suffix, one in run.singles(settings.member).items():
        others = None if settings.against is None else evaluation.read_values(settings.against, conditions, suffix)
        results, values = evaluation.evaluate(one.weights, dataset, one.hparams, one.config, **budget)
        if others is not None:
            results["against"] = {"run": str(settings.against), **likelihood.paired_difference(values, others)}
        evaluation.write_values(settings.path, conditions, values, suffix)
        head = {"experiment": run.experiment, "data": dataset.name, "trained_with_seed": one.seed}
        write_json(settings.path / f"evaluation{suffix}.json", {**head, **results})
        whose = f"{settings.path}, trained with seed {one.seed}" if suffix else settings.path
        print(f"{whose}: {dataset.name}, {evaluation.table(results)}", flush=True)
        found.append(results)
    if len(found) > 1:
        print(seeds.table({name: [results[key]["mean"] for results in found] for name, key in OVER_SEEDS.items()}))
    if run.status != "finished":
        print(f"  not finished: this is its state after {run.step} steps")


if __name__ == "__main__":
    command_line.main(Settings(), main, __doc__)
