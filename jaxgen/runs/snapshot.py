"""What a figure function is given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxgen.engine.members import Members
from jaxgen.runs.metrics import Row


class Population(NamedTuple):
    """A run of many members."""

    members: Members
    state: Any
    """All members' states, stacked along axis 0."""
    rows: list[Row]
    """Logged rows whose values are lists, one number a member (None: not finite)."""


class Drawing(NamedTuple):
    """A run at the moment it is drawn; where it has many members, the first of them."""

    directory: Path
    state: Any
    initial: Callable[[], Any]
    """The state before the first step."""
    key: jax.Array
    config: Any
    dataset: Any
    """`data.dataset.Dataset`; None where the algorithm takes no data."""
    rows: list[Row]
    population: Population | None
    """All members, None for a lone run."""
