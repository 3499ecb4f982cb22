"""Settings addressed by name, e.g. `hparams.generator.learning_rate`: found, read from text, replaced."""

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from jaxgen.errors import NUMBERS, SettingError, check_choice, nearest, refuse
from jaxgen.files import Json

T = TypeVar("T")

SWEPT = ("hparams", "config", "data")
"""Parts of an experiment's settings that axes may run over, besides the seed."""


def hints(settings: Any) -> Json:
    """The type of every setting an axis may run over, by its name; `seed` is one of them."""
    found: Json = {"seed": int}
    for part in SWEPT:
        if getattr(settings, part) is not None:
            found |= _hints(getattr(settings, part), f"{part}.")
    return found


def _hints(settings: Any, prefix: str) -> Json:
    types_of = get_type_hints(type(settings))
    found: Json = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            found |= _hints(value, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = types_of[field.name]
    return found


def find(name: str, known: Mapping[str, Any]) -> str:
    """`name` as spelled in `known` (dashes match underscores); refuses a typo, naming the nearest."""
    plain = {"run.seed": "seed"}.get(name.strip().replace("-", "_"), name.strip().replace("-", "_"))
    if plain not in known:
        near = nearest(plain, known) or f" (such as {', '.join(list(known)[:4])})"
        raise SettingError(f"axis {name!r} is not a field of this experiment{near}")
    return plain


def read(name: str, text: str, hint: Any) -> Any:
    """`text` as a value of a field of type `hint`; numbers of a tuple are joined by x, e.g. 500x200."""
    kind = get_origin(hint)
    if kind in (types.UnionType, Union):
        if text == "None" and types.NoneType in get_args(hint):
            return None
        hint = next(one for one in get_args(hint) if one is not types.NoneType)
        kind = get_origin(hint)
    if kind is Literal:
        check_choice(name, text, get_args(hint))
        return text
    if kind is tuple:
        return tuple(read(name, part, get_args(hint)[0]) for part in text.split("x")) if text else ()
    if hint is bool:
        if text not in ("True", "False"):
            refuse(name, text, "True or False")
        return text == "True"
    try:
        return Path(text) if hint is Path else hint(text)
    except (TypeError, ValueError):
        refuse(name, text, NUMBERS[hint])


def replace(tree: T, values: Mapping[str, Any]) -> T:
    """The dataclass `tree` with the fields named in `values`, nested by dots, changed."""
    here: Json = {}
    for name, value in values.items():
        first, _, rest = name.partition(".")
        if not rest:
            here[first] = value
        else:
            here[first] = replace(here.get(first, getattr(tree, first)), {rest: value})
    return dataclasses.replace(tree, **here)  # type: ignore[type-var]


def option(name: str, value: Any) -> list[str]:
    """Command-line arguments that set the field `name` to `value`."""
    name = "run.seed" if name == "seed" else name
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        head, _, last = flag[2:].rpartition(".")
        return [flag if value else f"--{head}.no-{last}"]
    return [flag, *(map(str, value) if isinstance(value, tuple) else [str(value)])]
