"""How good a finished GAN's samples are, by features of a classifier that jaxgen trains itself, once a data set.

    python experiments/evaluate_gan.py runs/gan_mnist-001
    python experiments/evaluate_gan.py runs/gan_mnist-001 --samples 10000 --seed 1

Writes evaluation.json (evaluation-seed-S.json for seeds other than 0) into the run directory and prints a table. The
same seed gives the same numbers. They compare generators of one data set; they are not the FID of the literature,
for which `experiments/export_samples.py` writes images.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from jaxgen.engine import cli
from jaxgen.errors import check_at_least


@dataclass(frozen=True)
class Settings:
    """What to evaluate."""

    run_dir: tyro.conf.Positional[Path] = Path("runs/gan_mnist-001")
    """Directory of a finished run of gan_mnist or gan_flowers."""
    samples: int = 10_000
    """Samples to draw, compared with the whole test split."""
    seed: int = 0
    """Key of the samples."""
    classifier_updates: int = 1000
    """Training steps of the classifier, where it is not cached; another number makes another classifier."""


def table(result: dict[str, Any]) -> str:
    """The scores as text, the floor beside them."""
    scores, floor = result["samples"], result["floor_train_against_test"]
    lines = [f"  {'':26} {'samples':>12} {'train split':>12}"]
    for name, value in scores.items():
        shown = [f"{v:,}" if isinstance(v, int) else f"{v:.4f}" for v in (value, floor[name])]
        lines.append(f"  {name:26} {shown[0]:>12} {shown[1]:>12}")
    histogram = result["class_histogram"]
    lines.append("  taken for: " + ", ".join(f"{n} {c}" for n, c in zip(*_columns(histogram), strict=True)))
    accuracy, sha256 = result["classifier"]["test_accuracy"], result["classifier"]["weights_sha256"]
    lines.append(f"  classifier: {accuracy:.4f} right on the test split, weights {sha256[:12]}; not Inception features")
    return "\n".join(lines)


def _columns(histogram: dict[str, Any]) -> tuple[list[str], list[int]]:
    return histogram["class_names"], histogram["samples"]


def main(settings: Settings) -> None:
    """Evaluates, writes, prints."""
    check_at_least("samples", settings.samples, 100)
    check_at_least("seed", settings.seed, 0)
    check_at_least("classifier_updates", settings.classifier_updates, 1)
    import jax

    from jaxgen import data as data_lib
    from jaxgen.algorithms import gan
    from jaxgen.engine.files import write_json
    from jaxgen.engine.restore import restore
    from jaxgen.evaluation import classifier, generator

    run = restore(settings.run_dir, gan, ("gan_mnist", "gan_flowers"))
    dataset = run.dataset
    if run.data.train_on_all:
        dataset = data_lib.load(dataclasses.replace(run.data, train_on_all=False))
    sample = jax.jit(partial(gan.sample, run.state, count=settings.samples, cfg=run.cfg))
    judge = classifier.load(dataset, settings.classifier_updates)
    result = generator.evaluate(sample, dataset, judge, settings.seed)
    result = {"run": str(settings.run_dir), "step": run.step, "trained_on_test_images": run.data.train_on_all, **result}
    name = "evaluation.json" if settings.seed == 0 else f"evaluation-seed-{settings.seed}.json"
    write_json(settings.run_dir / name, result)
    print(f"{settings.run_dir}, step {run.step}, {dataset.name}")
    print(table(result))
    if run.data.train_on_all:
        print("  it was trained on the test images too")
    if result["alarm"]:
        print(f"  warning: {result['alarm']}")


if __name__ == "__main__":
    cli.main(Settings(), main, __doc__)
