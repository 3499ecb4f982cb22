"""The compiled functions of a run, of one member or of many, and what the host sees of them."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.engine import loop, members
from jaxgen.engine.members import Members

ROWS = 128
"""Logging intervals one chunk can hand back."""


class Programs:
    """start, chunk and evaluate, compiled together; with `population`, each of all its members at once."""

    def __init__(
        self,
        algorithm: loop.Algorithm,
        cfg: Any,
        data: tuple[Any, Any],
        log_every: int,
        seed: int,
        population: Members | None = None,
    ) -> None:
        self.seconds = 0.0
        """What compilation took."""
        self.metrics: tuple[str, ...] = ()
        """Names of the metrics of a step, in the order of a chunk's columns."""
        self._algorithm, self._cfg, self._data, self._log_every = algorithm, cfg, data, log_every
        self._population = population
        self.keys = loop.keys(seed) if population is None else members.keys(population)

    def compile(self, hp: Any) -> None:
        """Compiles for hyperparameters of these shapes: scalars, or stacked ones where there are members."""
        began = time.perf_counter()
        algorithm, cfg, (train, test) = self._algorithm, self._cfg, self._data
        self.hp = jax.tree.map(jnp.float32, hp)
        self.metrics = self._metric_names(train)
        start = jax.jit(self._spread(partial(loop.start, algorithm, cfg=cfg, metrics=len(self.metrics)), True, True))
        self._start = start.lower(self.keys.init, self.hp).compile()
        carry = jax.eval_shape(start, self.keys.init, self.hp)
        run_chunk = partial(loop.run_chunk, algorithm=algorithm, cfg=cfg, log_every=self._log_every, rows=ROWS)
        chunk = jax.jit(self._spread(run_chunk, True, True, True, False, False, False), donate_argnums=0)
        bound = jax.ShapeDtypeStruct((), jnp.int32)
        self._chunk = chunk.lower(carry, self.keys, self.hp, train, bound, bound).compile()
        evaluate = jax.jit(self._spread(partial(algorithm.evaluate, cfg=cfg), True, False, True, True))
        self._evaluate = evaluate.lower(carry.state, test, self.keys.evaluate, self.hp).compile()
        self.seconds = time.perf_counter() - began

    def _spread(self, function: Any, *stacked: bool) -> Any:
        if self._population is None:
            return function
        return members.spread(function, stacked, members.mesh(len(self._population.seeds)))

    def _metric_names(self, train: Any) -> tuple[str, ...]:
        key, hp = self.keys.init, self.hp
        if self._population is not None:
            key, hp = members.member((key, hp), 0)
        return loop.metric_names(self._algorithm, key, hp, train, self._cfg)

    def start(self) -> loop.Carry:
        """The state before the first step."""
        return self._start(self.keys.init, self.hp)

    def chunk(self, carry: loop.Carry, first: int, last: int) -> tuple[loop.Carry, loop.Chunk]:
        """Steps `first` to `last` (exclusive); the carry is donated, the chunk comes to the host."""
        carry, chunk = self._chunk(carry, self.keys, self.hp, self._data[0], jnp.int32(first), jnp.int32(last))
        return carry, jax.device_get(chunk)

    def evaluate(self, carry: loop.Carry) -> dict[str, np.ndarray]:
        """The evaluation's metrics, each a number or one a member."""
        return jax.device_get(self._evaluate(carry.state, self._data[1], self.keys.evaluate, self.hp))
