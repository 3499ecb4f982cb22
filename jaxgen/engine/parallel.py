"""One run on several devices: the data and every batch are sharded, the state is replicated.

The chunk runs under `shard_map`; the algorithm's step averages gradients over `AXIS`, and apart from the images of a
batch nothing else moves between devices. Parts of a state, such as environments, may be sharded too: see
`Traits.divided_axes`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxgen import contract
from jaxgen.contract import Algorithm
from jaxgen.engine import loop
from jaxgen.errors import refuse

AXIS = "batch"


def mesh(devices: int) -> Mesh | None:
    """The mesh of the first `devices` devices (0: all); None for one device, which needs no mesh.

    Multiple processes use all of their devices.
    """
    found = jax.devices()
    count = devices or len(found)
    if jax.process_count() > 1:
        if devices not in (0, 1, len(found)):
            refuse("run.devices", devices, f"0, the {len(found)} devices of all {jax.process_count()} processes")
        return Mesh(np.array(found), (AXIS,))
    if count > len(found):
        refuse("run.devices", devices, f"at most {len(found)}, the {found[0].platform} devices there are, or 0 for all")
    return Mesh(np.array(found[:count]), (AXIS,)) if count > 1 else None


def check_config(algorithm: Algorithm, config: Any, devices: int) -> None:
    """Refuse settings that do not divide evenly, as results would depend on the number of devices.

    `Traits.divided` names the settings that must be multiples of the number of devices, and how many units of each must
    stay together.
    """
    if not contract.takes_axis(algorithm):
        refuse("run.devices", devices, f"1: a step of {contract.name_of(algorithm)} takes no axis_name")
    for field, together in algorithm.TRAITS.divided(config).items():
        value, unit = getattr(config, field), devices * together
        if value % unit:
            one = f", each taking a multiple of {together}" if together > 1 else ""
            refuse(f"config.{field}", value, f"a multiple of {unit} on {devices} devices{one}")


def carry_specs(algorithm: Algorithm, carry: loop.Carry) -> loop.Carry:
    """Partition specs of the carry: replicated, except for what the algorithm divides."""
    whole = jax.tree.map(lambda _: P(), carry)
    if algorithm.TRAITS.divided_axes is None:
        return whole

    def along(axis: int, branch: Any) -> Any:
        return jax.tree.map(lambda _: P(*[None] * axis, AXIS) if axis >= 0 else P(), branch)

    return whole._replace(state=jax.tree.map(along, algorithm.TRAITS.divided_axes, carry.state))


def shardings(specs: Any, mesh: Mesh) -> Any:
    """Specs as shardings."""
    return jax.tree.map(partial(NamedSharding, mesh), specs, is_leaf=lambda x: isinstance(x, P))


def spread(function: Callable[..., Any], mesh: Mesh, in_specs: Any, out_specs: Any) -> Callable[..., Any]:
    """`function` on each device's shard, with `AXIS` for collectives."""
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def put(leaf: Any, at: NamedSharding) -> jax.Array:
    """An array known to every process, placed with the sharding `at`."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(put(jax.random.key_data(leaf), at), impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, at, lambda index: whole[index])


def place(tree: Any, mesh: Mesh) -> Any:
    """Numbers known to every process, on every device."""
    return jax.tree.map(lambda leaf: put(leaf, NamedSharding(mesh, P())), tree)


def gather(tree: Any, mesh: Mesh) -> Any:
    """Every array in full on every device, so that each process can read it."""
    if all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)):
        return tree
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, P()))(tree)


def local(leaf: jax.Array) -> jax.Array:
    """An array that is replicated, or held entirely by this process, on one device."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(local(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    return jax.device_put(np.asarray(leaf), jax.local_devices()[0])


def place_split(split: Any, mesh: Mesh) -> Any:
    """A split of the data, sharded over the devices and padded with unused zeros."""

    def put(leaf: Any) -> jax.Array:
        size = -(-leaf.shape[0] // mesh.size)

        def part(index: Any) -> np.ndarray:
            rows = np.asarray(leaf[index[0].start or 0 : min(index[0].stop or leaf.shape[0], leaf.shape[0])])
            missing = size - rows.shape[0]
            return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows

        shape = (size * mesh.size, *leaf.shape[1:])
        return jax.make_array_from_callback(shape, NamedSharding(mesh, P(AXIS)), part)

    return jax.tree.map(put, split)
