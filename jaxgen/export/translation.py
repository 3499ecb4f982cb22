"""A plain program as a JavaScript function: its equations as calls of kernels and fused loops."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from jaxgen.errors import UserError
from jaxgen.export import elementwise
from jaxgen.export.loops import Cursor, Expression, Lines, Node, Number, computed, mapped, nest, views
from jaxgen.export.memory import Memory, array_type
from jaxgen.export.plain import Equation, Program, Value
from jaxgen.export.views import (
    Shape,
    View,
    broadcast,
    in_order,
    reshaped,
    reversed_along,
    row_major,
    sliced,
    transposed,
)

SCRATCH = 1 << 16
"""Entries of unfolded patches that are held at a time: they should stay in a processor's cache."""
_REDUCTIONS = {
    "reduce_sum": ("0", "{0} + {1}"),
    "reduce_prod": ("1", "{0} * {1}"),
    "reduce_max": ("-Infinity", "Math.max({0}, {1})"),
    "reduce_min": ("Infinity", "Math.min({0}, {1})"),
    "reduce_and": ("1", "{0} && {1}"),
    "reduce_or": ("0", "{0} || {1}"),
}
_MOVES = frozenset({"broadcast_in_dim", "reshape", "transpose", "rev", "slice"})
_ABSORBING = frozenset({*_REDUCTIONS, "argmax", "argmin", "pad", "concatenate"})
"""Primitives that compute their operands' expressions as they read them."""


class Function:
    """One program: its values are views of buffers, or expressions to be fused into the loop that needs them."""

    def __init__(self, memory: Memory, program: Program, name: str) -> None:
        self.memory, self.program, self.name = memory, program, name
        self.known: dict[Value, Expression] = {}
        self.copies: dict[tuple[View, tuple[int, ...]], View] = {}
        self.body: Lines = []
        self.anchors = _anchors(program)

    def description(self) -> dict[str, Any]:
        """Shapes and types of inputs and outputs."""

        def of(name: str, value: Value) -> dict[str, Any]:
            return {"name": name, "shape": list(value.shape), "array": array_type(value.dtype)[0]}

        return {
            "inputs": [of(value.name, value) for value in self.program.inputs],
            "outputs": [of(name, value) for name, value in self.program.outputs.items()],
        }

    def write(self) -> Lines:
        program, takes = self.program, []
        for i, value in enumerate(program.inputs):
            size = math.prod(value.shape)
            buffer = self.memory.buffer(size, value.dtype, constant=False)
            self.known[value] = View(buffer, value.shape, row_major(value.shape))
            named = json.dumps(f"{value.name} of {program.name}")
            takes.append(f"{buffer.name}.set(checked(x{i}, {size}, {named}));")
        for equation in (*program.prepared, *program.equations):
            self.translate(equation)
        outputs = [self.contiguous(self.read(value), value.shape) for value in program.outputs.values()]
        results = ", ".join(f"{v.buffer.name}.slice({v.offset}, {v.offset + v.size})" for v in outputs)
        names = ", ".join(f"x{i}" for i in range(len(program.inputs)))
        inner = [*takes, *self.body, f"return [{results}];"]
        return [f"function {self.name}({names}) {{", *(f"  {line}" for line in inner), "}"]

    # Values.

    def read(self, value: Value) -> Expression:
        """The value as an expression."""
        if value in self.known:
            return self.known[value]
        array = value.constant
        assert array is not None
        if not value.is_parameter and array.tobytes() == array.reshape(-1)[:1].tobytes() * array.size:
            return Number(array.flat[0], value.dtype)
        key = (
            value.name
            if value.is_parameter
            else f"{value.dtype} {value.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
        )
        self.known[value] = self.memory.store(key, array)
        return self.known[value]

    def emit(self, lines: Lines, constant: bool) -> None:
        """Append statements, to what is done once if they depend on constants alone."""
        (self.memory.prepared if constant else self.body).extend(lines)

    def stored(self, expression: Expression, shape: Shape, order: Sequence[int] | None = None) -> View:
        """The expression's entries in a buffer of their own, by default stored as those of its largest view are."""
        order = _order(expression, len(shape)) if order is None else order
        constant = all(view.buffer.constant for view in views(expression))
        to = in_order(self.memory.buffer(math.prod(shape), expression.dtype, constant), shape, order)
        self.emit(self.assign(to, expression, order), constant)
        return to

    def contiguous(self, expression: Expression, shape: Shape) -> View:
        """The expression's entries in row-major order: the view itself if they are."""
        if isinstance(expression, View) and expression.is_contiguous:
            return expression
        key = expression if isinstance(expression, View) else None
        if key is not None and (key, shape) in self.copies:
            return self.copies[key, shape]
        to = self.stored(expression, shape, range(len(shape)))
        if key is not None:
            self.copies[key, shape] = to
        return to

    def assign(self, to: View, expression: Expression, order: Sequence[int]) -> Lines:
        """Loops that write an expression to a view."""
        reads = list(views(expression))
        cursors = [Cursor(str(view.offset), view.strides) for view in (to, *reads)]

        def body(places: list[str], _: list[str]) -> Lines:
            lines, value = self.value(expression, reads, places[1:])
            return [*lines, f"{to.buffer.name}[{places[0]}] = {value};"]

        return ["{", *nest(to.shape, order, cursors, body), "}"]

    def value(self, expression: Expression, reads: list[View], places: list[str]) -> tuple[Lines, str]:
        entries = {view: f"{view.buffer.name}[{place}]" for view, place in zip(reads, places, strict=True)}
        return computed(expression, entries, self.code)

    def code(self, node: Node, names: list[str]) -> str:
        text = elementwise.code(node, names)
        if text is None:
            self.refuse(f"{node.primitive} of {node.operands[0].dtype}")
        return text

    def refuse(self, what: str) -> NoReturn:
        raise UserError(f"{self.program.name} needs {what}, which cannot be translated to JavaScript")

    # Equations.

    def translate(self, equation: Equation) -> None:
        name, output = equation.primitive, equation.outputs[0]
        if name in elementwise.PRIMITIVES:
            result: Expression = self.elementwise(equation)
        elif name in _MOVES:
            result = self.move(equation)
        elif name in _REDUCTIONS:
            result = self.reduce(equation)
        else:
            special: dict[str, Callable[[Equation], Expression]] = {
                "argmax": self.arg,
                "argmin": self.arg,
                "concatenate": self.concatenate,
                "conv_general_dilated": self.convolution,
                "dot_general": self.dot,
                "pad": self.pad,
                "take": self.take,
            }
            if name not in special:
                self.refuse(f"the primitive {name}")
            result = special[name](equation)
        if isinstance(result, Node) and self.anchors[output] is output:
            result = self.stored(result, output.shape)
        self.known[output] = result

    def elementwise(self, equation: Equation) -> Expression:
        shape = equation.outputs[0].shape
        operands = []
        for value in equation.inputs:
            operand = self.read(value)
            if value.shape != shape and not isinstance(operand, Number):
                operand = self.moved(operand, lambda view: broadcast(view, shape, range(len(view.shape))), shape)
            operands.append(operand)
        return Node(equation.primitive, tuple(operands), shape, equation.outputs[0].dtype, equation.parameters)

    def moved(self, expression: Expression, change: Callable[[View], View | None], shape: Shape) -> Expression:
        """The expression with its views changed; entries are stored first where that needs it."""
        result = mapped(expression, change, shape)
        if result is not None:
            return result
        assert isinstance(expression, View | Node)
        result = change(self.contiguous(expression, expression.shape))
        assert result is not None
        return result

    def move(self, equation: Equation) -> Expression:
        (value, *_), name, p = equation.inputs, equation.primitive, equation.parameters
        shape = equation.outputs[0].shape
        changes: dict[str, Callable[[View], View | None]] = {
            "broadcast_in_dim": lambda view: broadcast(view, shape, p["broadcast_dimensions"]),
            "reshape": lambda view: reshaped(view, shape),
            "transpose": lambda view: transposed(view, p["permutation"]),
            "rev": lambda view: reversed_along(view, p["dimensions"]),
            "slice": lambda view: sliced(view, p["start_indices"], p["limit_indices"], p["strides"]),
        }
        return self.moved(self.read(value), changes[name], shape)

    def take(self, equation: Equation) -> Expression:
        array = self.contiguous(self.read(equation.inputs[0]), equation.inputs[0].shape)
        indices, shape = np.asarray(equation.parameters["indices"], np.int32), equation.outputs[0].shape
        table = self.memory.store(
            f"indices {shape} {hashlib.sha256(indices.tobytes()).hexdigest()}", indices.reshape(-1)
        )
        to = self.memory.buffer(indices.size, array.dtype, array.buffer.constant)
        entry = f"{array.buffer.name}[{array.offset} + {table.buffer.name}[i]]"
        line = f"for (let i = 0; i < {indices.size}; i++) {to.name}[i] = {entry};"
        self.emit([line], array.buffer.constant)
        return View(to, shape, row_major(shape))

    def concatenate(self, equation: Equation) -> Expression:
        axis, shape, parts = equation.parameters["dimension"], equation.outputs[0].shape, equation.inputs
        expressions = [self.read(value) for value in parts]
        order = next((_order(e, len(shape)) for e in expressions if not isinstance(e, Number)), range(len(shape)))
        constant = all(view.buffer.constant for e in expressions for view in views(e))
        to = in_order(self.memory.buffer(math.prod(shape), equation.outputs[0].dtype, constant), shape, order)
        first = 0
        for value, expression in zip(parts, expressions, strict=True):
            start, limit = [0] * len(shape), list(shape)
            start[axis], limit[axis] = first, first + value.shape[axis]
            self.emit(self.assign(sliced(to, start, limit, None), expression, order), constant)
            first += value.shape[axis]
        return to

    def pad(self, equation: Equation) -> Expression:
        value, fill = (self.read(x) for x in equation.inputs)
        config, shape = equation.parameters["padding_config"], equation.outputs[0].shape
        if not any(any(axis) for axis in config):
            return value
        if not isinstance(fill, Number):
            self.refuse("pad with a computed value")
        kept, start, steps = self._padded(equation.inputs[0].shape, shape, config)
        order = range(len(shape)) if isinstance(value, Number) else _order(value, len(shape))
        constant = all(view.buffer.constant for view in views(value))
        to = in_order(self.memory.buffer(math.prod(shape), equation.outputs[0].dtype, constant), shape, order)
        if fill.value != 0:
            self.emit([f"{to.buffer.name}.fill({fill.code});"], constant=True)
        if all(first < last for first, last in kept):
            ends = [
                s + (last - first - 1) * step + 1 for s, step, (first, last) in zip(start, steps, kept, strict=True)
            ]
            inner = sliced(to, start, ends, steps)
            firsts, lasts = zip(*kept, strict=True)
            part = self.moved(value, lambda view: sliced(view, firsts, lasts, None), inner.shape)
            self.emit(self.assign(inner, part, order), constant)
        return to

    @staticmethod
    def _padded(old: Shape, new: Shape, config: Any) -> tuple[list[tuple[int, int]], list[int], list[int]]:
        """For each axis the entries that are kept, where the first one goes, and how far apart they are."""
        kept, start, steps = [], [], []
        for n, size, (low, _, interior) in zip(old, new, config, strict=True):
            low, step = int(low), int(interior) + 1
            first = -(-max(0, -low) // step)
            kept.append((first, min(n, (size - 1 - low) // step + 1)))
            start.append(low + first * step)
            steps.append(step)
        return kept, start, steps

    def reduce(self, equation: Equation) -> Expression:
        start, combine = _REDUCTIONS[equation.primitive]
        dtype = equation.outputs[0].dtype
        logical = equation.primitive in ("reduce_and", "reduce_or")
        if logical != (dtype == np.bool_) or (equation.primitive == "reduce_prod" and not elementwise.is_float(dtype)):
            self.refuse(f"{equation.primitive} of {dtype}")

        def body(value: str, _: str) -> Lines:
            return [f"a = {combine.format('a', value)};"]

        return self._reduced(equation, equation.parameters["axes"], [f"let a = {start};"], body, "a")

    def arg(self, equation: Equation) -> Expression:
        """The first place of the largest or smallest entry, or of the first NaN."""
        sign = ">" if equation.primitive == "argmax" else "<"

        def body(value: str, variable: str) -> Lines:
            name = f"v{variable}"
            better = f"k < 0 || {name} {sign} a || ({name} !== {name} && a === a)"
            return [f"const {name} = {value};", f"if ({better}) {{ a = {name}; k = {variable}; }}"]

        return self._reduced(equation, equation.parameters["axes"], ["let a = 0, k = -1;"], body, "k")

    def _reduced(
        self, equation: Equation, axes: Sequence[int], start: Lines, body: Callable[[str, str], Lines], result: str
    ) -> Expression:
        value, expression = equation.inputs[0], self.read(equation.inputs[0])
        kept = [axis for axis in range(len(value.shape)) if axis not in axes]
        reads = list(views(expression))
        constant = all(view.buffer.constant for view in reads)
        shape = equation.outputs[0].shape
        to = self.memory.buffer(math.prod(shape), equation.outputs[0].dtype, constant)
        outer = [Cursor("0", row_major(shape))]
        outer += [Cursor(str(view.offset), tuple(view.strides[axis] for axis in kept)) for view in reads]

        def of_one(places: list[str], variables: list[str]) -> Lines:
            inner = [
                Cursor(place, tuple(view.strides[axis] for axis in axes))
                for place, view in zip(places[1:], reads, strict=True)
            ]

            def entry(places: list[str], variables: list[str]) -> Lines:
                lines, found = self.value(expression, reads, places)
                return [*lines, *body(found, variables[-1] if variables else "0")]

            sizes = tuple(value.shape[axis] for axis in axes)
            merge = equation.primitive in _REDUCTIONS
            loops = nest(sizes, range(len(axes)), inner, entry, len(variables), merge)
            return [*start, *loops, f"{to.name}[{places[0]}] = {result};"]

        self.emit(["{", *nest(shape, range(len(shape)), outer, of_one), "}"], constant)
        return View(to, shape, row_major(shape))

    def matrix(self, value: Value, axes: Sequence[Sequence[int]]) -> View:
        """The value with each group of axes as one, contiguous."""
        flat = [axis for group in axes for axis in group]
        shape = tuple(math.prod(value.shape[axis] for axis in group) for group in axes)
        whole = tuple(value.shape[axis] for axis in flat)
        turned = self.moved(self.read(value), lambda view: transposed(view, flat), whole)
        if isinstance(turned, View) and (view := reshaped(turned, shape)) is not None:
            return self.contiguous(view, shape)
        view = reshaped(self.contiguous(turned, whole), shape)
        assert view is not None
        return view

    def dot(self, equation: Equation) -> Expression:
        left, right = equation.inputs
        (of_left, of_right), (batch_left, batch_right) = equation.parameters["dimension_numbers"]
        free_left = [axis for axis in range(len(left.shape)) if axis not in (*of_left, *batch_left)]
        free_right = [axis for axis in range(len(right.shape)) if axis not in (*of_right, *batch_right)]
        if not elementwise.is_float(equation.outputs[0].dtype):
            self.refuse(f"dot_general of {equation.outputs[0].dtype}")
        a = self.matrix(left, (batch_left, free_left, of_left))
        b = self.matrix(right, (batch_right, of_right, free_right))
        (count, m, k), n = a.shape, b.shape[2]
        constant = a.buffer.constant and b.buffer.constant
        to = self.memory.buffer(count * m * n, equation.outputs[0].dtype, constant)
        for i in range(count):
            operands = f"{a.buffer.name}, {a.offset + i * m * k}, {b.buffer.name}, {b.offset + i * k * n}"
            self.emit([f"multiply({m}, {n}, {k}, {operands}, {to.name}, {i * m * n});"], constant)
        return View(to, equation.outputs[0].shape, row_major(equation.outputs[0].shape))

    def convolution(self, equation: Equation) -> Expression:
        """Images as (N, H, W, C), whatever their layout: one call for each of them."""
        (images, kernel), output, p = equation.inputs, equation.outputs[0], equation.parameters
        self._check_convolution(equation)
        numbers = p["dimension_numbers"]
        (n, c, *space), (k, _, *of_kernel) = numbers.lhs_spec, numbers.rhs_spec
        x, grid, low = self._on_grid(images, (n, *space, c), p)
        count, height, width, channels = x.shape
        taps = [kernel.shape[axis] for axis in of_kernel]
        out = [output.shape[axis] for axis in numbers.out_spec[2:]]
        scatter = grid != (1, 1) or (tuple(p["window_strides"]) == (1, 1) and height * width < math.prod(out))
        order = (numbers.rhs_spec[1], *of_kernel, k) if scatter else (*of_kernel, numbers.rhs_spec[1], k)
        w = self.matrix(kernel, [(axis,) for axis in order])
        w = self.stored(w, w.shape, range(4)) if w.offset else w
        kernels = kernel.shape[k]
        held = width * taps[0] * taps[1] * kernels if scatter else out[1] * taps[0] * taps[1] * channels
        rows = max(1, SCRATCH // held)
        self.memory.scratch = max(self.memory.scratch, min(rows, height if scatter else out[0]) * held)
        geometry = {
            "height": height, "width": width, "channels": channels, "kernels": kernels, "taps": taps, "out": out,
            "strides": list(p["window_strides"]), "grid": list(grid), "dilation": list(p["rhs_dilation"]),
            "low": list(low), "rows": rows,
        }  # fmt: skip
        constant = x.buffer.constant and w.buffer.constant
        to = self.memory.buffer(math.prod(output.shape), output.dtype, constant)
        for i in range(count):
            places = f"{x.buffer.name}, {x.offset + i * height * width * channels}, {w.buffer.name}"
            call = f"{'spread' if scatter else 'convolve'}({self.constant(geometry)}, {places}"
            self.emit([f"{call}, {to.name}, {i * math.prod(out) * kernels}, scratch);"], constant)
        whole = in_order(to, (count, *out, kernels), range(4))
        back = [0] * 4
        for axis, place in enumerate((numbers.out_spec[0], *numbers.out_spec[2:], numbers.out_spec[1])):
            back[place] = axis
        return transposed(whole, back)

    def constant(self, value: Any) -> str:
        """The name of an object that is made once."""
        name = f"g{len(self.memory.prepared)}"
        self.memory.prepared.append(f"const {name} = {json.dumps(value)};")
        return name

    def _check_convolution(self, equation: Equation) -> None:
        p = equation.parameters
        if p["feature_group_count"] != 1 or p["batch_group_count"] != 1:
            self.refuse("conv_general_dilated with groups")
        if len(equation.inputs[0].shape) != 4:
            self.refuse(f"conv_general_dilated over {len(equation.inputs[0].shape) - 2} axes (it must be two)")

    def _on_grid(self, images: Value, axes: Sequence[int], p: Any) -> tuple[View, Shape, Shape]:
        """Images (N, H, W, C), how far apart their pixels are in the convolution, and zeros before them.

        With strides besides, the zeros between pixels are written out.
        """
        x = self.matrix(images, [(axis,) for axis in axes])
        grid, low = tuple(p["lhs_dilation"]), tuple(int(before) for before, _ in p["padding"])
        if grid == (1, 1) or tuple(p["window_strides"]) == (1, 1):
            return x, grid, low
        shape = (
            x.shape[0],
            *((size - 1) * step + 1 for size, step in zip(x.shape[1:3], grid, strict=True)),
            x.shape[3],
        )
        to = in_order(self.memory.buffer(math.prod(shape), x.dtype, x.buffer.constant), shape, range(4))
        inner = sliced(to, (0,) * 4, shape, (1, *grid, 1))
        self.emit(self.assign(inner, x, range(4)), x.buffer.constant)
        return to, (1, 1), low


def _digest(array: np.ndarray) -> str:
    """A name for a constant by its entries."""
    return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"


def _order(expression: Expression, rank: int) -> Sequence[int]:
    """Axes from the slowest to the fastest, as in the largest view that an expression reads."""
    largest = max((view for view in views(expression) if view.is_whole), key=lambda view: view.size, default=None)
    if largest is None:
        return range(rank)
    return sorted(range(rank), key=lambda axis: -abs(largest.strides[axis]) if largest.shape[axis] > 1 else 0)


def _anchors(program: Program) -> dict[Value, Any]:
    """For each value, what its loop belongs to: itself if its entries are stored, or the only equation that reads them.

    A value read by several equations is not stored if these are fused into one loop.
    """
    users: dict[Value, list[Equation]] = {}
    prepared = {id(equation) for equation in program.prepared}
    for equation in (*program.prepared, *program.equations):
        for value in dict.fromkeys(equation.inputs):
            users.setdefault(value, []).append(equation)
    results = set(program.outputs.values())
    anchors: dict[Value, Any] = {}
    for equation in reversed((*program.prepared, *program.equations)):
        for value in equation.outputs:
            of = users.get(value, [])
            crossing = id(equation) in prepared and any(id(user) not in prepared for user in of)
            found = {id(a): a for a in (_anchor(user, value, len(of), anchors) for user in of)}
            alone = value in results or crossing or len(found) != 1
            anchors[value] = value if alone else next(iter(found.values()))
    return anchors


def _anchor(user: Equation, value: Value, users: int, anchors: dict[Value, Any]) -> Any:
    """The loop that `user` computes the value in; the value itself if it needs it stored."""
    output = user.outputs[0]
    if user.primitive in elementwise.PRIMITIVES:
        return anchors[output] if output.shape == value.shape else value
    if user.primitive == "slice":
        return anchors[output] if users == 1 else value
    if user.primitive in _MOVES:
        same = math.prod(output.shape) == math.prod(value.shape)
        return anchors[output] if same else value
    return output if user.primitive in _ABSORBING else value
