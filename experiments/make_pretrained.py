"""The small trained models that ship with jaxgen: trained, exported in float16, and their hashes recorded.

    python experiments/make_pretrained.py                   # all of them, into jaxgen/pretrained
    python experiments/make_pretrained.py --only vae_mnist

Each is the experiment's preset `quick` with a net that keeps the file small; the seed is fixed. The last bits depend on
the processor, so another machine makes slightly other weights. `jaxgen.pretrained("vae_mnist")` loads one.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen.launch import command_line

SMALLER = {
    "ae_mnist": (),
    "conv_ae_mnist": (),
    "dqn_cartpole": (),
    "gan_flowers": (),
    "gan_mnist": (),
    "iwae_mnist": ("--config.widths", "100", "100"),
    "vae_flowers": ("--config.widths", "48"),
    "vae_mnist": ("--config.widths", "128"),
}
"""Experiments, and options that make their nets smaller."""


@dataclass(frozen=True)
class Settings:
    """The models to make."""

    only: tuple[str, ...] = tuple(SMALLER)
    """Experiments."""
    to: Path | None = None
    """Folder to write; default: jaxgen/pretrained."""


def main(settings: Settings) -> None:
    """Train, export, and record the hashes."""
    from jaxgen.errors import check_choice
    from jaxgen.export import pretrained, weights
    from jaxgen.launch.experiments import train
    from jaxgen.sweeps import experiment

    folder = settings.to or pretrained.SHIPPED
    for name in settings.only:
        check_choice("only", name, SMALLER)
    for name in settings.only:
        script = Path(__file__).with_name(f"{name}.py")
        chosen = experiment.load(script, ["--preset", "quick", *SMALLER[name]])
        with tempfile.TemporaryDirectory() as root:
            run = replace(chosen.settings.run, root=Path(root), name=name)
            made = train(replace(chosen.experiment, figures=None), replace(chosen.settings, run=run))
            if (folder / name).exists():
                shutil.rmtree(folder / name)
            folder.mkdir(parents=True, exist_ok=True)
            weights.export(made, folder / name, precision="float16")
    hashes = {path.parent.name: pretrained.sha256(path) for path in sorted(folder.glob(f"*/{weights.WEIGHTS}"))}
    (folder / "hashes.json").write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    command_line.main(Settings(), main, __doc__)
