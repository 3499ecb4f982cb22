"""The examples of step t: a function of the step, so that a resumed run sees the same batches.

The order of the data in epoch e is a permutation from `fold_in(key, e)`; each batch is the next slice of it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from jaxgen import collectives
from jaxgen.contract import Algorithm

Batches = Callable[[Any, Array, Array, Array], Callable[[Array], Any]]
"""(data, order key, first, last) -> the batch of each step from `first` to `last` (exclusive)."""
ORDER_ENTRIES = 2**20
"""Number of examples whose order is computed before a chunk (at least one epoch)."""
MOST_EPOCHS = 64


def steps_per_epoch(algorithm: Algorithm, split: Any, config: Any) -> int:
    """Batches in a split, or the number declared in the algorithm's traits."""
    if algorithm.TRAITS.steps_per_epoch is not None:
        return algorithm.TRAITS.steps_per_epoch(config)
    return int(jax.tree.leaves(split)[0].shape[0]) // int(config.batch_size)


def epochs_at_once(split: Any) -> int:
    """Maximum number of epochs a chunk may touch."""
    leaves = jax.tree.leaves(split)
    return max(1, min(MOST_EPOCHS, ORDER_ENTRIES // leaves[0].shape[0])) if leaves else MOST_EPOCHS


def of_split(split: Any, config: Any, axis_name: str | None = None, epochs: int = 1) -> Batches:
    """Batches from a split on the device or, with `axis_name`, from one sharded over the devices.

    One call may touch `epochs` epochs, whose orders are computed first.
    """
    if not jax.tree.leaves(split):
        return lambda data, key, first, last: lambda t: data
    examples = jax.tree.leaves(split)[0].shape[0]
    return partial(_of_split, examples=examples, batch_size=config.batch_size, axis_name=axis_name, epochs=epochs)


def _of_split(
    data: Any,
    key: Array,
    first: Array,
    last: Array,
    *,
    examples: int,
    batch_size: int,
    axis_name: str | None,
    epochs: int,
) -> Callable[[Array], Any]:
    per_epoch = examples // batch_size
    epoch = first // per_epoch

    def fill(i: Array, orders: Array) -> Array:
        return orders.at[i].set(order_of(key, epoch + i, examples))

    if epochs == 1:
        orders = order_of(key, epoch, examples)[None]
    else:
        count = jnp.minimum((last - 1) // per_epoch - epoch + 1, epochs)
        orders = lax.fori_loop(0, count, fill, jnp.zeros((epochs, examples), jnp.int32))

    def batch_at(t: Array) -> Any:
        index = lax.dynamic_slice(orders, (t // per_epoch - epoch, (t % per_epoch) * batch_size), (1, batch_size))[0]
        return jax.tree.map(lambda leaf: leaf[index], data) if axis_name is None else _exchange(data, index, axis_name)

    return batch_at


def of_block(split: Any, config: Any, steps: int) -> Batches:
    """Batches from a block of `steps` batches, (steps, batch, ...), or one device's shards; see `streaming`."""
    per_epoch = jax.tree.leaves(split)[0].shape[0] // config.batch_size
    return lambda block, key, first, last: lambda t: jax.tree.map(lambda leaf: leaf[t % per_epoch % steps], block)


def _exchange(part: Any, index: Int[Array, " b"], axis_name: str) -> Any:
    """Rows `index` of a sharded split: each device gets its share of them, in order."""
    if lax.axis_size(axis_name) == 1:
        return jax.tree.map(lambda leaf: leaf[index], part)
    size = jax.tree.leaves(part)[0].shape[0]
    place = index - lax.axis_index(axis_name) * size
    here = (place >= 0) & (place < size)
    place = jnp.where(here, place, 0)

    def rows(leaf: Array) -> Array:
        return jnp.where(here.reshape(-1, *[1] * (leaf.ndim - 1)), leaf[place], jnp.zeros((), leaf.dtype))

    return collectives.reduce_scatter(jax.tree.map(rows, part), axis_name)


def order_of(key: Array, epoch: Array | int, examples: int) -> Int[Array, " n"]:
    """The order of the examples in an epoch; `key` is the run's key for orders."""
    return permutation(jax.random.fold_in(key, epoch), examples)


def permutation(key: Array, n: int) -> Int[Array, " n"]:
    """A random order of 0..n-1: the stable order of n random words of 32 bits.

    A radix sort: by the low bits first, then by the others. Each pass sorts single numbers, which hold some bits and
    below them the position; XLA's CPU code sorts those five times as fast as pairs. (`jax.random.permutation` sorts
    pairs, twice or more.)
    """
    words = jax.random.bits(key, (n,))
    places = max(1, (n - 1).bit_length())
    order = position = lax.iota(jnp.uint32, n)
    for shift in range(0, 32, 32 - places):
        numbers = (words[order] >> shift) << places | position
        order = order[lax.sort(numbers, is_stable=False) & (2**places - 1)]
    return order.astype(jnp.int32)
