"""Optimizers, learning-rate schedules and the moving average of parameters.

The family is static, its hyperparameters are traced: `optimizer(family, hparams)` only builds closures, so it is called
again at every update, and a learning rate can be vmapped. Defaults are those of Keras 2.9: epsilon 1e-7, added outside
the square root (Keras 3 adds RMSprop's inside).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxgen.errors import check_at_least, refuse

T = TypeVar("T")

Family = Literal["adamax", "rmsprop", "adam", "adamw", "sgd"]
Schedule = Literal["constant", "linear", "cosine", "stages"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HParams:
    """Optimizer hyperparameters; each family uses those that apply to it."""

    learning_rate: float = 1e-3
    """Step size, > 0."""
    b1: float = 0.9
    """Decay of the first moment (adam, adamw, adamax), in [0, 1)."""
    b2: float = 0.999
    """Decay of the second moment (adam, adamw) or of the infinity norm (adamax), in [0, 1)."""
    decay: float = 0.9
    """Decay of the mean squared gradient (rmsprop), in [0, 1)."""
    eps: float = 1e-7
    """Added to the denominator (all but sgd), > 0."""
    momentum: float = 0.0
    """Momentum (sgd), in [0, 1)."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (adamw), >= 0."""


def validate(hparams: HParams, where: str = "hparams") -> None:
    """Refuse out-of-range numbers; `where` names the setting in the message."""
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
    """Optax transformation of `family` with hyperparameters `hparams`, floats or traced scalars."""
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


def descend(
    transformation: optax.GradientTransformation, params: T, opt_state: optax.OptState, grads: T
) -> tuple[T, optax.OptState]:
    """One gradient step: (parameters, optimizer state)."""
    updates, opt_state = transformation.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state  # type: ignore[type-var, return-value]


def moving_average(average: T, new: T, decay: Float[Array, ""] | float) -> T:
    """`decay` average + (1 - `decay`) new, array by array."""
    return jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), average, new)


def learning_rate(
    schedule: Schedule, rate: Float[Array, ""] | float, step: Int[Array, ""] | int, steps: Float[Array, ""] | float
) -> Any:
    """The learning rate at `step` of a schedule that spans `steps`.

    linear: linear decay from `rate` to 0. cosine: half a cosine to 0. stages: rate 10^(-i/7) in stages i = 0..7, each
    three times as long as the one before, 3,280 units in all (Burda, Grosse & Salakhutdinov, 2015, section 5).
    """
    if schedule == "constant":
        return rate
    done = jnp.clip(jnp.float32(step) / jnp.maximum(steps, 1.0), 0.0, 1.0)
    if schedule == "linear":
        return rate * (1 - done)
    if schedule == "cosine":
        return rate * 0.5 * (1 + jnp.cos(jnp.pi * done))
    # Stage i begins after (3^i - 1) / 2 units; the epsilon keeps rounding from moving a boundary.
    stage = jnp.floor(jnp.log(2 * 3280 * done + 1) / math.log(3) + 1e-6)
    return rate * 10 ** (-jnp.minimum(stage, 7) / 7)


def scheduled(own: T, schedule: Schedule, step: Int[Array, ""] | int, steps: Float[Array, ""] | float) -> T:
    """Optimizer hyperparameters with the learning rate at `step` of a schedule that spans `steps`."""
    rate = learning_rate(schedule, own.learning_rate, step, steps)  # type: ignore[attr-defined]
    return dataclasses.replace(own, learning_rate=rate)  # type: ignore[type-var]


def validate_schedule(schedule: Schedule, steps: float) -> None:
    """Refuse a negative length; 0 means the run's, see `complete_schedule`."""
    if schedule != "constant":
        check_at_least("hparams.schedule_steps", steps, 0)


def complete_schedule(hparams: T, config: Any, updates: int) -> T:
    """`hparams` with a schedule length of 0 replaced by the run's number of updates, if `config.schedule` needs one."""
    if config.schedule == "constant" or hparams.schedule_steps:  # type: ignore[attr-defined]
        return hparams
    return dataclasses.replace(hparams, schedule_steps=float(updates))  # type: ignore[type-var]
