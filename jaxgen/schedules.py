"""Learning rates that change with the step, as formulas of traced numbers."""

import math
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.errors import refuse

Schedule = Literal["constant", "linear", "cosine", "stages"]


def validate(schedule: Schedule, steps: float) -> None:
    """Refuses a schedule without a length."""
    if schedule != "constant" and steps < 1:
        refuse("hparams.schedule_steps", steps, f"at least 1 with config.schedule {schedule}")


def learning_rate(
    schedule: Schedule, rate: Float[Array, ""] | float, step: Int[Array, ""] | int, steps: Float[Array, ""] | float
) -> Any:
    """The learning rate at `step`, for a schedule that is spread over `steps`.

    linear: a line from `rate` to 0. cosine: half a cosine to 0. stages: rate 10^(-i/7) in stages i = 0..7, each three
    times as long as the one before, 3,280 units in all (Burda, Grosse & Salakhutdinov, 2015, section 5).
    """
    if schedule == "constant":
        return rate
    done = jnp.clip(jnp.float32(step) / jnp.maximum(steps, 1.0), 0.0, 1.0)
    if schedule == "linear":
        return rate * (1 - done)
    if schedule == "cosine":
        return rate * 0.5 * (1 + jnp.cos(jnp.pi * done))
    # Stage i begins after (3^i - 1) / 2 units; the small number keeps a boundary from being rounded below itself.
    stage = jnp.floor(jnp.log(2 * 3280 * done + 1) / math.log(3) + 1e-6)
    return rate * 10 ** (-jnp.minimum(stage, 7) / 7)
