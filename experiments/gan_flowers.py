"""Generative adversarial networks on 80x80 flowers: the chapter's convolutional nets, and a better preset.

    python experiments/gan_flowers.py --preset quick                              # small nets, 40x40: 40 s of training
    python experiments/gan_flowers.py                                             # procedural flowers, no download
    python experiments/gan_flowers.py --data.source folder --data.path FLOWERS    # photographs, one folder a class
    python experiments/gan_flowers.py --preset better                             # classes, small nets, R1: 45 minutes

The chapter's own run had dropout off: `--config.dropout 0`. It also trained on the test images, as the presets do.
Losses and training time: docs/measurements.md.
"""

from dataclasses import replace

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page, report
from jaxgen.algorithms import gan
from jaxgen.data import DataSettings
from jaxgen.experiment import Experiment
from jaxgen.optim import HParams as Optimizer
from jaxgen.runs.settings import RunSettings, Settings

PETALS = DataSettings("petals", train_on_all=True)
CHAPTER = Settings(
    gan.Config(image_shape=(80, 80, 3), net="flower", dropout=0.3, batch_size=32),
    gan.HParams(real_target=0.95, fake_target=0.05, generator_target=0.95),
    RunSettings(epochs=30, draw_every=1),
    PETALS,
)
BETTER = Settings(
    gan.Config(
        image_shape=(80, 80, 3),
        net="small",
        generator_widths=(128, 64, 32, 16),
        discriminator_widths=(16, 32, 64, 128),
        classes=5,
        penalty="r1",
        penalty_every=4,
        ema=True,
        augment=("translation",),
        optimizer="adam",
        schedule="linear",
        batch_size=16,
    ),
    gan.HParams(
        generator=Optimizer(learning_rate=5e-4, b1=0.5, b2=0.99),
        discriminator=Optimizer(learning_rate=1e-3, b1=0.5, b2=0.99),
        penalty=0.3,
    ),
    RunSettings(epochs=55, draw_every=2),
    PETALS,
)
FAST = Optimizer(learning_rate=1e-3, b1=0.0, b2=0.9)
QUICK = Settings(
    gan.Config(
        image_shape=(40, 40, 3),
        net="small",
        generator_widths=(64, 32),
        discriminator_widths=(32, 64),
        classes=5,
        loss="hinge",
        spectral_norm=True,
        ema=True,
        optimizer="adam",
        batch_size=32,
    ),
    gan.HParams(generator=FAST, discriminator=FAST),
    RunSettings(epochs=12, draw_every=1),
    replace(PETALS, size=40),
)
EXPERIMENT = Experiment(
    "gan_flowers",
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
