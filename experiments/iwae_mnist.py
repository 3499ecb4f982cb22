"""Importance-weighted autoencoder, 784-200-200-50 with tanh, as in Burda, Grosse & Salakhutdinov (2015).

    python experiments/iwae_mnist.py --config.samples 5                    # MNIST, k = 5
    python experiments/evaluate_vae.py runs/NAME --samples 5000            # the paper's log likelihood
    python experiments/iwae_mnist.py --data.source digits --run.epochs 20  # embedded digits, no download

Presets (--preset NAME; every further option changes it):

    iwae   the paper's: binarised pixels, Adam 1e-3 (epsilon 1e-4) in eight stages, batch 20
    dreg   the same with the doubly reparameterised gradient

The stages are spread over hparams.schedule-steps updates, 3,000 an epoch of MNIST: set it with run.epochs (the paper
gives 3,280). With --config.samples 1 this is the paper's VAE.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from jaxgen.algorithms import vae
from jaxgen.data import DataSettings
from jaxgen.engine import cli
from jaxgen.engine.settings import RunSettings
from jaxgen.engine.train import train


@dataclass(frozen=True)
class Settings:
    """Settings of this experiment."""

    preset: Literal["iwae", "dreg"] = "iwae"
    """Settings to start from (see above); every other option changes them."""
    data: DataSettings = field(default_factory=DataSettings)
    config: vae.Config = field(
        default_factory=lambda: vae.Config(
            latent_size=50,
            widths=(200, 200),
            activation="tanh",
            inputs="binarised",
            objective="iwae",
            samples=50,
            schedule="stages",
            batch_size=20,
        )
    )
    hparams: vae.HParams = field(
        default_factory=lambda: vae.HParams(learning_rate=1e-3, eps=1e-4, schedule_steps=20 * 3000)
    )
    run: RunSettings = field(default_factory=lambda: RunSettings(epochs=20))


PRESETS = {"iwae": Settings(), "dreg": Settings(preset="dreg", config=replace(Settings().config, objective="dreg"))}


def main(settings: Settings) -> None:
    from jaxgen.report import vae as report

    train("iwae_mnist", vae, settings, report.draw)


if __name__ == "__main__":
    cli.main(PRESETS, main, __doc__)
