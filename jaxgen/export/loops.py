"""Nested JavaScript loops over strided views, and elementwise expressions fused into them.

An expression is a number, a view, or a node whose operands are expressions of the same shape (or numbers). Within one
loop a node that occurs several times is computed once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxgen.export.views import Shape, View

Lines = list[str]


@dataclass(frozen=True)
class Number:
    """The same number everywhere."""

    value: Any
    dtype: Any

    @property
    def code(self) -> str:
        """The number in JavaScript."""
        if self.dtype == np.bool_:
            return "1" if self.value else "0"
        if np.issubdtype(self.dtype, np.integer):
            return str(int(self.value))
        value = float(self.value)
        if math.isfinite(value):
            return repr(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@dataclass(frozen=True, eq=False)
class Node:
    """primitive(operands), entry by entry."""

    primitive: str
    operands: tuple["Expression", ...]
    shape: Shape
    dtype: Any
    parameters: Any


Expression = Number | View | Node


def views(expression: Expression) -> Iterator[View]:
    """The views that an expression reads, each once."""
    found: dict[View, None] = {}
    seen: set[int] = set()

    def walk(part: Expression) -> None:
        if isinstance(part, View):
            found[part] = None
        elif isinstance(part, Node) and id(part) not in seen:
            seen.add(id(part))
            for operand in part.operands:
                walk(operand)

    walk(expression)
    yield from found


def mapped(expression: Expression, change: Callable[[View], View | None], shape: Shape) -> Expression | None:
    """The expression with every view changed to one of `shape`; None where `change` returns None for one of them."""
    done: dict[int, Expression | None] = {}

    def walk(part: Expression) -> Expression | None:
        if isinstance(part, Number):
            return part
        if isinstance(part, View):
            return change(part)
        if id(part) not in done:
            operands = tuple(walk(operand) for operand in part.operands)
            whole = not any(operand is None for operand in operands)
            done[id(part)] = (
                Node(part.primitive, operands, shape, part.dtype, part.parameters)  # type: ignore[arg-type]
                if whole
                else None
            )
        return done[id(part)]

    return walk(expression)


class Cursor(NamedTuple):
    """A place in a buffer, and how far apart entries along the loops' axes are."""

    place: str
    strides: tuple[int, ...]


def nest(
    shape: Shape,
    order: Sequence[int],
    cursors: Sequence[Cursor],
    body: Callable[[list[str], list[str]], Lines],
    level: int = 0,
    merge: bool = True,
) -> Lines:
    """Loops over `shape`, axes in `order` from the outside in, around `body(places, loop variables)`.

    Axes that follow each other in every buffer become one, unless `merge` is off.
    """
    axes = [(shape[axis], tuple(cursor.strides[axis] for cursor in cursors)) for axis in order]
    if merge:
        axes = _merged([axis for axis in axes if axis[0] != 1])
    return _loops(axes, [cursor.place for cursor in cursors], [], body, level)


def _merged(axes: list[tuple[int, Shape]]) -> list[tuple[int, Shape]]:
    result: list[tuple[int, Shape]] = []
    for size, strides in axes:
        if result and all(a == size * b for a, b in zip(result[-1][1], strides, strict=True)):
            result[-1] = (result[-1][0] * size, strides)
        else:
            result.append((size, strides))
    return result


def _loops(
    axes: list[tuple[int, Shape]], places: list[str], variables: list[str], body: Callable[..., Lines], level: int
) -> Lines:
    if not axes:
        return body(places, variables)
    (size, strides), variable = axes[0], f"i{level}"
    names, inner = [], []
    for number, (place, stride) in enumerate(zip(places, strides, strict=True)):
        if stride == 0:
            names.append(place)
            continue
        step = variable if stride == 1 else f"{variable} * {stride}"
        names.append(f"p{level}_{number}")
        inner.append(f"const {names[-1]} = {step if place == '0' else f'{place} + {step}'};")
    inner += _loops(axes[1:], names, [*variables, variable], body, level + 1)
    head = f"for (let {variable} = 0; {variable} < {size}; {variable}++) {{"
    return [head, *(f"  {line}" for line in inner), "}"]


def computed(
    expression: Expression, reads: dict[View, str], code: Callable[[Node, list[str]], str]
) -> tuple[Lines, str]:
    """Statements that compute an expression, and the name of its value; `reads` are the views' entries."""
    lines: Lines = []
    names: dict[int, str] = {}

    def walk(part: Expression) -> str:
        if isinstance(part, Number):
            return part.code if not part.code.startswith("-") else f"({part.code})"
        if isinstance(part, View):
            return reads[part]
        if id(part) not in names:
            operands = [walk(operand) for operand in part.operands]
            names[id(part)] = f"t{len(names)}"
            lines.append(f"const {names[id(part)]} = {code(part, operands)};")
        return names[id(part)]

    value = walk(expression)
    return lines, value
