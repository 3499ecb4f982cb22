"""The origin of infinities and NaN in one step: an image, an operation and its layer, an array."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

from jaxgen.contract import Tree
from jaxgen.engine import loop

INLINED = ("pjit", "jit", "closed_call", "custom_jvp_call", "custom_vjp_call")
"""Primitives whose inner operations are looked at one by one."""


class Blame(NamedTuple):
    """The origin of infinities and NaN in a step."""

    before: str | None
    """The first array that is not finite before the step, if any."""
    after: str | None
    """The first one after it; None if only metrics are not finite."""
    images: tuple[int, ...] | None
    """Places in the training split of the images that alone make the step non-finite; None without data."""
    batch: int
    """Number of images in the batch."""
    operation: str | None
    """The first operation that turns finite numbers into others, with its layer."""
    since: int | None
    """The first step with a metric that was not finite, if it is an earlier one."""

    def lines(self) -> list[str]:
        """The findings as sentences."""
        lines = ["this step is not finite:"]
        if self.since is not None:
            lines.append(f"  step {self.since} was the first with a metric that is not finite: replay that one")
        if self.before is not None:
            lines.append(f"  {self.before} is not finite before it")
        if self.after is not None and self.after != self.before:
            lines.append(f"  {self.after} is the first array that is not finite after it")
        if self.operation is not None:
            lines.append(f"  it begins in {self.operation}")
        if self.images is not None:
            lines.append(f"  {self._whose()}")
        return lines

    def _whose(self) -> str:
        assert self.images is not None
        if len(self.images) == self.batch:
            return "each image of the batch alone makes it so: look at the state and the settings, not at the data"
        if not self.images:
            return "no image of the batch alone makes it so"
        one = "image" if len(self.images) == 1 else "images"
        return f"training {one} {', '.join(map(str, self.images))} alone make{'s' * (one == 'image')} it so"


def origin(
    step: Callable[..., Any], args: tuple[Tree, Tree, Any, Any], indices: np.ndarray | None, first_bad: int
) -> Blame:
    """Find the origin of what is not finite in `step(state, batch, key, hparams)`."""
    state, batch, key, hparams = args
    after, _ = jax.jit(step)(*args)
    images = None
    if indices is not None:
        alone = _alone(step, state, batch, key, hparams)
        images = tuple(int(indices[place]) for place in np.flatnonzero(alone))
    return Blame(
        _first(state), _first(after), images, 0 if indices is None else len(indices), _operation(step, args),
        first_bad if first_bad >= 0 else None,
    )  # fmt: skip


def _first(state: Tree) -> str | None:
    """The name of the first array that is not finite, the trained ones first."""
    names = [name for name, leaf in loop.named_leaves(state).items() if not _finite(leaf)]
    return min(names, key=lambda name: "params" not in name, default=None)


def _finite(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.inexact):
        return True
    return bool(jnp.isfinite(value).all())


def _alone(step: Callable[..., Any], state: Tree, batch: Tree, key: Any, hparams: Any) -> np.ndarray:
    """For each image, whether a batch of nothing but it is non-finite."""
    size = jax.tree.leaves(batch)[0].shape[0]

    def is_bad(place: Any) -> Any:
        same = jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf)[place], leaf.shape), batch)
        after, metrics = step(state, same, key, hparams)
        leaves = [leaf for leaf in jax.tree.leaves((after, metrics)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        return ~jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()

    return np.asarray(jax.jit(lambda: lax.map(is_bad, jnp.arange(size)))())


def _operation(step: Callable[..., Any], args: Any) -> str | None:
    """The first operation with a NaN from numbers that are none; if there is none, the first with an infinity."""
    closed, infinity = jax.make_jaxpr(step)(*args), None
    for words, is_nan in _origins(closed, jax.tree.leaves(args), ""):
        if is_nan:
            return words
        infinity = infinity or words
    return infinity


def _origins(closed: ClosedJaxpr, args: Any, layer: str) -> Generator[tuple[str, bool], None, list[Any]]:
    """Evaluate operation by operation; yield each that makes finite numbers others, and whether one is NaN."""
    jaxpr = closed.jaxpr
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *args], strict=True))

    def value(one: Any) -> Any:
        return one.val if isinstance(one, Literal) else known[one]

    for equation in jaxpr.eqns:
        values, inner = [value(one) for one in equation.invars], _inner(equation)
        scope = "/".join(filter(None, (layer, str(equation.source_info.name_stack))))
        if inner is not None:
            outputs = yield from _origins(inner, values, scope)
        else:
            outputs = _evaluated(jaxpr, equation, known)
            if not all(map(_finite, outputs)) and all(map(_finite, values)):
                yield f"{equation.primitive.name}{f' in {scope}' if scope else ''}", any(map(_has_nan, outputs))
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [value(one) for one in jaxpr.outvars]


def _has_nan(value: Any) -> bool:
    return bool(jnp.issubdtype(value.dtype, jnp.inexact) and jnp.isnan(value).any())


def _inner(equation: Any) -> ClosedJaxpr | None:
    """The operations of a call, if that is all it is."""
    if equation.primitive.name not in INLINED:
        return None
    return next((equation.params[name] for name in ("jaxpr", "call_jaxpr") if name in equation.params), None)


def _evaluated(jaxpr: Any, equation: Any, known: dict[Any, Any]) -> list[Any]:
    """The results of one operation, as a program of its own: its parameters differ between versions of JAX."""
    inputs = list(dict.fromkeys(one for one in equation.invars if not isinstance(one, Literal)))
    alone = jaxpr.replace(constvars=[], invars=inputs, outvars=list(equation.outvars), eqns=[equation])
    return list(jaxpr_as_fun(ClosedJaxpr(alone, []))(*(known[one] for one in inputs)))
