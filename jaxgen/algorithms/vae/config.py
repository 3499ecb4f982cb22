"""The settings of a variational autoencoder: what is fixed, what is traced, and what does not go together."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import jax

from jaxgen import distributions, optim
from jaxgen.contract import DataFacts
from jaxgen.errors import check_at_least, check_choice, refuse
from jaxgen.losses import bounds
from jaxgen.nets import autoencoders, flowers

Net = Literal["mlp", "conv", "flower"]
Inputs = Literal["gray", "binarized", "threshold"]
Objective = Literal["elbo", "iwae", "dreg", "tc"]
Rate = Literal["analytic", "sampled", "free_bits"]


@dataclass(frozen=True)
class Config:
    """Static settings: they fix shapes and programs, and a new value compiles again."""

    image_shape: tuple[int, int, int] = (28, 28, 1)
    """(H, W, C) of one image; the experiments take it from the data."""
    examples: int = 60_000
    """Images in the training split, which only the objective tc needs; the experiments take it from the data."""
    net: Net = "mlp"
    """mlp: dense layers; conv: the chapter's for 28x28; flower: the chapter's for 80x80 in color."""
    latent_size: int = 20
    """Latent numbers of an image."""
    widths: tuple[int, ...] = (500,)
    """Hidden widths of the mlp's encoder; its decoder has them in reverse."""
    activation: Literal["relu", "tanh"] = "relu"
    """Nonlinearity of the mlp."""
    channels: tuple[int, int, int] = (16, 8, 8)
    """Channels of the conv encoder's three layers; the decoder has them in reverse."""
    posterior: distributions.Family = "diagonal"
    """q(z|x): independent normals, or a normal with full covariance (lower-triangular scale)."""
    likelihood: distributions.Likelihood = "bernoulli"
    """p(x|z): Bernoulli on logits; gaussian; logistic: discretized to the 256 levels of a byte."""
    learn_scale: bool = False
    """Learn the gaussian's or logistic's scale, one number for all pixels, from hparams.scale on."""
    inputs: Inputs = "gray"
    """How bytes become pixels: gray: levels in [0, 1]; binarized: a fresh Bernoulli draw of them at each visit;
    threshold: 1 where the level is over a half. Three different data sets: their numbers cannot be compared."""
    objective: Objective = "elbo"
    """elbo; iwae: importance-weighted bound; dreg: the same with the doubly reparameterized gradient; tc: beta-TC,
    where beta weighs the total correlation alone."""
    rate: Rate = "analytic"
    """The KL in the objective elbo: in closed form, by its one-sample estimate log q(z|x) - log p(z), or in closed form
    with hparams.free_bits for each latent."""
    samples: int = 1
    """Codes drawn for each image, k of the importance-weighted bound."""
    tc_estimator: bounds.Estimator = "stratified"
    """How the objective tc estimates the aggregate posterior from a batch."""
    optimizer: optim.Family = "adam"
    """Optimizer family; its numbers are in hparams."""
    schedule: optim.Schedule = "constant"
    """Course of the learning rate over hparams.schedule_steps."""
    batch_size: int = 128
    """Images per update."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the nets; parameters, losses and optimizer stay float32."""

    def __post_init__(self) -> None:
        for field, kind in _CHOICES.items():
            check_choice(f"config.{field}", getattr(self, field), get_args(kind))
        for field in ("latent_size", "samples", "batch_size", "examples"):
            check_at_least(f"config.{field}", getattr(self, field), 1)
        if any(width < 1 for width in self.widths):
            refuse("config.widths", self.widths, "positive integers")
        if len(self.channels) != 3 or any(width < 1 for width in self.channels):
            refuse("config.channels", self.channels, "three positive integers")
        if self.net == "conv":
            autoencoders.check_conv_image_shape(self.image_shape)
        if self.net == "flower":
            flowers.check_flower_image_shape(self.image_shape)
        _check_combination(self)

    @property
    def discrete(self) -> bool:
        """Whether p(x) is a probability of discrete pixels, which alone has bits per dimension.

        A gaussian's is a density, a bernoulli's of gray levels no distribution over them at all.
        """
        return self.likelihood == "logistic" or self.inputs != "gray"


_CHOICES: dict[str, Any] = {
    "net": Net,
    "activation": Literal["relu", "tanh"],
    "posterior": distributions.Family,
    "likelihood": distributions.Likelihood,
    "inputs": Inputs,
    "objective": Objective,
    "rate": Rate,
    "tc_estimator": bounds.Estimator,
    "optimizer": optim.Family,
    "schedule": optim.Schedule,
    "dtype": Literal["float32", "bfloat16"],
}


def _check_combination(config: Config) -> None:
    """Refuses settings that are sound one by one and not together."""
    if config.likelihood != "bernoulli" and config.inputs != "gray":
        refuse("config.likelihood", config.likelihood, f"inputs {config.inputs} are 0 or 1, which only bernoulli fits")
    if config.likelihood == "bernoulli" and config.learn_scale:
        refuse("config.learn_scale", True, "a bernoulli has no scale")
    if config.objective != "elbo" and config.rate != "analytic":
        refuse("config.rate", config.rate, f"only with objective elbo, not {config.objective}")
    if config.rate == "free_bits" and config.posterior != "diagonal":
        refuse("config.rate", config.rate, "only with posterior diagonal, whose KL has a term for each latent")
    if config.objective == "tc" and (config.posterior != "diagonal" or config.samples > 1 or config.batch_size < 2):
        refuse("config.objective", "tc", "only with posterior diagonal, samples 1 and batch_size of at least 2")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HParams(optim.HParams):
    """The numbers of the optimizer and of the objective."""

    beta: float = 1.0
    """Weight of the rate (objective tc: of the total correlation), >= 0; 1 is the bound on log p(x)."""
    warm_up_steps: float = 0.0
    """Updates in which beta rises from 0 along a line; 0: none."""
    free_bits: float = 0.0
    """Least rate of each latent in nats, with config.rate free_bits."""
    scale: float = 0.1
    """Standard deviation of the gaussian, scale of the logistic, in units of the range [0, 1] of a pixel; > 0."""
    schedule_steps: float = 0.0
    """Updates that config.schedule is spread over; 0: those of the run."""


def validate(hparams: HParams, config: Config) -> None:
    """Refuses hyperparameters out of range (`Config` checks itself)."""
    optim.validate(hparams)
    for field in ("beta", "warm_up_steps", "free_bits", "schedule_steps"):
        check_at_least(f"hparams.{field}", getattr(hparams, field), 0)
    if not 0 < hparams.scale < float("inf"):
        refuse("hparams.scale", hparams.scale, "a number > 0")
    optim.validate_schedule(config.schedule, hparams.schedule_steps)


def adapt(config: Config, facts: DataFacts) -> Config:
    """The configuration for images of the data's shape, and as many of them."""
    return replace(config, image_shape=facts.image_shape, examples=facts.examples)


def complete(hparams: HParams, config: Config, steps: int) -> HParams:
    """The hyperparameters of a run of so many steps: a schedule without a length takes the run's."""
    return optim.complete_schedule(config.schedule, hparams, steps)
