"""Settings of the variational autoencoder: static, traced, and invalid combinations."""

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
    """Static settings, which fix shapes and programs; changing one recompiles."""

    image_shape: tuple[int, int, int] = (28, 28, 1)
    """Image shape (H, W, C), set from the data."""
    examples: int = 60_000
    """Images in the training split, set from the data; used only by the objective tc."""
    net: Net = "mlp"
    """mlp: dense layers; conv: the chapter's 28x28 nets; flower: the chapter's 80x80 color nets."""
    latent_size: int = 20
    """Dimension of the latent space."""
    widths: tuple[int, ...] = (500,)
    """Hidden widths of the mlp's encoder; its decoder reverses them."""
    activation: Literal["relu", "tanh"] = "relu"
    """Nonlinearity of the mlp."""
    channels: tuple[int, int, int] = (16, 8, 8)
    """Channels of the conv encoder's three layers; the decoder reverses them."""
    posterior: distributions.Family = "diagonal"
    """q(z|x): independent normals, or a normal with full covariance (lower-triangular scale)."""
    likelihood: distributions.Likelihood = "bernoulli"
    """p(x|z): Bernoulli on logits; gaussian; logistic: discretized to the 256 levels of a byte."""
    learn_scale: bool = False
    """Learn the scale of the gaussian or logistic, one number for all pixels, starting from hparams.scale."""
    inputs: Inputs = "gray"
    """Conversion of bytes to pixels. gray: levels in [0, 1]; binarized: a fresh Bernoulli draw at each visit;
    threshold: 1 where the level exceeds one half. Three different data sets: do not compare their numbers."""
    objective: Objective = "elbo"
    """elbo; iwae: importance-weighted bound; dreg: iwae with the doubly reparameterized gradient; tc: beta-TC, where
    beta weights only the total correlation."""
    rate: Rate = "analytic"
    """KL term of the objective elbo. analytic: closed form; sampled: one-sample estimate log q(z|x) - log p(z);
    free_bits: closed form with hparams.free_bits per latent."""
    samples: int = 1
    """Codes drawn per image, k of the importance-weighted bound."""
    tc_estimator: bounds.Estimator = "stratified"
    """Estimator of the aggregate posterior from a batch, for the objective tc."""
    optimizer: optim.Family = "adam"
    """Optimizer family; its hyperparameters are in hparams."""
    schedule: optim.Schedule = "constant"
    """Learning-rate schedule over hparams.schedule_steps."""
    batch_size: int = 128
    """Images per update."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute dtype of the nets; parameters, losses and optimizer stay float32."""

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
        """Whether p(x) is a probability of discrete pixels, so that bits per dimension are defined.

        A gaussian gives a density; a bernoulli on gray levels is not a distribution over them at all.
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
    """Refuse settings that are valid individually but not together."""
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
    """Hyperparameters of the optimizer and the objective."""

    beta: float = 1.0
    """Weight of the rate (objective tc: of the total correlation), >= 0; 1 gives the bound on log p(x)."""
    warm_up_steps: float = 0.0
    """Updates over which beta rises linearly from 0; 0: no warm-up."""
    free_bits: float = 0.0
    """Minimum rate per latent in nats, with config.rate free_bits."""
    scale: float = 0.1
    """Standard deviation of the gaussian or scale of the logistic, in units of the pixel range [0, 1]; > 0."""
    schedule_steps: float = 0.0
    """Updates spanned by config.schedule; 0: the whole run."""


def validate(hparams: HParams, config: Config) -> None:
    """Refuse out-of-range hyperparameters (`Config` checks itself)."""
    optim.validate(hparams)
    for field in ("beta", "warm_up_steps", "free_bits", "schedule_steps"):
        check_at_least(f"hparams.{field}", getattr(hparams, field), 0)
    if not 0 < hparams.scale < float("inf"):
        refuse("hparams.scale", hparams.scale, "a number > 0")
    optim.validate_schedule(config.schedule, hparams.schedule_steps)


def adapt(config: Config, facts: DataFacts) -> Config:
    """The configuration with the data's image shape and number of training images."""
    return replace(config, image_shape=facts.image_shape, examples=facts.examples)
