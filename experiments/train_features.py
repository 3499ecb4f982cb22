"""Feature net for judging samples of a data set: a small classifier, trained here and saved to one file.

    python experiments/train_features.py --data.source folder --data.path photographs --to photographs.safetensors
    python experiments/evaluate_gan.py runs/gan_flowers-001 --features photographs.safetensors

Without --to, it goes into the user's cache, where evaluate_gan.py would have put it (with --classifier-updates, if
--updates is not the default). To compare scores between machines, copy the file: scores hold for one SHA-256 only.

The nets that ship with jaxgen (jaxgen/evaluation/features) were made with

    python experiments/train_features.py --updates 3000 --to mnist.safetensors
    python experiments/train_features.py --data.source digits --updates 1500 --to digits.safetensors
    python experiments/train_features.py --data.source petals --data.seed 1000 --updates 400 --to petals.safetensors
"""

from dataclasses import dataclass, field
from pathlib import Path

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import data as data_lib
from jaxgen.errors import check_at_least, refuse
from jaxgen.launch import command_line


@dataclass(frozen=True)
class Settings:
    """A data set, and how long to train on it."""

    data: data_lib.DataSettings = field(default_factory=data_lib.DataSettings)
    """Source of the images."""
    to: Path | None = None
    """File to write; default: a file in the user's cache."""
    updates: int = 1000
    """Training steps of 128 images."""
    seed: int = 0
    """Random seed for the initial weights and the batches."""


def main(settings: Settings) -> None:
    """Train, measure, write and print."""
    check_at_least("updates", settings.updates, 1)
    check_at_least("seed", settings.seed, 0)
    for name in ("streaming", "train_on_all"):
        if getattr(settings.data, name):
            refuse(f"data.{name}", True, "False where a feature net is trained")
    if settings.to is not None and settings.to.suffix != ".safetensors":
        refuse("to", str(settings.to), "a file name that ends in .safetensors")
    from jaxgen.evaluation import classifier

    dataset = data_lib.load(settings.data)
    made = classifier.train(dataset, settings.updates, settings.seed)
    path = settings.to or classifier.cached_path(dataset, settings.updates, settings.seed)
    classifier.write(path, made)
    print(f"{dataset.name} {dataset.version}: {path}, {path.stat().st_size:,} bytes, SHA-256 {made.sha256}")
    if made.accuracy is not None:
        print(f"  {made.accuracy:.4f} of {len(dataset.test.labels):,} test images classified correctly")
    print(f"  evaluate_gan.py RUN_DIR --features {path}")


if __name__ == "__main__":
    command_line.main(Settings(), main, __doc__)
