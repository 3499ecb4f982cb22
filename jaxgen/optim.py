"""Optimizers: the family is static, its numbers are traced.

`optimizer(family, hparams)` only builds closures, so it is called again wherever an update is made and its numbers may be
tracers: a learning rate can be vmapped. Defaults are those of Keras 2.9: epsilon 1e-7, added outside the square root
(Keras 3 adds RMSprop's inside).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import optax

from jaxgen.errors import check_at_least, refuse

Family = Literal["adamax", "rmsprop", "adam", "adamw", "sgd"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HParams:
    """The numbers of an optimizer; each family uses those it knows."""

    learning_rate: float = 1e-3
    """Step size, > 0."""
    b1: float = 0.9
    """Decay of the first moment (adam, adamw, adamax), in [0, 1)."""
    b2: float = 0.999
    """Decay of the second moment (adam, adamw) or of the infinity norm (adamax), in [0, 1)."""
    decay: float = 0.9
    """Decay of the squared gradient's mean (rmsprop), in [0, 1)."""
    eps: float = 1e-7
    """Added to the denominator (all but sgd), > 0."""
    momentum: float = 0.0
    """Momentum (sgd), in [0, 1)."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (adamw), >= 0."""


def validate(hparams: HParams, where: str = "hparams") -> None:
    """Refuses numbers out of range; `where` names the setting in the message."""
    if not 0 < hparams.learning_rate < float("inf"):
        refuse(f"{where}.learning_rate", hparams.learning_rate, "a number > 0")
    for field in ("b1", "b2", "decay", "momentum"):
        value = getattr(hparams, field)
        if not 0 <= value < 1:
            refuse(f"{where}.{field}", value, "at least 0 and less than 1")
    if not hparams.eps > 0:
        refuse(f"{where}.eps", hparams.eps, "a number > 0")
    check_at_least(f"{where}.weight_decay", hparams.weight_decay, 0)


def optimizer(family: Family, hparams: HParams) -> optax.GradientTransformation:
    """The optax transformation of `family` with the numbers `hparams`, floats or traced scalars."""
    match family:
        case "adamax":
            return optax.adamax(hparams.learning_rate, hparams.b1, hparams.b2, hparams.eps)
        case "rmsprop":
            return optax.rmsprop(hparams.learning_rate, hparams.decay, hparams.eps, eps_in_sqrt=False)
        case "adam":
            return optax.adam(hparams.learning_rate, hparams.b1, hparams.b2, hparams.eps)
        case "adamw":
            return optax.adamw(
                hparams.learning_rate, hparams.b1, hparams.b2, hparams.eps, weight_decay=hparams.weight_decay
            )
        case "sgd":
            return optax.sgd(hparams.learning_rate, hparams.momentum)
    raise ValueError(f"unknown optimizer family {family!r}: one of {', '.join(get_args(Family))}")
