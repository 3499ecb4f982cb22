"""Per-example keys, and batched maps over whole splits: no example's result depends on another."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxgen import collectives

SIZE = 500
"""Default batch size when mapping over a whole split."""


def keys(key: Array, count: int, axis_name: str | None = None) -> Array:
    """`count` keys, one per example, from its position in the whole batch: shards draw what the whole batch would."""
    first = collectives.index(axis_name) * count
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(count))


def map_batches(
    function: Callable[[Any], Any], split: Any, size: int | None = None, axis_name: str | None = None
) -> Any:
    """`function` applied to all of `split` (a pytree with examples along axis 0), `size` examples at a time.

    `function` takes and returns batches. The last batch is padded with the first examples, and their extra results
    are dropped. With `axis_name` each device holds all of `split` and computes its share of the batches; all devices
    get all results. The default size is `SIZE`.
    """
    count = jax.tree.leaves(split)[0].shape[0]
    size = min(size or SIZE, count)
    batches = -(-count // size)
    share = -(-batches // collectives.size(axis_name))
    first = collectives.index(axis_name) * share
    places = ((first * size + jnp.arange(share * size)) % count).reshape(share, size)
    mapped = lax.map(lambda place: function(jax.tree.map(lambda leaf: leaf[place], split)), places)
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], collectives.all_gather(mapped, axis_name)
    )
