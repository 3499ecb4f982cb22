"""PNG samples of a finished GAN, for external tools.

    python experiments/export_samples.py runs/gan_mnist-001
    python experiments/export_samples.py runs/gan_mnist-001 --count 10000 --out samples

The same seed gives the same files.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen.errors import check_at_least, refuse
from jaxgen.launch import command_line


@dataclass(frozen=True)
class Settings:
    """The run to export from, and how many samples."""

    run_dir: tyro.conf.Positional[Path] = Path("runs/gan_mnist-001")
    """Directory of a run whose model can sample."""
    out: Path | None = None
    """Folder to create for the files; default: samples in the run directory."""
    count: int = 1000
    """Number of samples to write."""
    seed: int = 0
    """Random seed for the samples."""
    member: int = 0
    """With several seeds in the run: whose generator."""


def main(settings: Settings) -> None:
    """Draw samples and write `00000.png`, `00001.png`, ..."""
    check_at_least("count", settings.count, 1)
    check_at_least("seed", settings.seed, 0)
    out = settings.out or settings.run_dir / "samples"
    if out.exists() and any(out.iterdir()):
        refuse("out", str(out), "a folder that is empty or not there yet")
    import jax
    import numpy as np
    from tqdm import tqdm

    from jaxgen.report.figures import as_picture
    from jaxgen.runs.load import load

    run = load(settings.run_dir)
    run = run if run.members is None else run.member(settings.member)
    print(f"writing {settings.count:,} samples of {settings.run_dir} (step {run.step}) to {out}", flush=True)
    images = run.sample(jax.random.key(settings.seed), settings.count)
    out.mkdir(parents=True, exist_ok=True)
    pictures = np.round(255 * np.asarray(images)).astype(np.uint8)
    for number, image in enumerate(tqdm(pictures, unit="image", leave=False, disable=None)):
        as_picture(image).save(out / f"{number:05d}.png")


if __name__ == "__main__":
    command_line.main(Settings(), main, __doc__)
