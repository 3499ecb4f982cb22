"""The small trained models that ship with jaxgen: trained, exported in float16, and their hashes recorded.

    python experiments/make_pretrained.py                   # all of them, into jaxgen/pretrained
    python experiments/make_pretrained.py --only vae_mnist

Each is the experiment's preset `quick` with a net that keeps the file small; the seed is fixed. A card's numbers are
of the rounded weights. The last bits depend on the processor, so another machine makes slightly other weights.
`jaxgen.pretrained("vae_mnist")` loads one.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jaxgen.launch.early  # noqa: F401 before JAX, which reads the level of its log as it is imported

# isort: split

import jax
import numpy as np

from jaxgen.engine import loop
from jaxgen.errors import check_choices
from jaxgen.export import functions, pretrained, weights
from jaxgen.launch import command_line
from jaxgen.launch.experiments import train
from jaxgen.runs import progress, session
from jaxgen.runs.run import Run
from jaxgen.sweeps import experiment

SMALLER = {
    "ae_mnist": (),
    "conv_ae_mnist": (),
    "dqn_cartpole": (),
    "gan_flowers": ("--config.noise-size", "32"),
    "gan_mnist": (),
    "iwae_mnist": ("--config.widths", "100", "100", "--hparams.learning-rate", "4e-3", "--run.epochs", "200"),
    "vae_flowers": (
        *("--config.net", "conv", "--config.channels", "32", "32", "32"),
        *("--config.image-shape", "36", "36", "3", "--data.size", "36", "--run.epochs", "20"),
    ),
    "vae_mnist": ("--config.widths", "128"),
}
"""Experiments, and options that make their nets smaller, or train a smaller net for as long as it takes."""

RECONSTRUCTED = "reconstructions.png"
"""An experiment with this picture shows reconstructions on its card, another one samples."""


@dataclass(frozen=True)
class Settings:
    """The models to make."""

    only: tuple[str, ...] = tuple(SMALLER)
    """Experiments."""
    to: Path | None = None
    """Folder to write; default: jaxgen/pretrained."""


def rounded(run: Run) -> Run:
    """The run with weights rounded to float16, and evaluated once more."""
    stored = {name: x.astype(np.float16) for name, x in weights.arrays(run, generator_only=True).items()}
    state = functions.with_weights(run.algorithm, run.state, stored)
    evaluate = jax.jit(partial(run.algorithm.evaluate, config=run.config))
    _, test = session.batches_of(run.algorithm, run.data() if run.facts else None)
    found = evaluate(state, test, loop.keys(run.seed).evaluate, run.hparams)
    row = {"step": run.step, **{f"test/{name}": progress.logged(np.asarray(value)) for name, value in found.items()}}
    print(f"rounded:  {progress.describe(row)}")
    return replace(run, state=state, rows=[*run.rows, row])


def reconstructions(run: Run) -> Any:
    """Test images in every other row, and below each what the model makes of it."""
    half = weights.COLUMNS**2 // 2
    images = run.data().test.images[:half]
    rows = (
        np.asarray(x).reshape(-1, weights.COLUMNS, *images.shape[1:]) for x in (images / 255, run.reconstruct(images))
    )
    return np.stack(list(rows), 1).reshape(-1, *images.shape[1:])


def main(settings: Settings) -> None:
    """Train, export, and record the hashes."""
    folder = settings.to or pretrained.SHIPPED
    check_choices("only", settings.only, SMALLER)
    for name in settings.only:
        script = Path(__file__).with_name(f"{name}.py")
        chosen = experiment.load(script, ["--preset", "quick", *SMALLER[name]])
        with tempfile.TemporaryDirectory() as root:
            run = replace(chosen.settings.run, root=Path(root), name=name)
            made = train(replace(chosen.experiment, figures=None), replace(chosen.settings, run=run))
            if (folder / name).exists():
                shutil.rmtree(folder / name)
            folder.mkdir(parents=True, exist_ok=True)
            made = rounded(made)
            images = reconstructions(made) if RECONSTRUCTED in chosen.experiment.pictures else None
            weights.export(made, folder / name, precision="float16", images=images, generator_only=True)
    hashes = {path.parent.name: pretrained.sha256(path) for path in sorted(folder.glob(f"*/{weights.WEIGHTS}"))}
    (folder / "hashes.json").write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command_line.main(Settings(), main, __doc__)
