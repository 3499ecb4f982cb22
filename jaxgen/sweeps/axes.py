"""Axes of a sweep: `hparams.learning_rate=log:1e-4:1e-2:16` and the other forms after the `=`.

lin:a:b:n       n numbers from a to b, evenly spaced
log:a:b:n       n numbers from a to b, in equal ratios
a,b,c           these values
a:b             the integers from a to b - 1
uniform:a:b     random numbers between a and b, as many as --draws
loguniform:a:b  the same, uniform in the logarithm
"""

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgen import memory
from jaxgen.errors import NUMBERS, SettingError, check_at_least, refuse
from jaxgen.files import Json
from jaxgen.sweeps import fields

MEMBER_BYTES = 8192
"""Bytes of host memory that the records of one member take, about."""
Point = Json
"""The value of each axis, by the axis's name."""


class Axis(NamedTuple):
    """A setting and its values."""

    name: str
    values: tuple[Any, ...]
    log: bool
    """Plotted on a logarithmic scale."""
    random: bool


def split(text: str, known: Mapping[str, Any]) -> tuple[str, str]:
    """The field's name and the text after the `=`."""
    name, equals, rest = text.partition("=")
    if not equals or not rest:
        refuse("axis", text, "NAME=VALUES, as hparams.learning_rate=log:1e-4:1e-2:16")
    return fields.find(name, known), rest


def parse(text: str, known: Mapping[str, Any], draws: int, seed: int) -> Axis:
    """One axis; `known` are the types of the fields it may name, `draws` and `seed` are for random ones."""
    name, rest = split(text, known)
    kind, *numbers = rest.split(":") if known[name] in (int, float) else (rest,)
    if kind in ("lin", "log"):
        a, b, n = bounds(text, kind, numbers, 3)
        _check_count(name, n)
        values = np.linspace(a, b, n) if kind == "lin" else np.geomspace(a, b, n)
        return _axis(name, values, known, kind == "log", False)
    if kind in ("uniform", "loguniform"):
        a, b = bounds(text, kind, numbers, 2)[:2]
        check_at_least("draws", draws, 1)
        _check_count(name, draws)
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])  # independent of the other axes
        unit = rng.uniform(size=draws)
        return _axis(
            name, a + (b - a) * unit if kind == "uniform" else a * (b / a) ** unit, known, kind[0] == "l", True
        )
    if len(numbers) == 1:
        first, last = (_number(text, word, int) for word in (kind, numbers[0]))
        if last <= first:
            refuse("axis", text, "a first integer below the last")
        _check_count(name, last - first)
        return _axis(name, range(first, last), known, False, False)
    if numbers:
        refuse("axis", text, "values as lin:a:b:n, log:a:b:n, uniform:a:b, loguniform:a:b, a:b (integers) or a,b,c")
    return Axis(name, tuple(fields.read(name, word, known[name]) for word in rest.split(",")), False, False)


def _check_count(name: str, count: int) -> None:
    memory.check_count(f"number of values of {name}", count, MEMBER_BYTES, "member")


def bounds(text: str, kind: str, words: Sequence[str], count: int) -> tuple[Any, ...]:
    """The numbers after `kind`: two bounds, and a count if `count` is 3."""
    if len(words) != count:
        refuse("axis", text, f"{kind}:a:b{':n' if count == 3 else ''}")
    a, b = (_number(text, word, float) for word in words[:2])
    if kind.startswith("log") and not (a > 0 and b > 0):
        refuse("axis", text, "bounds above 0 for a logarithm")
    if not (np.isfinite(a) and np.isfinite(b)):
        refuse("axis", text, "finite bounds")
    if count == 2:
        return a, b
    n = _number(text, words[2], int)
    check_at_least("axis's number of values", n, 1)
    return a, b, n


def _number(text: str, word: str, kind: type) -> Any:
    try:
        return kind(word)
    except ValueError:
        refuse("axis", text, f"{NUMBERS[kind]} where {word!r} stands")


def _axis(name: str, numbers: Any, known: Mapping[str, Any], log: bool, random: bool) -> Axis:
    """Numbers as values of the field; rounded, without repeats, if it is an integer field."""
    if known[name] is float:
        return Axis(name, tuple(float(f"{number:.6g}") for number in numbers), log, random)
    rounded = [round(float(number)) for number in numbers]
    return Axis(name, tuple(rounded if random else dict.fromkeys(rounded)), log, random)


def points(axes: Sequence[Axis], zipped: bool) -> list[Point]:
    """Every combination, the last axis fastest; random axes are drawn together. With `zipped`, values are paired."""
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingError(f"axis {twice} is given twice; join its values with commas")
    lengths = {axis.name: len(axis.values) for axis in axes}
    drawn = [axis for axis in axes if axis.random]
    combined = math.prod(len(axis.values) for axis in axes if not axis.random) * (len(drawn[0].values) if drawn else 1)
    if not zipped:
        _check_count(" x ".join(names), combined)
    if zipped:
        if len(set(lengths.values())) > 1:
            raise SettingError(f"zipped axes must have as many values each, not {lengths}")
        return [dict(zip(names, values, strict=True)) for values in zip(*(axis.values for axis in axes), strict=True)]
    columns = [[{axis.name: value} for value in axis.values] for axis in axes if not axis.random]
    if drawn:
        rows = zip(*(axis.values for axis in drawn), strict=True)
        columns.insert(0, [dict(zip([axis.name for axis in drawn], row, strict=True)) for row in rows])
    merged = [{name: value for part in parts for name, value in part.items()} for parts in itertools.product(*columns)]
    return [{name: point[name] for name in names} for point in merged]
