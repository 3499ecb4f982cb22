"""Importance-weighted autoencoder, 784-200-200-50 with tanh, as in Burda, Grosse & Salakhutdinov (2015).

    python experiments/iwae_mnist.py --config.samples 5                    # MNIST, k = 5
    python experiments/evaluate_vae.py runs/NAME --samples 5000            # the paper's log likelihood
    python experiments/iwae_mnist.py --data.source digits --run.epochs 20  # embedded digits, no download

Presets (--preset NAME; every further option changes it):

    iwae   the paper's net, binarized pixels, Adam 1e-3 (epsilon 1e-4) that falls along a cosine in 20 epochs, batch 20
    dreg   the same with the doubly reparameterized gradient
    paper  the paper's eight stages of learning rates over its 3,280 epochs: weeks on a laptop

A schedule is spread over hparams.schedule-steps updates, 3,000 an epoch of MNIST: change it with run.epochs. With
--config.samples 1 this is the paper's VAE.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from jaxgen.algorithms import vae
from jaxgen.data import DataSettings
from jaxgen.launch import command_line
from jaxgen.runs.settings import RunSettings
from jaxgen.runs.train import Train, train


@dataclass(frozen=True)
class Settings:
    """Settings of this experiment."""

    preset: Literal["iwae", "dreg", "paper"] = "iwae"
    """Settings to start from (see above); every other option changes them."""
    data: DataSettings = field(default_factory=DataSettings)
    config: vae.Config = field(
        default_factory=lambda: vae.Config(
            latent_size=50,
            widths=(200, 200),
            activation="tanh",
            inputs="binarized",
            objective="iwae",
            samples=50,
            schedule="cosine",
            batch_size=20,
        )
    )
    hparams: vae.HParams = field(
        default_factory=lambda: vae.HParams(learning_rate=1e-3, eps=1e-4, schedule_steps=20 * 3000)
    )
    run: RunSettings = field(default_factory=lambda: RunSettings(epochs=20))


IWAE = Settings()
PRESETS = {
    "iwae": IWAE,
    "dreg": replace(IWAE, preset="dreg", config=replace(IWAE.config, objective="dreg")),
    "paper": replace(
        IWAE,
        preset="paper",
        config=replace(IWAE.config, schedule="stages"),
        hparams=replace(IWAE.hparams, schedule_steps=3280 * 3000),
        run=replace(IWAE.run, epochs=3280),
    ),
}


def main(settings: Settings, train: Train = train) -> None:
    from jaxgen.report import vae as report

    train("iwae_mnist", vae, settings, report.draw)


if __name__ == "__main__":
    command_line.main(PRESETS, main, __doc__)
