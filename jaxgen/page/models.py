"""What the live part of a page needs: the model's script and the numbers that its controls start from."""

from typing import Any, NamedTuple

from jaxgen.runs.run import Run


class Model(NamedTuple):
    """A live model."""

    source: str
    """The translated functions."""
    data: dict[str, Any]
    scripts: tuple[str, ...]
    lead: str
    """What one can do here, in a sentence or two."""
    notes: tuple[str, ...] = ()
    """How it is computed."""


def of(run: Run, dataset: Any, float16: bool) -> Model | None:
    """The live part of a run's page; None for an algorithm that has none."""
    return None
