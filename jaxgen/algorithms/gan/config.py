"""Settings of the generative adversarial network: static configuration and hyperparameters."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import jax

from jaxgen import optim
from jaxgen.contract import DataFacts
from jaxgen.errors import check_at_least, check_choice, check_choices, refuse
from jaxgen.losses import adversarial
from jaxgen.nets import gan as nets
from jaxgen.nets.ops import diffaugment, dropout


@dataclass(frozen=True)
class Config:
    """Static settings, which fix shapes and programs; changing one recompiles."""

    image_shape: tuple[int, int, int] = (28, 28, 1)
    """Image shape (H, W, C), set from the data."""
    net: Literal["dense", "flower", "small"] = "dense"
    """dense: the chapter's MNIST nets; flower: the chapter's 80x80x3 nets; small: small convolutional nets."""
    noise_size: int = 100
    """Dimension of the noise vector."""
    generator_widths: tuple[int, ...] = ()
    """Hidden widths or channels of the generator; empty: dense 200 200, flower 128 256 128 64, small 32 16 (each
    channel count of the small net doubles the map's sides)."""
    discriminator_widths: tuple[int, ...] = ()
    """Hidden widths or channels of the discriminator; empty: dense 200 100, flower 64 128 256, small 16 32."""
    dropout: float = 0.0
    """Dropout rate after every hidden layer of both nets in training, rounded to a multiple of 1/256."""
    classes: int = 0
    """Number of classes both nets are conditioned on (must match the data); 0: unconditional."""
    spectral_norm: bool = False
    """Divide every kernel of the discriminator by its largest singular value."""
    loss: adversarial.Name = "non_saturating"
    """Adversarial loss."""
    penalty: Literal["none", "r1", "gradient"] = "none"
    """Discriminator gradient penalty. r1: at real images; gradient (WGAN-GP): between real and generated ones."""
    penalty_every: int = 1
    """Compute the penalty on every n-th image of the batch (it costs a second-order pass)."""
    critic_steps: int = 0
    """0: both players update simultaneously. n: the batch is split into n parts; the discriminator updates on each,
    then the generator once."""
    ema: bool = False
    """Sample from an exponential moving average of the generator."""
    augment: tuple[diffaugment.Policy, ...] = ()
    """Random augmentations of all discriminator inputs: color, translation, cutout."""
    optimizer: optim.Family = "rmsprop"
    """Optimizer family of both players; their hyperparameters are in hparams."""
    schedule: optim.Schedule = "constant"
    """Schedule of both players' learning rates over hparams.schedule_steps."""
    batch_size: int = 128
    """Real images per step, and as many generated ones."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute dtype of the nets; parameters, losses and optimizers stay float32."""
    shared_passes: bool = True
    """Share one pass of each net between both players; False: one pass per player, to measure the savings."""

    def __post_init__(self) -> None:
        check_choice("config.net", self.net, nets.GENERATOR_WIDTHS)
        check_choice("config.loss", self.loss, get_args(adversarial.Name))
        check_choice("config.penalty", self.penalty, ("none", "r1", "gradient"))
        check_choice("config.optimizer", self.optimizer, get_args(optim.Family))
        check_choice("config.schedule", self.schedule, get_args(optim.Schedule))
        check_choice("config.dtype", self.dtype, ("float32", "bfloat16"))
        check_choices("config.augment", self.augment, diffaugment.CHANGES)
        for name in ("noise_size", "batch_size", "penalty_every"):
            check_at_least(f"config.{name}", getattr(self, name), 1)
        for name in ("classes", "critic_steps"):
            check_at_least(f"config.{name}", getattr(self, name), 0)
        dropout.check_rate("config.dropout", self.dropout)
        self._check_widths()
        if self.critic_steps and self.batch_size % self.critic_steps:
            refuse("config.critic_steps", self.critic_steps, f"a divisor of the batch size, {self.batch_size}")

    def _check_widths(self) -> None:
        defaults = {"generator": nets.GENERATOR_WIDTHS, "discriminator": nets.DISCRIMINATOR_WIDTHS}
        for player, of_net in defaults.items():
            widths, wanted = getattr(self, f"{player}_widths"), len(of_net[self.net])
            if any(width < 1 for width in widths):
                refuse(f"config.{player}_widths", widths, "positive integers")
            if self.net == "flower" and widths and len(widths) != wanted:
                refuse(f"config.{player}_widths", widths, f"{wanted} positive integers for the {self.net} net")
        if self.net != "dense":
            doublings = len(self.generator_widths) if self.net == "small" else 0
            nets.check_conv_image_shape(self.image_shape, doublings or 2)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HParams:
    """Training hyperparameters; all traced."""

    generator: optim.HParams = field(default_factory=lambda: optim.HParams(learning_rate=1e-4))
    """The generator's optimizer."""
    discriminator: optim.HParams = field(default_factory=lambda: optim.HParams(learning_rate=1e-4))
    """The discriminator's optimizer."""
    real_target: float = 1.0
    """The discriminator's target for real images; 0.95 equals Keras's label smoothing of 0.1. In [0, 1]."""
    fake_target: float = 0.0
    """The discriminator's target for generated images; above 0, smoothing is two-sided. In [0, 1]."""
    generator_target: float = 1.0
    """The generator's target for its images. In [0, 1]."""
    penalty: float = 1.0
    """Weight of the gradient penalty, >= 0 (R1's gamma)."""
    ema_decay: float = 0.999
    """Decay of the generator's moving average, in [0, 1); at most (1 + t) / (10 + t) after t updates."""
    schedule_steps: float = 0.0
    """Steps spanned by config.schedule; 0: the whole run."""


def validate(hparams: HParams, config: Config) -> None:
    """Refuse out-of-range hyperparameters (`Config` checks itself)."""
    for player in ("generator", "discriminator"):
        optim.validate(getattr(hparams, player), f"hparams.{player}")
    for name in ("real_target", "fake_target", "generator_target"):
        if not 0 <= getattr(hparams, name) <= 1:
            refuse(f"hparams.{name}", getattr(hparams, name), "0 to 1")
    check_at_least("hparams.penalty", hparams.penalty, 0)
    if not 0 <= hparams.ema_decay < 1:
        refuse("hparams.ema_decay", hparams.ema_decay, "at least 0 and less than 1")
    optim.validate_schedule(config.schedule, hparams.schedule_steps)


def adapt(config: Config, facts: DataFacts) -> Config:
    """The configuration with the data's image shape; refuses a number of classes that does not match the data."""
    if config.classes not in (0, facts.classes):
        refuse("config.classes", config.classes, f"0, or {facts.classes}, the classes of {facts.name}")
    return replace(config, image_shape=facts.image_shape)


def divided(config: Config) -> dict[str, int]:
    """Fields divided among devices, and how many images stay together: critic steps and penalties count images."""
    return {"batch_size": max(1, config.critic_steps) * (1 if config.penalty == "none" else config.penalty_every)}
