"""Generative adversarial networks on 80x80 flowers: the chapter's convolutional nets, and a better preset.

    python experiments/gan_flowers.py                                             # procedural flowers, no download
    python experiments/gan_flowers.py --data.source folder --data.path FLOWERS    # photographs, one folder a class
    python experiments/gan_flowers.py --preset better                             # hinge, DiffAugment, average

The chapter's own run had dropout off: `--config.dropout 0`. It trained on the test images too, as both presets do.
See the README for the losses and the time it takes.
"""

from dataclasses import dataclass, field
from typing import Literal

from jaxgen.algorithms import gan
from jaxgen.data import DataSettings
from jaxgen.launch import command_line
from jaxgen.optim import HParams as Optimizer
from jaxgen.runs.settings import RunSettings
from jaxgen.runs.train import Train, train


@dataclass(frozen=True)
class Settings:
    """Settings of this experiment."""

    preset: Literal["chapter", "better"] = "chapter"
    """Settings to start from; every other option changes them."""
    data: DataSettings = field(default_factory=lambda: DataSettings(source="petals", train_on_all=True))
    config: gan.Config = field(
        default_factory=lambda: gan.Config(image_shape=(80, 80, 3), net="flower", dropout=0.3, batch_size=32)
    )
    hparams: gan.HParams = field(
        default_factory=lambda: gan.HParams(real_target=0.95, fake_target=0.05, generator_target=0.95)
    )
    run: RunSettings = field(default_factory=lambda: RunSettings(epochs=30, draw_every=1))


BETTER = Settings(
    preset="better",
    config=gan.Config(
        image_shape=(80, 80, 3),
        net="flower",
        loss="hinge",
        spectral_norm=True,
        ema=True,
        augment=("color", "translation", "cutout"),
        optimizer="adam",
        batch_size=32,
    ),
    hparams=gan.HParams(
        generator=Optimizer(learning_rate=2e-4, b1=0.0, b2=0.9),
        discriminator=Optimizer(learning_rate=4e-4, b1=0.0, b2=0.9),
    ),
)
PRESETS = {"chapter": Settings(), "better": BETTER}


def main(settings: Settings, train: Train = train) -> None:
    from jaxgen.report import gan as report

    train("gan_flowers", gan, settings, report.draw)


if __name__ == "__main__":
    command_line.main(PRESETS, main, __doc__)
