"""Many runs in one program: members that share everything static, stacked along axis 0 of keys and hyperparameters."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxgen.engine import loop

AXIS = "members"


class Members(NamedTuple):
    """Member i is the run of `seeds[i]` with the i-th of the stacked hyperparameters."""

    seeds: tuple[int, ...]
    hps: Any
    """The algorithm's HParams, every leaf of shape (members,)."""


def stack(seeds: Sequence[int], hps: Sequence[Any]) -> Members:
    """Members of these seeds and hyperparameters."""
    return Members(tuple(seeds), jax.tree.map(lambda *leaves: np.array(leaves, np.float32), *hps))


def of_seeds(first: int, count: int, hp: Any) -> Members:
    """Members with seeds `first`, `first` + 1, ... and the same hyperparameters."""
    return stack(range(first, first + count), [hp] * count)


def keys(members: Members) -> loop.Keys:
    """The members' keys, stacked; member i's are those of its lone run."""
    return jax.tree.map(lambda *k: jnp.stack(k), *(loop.keys(seed) for seed in members.seeds))


def mesh(count: int) -> Mesh:
    """The devices members are placed on: as many as divide them evenly."""
    devices = jax.devices()
    used = max(d for d in range(1, len(devices) + 1) if count % d == 0)
    return Mesh(np.array(devices[:used]), (AXIS,))


def spread(function: Callable[..., Any], stacked: tuple[bool, ...], mesh: Mesh) -> Callable[..., Any]:
    """`function` of all members; `stacked` tells for each argument whether it has a member axis.

    Each device runs its own share of the members and talks to no other.
    """
    mapped = jax.vmap(function, tuple(0 if one else None for one in stacked))
    specs = tuple(P(AXIS) if one else P() for one in stacked)
    return jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False)


def member(tree: Any, i: int) -> Any:
    """Member i of a stacked tree."""
    return jax.tree.map(lambda leaf: leaf[i], tree)
