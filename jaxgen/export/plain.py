"""A function of a trained model as a plain program: a list of equations over the primitives that writers translate.

`trace` inlines calls and custom derivatives, takes the default branch of `platform_dependent` (for a convolution, the
ordinary one), folds constants and drops what no output needs. What remains are

    elementwise   add, mul, exp, max, lt, select_n, clamp, convert_element_type, ...; operands of rank 0 and axes of
                  size 1 are broadcast
    moving        broadcast_in_dim, reshape, transpose, rev, slice, pad, concatenate, iota; take: the entries of a flat
                  array at constant `indices`, which gathers and scatters with constant indices become
    sums          reduce_sum, reduce_max, ..., argmax, argmin, dot_general, conv_general_dilated

with the parameters that JAX gives them (`jax.lax`). Other primitives are kept as they are, for a writer to refuse.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Literal

from jaxgen.errors import UserError

FOLDED = 1 << 16
"""Largest result of an equation between constants, in elements, that is computed here and not by the program."""
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""Parameters that hold the body of a call, if the primitive is one of `_INLINED`."""
_INLINED = frozenset({
    "jit", "pjit", "closed_call", "core_call", "call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr",
    "checkpoint", "remat", "remat2",
})  # fmt: skip
_IDENTITIES = frozenset({
    "copy", "copy_p", "name", "optimization_barrier", "reshard", "sharding_constraint", "stop_gradient",
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Value:
    """An array of a program, by identity."""

    shape: tuple[int, ...]
    dtype: Any
    constant: np.ndarray | None = None
    """Its entries, where they are known."""
    name: str = ""
    """Of an input or a parameter."""

    @property
    def is_parameter(self) -> bool:
        """Whether the value is one of the model's weights."""
        return self.constant is not None and bool(self.name)


class Equation(NamedTuple):
    """outputs = primitive(inputs)."""

    primitive: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """A function of arrays with the weights inside."""

    name: str
    inputs: tuple[Value, ...]
    outputs: Mapping[str, Value]
    """By name; `output` where there is one."""
    prepared: tuple[Equation, ...]
    """Equations that depend on weights and constants alone, to be done once."""
    equations: tuple[Equation, ...]
    """The equations that depend on inputs."""
    parameters: Mapping[str, Value]
    """The weights that occur, by their path in the tree."""

    @property
    def primitives(self) -> tuple[str, ...]:
        """The names that occur, sorted."""
        return tuple(sorted({equation.primitive for equation in (*self.prepared, *self.equations)}))


def trace(name: str, function: Callable[..., Any], weights: Any, inputs: Mapping[str, Any]) -> Program:
    """The program of `function(weights, *inputs)`, which returns an array or a tree of arrays.

    `inputs` are arrays or `jax.ShapeDtypeStruct`s by name, of the sizes that the program will have.
    """
    leaves = {path_name(path) or "weights": leaf for path, leaf in jax.tree_util.tree_leaves_with_path(weights)}
    structure = jax.tree.structure(weights)

    def flat(arrays: list[Any], *arguments: Any) -> Any:
        return function(jax.tree.unflatten(structure, arrays), *arguments)

    closed, shape = jax.make_jaxpr(flat, return_shape=True)(list(leaves.values()), *inputs.values())
    parameters = [Value(np.shape(leaf), leaf.dtype, np.asarray(leaf), path) for path, leaf in leaves.items()]
    of_inputs = [Value(tuple(x.shape), x.dtype, name=name) for name, x in inputs.items()]
    tracer = _Tracer()
    results = tracer.closed(closed, [*parameters, *of_inputs])
    named = jax.tree_util.tree_leaves_with_path(shape)
    outputs = {path_name(path) or "output": result for (path, _), result in zip(named, results, strict=True)}
    return _program(name, tuple(of_inputs), outputs, tracer.equations)


def path_name(path: Any) -> str:
    """A leaf's path in its tree, as `decoder/Dense_0/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _program(name: str, inputs: tuple[Value, ...], outputs: dict[str, Value], equations: list[Equation]) -> Program:
    needed, kept = set(outputs.values()), []
    for equation in reversed(equations):
        if needed & set(equation.outputs):
            kept.append(equation)
            needed |= set(equation.inputs)
    kept.reverse()
    depends = set(inputs)
    for equation in kept:
        if depends & set(equation.inputs):
            depends |= set(equation.outputs)
    running = tuple(equation for equation in kept if depends & set(equation.outputs))
    prepared = tuple(equation for equation in kept if not depends & set(equation.outputs))
    parameters = {v.name: v for v in sorted(needed, key=lambda v: v.name) if v.is_parameter}
    return Program(name, inputs, outputs, prepared, running, parameters)


@dataclass
class _Tracer:
    """Walks a jaxpr and writes down its equations."""

    equations: list[Equation] = field(default_factory=list)

    def closed(self, jaxpr: Any, arguments: list[Value]) -> list[Value]:
        return self.walk(jaxpr.jaxpr, [_constant(array) for array in jaxpr.consts] + arguments)

    def walk(self, jaxpr: Any, arguments: list[Value]) -> list[Value]:
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], arguments, strict=True))

        def read(atom: Any) -> Value:
            if isinstance(atom, Literal):
                aval: Any = atom.aval
                return _constant(np.asarray(atom.val, aval.dtype))
            return known[atom]

        for equation in jaxpr.eqns:
            results = self.equation(equation, [read(atom) for atom in equation.invars])
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def equation(self, equation: Any, inputs: list[Value]) -> list[Value]:
        name, parameters = equation.primitive.name, equation.params
        if name in _INLINED:
            body = next(parameters[key] for key in _CALLS if key in parameters)
            return self.closed(body, inputs) if hasattr(body, "consts") else self.walk(body, inputs)
        if name == "cond" and (branch := _branch(parameters, inputs[0])) is not None:
            return self.closed(branch, inputs[1:])
        if name in _IDENTITIES:
            return inputs
        outputs = [_of(atom.aval) for atom in equation.outvars]
        rewrite = _REWRITTEN.get(name)
        if rewrite is not None and (results := rewrite(self, inputs, outputs, parameters)) is not None:
            return results
        return self.add(name, inputs, outputs, parameters)

    def add(self, name: str, inputs: list[Value], outputs: list[Value], parameters: Mapping[str, Any]) -> list[Value]:
        """An equation, or its result where that is a small constant."""
        if _foldable(inputs, outputs):
            results = _bind(name, [value.constant for value in inputs], parameters)
            if results is not None:
                return [_constant(np.asarray(array)) for array in results]
        self.equations.append(Equation(name, tuple(inputs), tuple(outputs), parameters))
        return outputs

    def reshape(self, value: Value, shape: tuple[int, ...]) -> Value:
        """The value in another shape."""
        if value.shape == shape:
            return value
        parameters = {"new_sizes": shape, "dimensions": None, "sharding": None}
        return self.add("reshape", [value], [Value(shape, value.dtype)], parameters)[0]


def _constant(array: Any) -> Value:
    return Value(np.shape(array), array.dtype, np.asarray(array) if _is_plain(array.dtype) else None)


def _of(aval: Any) -> Value:
    if not hasattr(aval, "shape"):
        return Value((), np.dtype(np.int32))  # a token: nothing reads it
    return Value(tuple(aval.shape), aval.dtype)


def _is_plain(dtype: Any) -> bool:
    return not jax.dtypes.issubdtype(dtype, jax.dtypes.extended)


def _foldable(inputs: list[Value], outputs: list[Value]) -> bool:
    known = all(value.constant is not None and not value.is_parameter for value in inputs)
    small = all(np.prod(value.shape, dtype=int) <= FOLDED and _is_plain(value.dtype) for value in outputs)
    return known and small


def _bind(name: str, arrays: list[Any], parameters: Mapping[str, Any]) -> list[Any] | None:
    """The results of `take` or of a primitive of `jax.lax`; None for others."""
    if name == "take":
        return [arrays[0][parameters["indices"]]]
    primitive = getattr(lax, f"{name.replace('-', '_')}_p", None)
    if primitive is None:
        return None
    results = primitive.bind(*map(jnp.asarray, arrays), **parameters)
    return list(results) if primitive.multiple_results else [results]


def _branch(parameters: Mapping[str, Any], index: Value) -> Any:
    """The branch taken: the default one of `platform_dependent`, or that of a known index."""
    platforms = parameters.get("branches_platforms")
    if platforms is not None:
        if None not in platforms:
            raise UserError(f"platform_dependent without a default cannot be exported, only {platforms}")
        return parameters["branches"][platforms.index(None)]
    if index.constant is None or index.is_parameter:
        return None
    branches = parameters["branches"]
    return branches[int(np.clip(index.constant, 0, len(branches) - 1))]


Rewrite = Callable[[_Tracer, list[Value], list[Value], Mapping[str, Any]], list[Value] | None]


def _reshaped(tracer: _Tracer, inputs: list[Value], outputs: list[Value], parameters: Mapping[str, Any]) -> Any:
    return [tracer.reshape(inputs[0], outputs[0].shape)] if parameters.get("dimensions") is None else None


def _squeezed(tracer: _Tracer, inputs: list[Value], outputs: list[Value], parameters: Mapping[str, Any]) -> Any:
    return [tracer.reshape(inputs[0], outputs[0].shape)]


def _stacked(tracer: _Tracer, inputs: list[Value], outputs: list[Value], parameters: Mapping[str, Any]) -> Any:
    axis, shape = parameters["axis"], outputs[0].shape
    parts = [tracer.reshape(value, (*shape[:axis], 1, *shape[axis + 1 :])) for value in inputs]
    return tracer.add("concatenate", parts, outputs, {"dimension": axis})


def _split(tracer: _Tracer, inputs: list[Value], outputs: list[Value], parameters: Mapping[str, Any]) -> Any:
    axis, start, results = parameters["axis"], 0, []
    for output in outputs:
        starts, limits = [0] * len(output.shape), list(output.shape)
        starts[axis], limits[axis] = start, start + output.shape[axis]
        start = limits[axis]
        where = {"start_indices": tuple(starts), "limit_indices": tuple(limits), "strides": None}
        results += tracer.add("slice", inputs, [output], where)
    return results


def _squared(tracer: _Tracer, inputs: list[Value], outputs: list[Value], parameters: Mapping[str, Any]) -> Any:
    return tracer.add("mul", inputs * 2, outputs, {})


def _selected(tracer: _Tracer, inputs: list[Value], outputs: list[Value], parameters: Mapping[str, Any]) -> Any:
    which = inputs[0].constant
    known = which is not None and not inputs[0].is_parameter and which.size > 0 and (which == which.flat[0]).all()
    return [inputs[1 + int(which.flat[0])]] if known else None  # type: ignore[union-attr]


def _converted(tracer: _Tracer, inputs: list[Value], outputs: list[Value], parameters: Mapping[str, Any]) -> Any:
    return inputs if inputs[0].dtype == outputs[0].dtype else None


def _picked(name: str, moved: tuple[int, ...]) -> Rewrite:
    """A primitive that only moves entries of its inputs `moved`, to places given by the others, as `take`.

    Applied to the entries' own numbers, it tells which of them goes where.
    """

    def rewrite(tracer: _Tracer, inputs: list[Value], outputs: list[Value], parameters: Mapping[str, Any]) -> Any:
        where = [value for i, value in enumerate(inputs) if i not in moved]
        if any(value.constant is None or value.is_parameter for value in where):
            return None
        arguments, total = [value.constant for value in inputs], 0
        for i in moved:
            size = int(np.prod(inputs[i].shape, dtype=int))
            arguments[i] = np.arange(total, total + size, dtype=np.int32).reshape(inputs[i].shape)
            total += size
        fill = {"fill_value": -1} if "fill_value" in parameters else {}
        results = _bind(name, arguments, {**parameters, **fill})
        if results is None or not (np.asarray(results[0]) >= 0).all():
            return None
        flat = [tracer.reshape(inputs[i], (arguments[i].size,)) for i in moved]  # type: ignore[union-attr]
        if len(flat) > 1:
            flat = tracer.add("concatenate", flat, [Value((total,), flat[0].dtype)], {"dimension": 0})
        return tracer.add("take", flat, outputs, {"indices": np.asarray(results[0])})

    return rewrite


_REWRITTEN: dict[str, Rewrite] = {
    "convert_element_type": _converted,
    "dynamic_slice": _picked("dynamic_slice", (0,)),
    "expand_dims": _squeezed,
    "gather": _picked("gather", (0,)),
    "reshape": _reshaped,
    "scatter": _picked("scatter", (0, 2)),
    "select_n": _selected,
    "split": _split,
    "square": _squared,
    "squeeze": _squeezed,
    "stack": _stacked,
}


def evaluate(program: Program, *arrays: Any) -> dict[str, jax.Array]:
    """The outputs, computed by JAX equation by equation: slow, to check a program and those who translate it."""
    known: dict[Value, Any] = dict(zip(program.inputs, arrays, strict=True))

    def read(value: Value) -> Any:
        return known[value] if value in known else jnp.asarray(value.constant)

    for equation in (*program.prepared, *program.equations):
        results = _bind(equation.primitive, [read(value) for value in equation.inputs], equation.parameters)
        if results is None:
            raise UserError(f"{program.name} needs {equation.primitive}, which cannot be evaluated on its own")
        known.update(zip(equation.outputs, results, strict=True))
    return {name: jnp.asarray(read(value)) for name, value in program.outputs.items()}


def arrays(program: Program) -> Iterator[np.ndarray]:
    """Every constant array of the program besides its weights."""
    seen: set[int] = set()
    for equation in (*program.prepared, *program.equations):
        for value in equation.inputs:
            if value.constant is not None and not value.is_parameter and id(value) not in seen:
                seen.add(id(value))
                yield value.constant
