"""Variational autoencoders for 28x28 images.

    python experiments/vae_mnist.py --data.source digits --run.epochs 20    # embedded digits, no download
    python experiments/vae_mnist.py                                         # MNIST, the preset conv
    python experiments/vae_mnist.py --preset mlp                            # 784-500-20, as in the literature
    python experiments/evaluate_vae.py runs/NAME                            # log likelihood and more of a finished run

Presets (--preset NAME; every further option changes it):

    conv               the chapter's net of 5,285 parameters, binarized pixels, KL in closed form
    chapter            the chapter as its text has it: gray pixels, one-sample KL of weight 1, Adamax 2e-3, batch 32
    chapter-effective  the chapter as its code computes it: the same with a KL of weight 2
    mlp                784-500-20, binarized pixels, Adam 1e-3, batch 128
    best               mlp with a larger learning rate that falls along a cosine, over 30 epochs of MNIST
    beta-tc            10 latents of the conv net with the total correlation weighed by 6

The chapter hands the KL to its library as a regularizer of a distribution layer. TensorFlow Probability 0.17 sums it
over the batch, Keras 2.9 divides by the batch and adds it for both outputs of the layer: twice the mean. It names no
learning rate; 2e-3 is the default of its R package (keras up to 2.9.0).

See the README for the numbers to expect.
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

    preset: Literal["conv", "chapter", "chapter-effective", "mlp", "best", "beta-tc"] = "conv"
    """Settings to start from (see above); every other option changes them."""
    data: DataSettings = field(default_factory=DataSettings)
    config: vae.Config = field(
        default_factory=lambda: vae.Config(net="conv", latent_size=2, inputs="binarized", batch_size=64)
    )
    hparams: vae.HParams = field(default_factory=vae.HParams)
    run: RunSettings = field(default_factory=lambda: RunSettings(epochs=20))


CHAPTER = Settings(
    preset="chapter",
    config=vae.Config(net="conv", latent_size=2, rate="sampled", optimizer="adamax", batch_size=32),
    hparams=vae.HParams(learning_rate=2e-3),
    run=RunSettings(epochs=50),
)
MLP = Settings(preset="mlp", config=vae.Config(inputs="binarized"), run=RunSettings(epochs=30))
PRESETS = {
    "conv": Settings(),
    "chapter": CHAPTER,
    "chapter-effective": replace(CHAPTER, preset="chapter-effective", hparams=replace(CHAPTER.hparams, beta=2.0)),
    "mlp": MLP,
    "best": replace(
        MLP,
        preset="best",
        config=replace(MLP.config, schedule="cosine"),
        hparams=vae.HParams(learning_rate=3e-3, schedule_steps=30 * 468),
    ),
    "beta-tc": Settings(
        preset="beta-tc",
        config=vae.Config(net="conv", latent_size=10, inputs="binarized", objective="tc"),
        hparams=vae.HParams(beta=6.0),
    ),
}


def main(settings: Settings, train: Train = train) -> None:
    from jaxgen.report import vae as report

    train("vae_mnist", vae, settings, report.draw)


if __name__ == "__main__":
    command_line.main(PRESETS, main, __doc__)
