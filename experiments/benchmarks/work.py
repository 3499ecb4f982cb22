"""One training step of each measured model, as the engine runs it: the seven of `train`, and a deep Q-network."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.train import MODELS, images
from jaxgen.algorithms import dqn
from jaxgen.engine import loop, placements
from jaxgen.engine.members import of_seeds
from jaxgen.engine.programs import Programs

NAMES = (*MODELS, "dqn")
CHUNK = 400
"""Maximum steps of a chunk; stays within an epoch, as the engine's chunks do."""
LOG_EVERY = 46


class Work(NamedTuple):
    """An algorithm and its settings."""

    algorithm: Any
    config: Any
    hparams: Any


def of(name: str) -> Work:
    """The settings of one of `NAMES`."""
    if name != "dqn":
        return Work(MODELS[name].algorithm, MODELS[name].config, MODELS[name].hparams)
    import dqn_cartpole

    settings = dqn_cartpole.SOLVE
    config = replace(settings.config, learning_starts=1_000, schedule="constant", evaluation_episodes=1)
    return Work(dqn, config, settings.hparams)


def lowered(work: Work, examples: int) -> Any:
    """The engine's loop over this step, lowered for a split of so many examples."""
    algorithm, config, hparams = work
    data = batch_like(work, lambda shape, dtype: jax.ShapeDtypeStruct((examples, *shape), dtype))
    hparams, keys = jax.tree.map(jnp.float32, hparams), loop.keys(0)
    metrics = len(loop.metric_names(algorithm, keys.init, hparams, data, config))

    def start(key: jax.Array, hparams: Any) -> loop.Carry:
        return loop.start(algorithm, key, hparams, config, metrics)

    def chunk(carry: loop.Carry, *arguments: Any) -> Any:
        return loop.run_chunk(carry, *arguments, algorithm=algorithm, config=config, log_every=LOG_EVERY, rows=128)

    carry, bound = jax.eval_shape(start, keys.init, hparams), jax.ShapeDtypeStruct((), jnp.int32)
    return jax.jit(chunk, donate_argnums=0).lower(carry, keys, hparams, data, bound, bound)


@contextmanager
def compiling_anew() -> Iterator[None]:
    """Compile without the cache on disk."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)


def batch_like(work: Work, make: Callable[..., Any]) -> Any:
    """The algorithm's batch type of arrays that `make(shape of one example, dtype)` gives; a DQN's is empty."""
    if work.algorithm is dqn:
        return dqn.Batch()
    return work.algorithm.Batch(make(work.config.image_shape, jnp.uint8), make((), jnp.int32))


def data(work: Work) -> tuple[Any, Any]:
    """Random images in a training and a test split."""
    if work.algorithm is dqn:
        return dqn.Batch(), dqn.Batch()
    pixels = jax.device_put(images(work.config.image_shape))
    whole = work.algorithm.Batch(pixels, jnp.zeros(len(pixels), jnp.int32))
    return whole, jax.tree.map(lambda leaf: leaf[:500], whole)


def programs(work: Work, members: int = 0) -> Programs:
    """The engine's compiled functions."""
    many = of_seeds(0, members, work.hparams) if members else None
    found = Programs(work.algorithm, work.config, data(work), placements.of(0, many), LOG_EVERY)
    found.compile(many.hparams if many else work.hparams)
    return found


def trainer(programs: Programs, learning: bool = True) -> Callable[[int], float]:
    """A function that trains (all members, if any) for n steps in the engine's chunks, and returns the seconds taken.

    If not yet `learning`, as a deep Q-network, a chunk comes first.
    """
    carry = programs.start()

    def run(steps: int) -> float:
        nonlocal carry
        began = time.perf_counter()
        for first in range(0, steps, CHUNK):
            carry, _ = programs.chunk(carry, 0, min(CHUNK, steps - first))
        return time.perf_counter() - began

    if not learning:
        run(CHUNK)
    return run
