"""A float32 function recomputed with float64 arrays, as a reference for its numbers.

The function is traced unchanged, so that its draws are those of the float32 program (a float64 `jax.random.normal`
draws others), and the trace is evaluated under `jax.enable_x64` with 64 bits in place of 32.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

_INLINED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""Parameters that hold the whole program of an equation: of jit, custom derivatives and checkpoints."""


_UNOPTIMIZED = {"xla_backend_optimization_level": 0}
"""For the reference: compiles in half the time, and by a different path from the program under test."""


def in_float64(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args) as NumPy arrays, floats in float64."""
    traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    leaves = jax.tree.leaves(args)
    cpu = jax.local_devices(backend="cpu")[0]
    with jax.enable_x64(True), jax.default_device(cpu):
        wide = [_widened(leaf) for leaf in leaves]
        constants = [_widened(constant) for constant in traced.consts]
        program = jax.jit(partial(_evaluate, traced.jaxpr), compiler_options=_UNOPTIMIZED)
        outputs = jax.device_get(program(constants, wide))
    return jax.tree.unflatten(jax.tree.structure(shapes), outputs)


def _is_key(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _widened(value: Any) -> Any:
    if _is_key(value):
        return value
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    return array.astype(jnp.float64) if array.dtype == np.float32 else array


def _narrowed(value: Any) -> Any:
    return value if _is_key(value) or value.dtype != jnp.float64 else value.astype(jnp.float32)


def _evaluate(jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *inputs], strict=True))

    def read(variable: Any) -> Any:
        if isinstance(variable, Literal):  # keep its own type: Python numbers have 64 bits here
            kind: Any = variable.aval
            return _widened(np.asarray(variable.val, kind.dtype))
        return values[variable]

    for equation in jaxpr.eqns:
        outputs = _outputs(equation, [read(variable) for variable in equation.invars])
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _closed(jaxpr: Any) -> Callable[..., list[Any]]:
    inner, constants = (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, ClosedJaxpr) else (jaxpr, [])
    return lambda *inputs: _evaluate(inner, [_widened(constant) for constant in constants], inputs)


def _outputs(equation: JaxprEqn, inputs: list[Any]) -> list[Any]:
    primitive, params = equation.primitive, equation.params
    match primitive.name:
        case "scan":
            return _scan(equation, inputs)
        case "while":
            return _while(params, inputs)
        case "cond":
            return list(lax.switch(inputs[0], [_closed(branch) for branch in params["branches"]], *inputs[1:]))
        case "bitcast_convert_type":
            return [_widened(primitive.bind(*map(_narrowed, inputs), **params))]
        case "erf_inv":  # of a random float32: in the tails it amplifies that number's rounding ten-thousandfold
            return [primitive.bind(_widened(_narrowed(inputs[0])), **params)]
        case "scatter" | "scatter-add":  # their parameters hold the function of two elements, traced in float32
            keep = ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")
            scatter = lax.scatter if primitive.name == "scatter" else lax.scatter_add
            return [scatter(*inputs, **{name: params[name] for name in keep})]
    for name in _INLINED:
        if isinstance(params.get(name), ClosedJaxpr | Jaxpr):
            return _closed(params[name])(*inputs)
    is_32 = lambda value: isinstance(value, np.dtype | type) and value == np.float32  # noqa: E731
    wide = {name: np.dtype(np.float64) if is_32(value) else value for name, value in params.items()}
    outputs = primitive.bind(*inputs, **wide)
    return list(outputs) if primitive.multiple_results else [outputs]


def _scan(equation: JaxprEqn, inputs: list[Any]) -> list[Any]:
    """A scan; carries are told apart by shape, as every x and y has the scanned axis, too (names differ by version)."""
    params = equation.params
    body, run = params["jaxpr"], _closed(params["jaxpr"])
    inner = body.jaxpr if isinstance(body, ClosedJaxpr) else body

    def as_long(outside: Sequence[Any], inside: Sequence[Any]) -> int:
        return sum(a.aval.shape == b.aval.shape for a, b in zip(outside, inside, strict=True))

    carried = as_long(equation.outvars, inner.outvars)
    last = as_long(equation.invars, inner.invars)
    constants, carry, xs = inputs[: last - carried], inputs[last - carried : last], inputs[last:]

    def step(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        outputs = run(*constants, *carry, *x)
        return outputs[:carried], outputs[carried:]

    carry, ys = lax.scan(step, carry, xs, length=params["length"], reverse=params["reverse"])
    return [*carry, *ys]


def _while(params: dict[str, Any], inputs: list[Any]) -> list[Any]:
    test, body = _closed(params["cond_jaxpr"]), _closed(params["body_jaxpr"])
    first = params["cond_nconsts"]
    last = first + params["body_nconsts"]
    tested, constants, carry = inputs[:first], inputs[first:last], inputs[last:]
    return list(
        lax.while_loop(lambda carry: test(*tested, *carry)[0], lambda carry: body(*constants, *carry), list(carry))
    )
