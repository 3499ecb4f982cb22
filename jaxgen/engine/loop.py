"""The compiled part of a run: many steps as one pure function of a key, some numbers and some data.

Bounds are traced, so one compilation serves chunks of any length: the length of each chunk is decided as the run
proceeds and changes no bit of it. All randomness in step t comes from `fold_in(key, t)`; the order of the data in epoch
e is a permutation from `fold_in(key, e)`.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxgen.contract import Algorithm, Tree
from jaxgen.engine.batches import Batches, of_split
from jaxgen.engine.batches import steps_per_epoch as steps_per_epoch

State = Tree


class Keys(NamedTuple):
    """One key per use, all derived from the run's root key."""

    init: Array
    order: Array
    step: Array
    evaluate: Array
    draw: Array


class Carry(NamedTuple):
    """Everything carried from chunk to chunk and saved in a checkpoint."""

    state: State
    sums: Tree
    """Metrics summed over the current logging interval: an array in compiled programs, by name when stored."""
    first_bad: Int[Array, ""]
    """First step with non-finite metrics, -1 if none."""


class Chunk(NamedTuple):
    """The results of a chunk returned to the host."""

    rows: Float[Array, "rows metrics"]
    """Metric sums of the logging intervals the chunk completed, in order."""
    finite: Bool[Array, " leaves"]
    """Whether each leaf of the state is entirely finite, in the order of `named_leaves`."""


def keys(seed: int) -> Keys:
    """The keys of the run with this seed."""
    return keys_of(jax.random.key(seed))


def keys_of(key: Array) -> Keys:
    """The keys of the run with root key `key`."""
    return Keys(*jax.random.split(key, len(Keys._fields)))


def named_leaves(tree: Any) -> dict[str, Array]:
    """Leaves by path, e.g. `params.encoder.Dense_0.kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def traced_once(function: Callable[..., Any], config: Any, axis_name: str | None = None) -> Any:
    """`function` with its configuration; the second program that calls it takes its operations from the first trace."""
    return _traced_once(function, config, axis_name)  # a cache tells a default that is left out from one that is given


@lru_cache(maxsize=64)
def _traced_once(function: Callable[..., Any], config: Any, axis_name: str | None) -> Any:
    shared = {} if axis_name is None else {"axis_name": axis_name}
    return jax.jit(partial(function, config=config, **shared), inline=True)


def metric_names(algorithm: Algorithm, key: Array, hparams: Any, data: Any, config: Any) -> tuple[str, ...]:
    """Names of the metrics of `step`, in the order of `Carry.sums`."""
    state = jax.eval_shape(traced_once(algorithm.init, config), key, hparams)
    batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((config.batch_size, *x.shape[1:]), x.dtype), data)
    _, metrics = jax.eval_shape(traced_once(algorithm.step, config), state, batch, key, hparams)
    return tuple(sorted(metrics))


def start(algorithm: Algorithm, key: Array, hparams: Any, config: Any, metrics: int) -> Carry:
    """The carry before the first step."""
    return Carry(traced_once(algorithm.init, config)(key, hparams), jnp.zeros(metrics), jnp.full((), -1, jnp.int32))


def by_name(carry: Carry, metrics: tuple[str, ...]) -> Carry:
    """A gathered carry with its sums by name, as it is stored."""
    sums = np.asarray(carry.sums)
    return carry._replace(sums={name: sums[..., i] for i, name in enumerate(metrics)})


def in_order(carry: Carry, metrics: tuple[str, ...]) -> Carry:
    """The inverse of `by_name`."""
    return carry._replace(sums=np.stack([carry.sums[name] for name in metrics], -1))


def run_chunk(
    carry: Carry,
    run_keys: Keys,
    hparams: Any,
    data: Any,
    first: Int[Array, ""],
    last: Int[Array, ""],
    *,
    algorithm: Algorithm,
    config: Any,
    log_every: int,
    rows: int,
    batches: Batches | None = None,
    axis_name: str | None = None,
) -> tuple[Carry, Chunk]:
    """Run steps `first` (inclusive) to `last` (exclusive), each on the batch that `batches` takes from `data`.

    Without `batches`, `data` is a batch-like pytree that holds a whole split. `first` must be the number of steps done.
    The steps may touch no more epochs than `batches` makes orders for (by default one) before the loop: making one per
    epoch in nested loops doubles the time per step of XLA's CPU code. At most `rows - 1` logging intervals may be
    completed. The remainder of an epoch that does not fill a batch is skipped; the next permutation skips others. With
    `axis_name`, this is one device's share of the steps.
    """
    batch_at = (batches or of_split(data, config))(data, run_keys.order, first, last)
    step = traced_once(algorithm.step, config, axis_name)

    def body(t: Array, loop: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        state, table, first_bad = loop
        batch = batch_at(t)
        state, metrics = step(state, batch, jax.random.fold_in(run_keys.step, t), hparams)
        values = jnp.stack([metrics[name] for name in sorted(metrics)])
        table = table.at[t // log_every - first // log_every].add(values)
        first_bad = jnp.where((first_bad < 0) & ~jnp.isfinite(values).all(), t, first_bad)
        return state, table, first_bad

    table = jnp.zeros((rows, carry.sums.shape[0])).at[0].set(carry.sums)
    state, table, first_bad = lax.fori_loop(first, last, body, (carry.state, table, carry.first_bad))
    sums = table[last // log_every - first // log_every]
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state)])
    if axis_name is not None:
        finite = lax.pmin(finite.astype(jnp.int32), axis_name) == 1
    return Carry(state, sums, first_bad), Chunk(table, finite)
