"""JavaScript of the elementwise primitives. Floats are computed in double precision and stored as float32."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgen.export.loops import Node

_FLOATS = {
    "abs": "Math.abs({0})",
    "acos": "Math.acos({0})",
    "acosh": "Math.acosh({0})",
    "add": "{0} + {1}",
    "asin": "Math.asin({0})",
    "asinh": "Math.asinh({0})",
    "atan": "Math.atan({0})",
    "atan2": "Math.atan2({0}, {1})",
    "atanh": "Math.atanh({0})",
    "cbrt": "Math.cbrt({0})",
    "ceil": "Math.ceil({0})",
    "cos": "Math.cos({0})",
    "cosh": "Math.cosh({0})",
    "div": "{0} / {1}",
    "erf": "erf({0})",
    "exp": "Math.exp({0})",
    "exp2": "Math.pow(2, {0})",
    "expm1": "Math.expm1({0})",
    "floor": "Math.floor({0})",
    "is_finite": "Number.isFinite({0})",
    "log": "Math.log({0})",
    "log1p": "Math.log1p({0})",
    "logistic": "1 / (1 + Math.exp(-{0}))",
    "max": "Math.max({0}, {1})",
    "min": "Math.min({0}, {1})",
    "mul": "{0} * {1}",
    "neg": "-{0}",
    "pow": "Math.pow({0}, {1})",
    "rem": "{0} % {1}",
    "rsqrt": "1 / Math.sqrt({0})",
    "sign": "Math.sign({0})",
    "sin": "Math.sin({0})",
    "sinh": "Math.sinh({0})",
    "sqrt": "Math.sqrt({0})",
    "sub": "{0} - {1}",
    "tan": "Math.tan({0})",
    "tanh": "Math.tanh({0})",
}
_INTEGERS = {
    "abs": "Math.abs({0})",
    "add": "{0} + {1}",
    "div": "Math.trunc({0} / {1})",
    "max": "Math.max({0}, {1})",
    "min": "Math.min({0}, {1})",
    "mul": "Math.imul({0}, {1})",
    "neg": "-{0}",
    "rem": "{0} % {1}",
    "sign": "Math.sign({0})",
    "sub": "{0} - {1}",
    "and": "{0} & {1}",
    "not": "~{0}",
    "or": "{0} | {1}",
    "xor": "{0} ^ {1}",
}
_BOOLEANS = {
    "and": "{0} && {1}",
    "max": "{0} || {1}",
    "min": "{0} && {1}",
    "not": "!{0}",
    "or": "{0} || {1}",
    "xor": "!{0} !== !{1}",
}
_COMPARISONS = {
    "eq": "{0} == {1}",
    "ge": "{0} >= {1}",
    "gt": "{0} > {1}",
    "le": "{0} <= {1}",
    "lt": "{0} < {1}",
    "ne": "{0} != {1}",
}
_WRAPPED = {
    np.dtype(np.int8): "({0} << 24) >> 24",
    np.dtype(np.int16): "({0} << 16) >> 16",
    np.dtype(np.int32): "{0} | 0",
    np.dtype(np.uint8): "{0} & 255",
    np.dtype(np.uint16): "{0} & 65535",
    np.dtype(np.uint32): "{0} >>> 0",
}
_ROUNDING = {0: "roundAway({0})", 1: "roundEven({0})"}
"""By `lax.RoundingMethod`."""
_SPECIAL = ("select_n", "clamp", "convert_element_type", "integer_pow", "round")
PRIMITIVES = frozenset({*_FLOATS, *_INTEGERS, *_BOOLEANS, *_COMPARISONS, *_SPECIAL})


def is_float(dtype: Any) -> bool:
    """Whether entries are stored as float32."""
    return bool(np.issubdtype(dtype, np.floating)) or str(dtype) == "bfloat16"


def code(node: Node, names: list[str]) -> str | None:
    """The node's value from its operands' values; None for a combination of primitive and type without one."""
    if node.primitive in _SPECIAL:
        return _special(node, names)
    of = node.operands[0].dtype
    if node.primitive in _COMPARISONS:
        return _COMPARISONS[node.primitive].format(*names)
    if of == np.bool_:
        table: dict[str, str] = _BOOLEANS
    elif is_float(of):
        table = _FLOATS
    else:
        table = _INTEGERS
    if node.primitive not in table:
        return None
    text = table[node.primitive].format(*names)
    return _wrapped(text, node.dtype)


def _wrapped(text: str, dtype: Any) -> str | None:
    if is_float(dtype) or dtype == np.bool_:
        return text
    return _WRAPPED[dtype].format(f"({text})") if dtype in _WRAPPED else None


def _special(node: Node, names: list[str]) -> str | None:
    result: Callable[[Node, list[str]], str | None] = globals()[f"_{node.primitive}"]
    return result(node, names)


def _select_n(node: Node, names: list[str]) -> str:
    which, *cases = names
    if node.operands[0].dtype == np.bool_:
        return f"{which} ? {cases[1]} : {cases[0]}"
    text = cases[-1]
    for number, case in reversed(list(enumerate(cases[:-1]))):
        text = f"{which} === {number} ? {case} : {text}"
    return text


def _clamp(node: Node, names: list[str]) -> str:
    return f"Math.min(Math.max({names[1]}, {names[0]}), {names[2]})"


def _convert_element_type(node: Node, names: list[str]) -> str | None:
    (name,), old, new = names, node.operands[0].dtype, node.dtype
    if new == np.bool_:
        return f"{name} != 0"
    if old == np.bool_:
        return f"{name} ? 1 : 0"
    if is_float(new):
        return name
    if not is_float(old):
        return _wrapped(name, new)
    info = np.iinfo(new)
    return _wrapped(f"Math.min(Math.max(Math.trunc({name}), {info.min}), {info.max})", new)


def _integer_pow(node: Node, names: list[str]) -> str | None:
    (name,), power = names, node.parameters["y"]
    if not is_float(node.dtype):
        return None
    if 1 <= power <= 4:
        return " * ".join([name] * power)
    return f"Math.pow({name}, {power})"


def _round(node: Node, names: list[str]) -> str:
    return _ROUNDING[int(node.parameters["rounding_method"])].format(*names)
