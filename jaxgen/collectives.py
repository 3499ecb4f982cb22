"""What one of several devices has of what all share, under `shard_map` or `pmap`; without an axis, all of it."""

from typing import Any

import jax
from jax import lax
from jaxtyping import Array


def own(tree: Any, axis_name: str | None, axis: int = 0) -> Any:
    """This device's equal share, along `axis`, of arrays that every device holds."""
    if axis_name is None:
        return tree
    devices, index = lax.axis_size(axis_name), lax.axis_index(axis_name)

    def share(leaf: Array) -> Array:
        size = leaf.shape[axis] // devices
        return lax.dynamic_slice_in_dim(leaf, index * size, size, axis)

    return jax.tree.map(share, tree)


def everyones(tree: Any, axis_name: str | None) -> Any:
    """All devices' shares, one after the other along axis 0."""
    return tree if axis_name is None else lax.all_gather(tree, axis_name, tiled=True)


def distribute(tree: Any, axis_name: str | None) -> Any:
    """Each device's share of rows, a row coming from the one device that has not zeros there."""
    if axis_name is None:
        return tree
    return jax.tree.map(lambda leaf: lax.psum_scatter(leaf, axis_name, tiled=True), tree)


def count(axis_name: str | None) -> int:
    """Devices there are."""
    return 1 if axis_name is None else lax.axis_size(axis_name)
