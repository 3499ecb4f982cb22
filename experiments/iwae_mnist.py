"""Importance-weighted autoencoder, 784-200-200-50 with tanh, as in Burda, Grosse & Salakhutdinov (2015).

    python experiments/iwae_mnist.py --config.samples 5                    # MNIST, k = 5
    python experiments/evaluate_vae.py runs/NAME --samples 5000            # the paper's log likelihood
    python experiments/iwae_mnist.py --preset quick                        # embedded digits: 5 s of training

Presets (--preset NAME; other options override it):

    iwae   the paper's net, binarized pixels, Adam 1e-3 (epsilon 1e-4) with cosine decay over 20 epochs, batch 20
    dreg   the same with the doubly reparameterized gradient
    quick  k = 5 on embedded digits: 146.4 nats
    paper  the paper's eight learning-rate stages over its 3,280 epochs: weeks on a laptop

A schedule of length 0, the default, spans the run. With --config.samples 1, this is the paper's VAE.
"""

from dataclasses import replace

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page, report
from jaxgen.algorithms import vae
from jaxgen.data import DataSettings
from jaxgen.experiment import Experiment
from jaxgen.runs.settings import RunSettings, Settings

IWAE = Settings(
    vae.Config(
        latent_size=50,
        widths=(200, 200),
        activation="tanh",
        inputs="binarized",
        objective="iwae",
        samples=50,
        schedule="cosine",
        batch_size=20,
    ),
    vae.HParams(learning_rate=1e-3, eps=1e-4),
    RunSettings(epochs=20),
    DataSettings("mnist"),
)
PRESETS = {
    "iwae": IWAE,
    "dreg": replace(IWAE, config=replace(IWAE.config, objective="dreg")),
    "quick": Settings(
        replace(IWAE.config, samples=5, batch_size=64),
        IWAE.hparams,
        RunSettings(epochs=100, evaluate_every=10),
        DataSettings("digits"),
    ),
    "paper": replace(IWAE, config=replace(IWAE.config, schedule="stages"), run=replace(IWAE.run, epochs=3280)),
}
EXPERIMENT = Experiment(
    "iwae_mnist", vae, PRESETS, figures=report.vae.draw, page=page.at_end, pictures=("samples.png",)
)


if __name__ == "__main__":
    EXPERIMENT.main(__doc__)
