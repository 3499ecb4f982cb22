"""Dense autoencoder, 784-100-20-2-20-100-784, with the chapter's settings.

    python experiments/ae_mnist.py --preset quick     # 1,797 embedded digits, no download: 0.186 nats per pixel in 3 s
    python experiments/ae_mnist.py                    # MNIST, 5 epochs: 0.185 nats per pixel

Numbers are test losses; seconds are of training, on two cores.
"""

from dataclasses import replace

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page, report
from jaxgen.algorithms import autoencoder
from jaxgen.data import DataSettings
from jaxgen.experiment import Experiment
from jaxgen.runs.settings import RunSettings, Settings

CHAPTER = Settings(
    autoencoder.Config(), autoencoder.HParams(learning_rate=1e-2), RunSettings(epochs=5), DataSettings("mnist")
)
QUICK = replace(CHAPTER, run=RunSettings(epochs=300, evaluate_every=10), data=DataSettings("digits"))
EXPERIMENT = Experiment(
    "ae_mnist",
    autoencoder,
    {"chapter": CHAPTER, "quick": QUICK},
    figures=report.autoencoder.draw,
    page=page.at_end,
    pictures=("code_plane.png", "reconstructions.png"),
)


if __name__ == "__main__":
    EXPERIMENT.main(__doc__)
