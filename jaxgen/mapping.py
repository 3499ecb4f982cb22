"""Functions of batches applied to whole splits."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Tree = Any


def map_batches(function: Callable[[Tree], Tree], examples: Tree, size: int) -> Tree:
    """`function(examples)`, in the memory of `size` examples: outputs joined along axis 0.

    `function` takes and returns trees of arrays whose axis 0 counts examples, and mixes none. It is traced once more
    where `size` does not divide their number.
    """
    count = jax.tree.leaves(examples)[0].shape[0]
    whole = count - count % size
    parts = []
    if whole:
        batches = jax.tree.map(lambda x: x[:whole].reshape(-1, size, *x.shape[1:]), examples)
        parts.append(jax.tree.map(lambda y: y.reshape(whole, *y.shape[2:]), lax.map(function, batches)))
    if whole < count:
        parts.append(function(jax.tree.map(lambda x: x[whole:], examples)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
