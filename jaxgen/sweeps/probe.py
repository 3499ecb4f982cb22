"""Facts about an experiment before anything compiles: its metrics, and how many members fit into memory.

Memory is estimated from the arrays of the step and the evaluation.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import jax
from jax.interpreters.partial_eval import dce_jaxpr

from jaxgen import memory
from jaxgen.contract import Algorithm
from jaxgen.data import load
from jaxgen.engine import loop
from jaxgen.engine.memory import abstract, array_bytes
from jaxgen.errors import SettingError, refuse
from jaxgen.runs.fit import adapted
from jaxgen.sweeps.axes import Point
from jaxgen.sweeps.experiment import Chosen

Kind = tuple[tuple[str, Any], ...]
"""Static settings as a key: pairs of name and value."""
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
    config = adapted(experiment.algorithm, settings.config, dataset)
    for name, value in static.items():
        if name.startswith("config.") and getattr(config, name.removeprefix("config.")) != value:
            set_to = getattr(config, name.removeprefix("config."))
            refuse(f"axis {name}", value, f"an axis of it would change nothing, for the data set it to {set_to}")
    return config, (train, test)


def member_bytes(algorithm: Algorithm, config: Any, hparams: Any, data: Data) -> int:
    """Bytes per member in training or evaluation: state, the arrays alive at once, a spare state."""
    state, key, hparams = abstract(algorithm, config, hparams)
    batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((config.batch_size, *x.shape[1:]), x.dtype), data[0])
    step = jax.make_jaxpr(partial(algorithm.step, config=config))(state, batch, key, hparams).jaxpr
    evaluate = jax.make_jaxpr(partial(algorithm.evaluate, config=config))(state, data[1], key, hparams).jaxpr
    shared = sum(_bytes(leaf) for leaf in jax.tree.leaves(data[1]))  # all members share one test split
    return max(_peak(step), _peak(evaluate) - shared) + sum(_bytes(leaf) for leaf in jax.tree.leaves(state))


def idle(algorithm: Algorithm, config: Any, hparams: Any, data: Data) -> set[str]:
    """The hyperparameters that change nothing with this configuration, by the names of their axes."""
    state, key, numbers = abstract(algorithm, config, hparams)
    batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((config.batch_size, *x.shape[1:]), x.dtype), data[0])
    init, step, evaluate = (partial(f, config=config) for f in (algorithm.init, algorithm.step, algorithm.evaluate))
    used = [False] * len(jax.tree.leaves(numbers))
    for program in (
        jax.make_jaxpr(lambda numbers: init(key=jax.random.key(0), hparams=numbers))(numbers),
        jax.make_jaxpr(lambda numbers, *rest: step(*rest, numbers))(numbers, state, batch, key),
        jax.make_jaxpr(lambda numbers, *rest: evaluate(*rest, numbers))(numbers, state, data[1], key),
    ):
        needed = dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars))[1]
        used = [before or now for before, now in zip(used, needed, strict=False)]
    names = loop.named_leaves(numbers)
    return {f"hparams.{name}" for name, one in zip(names, used, strict=True) if not one}


def check_axes(experiment: Chosen, names: Iterable[str], kinds: Iterable[Point]) -> dict[Kind, tuple[Any, Data]]:
    """Configurations and data of each choice of static settings; refuses an axis that changes nothing in any."""
    found, idle_in_all = {}, {name for name in names if name.startswith("hparams.")}
    for static in kinds:
        kind = tuple(static.items())
        if kind not in found:
            found[kind] = configured(experiment, static)
            if idle_in_all:
                idle_in_all &= idle(experiment.algorithm, found[kind][0], experiment.settings.hparams, found[kind][1])
    if idle_in_all:
        name = min(idle_in_all)
        raise SettingError(f"axis {name} changes nothing: no program with these settings uses it")
    return found


def metric_names(algorithm: Algorithm, config: Any, hparams: Any, data: Data) -> list[str]:
    """Names of the metrics that `evaluate` reports, as they are logged."""
    state, key, hparams = abstract(algorithm, config, hparams)
    return [
        f"test/{name}"
        for name in jax.eval_shape(partial(algorithm.evaluate, config=config), state, data[1], key, hparams)
    ]


def _bytes(array: Any) -> int:
    return array_bytes(array) if hasattr(array, "shape") else 0


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


def largest_group(of_one: int) -> int:
    """Number of members that fit, at least one."""
    return max(1, int(SHARE * memory.free_bytes()) // max(1, of_one))
