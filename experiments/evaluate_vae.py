"""Evaluates a finished run of a variational autoencoder on its test split.

    python experiments/evaluate_vae.py runs/vae_mnist-001
    python experiments/evaluate_vae.py runs/iwae_mnist-001 --samples 5000

Prints a table and writes evaluation.json into the run directory: test ELBO and its terms, importance-sampled log
likelihood with its errors, active units, KL per latent, accuracy of nearest neighbours among codes, reconstruction
error. The same seed gives the same numbers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jaxgen.engine import cli
from jaxgen.errors import UserError, check_at_least


@dataclass(frozen=True)
class Settings:
    """What to evaluate."""

    path: Annotated[Path, tyro.conf.Positional] = Path()
    """The run directory."""
    samples: int = 500
    """Codes an image in the estimate of log p(x)."""
    images: int | None = None
    """Only the first so many test images in the estimate of log p(x); default: all."""
    seed: int = 0
    """Root of the draws."""


def main(settings: Settings) -> None:
    """Restores, evaluates, writes and prints."""
    from jaxgen.algorithms import vae
    from jaxgen.engine.files import write_json
    from jaxgen.engine.restore import restore
    from jaxgen.evaluation import vae as evaluation

    check_at_least("samples", settings.samples, 1)
    check_at_least("seed", settings.seed, 0)
    if settings.images is not None:
        check_at_least("images", settings.images, 2)
    if settings.path == Path():
        raise UserError("name the run directory: python experiments/evaluate_vae.py RUN_DIR")
    run = restore(settings.path, vae)
    results = evaluation.evaluate(
        run.state.params,
        run.dataset,
        run.hp,
        run.cfg,
        samples=settings.samples,
        images=settings.images,
        seed=settings.seed,
    )
    write_json(run.path / "evaluation.json", {"experiment": run.experiment, "data": run.dataset.name, **results})
    print(f"{run.path}: {run.dataset.name}, {evaluation.table(results)}")


if __name__ == "__main__":
    cli.main(Settings(), main, __doc__)
