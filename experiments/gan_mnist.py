"""Generative adversarial networks on MNIST: the chapter's dense nets, and a better preset.

    python experiments/gan_mnist.py --preset quick              # embedded digits, a column each: 5 s of training
    python experiments/gan_mnist.py                             # the chapter's, MNIST, 20 epochs
    python experiments/gan_mnist.py --preset better             # classes, small convolutional nets, R1, EMA: 15 minutes
    python experiments/evaluate_gan.py runs/gan_mnist-001       # how good its samples are

Losses, sample quality and training time: docs/measurements.md.
"""

from dataclasses import replace

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page, report
from jaxgen.algorithms import gan
from jaxgen.data import DataSettings
from jaxgen.experiment import Experiment
from jaxgen.optim import HParams as Optimizer
from jaxgen.runs.settings import RunSettings, Settings

CHAPTER = Settings(gan.Config(), gan.HParams(), RunSettings(epochs=20, draw_every=1), DataSettings("mnist"))
BETTER = Settings(
    gan.Config(
        net="small",
        generator_widths=(64, 32),
        discriminator_widths=(32, 64),
        classes=10,
        penalty="r1",
        penalty_every=4,
        ema=True,
        optimizer="adam",
        schedule="linear",
        batch_size=64,
    ),
    gan.HParams(
        generator=Optimizer(learning_rate=2e-3, b1=0.5, b2=0.99),
        discriminator=Optimizer(learning_rate=2e-3, b1=0.5, b2=0.99),
        penalty=1.0,
    ),
    RunSettings(epochs=10, draw_every=1),
    DataSettings("mnist"),
)
SLOWER = Optimizer(learning_rate=1e-3, b1=0.5, b2=0.99)
QUICK = replace(
    BETTER,
    hparams=replace(BETTER.hparams, generator=SLOWER, discriminator=SLOWER),
    config=replace(BETTER.config, net="dense", generator_widths=(), discriminator_widths=(), schedule="constant"),
    run=RunSettings(epochs=150, draw_every=15, evaluate_every=15),
    data=DataSettings("digits"),
)
EXPERIMENT = Experiment(
    "gan_mnist",
    gan,
    {"chapter": CHAPTER, "better": BETTER, "quick": QUICK},
    figures=report.gan.draw,
    page=page.at_end,
    summarize=report.gan.summarize,
    describe=report.gan.describe,
    pictures=("training.gif", "samples.png"),
)


if __name__ == "__main__":
    EXPERIMENT.main(__doc__)
