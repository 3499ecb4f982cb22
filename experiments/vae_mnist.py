"""Variational autoencoders for 28x28 images.

    python experiments/vae_mnist.py --preset quick    # 1,797 embedded digits, no download: 3 s of training
    python experiments/vae_mnist.py                   # MNIST, the preset conv
    python experiments/vae_mnist.py --preset mlp      # 784-500-20, as in the literature
    python experiments/evaluate_vae.py runs/NAME      # log likelihood and more of a finished run

Presets (--preset NAME; other options override it):

    conv               the chapter's net with 5,285 parameters, binarized pixels, KL in closed form
    chapter            the chapter's text: gray pixels, one-sample KL with weight 1, Adamax 2e-3, batch 32
    chapter-effective  the chapter's code: the same with KL weight 2
    mlp                784-500-20, binarized pixels, Adam 1e-3, batch 128
    best               mlp with a larger learning rate and cosine decay, over 30 epochs of MNIST
    quick              784-500-2 on embedded digits, 149.5 nats: figures/manifold.png shows the whole latent plane
    beta-tc            the conv net with 10 latents and the total correlation weighted by 6

The chapter passes the KL to its library as a regularizer of a distribution layer. TensorFlow Probability 0.17 sums it
over the batch; Keras 2.9 divides by the batch and adds it for both outputs of the layer, which gives twice the mean.
The chapter gives no learning rate; 2e-3 is the default of its R package (keras up to 2.9.0).

Expected numbers: docs/measurements.md.
"""

from dataclasses import replace

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page, report
from jaxgen.algorithms import vae
from jaxgen.data import DataSettings
from jaxgen.experiment import Experiment
from jaxgen.runs.settings import RunSettings, Settings

MNIST = DataSettings("mnist")
CHAPTER = Settings(
    vae.Config(net="conv", latent_size=2, rate="sampled", optimizer="adamax", batch_size=32),
    vae.HParams(learning_rate=2e-3),
    RunSettings(epochs=50),
    MNIST,
)
MLP = Settings(vae.Config(inputs="binarized"), vae.HParams(), RunSettings(epochs=30), MNIST)
CONV = vae.Config(net="conv", latent_size=2, inputs="binarized", batch_size=64)
PRESETS = {
    "conv": Settings(CONV, vae.HParams(), RunSettings(epochs=20), MNIST),
    "chapter": CHAPTER,
    "chapter-effective": replace(CHAPTER, hparams=replace(CHAPTER.hparams, beta=2.0)),
    "mlp": MLP,
    "best": replace(MLP, config=replace(MLP.config, schedule="cosine"), hparams=vae.HParams(learning_rate=3e-3)),
    "beta-tc": Settings(
        vae.Config(net="conv", latent_size=10, inputs="binarized", objective="tc"),
        vae.HParams(beta=6.0),
        RunSettings(epochs=20),
        MNIST,
    ),
    "quick": Settings(
        vae.Config(latent_size=2, schedule="cosine", batch_size=64),
        vae.HParams(learning_rate=2e-3),
        RunSettings(epochs=120, evaluate_every=10),
        DataSettings("digits"),
    ),
}
EXPERIMENT = Experiment(
    "vae_mnist", vae, PRESETS, figures=report.vae.draw, page=page.at_end, pictures=("manifold.png", "samples.png")
)


if __name__ == "__main__":
    EXPERIMENT.main(__doc__)
