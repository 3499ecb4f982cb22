"""A training run as a pure function, the project's one idea; the engine's chunks are pieces of it."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxgen import contract
from jaxgen.contract import Algorithm, Metrics, Tree
from jaxgen.engine import batches, loop


def train(
    algorithm: Algorithm, key: Array, hparams: Tree, data: Tree = (), *, config: Any, steps: int
) -> tuple[Tree, Metrics]:
    """`init` and `steps` steps: (state, metrics), each metric with a leading axis of steps.

    Pure: no files, output or globals. `key` is a typed key (`jax.random.key(seed)` gives the run of that seed);
    `hparams` an instance of `algorithm.HParams` with numbers or traced scalars; `data` the algorithm's batch type
    holding a whole training split, e.g. `digits.train` (omit it if the algorithm takes none). `algorithm`, `config` and
    `steps` are static: bind them with `functools.partial`, then `jit`, `vmap` over keys and `stack`ed
    hyperparameters, or differentiate.

    The orders of all epochs are computed first: 4 bytes per example and epoch. Reverse mode works for short runs (about
    5 MB per step for the dense autoencoder); forward mode does not, as convolutions have custom derivatives; Adam and
    RMSprop give NaN where a gradient is exactly 0.
    """
    if contract.takes_data(algorithm) and not jax.tree.leaves(data):
        contract.refuse_missing_data(algorithm)
    keys = loop.keys_of(key)
    hparams = jax.tree.map(jnp.float32, hparams)
    batch_at = _batches(algorithm, keys.order, data, config, steps)

    def step(state: Tree, t: Array) -> tuple[Tree, Metrics]:
        return algorithm.step(state, batch_at(t), jax.random.fold_in(keys.step, t), hparams, config)

    return lax.scan(step, algorithm.init(keys.init, hparams, config), jnp.arange(steps))


def _batches(algorithm: Algorithm, key: Array, data: Tree, config: Any, steps: int) -> Any:
    if not contract.takes_data(algorithm):
        return lambda t: algorithm.Batch()
    examples, size = jax.tree.leaves(data)[0].shape[0], config.batch_size
    per_epoch = examples // size
    epochs = jnp.arange(-(-steps // per_epoch))
    orders = lax.map(lambda epoch: batches.order_of(key, epoch, examples), epochs)

    def batch_at(t: Array) -> Tree:
        index = lax.dynamic_slice(orders, (t // per_epoch, (t % per_epoch) * size), (1, size))[0]
        return jax.tree.map(lambda leaf: leaf[index], data)

    return batch_at


def stack(hparams: Any) -> Any:
    """Hyperparameters (or keys) of several runs stacked along a new leading axis, to `vmap` over."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *hparams)
