"""Collectives over a named axis of devices (`shard_map`, `pmap`); identities where `axis_name` is None."""

from typing import Any, TypeVar

import jax
from jax import lax
from jaxtyping import Array

T = TypeVar("T")


def mean(tree: T, axis_name: str | None) -> T:
    """Mean of every array over devices, on all of them."""
    return tree if axis_name is None else lax.pmean(tree, axis_name)


def size(axis_name: str | None) -> int:
    """The number of devices."""
    return 1 if axis_name is None else lax.axis_size(axis_name)


def index(axis_name: str | None) -> Array | int:
    """This device's index, from 0."""
    return 0 if axis_name is None else lax.axis_index(axis_name)


def local_shard(tree: T, axis_name: str | None, axis: int = 0) -> T:
    """This device's equal shard, along `axis`, of replicated arrays."""
    if axis_name is None:
        return tree

    def share(leaf: Array) -> Array:
        length = leaf.shape[axis] // lax.axis_size(axis_name)
        return lax.dynamic_slice_in_dim(leaf, lax.axis_index(axis_name) * length, length, axis)

    return jax.tree.map(share, tree)


def all_gather(tree: T, axis_name: str | None) -> T:
    """All devices' shards, concatenated along axis 0."""
    return tree if axis_name is None else lax.all_gather(tree, axis_name, tiled=True)


def reduce_scatter(tree: Any, axis_name: str | None) -> Any:
    """Each device's equal shard, along axis 0, of the sum over devices."""
    if axis_name is None:
        return tree
    return jax.tree.map(lambda leaf: lax.psum_scatter(leaf, axis_name, tiled=True), tree)
