"""Placement of a run: on one device, as several members, or sharded over devices, behind one interface.

A placement knows the run's keys, places arrays for the programs, distributes the programs, and brings arrays back for
this process to read.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxgen.contract import Algorithm, Tree
from jaxgen.engine import loop, parallel
from jaxgen.engine import members as members_lib
from jaxgen.engine.executables import Devices
from jaxgen.engine.members import Members

Function = Callable[..., Any]


class Functions(NamedTuple):
    """The three functions of a run, and the placement of a carry (None: wherever it is made)."""

    start: Function
    """(key, hparams) -> carry"""
    chunk: Function
    """(carry, keys, hparams, training data, first, last) -> carry, chunk"""
    evaluate: Function
    """(state, test data, key, hparams) -> metrics"""
    places: Tree | None = None


class Placement(Protocol):
    """Interface for the placement of a run."""

    keys: loop.Keys
    axis_name: str | None
    """The axis that the step averages over."""
    mesh: Mesh | None
    """The devices that batches are sharded over, if any."""
    members: Members | None
    programs: Hashable
    """Everything about the placement that compiled programs depend on."""
    devices: Devices
    """Its programs' devices, if a later process can load them."""

    def put(self, tree: Tree) -> Tree:
        """Numbers known to every process, placed for the programs."""

    def put_split(self, split: Tree) -> Tree:
        """A training split, placed for the programs."""

    def spread(self, algorithm: Algorithm, functions: Functions, hparams: Tree, streamed: bool) -> Functions:
        """The functions of one run on one device, adapted to this placement."""

    def template(self, carry: Tree) -> Tree:
        """Shapes, types and placements to restore a carry into."""

    def resume(self, carry: Tree, places: Tree | None) -> Tree:
        """A restored carry, placed for the programs."""

    def whole(self, carry: Tree) -> Tree:
        """The carry, gathered for this process to read; all processes must call this."""

    def local(self, tree: Tree) -> Tree:
        """Part of a gathered carry or of keys, placed for this process's own programs."""

    def one(self, tree: Tree) -> Tree:
        """One run's part of a tree; with several members, the first one's."""


class Single:
    """One run on one device."""

    axis_name: str | None = None
    mesh: Mesh | None = None
    members: Members | None = None
    programs: Hashable = None
    devices: Devices

    def __init__(self, seed: int) -> None:
        self.keys = loop.keys(seed)
        self.devices = jax.devices()[:1] if jax.config.values["jax_default_device"] is None else None

    def put(self, tree: Tree) -> Tree:
        return tree

    def put_split(self, split: Tree) -> Tree:
        return split

    def spread(self, algorithm: Algorithm, functions: Functions, hparams: Tree, streamed: bool) -> Functions:
        return functions

    def template(self, carry: Tree) -> Tree:
        return carry

    def resume(self, carry: Tree, places: Tree | None) -> Tree:
        return carry

    def whole(self, carry: Tree) -> Tree:
        return carry

    def local(self, tree: Tree) -> Tree:
        return tree

    def one(self, tree: Tree) -> Tree:
        return tree


class Many(Single):
    """Members stacked along axis 0 and spread over all devices, each running its own."""

    def __init__(self, members: Members) -> None:
        self.members = members
        self.keys = members_lib.keys(members)
        mesh = members_lib.mesh(len(members.seeds))
        self.programs, self.devices = (len(members.seeds), mesh), mesh.devices.tolist()

    def spread(self, algorithm: Algorithm, functions: Functions, hparams: Tree, streamed: bool) -> Functions:
        spread = partial(members_lib.spread, count=len(self.members.seeds))  # type: ignore[union-attr]
        return Functions(
            spread(functions.start, (True, True)),
            spread(functions.chunk, (True, True, True, False, False, False)),
            spread(functions.evaluate, (True, False, True, True)),
        )

    def one(self, tree: Tree) -> Tree:
        return members_lib.member(tree, 0)


class Divided(Single):
    """One run whose batches are sharded over the devices of a mesh, possibly of several processes."""

    axis_name = parallel.AXIS
    devices = None

    def __init__(self, seed: int, mesh: Mesh) -> None:
        self.mesh: Mesh = mesh
        self.keys = parallel.place(loop.keys(seed), mesh)
        self.programs = mesh

    def put(self, tree: Tree) -> Tree:
        return parallel.place(tree, self.mesh)

    def put_split(self, split: Tree) -> Tree:
        return parallel.place_split(split, self.mesh)

    def spread(self, algorithm: Algorithm, functions: Functions, hparams: Tree, streamed: bool) -> Functions:
        specs = parallel.carry_specs(algorithm, jax.eval_shape(functions.start, self.keys.init, hparams))
        data = P(None, parallel.AXIS) if streamed else P(parallel.AXIS)
        inputs = (specs, P(), P(), data, P(), P())
        return Functions(
            functions.start,
            parallel.spread(functions.chunk, self.mesh, inputs, (specs, P())),
            parallel.spread(functions.evaluate, self.mesh, (specs.state, P(), P(), P()), P()),
            parallel.shardings(specs, self.mesh),
        )

    def template(self, carry: Tree) -> Tree:
        """This host's memory, as devices share the carry."""
        return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), carry)

    def resume(self, carry: Tree, places: Tree | None) -> Tree:
        return jax.tree.map(parallel.put, carry, places)

    def whole(self, carry: Tree) -> Tree:
        return parallel.gather(carry, self.mesh)

    def local(self, tree: Tree) -> Tree:
        return jax.tree.map(parallel.local, tree)


def of(seed: int, members: Members | None = None, mesh: Mesh | None = None) -> Placement:
    """The placement of a run with these members, sharded over this mesh, or on one device."""
    if members is not None:
        return Many(members)
    return Single(seed) if mesh is None else Divided(seed, mesh)
