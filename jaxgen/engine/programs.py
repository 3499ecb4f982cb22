"""The compiled functions of a run, and the arrays they are called with."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contract import Algorithm, Tree
from jaxgen.engine import batches, executables, loop, memory
from jaxgen.engine.placements import Functions, Placement
from jaxgen.engine.streaming import Stream

ROWS = 128
"""Maximum number of logging intervals one chunk can return."""
KEPT = 8
"""Number of program sets kept in memory for reuse by later runs."""


OPTIONS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_threefry_partitionable")
"""JAX settings that programs are compiled with."""


class Compiled(NamedTuple):
    """Executables for one algorithm, configuration, placement and data shape; numbers are arguments."""

    start: Callable[..., Any]
    chunk: Callable[..., Any]
    evaluate: Callable[..., Any]
    metrics: tuple[str, ...]
    """Names of the metrics of a step, in the order of a chunk's columns."""
    places: Tree | None
    """Placement of a carry."""

    def checked(self) -> "Compiled":
        """These, refused if their arrays do not fit into memory."""
        memory.check_program("the first state", self.start)
        memory.check_program("training", self.chunk)
        memory.check_program("the evaluation", self.evaluate)
        return self


_kept: OrderedDict[Hashable, Compiled] = OrderedDict()


class Programs:
    """start, chunk and evaluate of one run, compiled together for its placement and data."""

    def __init__(
        self,
        algorithm: Algorithm,
        config: Any,
        data: tuple[Tree, Tree],
        placement: Placement,
        log_every: int,
        stream: Stream | None = None,
    ) -> None:
        self.seconds = 0.0
        """Seconds spent compiling."""
        self.placement, self.stream, self.keys = placement, stream, placement.keys
        self._algorithm, self._config, self._log_every = algorithm, config, log_every
        self._shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), data[0])
        self.epochs = batches.epochs_at_once(self._shapes)
        """Maximum number of epochs a chunk may touch."""
        if stream is not None:
            self._batches, train = batches.of_block(self._shapes, config, stream.steps), stream.shapes()
            self.epochs = 1
        else:
            self._batches = batches.of_split(self._shapes, config, placement.axis_name, self.epochs)
            train = placement.put_split(data[0])
        self._data = train, placement.put(data[1])

    def compile(self, hparams: Tree) -> None:
        """Compile for hyperparameters of these shapes: scalars, or stacked for members.

        A run that differs from an earlier one in this process only in its numbers reuses its programs.
        """
        began = time.perf_counter()
        self.hparams = self.placement.put(jax.tree.map(jnp.float32, hparams))
        like = self._like()
        self._compiled = _kept.pop(like) if like in _kept else self._found_or_compiled()
        _kept[like] = self._compiled
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
        self.seconds = time.perf_counter() - began

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of a step, in the order of a chunk's columns."""
        return self._compiled.metrics

    def _like(self) -> Hashable:
        """Everything that the programs depend on."""
        algorithm = self._algorithm
        functions = algorithm, algorithm.init, algorithm.step, algorithm.evaluate
        options = tuple(getattr(jax.config, name) for name in OPTIONS)
        return functions, self._config, self.placement.programs, *self._numbers(), options

    def _numbers(self) -> tuple[Any, ...]:
        """Everything that the programs depend on beside functions, configuration, placement and options."""
        block = None if self.stream is None else self.stream.steps
        leaves, structure = jax.tree.flatten((self._data, self.hparams, self.keys))
        return self._log_every, block, structure, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)

    def _found_or_compiled(self) -> Compiled:
        """The programs of an earlier process, or new ones, which are kept for later ones."""
        functions = self._algorithm.init, self._algorithm.step, self._algorithm.evaluate
        name = executables.name(functions, self._config, self.placement.programs, *self._numbers())
        programs, (metrics, places) = executables.find(name, self.placement.devices) or self._compile(name)
        calls = {label: program.call for label, program in programs.items()}
        return Compiled(**calls, metrics=metrics, places=places).checked()

    def _compile(self, name: str | None) -> tuple[dict[str, executables.Program], tuple[Any, Any]]:
        """The programs and facts that `executables.find` will find under this name."""
        algorithm, config, (train, test), placement = self._algorithm, self._config, self._data, self.placement
        key, of_one = placement.one((self.keys.init, self.hparams))
        metrics = loop.metric_names(algorithm, key, of_one, self._shapes, config)
        axis: dict[str, Any] = {} if placement.axis_name is None else {"axis_name": placement.axis_name}
        functions = Functions(
            partial(loop.start, algorithm, config=config, metrics=len(metrics)),
            partial(
                loop.run_chunk,
                algorithm=algorithm,
                config=config,
                log_every=self._log_every,
                rows=ROWS,
                batches=self._batches,
                **axis,
            ),
            partial(algorithm.evaluate, config=config, **axis),
        )
        start, chunk, evaluate, places = placement.spread(algorithm, functions, self.hparams, self.stream is not None)
        carry = jax.eval_shape(start, self.keys.init, self.hparams)
        if places is not None:
            carry = jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), carry, places)
        bound = placement.put(np.int32(0))
        start = jax.jit(start, out_shardings=places, compiler_options=executables.for_few_calls())
        chunk = jax.jit(chunk, donate_argnums=0)
        pool = ThreadPoolExecutor()  # each compiles while the next is traced
        submit = partial(pool.submit, partial(executables.compile, devices=placement.devices))
        with executables.in_place_of_jaxs(placement.devices):
            compiling = {
                "chunk": submit(chunk.lower(carry, self.keys, self.hparams, train, bound, bound)),
                "evaluate": submit(jax.jit(evaluate).lower(carry.state, test, self.keys.evaluate, self.hparams)),
                "start": submit(start.lower(self.keys.init, self.hparams)),
            }
            pool.shutdown(wait=False)  # an interruption does not wait for them
            made = {label: program.result() for label, program in compiling.items()}
        executables.remember(name, made, (metrics, places))
        return made, (metrics, places)

    def start(self) -> loop.Carry:
        """The state before the first step."""
        return self._compiled.start(self.keys.init, self.hparams)

    def initial(self) -> Tree:
        """One run's state before the first step, computed by this process alone, for inspection."""
        if self.placement.members is None and jax.process_count() == 1:
            return self.placement.local(self.placement.whole(self.start()).state)  # needs no program of its own
        key, hparams = self.placement.one(self.placement.local((self.keys.init, self.hparams)))
        return executables.call(self._algorithm.init, self._config, key, hparams)

    def template(self, carry: loop.Carry) -> loop.Carry:
        """Shapes, types and placements to restore a carry into."""
        return self.placement.template(carry)

    def resume(self, carry: loop.Carry) -> loop.Carry:
        """A restored carry, placed for the programs."""
        return self.placement.resume(carry, self._compiled.places)

    def chunk(self, carry: loop.Carry, first: int, last: int) -> tuple[loop.Carry, loop.Chunk]:
        """Run steps `first` to `last` (exclusive); the carry is donated, the chunk returned to the host."""
        bounds = (self.placement.put(np.int32(bound)) for bound in (first, last))
        data = self._data[0] if self.stream is None else self.stream.block(first)
        carry, chunk = self._compiled.chunk(carry, self.keys, self.hparams, data, *bounds)
        return carry, jax.device_get(chunk)

    def evaluate(self, carry: loop.Carry) -> dict[str, np.ndarray]:
        """The evaluation's metrics, each a number or one per member."""
        return jax.device_get(self._compiled.evaluate(carry.state, self._data[1], self.keys.evaluate, self.hparams))
