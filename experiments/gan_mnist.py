"""Generative adversarial networks on MNIST: the chapter's dense nets, and a better preset.

    python experiments/gan_mnist.py --data.source digits        # embedded digits, no download
    python experiments/gan_mnist.py                             # the chapter's, MNIST, 20 epochs
    python experiments/gan_mnist.py --preset better             # small convolutional nets, R1, EMA
    python experiments/evaluate_gan.py runs/gan_mnist-001       # how good its samples are

See the README for the losses, the sample quality and the seconds it takes.
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
    data: DataSettings = field(default_factory=DataSettings)
    config: gan.Config = field(default_factory=gan.Config)
    hparams: gan.HParams = field(default_factory=gan.HParams)
    run: RunSettings = field(default_factory=lambda: RunSettings(epochs=20, draw_every=1))


BETTER = Settings(
    preset="better",
    config=gan.Config(net="small", penalty="r1", penalty_every=4, ema=True, optimizer="adam", batch_size=64),
    hparams=gan.HParams(
        generator=Optimizer(learning_rate=1e-3, b1=0.5, b2=0.99),
        discriminator=Optimizer(learning_rate=1e-3, b1=0.5, b2=0.99),
        penalty=1.0,
    ),
    run=RunSettings(epochs=10, draw_every=1),
)
PRESETS = {"chapter": Settings(), "better": BETTER}


def main(settings: Settings, train: Train = train) -> None:
    from jaxgen.report import gan as report

    train("gan_mnist", gan, settings, report.draw)


if __name__ == "__main__":
    command_line.main(PRESETS, main, __doc__)
