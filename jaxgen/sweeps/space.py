"""The space of a search: `hparams.learning_rate=log:1e-4:1e-2` and the other forms after the `=`.

log:a:b   numbers between a and b, uniform in the logarithm
a:b       numbers between a and b (for an integer field, integers excluding b)
a,b,c     one of these values
"""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna import distributions
from optuna.distributions import BaseDistribution

from jaxgen.errors import SettingError, refuse
from jaxgen.sweeps import axes, fields
from jaxgen.sweeps.axes import Point

Space = dict[str, BaseDistribution]
"""The distribution of each axis, by its name."""


def parse(texts: Sequence[str], known: Mapping[str, Any]) -> Space:
    """All axes; `known` are the types of the fields they may name."""
    space: Space = {}
    for text in texts:
        name, rest = axes.split(text, known)
        if name in space:
            raise SettingError(f"axis {name} is given twice; join its values with commas")
        space[name] = _distribution(text, name, rest, known[name])
    return space


def _distribution(text: str, name: str, rest: str, hint: Any) -> BaseDistribution:
    kind, *numbers = rest.split(":") if hint in (int, float) else (rest,)
    if not numbers:
        words = rest.split(",")
        for word in words:
            fields.read(name, word, hint)
        return distributions.CategoricalDistribution(words)
    log = kind in ("log", "loguniform")
    words = numbers if log or kind in ("lin", "uniform") else [kind, *numbers]
    low, high = axes.bounds(text, "log" if log else "lin", words, 2)
    if not low < high:
        refuse("axis", text, "a first bound below the second")
    if hint is not int:
        return distributions.FloatDistribution(low, high, log=log)
    if low != int(low) or high != int(high):
        refuse("axis", text, "integers as bounds")
    return distributions.IntDistribution(int(low), int(high) - (0 if log else 1), log=log)


def point(params: Mapping[str, Any], space: Space, known: Mapping[str, Any]) -> Point:
    """A trial's parameters as values of the fields (choices are kept as text)."""
    chosen = distributions.CategoricalDistribution
    return {
        name: fields.read(name, value, known[name]) if isinstance(space[name], chosen) else value
        for name, value in params.items()
    }
