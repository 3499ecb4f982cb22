"""Variational autoencoder for color images of 80x80, 2,394,337 parameters.

    python experiments/vae_flowers.py                                              # embedded procedural flowers
    python experiments/vae_flowers.py --data.source folder --data.path FLOWERS     # photographs, one subfolder a class
    python experiments/evaluate_vae.py runs/NAME                                   # bounds and codes of a finished run

Presets (--preset NAME; every further option changes it):

    logistic           discretized logistic likelihood of a learned scale: bits per dimension that can be compared;
                       Adamax 2e-3, batch 20
    chapter            the chapter as its text has it: mean over channels + 0.0002 one-sample KL, Adamax 3e-4, batch 20
    chapter-effective  the chapter as its code computes it: 0.0004, twice that weight

Keras 2.9 adds the chapter's KL for both outputs of its distribution layer. The chapter's loss is a third of ours (its
cross-entropy is a mean over channels), so its KL weights count three times here: 0.0006 and 0.0012. See the README for
the numbers to expect.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from jaxgen.algorithms import vae
from jaxgen.data import DataSettings
from jaxgen.launch import command_line
from jaxgen.runs.settings import RunSettings
from jaxgen.runs.train import Train, train

NET = vae.Config(
    net="flower", image_shape=(80, 80, 3), latent_size=10, posterior="full", optimizer="adamax", batch_size=20
)


@dataclass(frozen=True)
class Settings:
    """Settings of this experiment."""

    preset: Literal["logistic", "chapter", "chapter-effective"] = "logistic"
    """Settings to start from (see above); every other option changes them."""
    data: DataSettings = field(default_factory=lambda: DataSettings(source="petals"))
    config: vae.Config = field(default_factory=lambda: replace(NET, likelihood="logistic", learn_scale=True))
    hparams: vae.HParams = field(default_factory=lambda: vae.HParams(learning_rate=2e-3, scale=0.15))
    run: RunSettings = field(default_factory=lambda: RunSettings(epochs=50))


CHAPTER = Settings(
    preset="chapter",
    config=replace(NET, rate="sampled"),
    hparams=vae.HParams(learning_rate=3e-4, beta=3 * 0.0002),
)
PRESETS = {
    "logistic": Settings(),
    "chapter": CHAPTER,
    "chapter-effective": replace(
        CHAPTER, preset="chapter-effective", hparams=replace(CHAPTER.hparams, beta=3 * 0.0004)
    ),
}


def main(settings: Settings, train: Train = train) -> None:
    from jaxgen.report import vae as report

    train("vae_flowers", vae, settings, report.draw)


if __name__ == "__main__":
    command_line.main(PRESETS, main, __doc__)
