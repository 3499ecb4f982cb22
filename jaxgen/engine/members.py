"""Several runs in one program: members share all static settings; keys and hyperparameters are stacked on axis 0."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxgen.engine import loop

AXIS = "members"


class Members(NamedTuple):
    """Member i is the run with seed `seeds[i]` and the i-th of the stacked hyperparameters."""

    seeds: tuple[int, ...]
    hparams: Any
    """The algorithm's HParams, every leaf of shape (members,)."""


def stack(seeds: Sequence[int], hparams: Sequence[Any]) -> Members:
    """Members with these seeds and hyperparameters."""
    return Members(tuple(seeds), jax.tree.map(lambda *leaves: np.array(leaves, np.float32), *hparams))


def of_seeds(first: int, count: int, hparams: Any) -> Members:
    """Members with seeds `first`, `first` + 1, ... and the same hyperparameters."""
    return stack(range(first, first + count), [hparams] * count)


def completed(members: Members, complete: Callable[[Any], Any]) -> Members:
    """Members with each one's hyperparameters completed."""
    count = len(members.seeds)
    return stack(members.seeds, [complete(member(members.hparams, i)) for i in range(count)])


_keys_of_seeds = jax.jit(jax.vmap(loop.keys))  # here, so that every run of as many members uses the same program


def keys(members: Members) -> loop.Keys:
    """The members' keys, stacked; member i's equal those of its single run."""
    return _keys_of_seeds(np.array(members.seeds, np.int64))


def mesh(count: int) -> Mesh:
    """The devices members are placed on: the fewest that do not increase the most members per device."""
    devices = jax.devices()
    each = -(-count // len(devices))
    return Mesh(np.array(devices[: -(-count // each)]), (AXIS,))


def spread(function: Callable[..., Any], stacked: tuple[bool, ...], count: int) -> Callable[..., Any]:
    """`function` over all `count` members; `stacked` tells for each argument whether it has a member axis.

    Each device runs its own share of the members without communication. If they do not divide evenly, the last member
    is repeated as padding, and the extra results are dropped.
    """
    over = mesh(count)
    places = np.minimum(np.arange(-(-count // over.size) * over.size), count - 1)
    specs = tuple(P(AXIS) if one else P() for one in stacked)
    sharded = jax.shard_map(_each(function, stacked), mesh=over, in_specs=specs, out_specs=P(AXIS), check_vma=False)
    if len(places) == count:
        return sharded

    def filled(*args: Any) -> Any:
        pairs = zip(args, stacked, strict=True)
        return member(sharded(*(member(arg, places) if one else arg for arg, one in pairs)), slice(count))

    return filled


def _each(function: Callable[..., Any], stacked: tuple[bool, ...]) -> Callable[..., Any]:
    """`function` over the members of one device: all at once by `vmap`, but on a CPU one after the other.

    On a CPU each member then has the caches to itself and runs exactly the program of its single run.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(function, tuple(0 if one else None for one in stacked))

    def in_turn(*args: Any) -> Any:
        def one(own: list[Any]) -> Any:
            rest = iter(own)
            return function(*(next(rest) if has else arg for arg, has in zip(args, stacked, strict=True)))

        return lax.map(one, [arg for arg, has in zip(args, stacked, strict=True) if has])

    return in_turn


def member(tree: Any, i: Any) -> Any:
    """Member i of a stacked tree; several, stacked, if i is a slice or an array."""
    return jax.tree.map(lambda leaf: leaf[i], tree)
