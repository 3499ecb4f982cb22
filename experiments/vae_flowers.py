"""Variational autoencoder for 80x80 color images, 2,394,337 parameters.

    python experiments/vae_flowers.py --preset quick                               # dense, 40x40: 22 s of training
    python experiments/vae_flowers.py                                              # embedded procedural flowers
    python experiments/vae_flowers.py --data.source folder --data.path FLOWERS     # photographs, one subfolder a class
    python experiments/evaluate_vae.py runs/NAME                                   # bounds and codes of a finished run

Presets (--preset NAME; other options override it):

    logistic           discretized logistic likelihood with a learned scale: comparable bits per dimension;
                       Adamax 2e-3, batch 20
    quick              dense nets, 32 latents, on 40x40 procedural flowers
    chapter            the chapter's text: mean over channels + 0.0002 one-sample KL, Adamax 3e-4, batch 20
    chapter-effective  the chapter's code: 0.0004, twice that weight

Keras 2.9 adds the chapter's KL for both outputs of its distribution layer. The chapter's loss is a third of ours (its
cross-entropy is a mean over channels), so its KL weights are three times as large here: 0.0006 and 0.0012.
Expected numbers: docs/measurements.md.
"""

from dataclasses import replace

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page, report
from jaxgen.algorithms import vae
from jaxgen.data import DataSettings
from jaxgen.experiment import Experiment
from jaxgen.runs.settings import RunSettings, Settings

NET = vae.Config(
    net="flower", image_shape=(80, 80, 3), latent_size=10, posterior="full", optimizer="adamax", batch_size=20
)
LOGISTIC = Settings(
    replace(NET, likelihood="logistic", learn_scale=True),
    vae.HParams(learning_rate=2e-3, scale=0.15),
    RunSettings(epochs=50),
    DataSettings("petals"),
)
CHAPTER = replace(
    LOGISTIC, config=replace(NET, rate="sampled"), hparams=vae.HParams(learning_rate=3e-4, beta=3 * 0.0002)
)
QUICK = Settings(
    vae.Config(
        image_shape=(40, 40, 3), widths=(512,), latent_size=32, optimizer="adam", schedule="cosine", batch_size=64
    ),
    vae.HParams(learning_rate=1e-3),
    RunSettings(epochs=40, evaluate_every=5),
    DataSettings("petals", size=40),
)
PRESETS = {
    "logistic": LOGISTIC,
    "quick": QUICK,
    "chapter": CHAPTER,
    "chapter-effective": replace(CHAPTER, hparams=replace(CHAPTER.hparams, beta=3 * 0.0004)),
}
EXPERIMENT = Experiment(
    "vae_flowers", vae, PRESETS, figures=report.vae.draw, page=page.at_end, pictures=("reconstructions.png",)
)


if __name__ == "__main__":
    EXPERIMENT.main(__doc__)
