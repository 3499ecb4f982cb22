"""Dense autoencoder, 784-100-20-2-20-100-784, with the chapter's settings.

    python experiments/ae_mnist.py --data.source digits     # embedded digits, no download
    python experiments/ae_mnist.py                          # MNIST, 5 epochs

MNIST, 5 epochs: see the README for the test loss per pixel and the seconds it takes.
"""

from jaxgen import report
from jaxgen.algorithms import autoencoder
from jaxgen.data import DataSettings
from jaxgen.experiment import Experiment
from jaxgen.runs.settings import RunSettings, Settings

CHAPTER = Settings(
    autoencoder.Config(), autoencoder.HParams(learning_rate=1e-2), RunSettings(epochs=5), DataSettings("mnist")
)
EXPERIMENT = Experiment("ae_mnist", autoencoder, {"chapter": CHAPTER}, figures=report.autoencoder.draw)


if __name__ == "__main__":
    EXPERIMENT.main(__doc__)
