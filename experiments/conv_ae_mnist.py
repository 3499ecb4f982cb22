"""Convolutional autoencoder for 28x28 images, 5,027 parameters, with the chapter's settings.

    python experiments/conv_ae_mnist.py --preset quick     # 1,797 embedded digits: 0.186 nats per pixel in 8 s
    python experiments/conv_ae_mnist.py                    # MNIST, 50 epochs

The number is a test loss; seconds are of training, on two cores.
"""

from dataclasses import replace

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page, report
from jaxgen.algorithms import autoencoder
from jaxgen.data import DataSettings
from jaxgen.experiment import Experiment
from jaxgen.runs.settings import RunSettings, Settings

CHAPTER = Settings(
    autoencoder.Config(net="conv", optimizer="rmsprop", batch_size=64),
    autoencoder.HParams(learning_rate=1e-3),
    RunSettings(epochs=50),
    DataSettings("mnist"),
)
QUICK = Settings(
    replace(CHAPTER.config, optimizer="adam"),
    autoencoder.HParams(learning_rate=1e-2),
    RunSettings(epochs=100, evaluate_every=10),
    DataSettings("digits"),
)
EXPERIMENT = Experiment(
    "conv_ae_mnist",
    autoencoder,
    {"chapter": CHAPTER, "quick": QUICK},
    figures=report.autoencoder.draw,
    page=page.at_end,
    pictures=("reconstructions.png",),
)


if __name__ == "__main__":
    EXPERIMENT.main(__doc__)
