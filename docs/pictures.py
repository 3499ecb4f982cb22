"""The README's pictures, from runs of the presets `quick`.

    for name in vae_mnist iwae_mnist gan_flowers gan_mnist dqn_cartpole; do jaxgen fit $name --preset quick; done
    python docs/pictures.py runs

Writes small files into docs/images.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageSequence
from scipy.stats import norm

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen.errors import UserError
from jaxgen.launch import command_line
from jaxgen.report import figures
from jaxgen.runs.load import load
from jaxgen.runs.run import Run

IMAGES = Path(__file__).with_name("images")
ACROSS, UP = 16, 8
"""Images in a row of the manifold, and rows."""


@dataclass(frozen=True)
class Settings:
    """The runs."""

    root: tyro.conf.Positional[Path] = Path("runs")
    """Folder that holds a run of each experiment."""


def newest(root: Path, experiment: str) -> Run:
    """The last run of an experiment, by name."""
    found = sorted(root.glob(f"{experiment}-*/result.json"))
    if not found:
        raise UserError(f"{root} holds no finished run of {experiment}: jaxgen fit {experiment} --preset quick")
    return load(found[-1].parent)


def reconstructions(run: Run) -> np.ndarray:
    """Two pairs of rows: test images above their reconstructions."""
    images = run.data().test.images[:16]
    pairs = np.stack([np.asarray(images, np.float32) / 255, np.asarray(run.reconstruct(images))])
    return pairs.reshape(2, 2, 8, *images.shape[1:]).swapaxes(0, 1).reshape(-1, *images.shape[1:])


def manifold(run: Run) -> np.ndarray:
    """Images decoded over quantiles of a two-dimensional prior, the second latent upward."""
    first, second = (norm.ppf((np.arange(count) + 0.5) / count) for count in (ACROSS, UP))
    across, up = np.meshgrid(first, second[::-1])
    return np.asarray(run.decode(np.stack([across.ravel(), up.ravel()], axis=1)))


def smaller(source: Path, to: Path, width: int, nth: int = 1, share: float = 1.0) -> None:
    """The upper share of a picture, or of every nth frame of an animation, at another width."""
    with Image.open(source) as image:
        box = (0, 0, image.width, round(share * image.height))
        size = (width, round(box[3] * width / image.width))
        milliseconds = image.info.get("duration", 0) * nth
        frames = [frame.convert("RGB").crop(box).resize(size) for frame in ImageSequence.Iterator(image)]
    if len(frames) > 1:
        shown = [frame.quantize(32, dither=Image.Dither.NONE) for frame in frames[::nth]]
        figures.gif(to, shown, milliseconds, 2000)
    else:
        frames[0].save(to, optimize=True, quality=88)


def main(settings: Settings) -> None:
    """Write the six pictures."""
    root = settings.root
    figures.image_sheet(IMAGES / "reconstructions.png", reconstructions(newest(root, "iwae_mnist")), 8, 1)
    figures.image_sheet(IMAGES / "manifold.png", manifold(newest(root, "vae_mnist")), ACROSS, 1)
    for name, picture, to, width, nth, share in (
        ("gan_flowers", "samples.png", "flowers.jpg", 480, 1, 0.5),
        ("gan_mnist", "training.gif", "gan.gif", 290, 1, 0.5),
        ("dqn_cartpole", "returns.png", "returns.png", 420, 1, 1.0),
        ("dqn_cartpole", "pole.gif", "pole.gif", 300, 2, 1.0),
    ):
        run = newest(root, name)
        assert run.directory is not None
        smaller(run.directory / "figures" / picture, IMAGES / to, width, nth, share)


if __name__ == "__main__":
    command_line.main(Settings(), main, __doc__)
