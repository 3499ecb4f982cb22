"""The live part of a DQN's page: CartPole, played by the Q net or by hand, and action values over its states."""

from typing import Any

from jaxgen.export import javascript, plain
from jaxgen.page import models
from jaxgen.page.models import Model
from jaxgen.rl import environments
from jaxgen.runs.run import Run

GRID = 33
"""States along each side of the phase plane."""


def of(run: Run, dataset: Any, compact: bool) -> Model | None:
    """The live part of the run's page; None but for CartPole."""
    if run.config.environment != "CartPole-v1":
        return None
    one, many = models.functions_of(run)["values"], models.functions_of(run, GRID**2)["values"]
    programs = [
        plain.trace("values", one.call, one.weights, one.inputs),
        plain.trace("plane", many.call, many.weights, many.inputs),
    ]
    source, weights = javascript.parts(programs, precision="int12" if compact else "float32")
    lead = "The net balances the pole. Push the cart with the arrow keys, take over, change gravity or the pole."
    stored = "Weights are stored in 12 bits each." if compact else models.SINGLE
    notes = (models.where(False, "An action"), stored)
    return Model(
        source, weights, {"kind": "pole", "worker": False, **physics()}, ("cartpole.js", "pole.js"), lead, notes
    )


def physics() -> dict[str, Any]:
    """CartPole's constants, as gymnax has them."""
    params = environments.make("CartPole-v1").params
    names = ("gravity", "masscart", "masspole", "length", "force_mag", "tau", "theta_threshold_radians", "x_threshold")
    constants = {name: float(getattr(params, name)) for name in names}
    return {"physics": constants, "grid": GRID, "steps": int(params.max_steps_in_episode)}
