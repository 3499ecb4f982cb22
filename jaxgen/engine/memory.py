"""Estimates of a run's memory: before anything compiles from its state, after that from its programs."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen import memory
from jaxgen.contract import Algorithm
from jaxgen.engine.loop import named_leaves, traced_once
from jaxgen.errors import SettingError, UserError

COPIES = 2
"""States alive at once in a step, at least: the old one and the new one."""


def array_bytes(array: Any) -> int:
    """Bytes of an array or its shape."""
    return math.prod(array.shape) * getattr(array.dtype, "itemsize", 4)


def abstract(algorithm: Algorithm, config: Any, hparams: Any) -> tuple[Any, Any, Any]:
    """The shapes of a state, a key and the hyperparameters."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    hparams = jax.eval_shape(lambda: jax.tree.map(jnp.float32, hparams))
    return jax.eval_shape(traced_once(algorithm.init, config), key, hparams), key, hparams


def check_state(algorithm: Algorithm, config: Any, hparams: Any, members: int) -> None:
    """Refuse a run whose states alone do not fit: with several members, the number of them that would is named."""
    try:
        state, _, _ = abstract(algorithm, config, hparams)
    except OverflowError as error:  # from JAX, for an axis of more than 2**63
        raise UserError(
            f"an array of the model has too many elements ({error}): make the config's numbers smaller"
        ) from error
    leaves = named_leaves(state)
    each, free = COPIES * sum(map(array_bytes, leaves.values())), memory.free_bytes()
    if each > free:
        largest = max(leaves, key=lambda name: array_bytes(leaves[name]))
        shape = "x".join(map(str, leaves[largest].shape))
        raise UserError(
            f"the model does not fit into memory: a step needs {memory.size(each)} or more, {memory.size(free)} are "
            f"free; its largest array is {largest}, {shape}: make the config's numbers smaller"
        )
    if members * each > free:
        raise SettingError(
            f"{members} members do not fit into memory: at most {free // each:,} do (run.seeds, or a sweep's "
            f"group-size), for each needs {memory.size(each)} or more and {memory.size(free)} are free"
        )


def check_program(what: str, compiled: Any) -> None:
    """Refuse a compiled program whose own arrays do not fit."""
    analysis = compiled.memory_analysis()
    if analysis is None:  # a platform that does not tell
        return
    needed = analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    free = memory.free_bytes()
    if needed > free:
        raise UserError(
            f"{what} does not fit into memory: it needs {memory.size(needed)}, {memory.size(free)} are free; make the "
            "config's numbers smaller (batch_size first), or run.seeds"
        )
