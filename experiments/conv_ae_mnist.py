"""Convolutional autoencoder for 28x28 images, 5,027 parameters, with the chapter's settings.

    python experiments/conv_ae_mnist.py --data.source digits     # embedded digits, no download
    python experiments/conv_ae_mnist.py                          # MNIST, 50 epochs

MNIST: see the README for the test loss per pixel and the seconds it takes.
"""

from dataclasses import dataclass, field

from jaxgen.algorithms import autoencoder
from jaxgen.data import DataSettings
from jaxgen.launch import command_line
from jaxgen.runs.settings import RunSettings
from jaxgen.runs.train import Train, train


@dataclass(frozen=True)
class Settings:
    """Settings of this experiment."""

    data: DataSettings = field(default_factory=DataSettings)
    config: autoencoder.Config = field(
        default_factory=lambda: autoencoder.Config(net="conv", optimizer="rmsprop", batch_size=64)
    )
    hparams: autoencoder.HParams = field(default_factory=lambda: autoencoder.HParams(learning_rate=1e-3))
    run: RunSettings = field(default_factory=lambda: RunSettings(epochs=50))


def main(settings: Settings, train: Train = train) -> None:
    from jaxgen.report import autoencoder as report

    train("conv_ae_mnist", autoencoder, settings, report.draw)


if __name__ == "__main__":
    command_line.main(Settings(), main, __doc__)
