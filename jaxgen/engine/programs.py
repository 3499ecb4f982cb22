"""The compiled functions of a run, on one device or many, of one member or many, and what the host sees of them."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxgen.engine import batches, loop, members, parallel
from jaxgen.engine.members import Members
from jaxgen.engine.streaming import Stream

ROWS = 128
"""Logging intervals one chunk can hand back."""


class Programs:
    """start, chunk and evaluate, compiled together.

    With `mesh`, each is one run's on many devices; with `population`, each is that of all its members at once.
    """

    def __init__(
        self,
        algorithm: loop.Algorithm,
        config: Any,
        data: tuple[Any, Any],
        log_every: int,
        seed: int,
        population: Members | None = None,
        mesh: Mesh | None = None,
        stream: Stream | None = None,
    ) -> None:
        self.seconds = 0.0
        """What compilation took."""
        self.metrics: tuple[str, ...] = ()
        """Names of the metrics of a step, in the order of a chunk's columns."""
        self._algorithm, self._config, self._log_every = algorithm, config, log_every
        self._population, self._mesh = population, mesh
        self._places: Any = None
        self._shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), data[0])
        self.keys = self._place(loop.keys(seed) if population is None else members.keys(population))
        self.stream = stream
        if stream is not None:
            self._batches = batches.of_block(self._shapes, config, stream.steps)
            train = stream.shapes()
        else:
            self._batches = batches.of_split(self._shapes, config, parallel.AXIS if mesh else None)
            train = data[0] if mesh is None else parallel.place_split(data[0], mesh)
        self._data = train, self._place(data[1])

    def compile(self, hparams: Any) -> None:
        """Compiles for hyperparameters of these shapes: scalars, or stacked ones where there are members."""
        began = time.perf_counter()
        algorithm, config, (train, test) = self._algorithm, self._config, self._data
        self.hparams = self._place(jax.tree.map(jnp.float32, hparams))
        self.metrics = self._metric_names()
        axis_name: Any = {} if self._mesh is None else {"axis_name": parallel.AXIS}
        step = partial(loop.run_chunk, algorithm=algorithm, config=config, log_every=self._log_every, rows=ROWS)
        start: Any = partial(loop.start, algorithm, config=config, metrics=len(self.metrics))
        run_chunk: Any = partial(step, batches=self._batches, **axis_name)
        evaluate: Any = partial(algorithm.evaluate, config=config, **axis_name)
        start, run_chunk, evaluate, self._places = self._spread(start, run_chunk, evaluate)
        carry = jax.eval_shape(start, self.keys.init, self.hparams)
        if self._places is not None:
            carry = jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), carry, self._places)
        bound = self._place(np.int32(0))
        start, run_chunk = jax.jit(start, out_shardings=self._places), jax.jit(run_chunk, donate_argnums=0)
        self._start = start.lower(self.keys.init, self.hparams).compile()
        self._chunk = run_chunk.lower(carry, self.keys, self.hparams, train, bound, bound).compile()
        self._evaluate = jax.jit(evaluate).lower(carry.state, test, self.keys.evaluate, self.hparams).compile()
        self.seconds = time.perf_counter() - began

    def _spread(self, start: Any, run_chunk: Any, evaluate: Any) -> tuple[Any, Any, Any, Any]:
        """The three over the members or the devices, and where the carry then lies (None: wherever it is made)."""
        if self._population is not None:
            count = len(self._population.seeds)
            start = members.spread(start, (True, True), count)
            run_chunk = members.spread(run_chunk, (True, True, True, False, False, False), count)
            return start, run_chunk, members.spread(evaluate, (True, False, True, True), count), None
        if self._mesh is None:
            return start, run_chunk, evaluate, None
        specs = parallel.carry_specs(self._algorithm, jax.eval_shape(start, self.keys.init, self.hparams))
        data = P(parallel.AXIS) if self.stream is None else P(None, parallel.AXIS)
        inputs = (specs, P(), P(), data, P(), P())
        run_chunk = parallel.spread(run_chunk, self._mesh, inputs, (specs, P()))
        evaluate = parallel.spread(evaluate, self._mesh, (specs.state, P(), P(), P()), P())
        return start, run_chunk, evaluate, parallel.shardings(specs, self._mesh)

    def _place(self, tree: Any) -> Any:
        return tree if self._mesh is None else parallel.place(tree, self._mesh)

    def _metric_names(self) -> tuple[str, ...]:
        key, hparams = self.keys.init, self.hparams
        if self._population is not None:
            key, hparams = members.member((key, hparams), 0)
        return loop.metric_names(self._algorithm, key, hparams, self._shapes, self._config)

    def start(self) -> loop.Carry:
        """The state before the first step."""
        return self._start(self.keys.init, self.hparams)

    def initial(self) -> Any:
        """The state before the first step, made by this process alone, to be looked at."""
        if self._mesh is None:
            return self.start().state
        key, hparams = self.local((self.keys.init, self.hparams))
        return jax.jit(partial(self._algorithm.init, config=self._config))(key, hparams)

    def empty(self, carry: loop.Carry) -> loop.Carry:
        """What a carry is to be read from a file into: itself, or memory of this host's where devices share it."""
        return carry if self._mesh is None else jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), carry)

    def resume(self, carry: loop.Carry) -> loop.Carry:
        """A carry that was read from a file, where the programs want it."""
        return carry if self._places is None else jax.tree.map(parallel.put, carry, self._places)

    def whole(self, carry: loop.Carry) -> loop.Carry:
        """The carry as this process can read it; all processes must ask."""
        return carry if self._mesh is None else parallel.gather(carry, self._mesh)

    def local(self, tree: Any) -> Any:
        """Of a whole carry or of keys, or of a part: where this process's own programs can use it."""
        return tree if self._mesh is None else jax.tree.map(parallel.local, tree)

    def chunk(self, carry: loop.Carry, first: int, last: int) -> tuple[loop.Carry, loop.Chunk]:
        """Steps `first` to `last` (exclusive); the carry is donated, the chunk comes to the host."""
        bounds = (self._place(np.int32(bound)) for bound in (first, last))
        data = self._data[0] if self.stream is None else self.stream.block(first)
        carry, chunk = self._chunk(carry, self.keys, self.hparams, data, *bounds)
        return carry, jax.device_get(chunk)

    def evaluate(self, carry: loop.Carry) -> dict[str, np.ndarray]:
        """The evaluation's metrics, each a number or one a member."""
        return jax.device_get(self._evaluate(carry.state, self._data[1], self.keys.evaluate, self.hparams))
