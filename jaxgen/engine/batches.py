"""Which examples step t sees: position follows from the step, so a resumed run sees what it would have seen.

The order of the data in epoch e is a permutation from `fold_in(key, e)`; each batch is the next piece of it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from jaxgen import collectives

Batches = Callable[[Any, Array, Array], Callable[[Array], Any]]
"""Of the data, the key of their order and the number of steps done: the batch of step t of the same epoch."""


def steps_per_epoch(split: Any, config: Any) -> int:
    """Batches in a split; for an algorithm without data (an empty pytree) what its configuration calls an epoch."""
    leaves = jax.tree.leaves(split)
    return leaves[0].shape[0] // config.batch_size if leaves else config.steps_per_epoch


def of_split(split: Any, config: Any, axis_name: str | None = None) -> Batches:
    """Batches from a split on the device, or with `axis_name` from one cut into as many parts as there are devices."""
    if not jax.tree.leaves(split):
        return lambda data, key, first: lambda t: data
    examples = jax.tree.leaves(split)[0].shape[0]
    return partial(_of_split, examples=examples, batch_size=config.batch_size, axis_name=axis_name)


def _of_split(
    data: Any, key: Array, first: Array, *, examples: int, batch_size: int, axis_name: str | None
) -> Callable[[Array], Any]:
    per_epoch = examples // batch_size
    order = permutation(jax.random.fold_in(key, first // per_epoch), examples)

    def batch_at(t: Array) -> Any:
        index = lax.dynamic_slice_in_dim(order, (t % per_epoch) * batch_size, batch_size)
        return jax.tree.map(lambda leaf: leaf[index], data) if axis_name is None else _exchange(data, index, axis_name)

    return batch_at


def of_block(split: Any, config: Any, steps: int) -> Batches:
    """Batches from a block of `steps` of them, (steps, batch, ...), or one device's shares; see `streaming`."""
    per_epoch = steps_per_epoch(split, config)
    return lambda block, key, first: lambda t: jax.tree.map(lambda leaf: leaf[t % per_epoch % steps], block)


def _exchange(part: Any, index: Int[Array, " b"], axis_name: str) -> Any:
    """Rows `index` of the whole, of which each device holds a part: to each device its share of them, in order."""
    if lax.axis_size(axis_name) == 1:
        return jax.tree.map(lambda leaf: leaf[index], part)
    size = jax.tree.leaves(part)[0].shape[0]
    place = index - lax.axis_index(axis_name) * size
    here = (place >= 0) & (place < size)
    place = jnp.where(here, place, 0)

    def rows(leaf: Array) -> Array:
        return jnp.where(here.reshape(-1, *[1] * (leaf.ndim - 1)), leaf[place], jnp.zeros((), leaf.dtype))

    return collectives.reduce_scatter(jax.tree.map(rows, part), axis_name)


def permutation(key: Array, n: int) -> Int[Array, " n"]:
    """A random order of 0..n-1: one sort by random bits (`jax.random.permutation` sorts twice or more)."""
    return jnp.argsort(jax.random.bits(key, (n,)))
