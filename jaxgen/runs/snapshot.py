"""A run at one moment, as passed to callbacks and figure functions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxgen.engine.members import Members
from jaxgen.runs.metrics import Row


class MemberStates(NamedTuple):
    """All members of a multi-member run."""

    members: Members
    state: Any
    """All members' states, stacked along axis 0."""
    rows: list[Row]
    """Logged rows whose values are lists, one number per member (None: not finite)."""


class Snapshot(NamedTuple):
    """A run at one moment; with several members, the first of them."""

    directory: Path
    """Folder for figures; `./figures` for a run without a directory."""
    state: Any
    initial: Callable[[], Any]
    """The state before the first step."""
    key: jax.Array
    config: Any
    dataset: Any
    """`data.dataset.Dataset`; None if the algorithm takes no data."""
    rows: list[Row]
    many: MemberStates | None
    """All members, None for a single run."""
    step: int
    steps_per_epoch: int
