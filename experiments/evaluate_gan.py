"""Sample quality of a finished GAN, by the features of a small classifier of the data set.

    python experiments/evaluate_gan.py runs/gan_mnist-001
    python experiments/evaluate_gan.py runs/gan_mnist-001 --samples 10000 --seed 1
    python experiments/evaluate_gan.py runs/gan_flowers-001 --features photographs.safetensors

Writes evaluation.json (evaluation-seed-S.json for seeds other than 0) into the run directory and prints a table. The
same seed gives the same numbers. MNIST, digits and petals are judged by nets that ship with jaxgen; for other sets,
a net is trained here, or made with `experiments/train_features.py` and shared. The scores compare generators of one
data set. They are not the FID of the literature; `experiments/export_samples.py` writes the images for that.

A run of several seeds (--run.seeds) is evaluated member by member, in files ending in -member-0, -member-1 and so on.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen.errors import check_at_least, refuse
from jaxgen.launch import command_line


@dataclass(frozen=True)
class Settings:
    """The run to evaluate, and how to evaluate it."""

    run_dir: tyro.conf.Positional[Path] = Path("runs/gan_mnist-001")
    """Directory of a run whose model can sample."""
    samples: int = 10_000
    """Number of samples to draw and compare with the whole test split."""
    seed: int = 0
    """Random seed for the samples."""
    member: int | None = None
    """With several seeds in the run: whose generator; default: each in turn."""
    features: Path | None = None
    """Feature net, a file written by train_features.py; default: the one jaxgen ships for the data set, or else one
    trained on this machine."""
    classifier_updates: int | None = None
    """Use a feature net trained on this machine for this many steps, even if jaxgen ships one."""


def table(result: dict[str, Any]) -> str:
    """The scores as text, with the floor beside them."""
    scores, floor = result["samples"], result["floor_train_against_test"]
    lines = [f"  {'':26} {'samples':>20} {'train split':>20}"]
    for name in scores:
        if not name.endswith("_error"):
            lines.append(f"  {name:26} {_shown(scores, name):>20} {_shown(floor, name):>20}")
    histogram = result["class_histogram"]
    lines.append("  taken for: " + ", ".join(f"{n} {c}" for n, c in zip(*_columns(histogram), strict=True)))
    lines.append(f"  {_judge(result['classifier'])}")
    return "\n".join(lines)


def _is_score(name: str) -> bool:
    return not name.startswith("n_") and not name.endswith("_error")


def _shown(scores: dict[str, Any], name: str) -> str:
    """A score, with its standard error if it has one."""
    value, error = scores[name], scores.get(f"{name}_error")
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if error is None else f"{value:.4f} +- {error:.4f}"


def _judge(net: dict[str, Any]) -> str:
    """The feature net in one line."""
    trained_on, accuracy = net["trained_on"], net["test_accuracy"]
    right = "" if accuracy is None else f", {accuracy:.4f} of its test split classified correctly"
    name = f"{trained_on['name']} {trained_on['version']}"
    return f"features ({net['origin']}): classifier of {name}{right}, SHA-256 {net['sha256'][:12]}; not Inception"


def _columns(histogram: dict[str, Any]) -> tuple[list[str], list[int]]:
    return histogram["class_names"], histogram["samples"]


def main(settings: Settings) -> None:
    """Evaluate, write and print."""
    check_at_least("samples", settings.samples, 100)
    check_at_least("seed", settings.seed, 0)
    if settings.classifier_updates is not None:
        check_at_least("classifier_updates", settings.classifier_updates, 1)
        if settings.features is not None:
            refuse("classifier_updates", settings.classifier_updates, "none with features, which is trained already")

    from jaxgen import contract
    from jaxgen import data as data_lib
    from jaxgen.errors import UserError
    from jaxgen.evaluation import classifier, generator, seeds
    from jaxgen.files import write_json
    from jaxgen.runs.load import load

    run = load(settings.run_dir)
    if not contract.supports(run.algorithm, "sample"):
        raise UserError(f"{settings.run_dir} is a run of {contract.name_of(run.algorithm)}, which draws no samples")
    print(f"scoring {settings.samples:,} samples of {settings.run_dir}, step {run.step}", flush=True)
    dataset = run.data()
    train_on_all = dataset.settings.train_on_all
    if train_on_all:
        dataset = data_lib.load(dataclasses.replace(dataset.settings, train_on_all=False))
    if settings.classifier_updates is not None:
        print(f"  by a feature net of {settings.classifier_updates:,} training steps, kept for next time", flush=True)
    judge = classifier.load(dataset, settings.features, settings.classifier_updates)
    runs, found = run.singles(settings.member), []
    samplers = [partial(one.sample, count=settings.samples) for one in runs.values()]
    results = generator.evaluations(samplers, dataset, judge, settings.seed)
    for (suffix, one), result in zip(runs.items(), results, strict=True):
        head = {"run": str(settings.run_dir), "step": run.step, "trained_with_seed": one.seed}
        result = {**head, "trained_on_test_images": train_on_all, **result}
        name = f"evaluation{suffix}" + (f"-seed-{settings.seed}" if settings.seed else "")
        write_json(settings.run_dir / f"{name}.json", result)
        if suffix:
            print(f"{settings.run_dir}, trained with seed {one.seed}")
        print(table(result), flush=True)
        if result["alarm"]:
            print(f"  warning: {result['alarm']}", flush=True)
        found.append(result["samples"])
    if len(found) > 1:
        print(seeds.table({name: [scores[name] for scores in found] for name in found[0] if _is_score(name)}))
    if judge.origin == "trained":
        keep = f"copy {judge.path}" if judge.path else "make a file of it with train_features.py"
        print(
            f"  scores hold for this machine's feature net only: to compare elsewhere, {keep} and give it as --features"
        )
    if train_on_all:
        print("  it was trained on the test images too")


if __name__ == "__main__":
    command_line.main(Settings(), main, __doc__)
