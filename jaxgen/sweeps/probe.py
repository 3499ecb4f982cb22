"""Facts about an experiment before anything compiles: its metrics, and how many members fit into memory.

Memory is estimated from the arrays of the step and the evaluation.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.contract import Algorithm
from jaxgen.data import load
from jaxgen.runs.fit import adapted
from jaxgen.sweeps.axes import Point
from jaxgen.sweeps.experiment import Chosen

Data = tuple[Any, Any]
"""Batch-like pytrees that hold the training and the test split; empty for an algorithm without data."""

SHARE = 0.5
"""Share of the free memory that members may use."""


def configured(experiment: Chosen, static: Point) -> tuple[Any, Data]:
    """The configuration with these static settings, adapted to the data they name, and the data."""
    settings, batch = experiment.settings_with(static), experiment.algorithm.Batch
    if settings.data is None:
        return settings.config, (batch(), batch())
    dataset = load(settings.data)
    train, test = (batch(split.images, split.labels) for split in (dataset.train, dataset.test))
    return adapted(experiment.algorithm, settings.config, dataset), (train, test)


def _abstract(algorithm: Algorithm, config: Any, hparams: Any) -> tuple[Any, Any, Any]:
    """The shapes of a state, a key and the hyperparameters."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    hparams = jax.eval_shape(lambda: jax.tree.map(jnp.float32, hparams))
    return jax.eval_shape(partial(algorithm.init, config=config), key, hparams), key, hparams


def member_bytes(algorithm: Algorithm, config: Any, hparams: Any, data: Data) -> int:
    """Bytes per member in training or evaluation: state, the arrays alive at once, a spare state."""
    state, key, hparams = _abstract(algorithm, config, hparams)
    batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((config.batch_size, *x.shape[1:]), x.dtype), data[0])
    step = jax.make_jaxpr(partial(algorithm.step, config=config))(state, batch, key, hparams).jaxpr
    evaluate = jax.make_jaxpr(partial(algorithm.evaluate, config=config))(state, data[1], key, hparams).jaxpr
    shared = sum(_bytes(leaf) for leaf in jax.tree.leaves(data[1]))  # all members share one test split
    return max(_peak(step), _peak(evaluate) - shared) + sum(_bytes(leaf) for leaf in jax.tree.leaves(state))


def metric_names(algorithm: Algorithm, config: Any, hparams: Any, data: Data) -> list[str]:
    """Names of the metrics that `evaluate` reports, as they are logged."""
    state, key, hparams = _abstract(algorithm, config, hparams)
    return [
        f"test/{name}"
        for name in jax.eval_shape(partial(algorithm.evaluate, config=config), state, data[1], key, hparams)
    ]


def _bytes(array: Any) -> int:
    return math.prod(array.shape) * getattr(array.dtype, "itemsize", 4) if hasattr(array, "shape") else 0


def _peak(jaxpr: Any) -> int:
    """Peak bytes alive if the equations ran one by one, in order; a called program's own peak is added."""
    last = {var: i for i, eqn in enumerate(jaxpr.eqns) for var in eqn.invars if not hasattr(var, "val")}
    last |= {var: len(jaxpr.eqns) for var in jaxpr.outvars if not hasattr(var, "val")}
    alive = {var: _bytes(var.aval) for var in [*jaxpr.invars, *jaxpr.constvars]}
    peak = total = sum(alive.values())
    for i, eqn in enumerate(jaxpr.eqns):
        within = max((_peak(inner) - sum(_bytes(v.aval) for v in inner.invars) for inner in _called(eqn)), default=0)
        for var in eqn.outvars:
            alive[var] = _bytes(var.aval)
            total += alive[var]
        peak = max(peak, total + max(within, 0))
        for var in [
            v for v in {*eqn.outvars, *(v for v in eqn.invars if not hasattr(v, "val"))} if last.get(v, i) <= i
        ]:
            total -= alive.pop(var, 0)
    return peak


def _called(eqn: Any) -> Iterator[Any]:
    for value in jax.tree.leaves(
        list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "jaxpr") or hasattr(x, "eqns")
    ):
        if hasattr(value, "eqns"):
            yield value
        elif hasattr(value, "jaxpr"):
            yield value.jaxpr


def free_bytes() -> int:
    """Free memory of all devices together; on a CPU, of the machine."""
    limits = [device.memory_stats() for device in jax.local_devices()]
    if all(limits) and all("bytes_limit" in limit for limit in limits):
        return sum(limit["bytes_limit"] - limit["bytes_in_use"] for limit in limits)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 4 * 2**30
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def largest_group(of_one: int) -> int:
    """Number of members that fit, at least one."""
    return max(1, int(SHARE * free_bytes()) // max(1, of_one))
