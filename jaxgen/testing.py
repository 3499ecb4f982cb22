"""The contract of an algorithm in executable form: call `check_algorithm` in your own tests.

from jaxgen.testing import check_algorithm

def test_the_contract():
    batch = mine.Batch(images, labels)          # uint8 (n, h, w, c) and int32 (n,), n at least config.batch_size
    check_algorithm(mine, mine.Config(...), mine.HParams(), batch)
"""

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import contract
from jaxgen.contract import Algorithm, Tree, Use
from jaxgen.engine import batches, loop, parallel
from jaxgen.engine.run import stack, train
from jaxgen.errors import UserError

COUNT = 3
"""Samples drawn."""
STEPS = 4
"""Steps trained, at most."""


class ContractError(AssertionError):
    """The contract clauses an algorithm breaks; `failures` maps each to its error."""

    def __init__(self, name: str, failures: dict[str, str]) -> None:
        self.failures = failures
        lines = [f"{name} breaks {len(failures)} clauses of the contract:"]
        super().__init__("\n".join(lines + [f"  {clause}: {wrong}" for clause, wrong in failures.items()]))


class Skipped(Exception):
    """A clause ruled out by the traits, the configuration or the machine."""


@dataclasses.dataclass(frozen=True)
class Case:
    """An algorithm and everything needed to check it."""

    algorithm: Algorithm
    config: Any
    hparams: Any
    """Leaves are float32 scalars."""
    batch: Tree
    devices: int
    rtol: float
    key: jax.Array

    @property
    def one(self) -> Tree:
        """One batch of the configuration's size."""
        return jax.tree.map(lambda leaf: leaf[: self.config.batch_size], self.batch)

    @cached_property
    def split(self) -> Tree:
        """The batch as a split to train on; empty if the algorithm takes no data."""
        return self.batch if contract.takes_data(self.algorithm) else self.algorithm.Batch()

    @cached_property
    def _init(self) -> Callable[..., Tree]:
        return jax.jit(partial(self.algorithm.init, config=self.config))

    @cached_property
    def _step(self) -> Callable[..., Any]:
        return jax.jit(partial(self.algorithm.step, config=self.config))

    @cached_property
    def chunk(self) -> Callable[..., Any]:
        """The engine's loop over up to `STEPS` steps."""
        return jax.jit(
            partial(
                loop.run_chunk,
                algorithm=self.algorithm,
                config=self.config,
                log_every=2,
                rows=STEPS + 1,
                batches=batches.of_split(self.split, self.config, epochs=STEPS),
            )
        )

    def init(self, key: jax.Array | None = None) -> Tree:
        """A fresh state."""
        return self._init(self.key if key is None else key, self.hparams)

    def step(self, state: Tree) -> tuple[Tree, Tree]:
        """One jitted step on the whole batch."""
        return self._step(state, self.one, self.key, self.hparams)

    def first_step(self, key: jax.Array, hparams: Tree) -> tuple[Tree, Tree]:
        """The step after `init`, with this key and these hyperparameters in both."""
        return self._step(self._init(key, hparams), self.one, key, hparams)

    def with_config(self, **changes: Any) -> "Case":
        """The same case with a changed configuration."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **changes))


def check_algorithm(
    algorithm: Any, config: Any, hparams: Any, batch: Any, *, devices: int = 4, rtol: float = 1e-3
) -> dict[str, str]:
    """Check every clause of `jaxgen.contract`; return `ok` or the reason for skipping, by clause.

    `batch` is a batch or a small split of the algorithm's `Batch` type. Equality up to rounding is checked to `rtol` of
    an array's largest entry. Multi-device clauses need `devices` JAX devices (`jax_num_cpu_devices`). Raises
    `ContractError`, which names every broken clause.
    """
    results: dict[str, str] = {}
    failures: dict[str, str] = {}
    numbers = jax.tree.map(jnp.float32, hparams)
    case = Case(algorithm, config, numbers, jax.tree.map(jnp.asarray, batch), devices, rtol, jax.random.key(7))
    for clause in CLAUSES:
        try:
            clause(case)
            results[clause.__name__] = "ok"
        except Skipped as reason:
            results[clause.__name__] = f"skipped: {reason}"
        except Exception as error:  # check the remaining clauses whatever fails here
            failures[clause.__name__] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            if clause is exports:
                break
    if failures:
        raise ContractError(contract.name_of(algorithm), failures)
    return results


def exports(case: Case) -> None:
    """Every name of the contract is defined."""
    try:
        contract.check(case.algorithm)
    except UserError as error:
        raise AssertionError(str(error)) from None
    _is(isinstance(case.algorithm.TRAITS, contract.Traits), "TRAITS must be a jaxgen.contract.Traits")


def config_is_hashable(case: Case) -> None:
    """A configuration is a frozen dataclass that equals its copy."""
    copy = dataclasses.replace(case.config)
    _is(hash(copy) == hash(case.config) and copy == case.config, "a configuration must equal its copy")


def validate_accepts_the_hyperparameters(case: Case) -> None:
    """`validate` accepts these hyperparameters."""
    case.algorithm.validate(jax.tree.map(float, case.hparams), case.config)


def hyperparameters_are_scalars(case: Case) -> None:
    """Every hyperparameter leaf is a scalar."""
    for name, leaf in loop.named_leaves(case.hparams).items():
        _is(jnp.shape(leaf) == (), f"hparams.{name} has shape {jnp.shape(leaf)}, not that of a number")


def state_holds_arrays_only(case: Case) -> None:
    """Every state leaf is an array, and a step preserves structure, shapes and dtypes."""

    def init(key: jax.Array, hparams: Tree) -> Tree:  # `jit` would make arrays of its results
        state = case.algorithm.init(key, hparams, case.config)
        for name, leaf in loop.named_leaves(state).items():
            _is(isinstance(leaf, jax.Array), f"{name} is a {type(leaf).__name__}, not an array")
        return state

    state = jax.eval_shape(init, case.key, case.hparams)
    before, after = (jax.tree.map(lambda x: (x.shape, x.dtype), s) for s in (state, case.step(case.init())[0]))
    _is(before == after, "a step changes the structure, a shape or a type of the state")


def metrics_are_finite_scalars(case: Case) -> None:
    """`step` and `evaluate` report finite float32 scalars."""
    state = case.init()
    evaluate = jax.jit(partial(case.algorithm.evaluate, config=case.config))
    found = {"step": case.step(state)[1], "evaluate": evaluate(state, case.batch, case.key, case.hparams)}
    for where, metrics in found.items():
        _is(bool(metrics), f"{where} reports nothing")
        for name, value in metrics.items():
            _is(value.shape == () and value.dtype == jnp.float32, f"{where}'s {name} is {value.dtype} {value.shape}")
            _is(bool(jnp.isfinite(value)), f"{where}'s {name} is {value}")
    objective = case.algorithm.TRAITS.objective
    if objective is not None:
        _is(objective.metric.removeprefix("test/") in found["evaluate"], f"evaluate reports no {objective.metric}")
    for name in case.algorithm.TRAITS.progress:
        _is(name in found["step"], f"step reports no {name}, which TRAITS.progress names")


def seeds_differ(case: Case) -> None:
    """Different keys give different initial states."""
    one, other = (jax.tree.leaves(case.init(jax.random.key(seed))) for seed in (0, 1))
    _is(any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True)), "two keys give the same initial state")


def one_trace_serves_all_hyperparameters(case: Case) -> None:
    """New hyperparameters do not recompile."""
    traces = 0

    def counted(state: Tree, batch: Tree, key: jax.Array, hparams: Tree) -> Any:
        nonlocal traces
        traces += 1
        return case.algorithm.step(state, batch, key, hparams, case.config)

    step, state = jax.jit(counted), case.init()
    for factor in (1.0, 0.5):
        step.trace(state, case.one, case.key, jax.tree.map(lambda x, f=factor: x * f, case.hparams))
    _is(traces == 1, f"two sets of hyperparameters were traced {traces} times")


def jit_changes_nothing(case: Case) -> None:
    """A step with `jit` equals one without."""
    state = case.init()
    plain = case.algorithm.step(state, case.one, case.key, case.hparams, case.config)
    _close(case.step(state), plain, case.rtol)


def members_equal_single_runs(case: Case) -> None:
    """A step vmapped over keys and hyperparameters equals the individual steps."""
    keys = [jax.random.key(seed) for seed in (0, 1)]
    sets = [case.hparams, jax.tree.map(lambda x: x * 0.5, case.hparams)]

    def both(key: jax.Array, hparams: Tree, batch: Tree) -> Any:
        state = case.algorithm.init(key, hparams, case.config)
        return case.algorithm.step(state, batch, key, hparams, case.config)

    together = jax.jit(jax.vmap(both, (0, 0, None)))(jnp.stack(keys), stack(sets), case.one)
    for i, (key, hparams) in enumerate(zip(keys, sets, strict=True)):
        _close(jax.tree.map(lambda x, i=i: x[i], together), case.first_step(key, hparams), case.rtol)


def devices_divide_a_batch(case: Case) -> None:
    """A step on a batch sharded over devices (`shard_map`) equals a step on the whole batch."""
    mesh = _mesh(case)
    carry = loop.Carry(case.init(), jnp.zeros(1), jnp.int32(-1))
    specs = parallel.carry_specs(case.algorithm, carry).state
    step = partial(case.algorithm.step, config=case.config, axis_name=parallel.AXIS)
    data = parallel.P(parallel.AXIS) if contract.takes_data(case.algorithm) else parallel.P()
    inputs = (specs, data, parallel.P(), parallel.P())
    divided = jax.jit(parallel.spread(step, mesh, inputs, (specs, parallel.P())))
    _close(divided(carry.state, case.one, case.key, case.hparams), case.step(carry.state), case.rtol)


def pmap_divides_a_batch(case: Case) -> None:
    """A step under `pmap` equals a step on the whole batch."""
    _mesh(case)
    if case.algorithm.TRAITS.divided_axes is not None:
        raise Skipped("its state is divided too, which shard_map checks")
    state = case.init()

    def copies(tree: Tree) -> Tree:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (case.devices, *x.shape)), tree)

    parts = jax.tree.map(lambda x: x.reshape(case.devices, -1, *x.shape[1:]), case.one)
    step = jax.pmap(partial(case.algorithm.step, config=case.config, axis_name="i"), "i", in_axes=(0, 0, None, None))
    got = jax.tree.map(lambda x: x[0], step(copies(state), parts, case.key, case.hparams))
    _close(got, case.step(state), case.rtol)


def bfloat16_keeps_a_float32_state(case: Case) -> None:
    """With `config.dtype` bfloat16, states, metrics and updates stay float32."""
    if "dtype" not in {field.name for field in dataclasses.fields(case.config)}:
        raise Skipped("its configuration has no dtype")
    half = case.with_config(dtype="bfloat16")
    for name, leaf in loop.named_leaves(half.step(half.init())).items():
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        _is(not floating or leaf.dtype == jnp.float32, f"{name} is {leaf.dtype}")


def cut_equals_whole(case: Case) -> None:
    """Chunks of 1 and 3 steps match one chunk of 4 bit for bit."""
    whole = _chunks(case, [STEPS])
    jax.tree.map(np.testing.assert_array_equal, _chunks(case, [1, 3]), whole)


def resumed_equals_whole(case: Case) -> None:
    """A carry restored from host memory continues bit for bit."""
    whole = _chunks(case, [2, 2])
    jax.tree.map(np.testing.assert_array_equal, _chunks(case, [2, 2], through_host=True), whole)


def chunks_are_the_pure_function_cut(case: Case) -> None:
    """`jaxgen.train` matches the engine's chunks up to rounding."""
    pure = jax.jit(partial(train, case.algorithm, config=case.config, steps=3))
    state, _ = pure(case.key, case.hparams, case.split)
    _close(state, _chunks(case, [3]), case.rtol)


def a_trained_model_can_be_used(case: Case) -> None:
    """The functions that use a trained model return the right shapes and ranges."""
    algorithm, weights = case.algorithm, case.algorithm.weights(case.init(), case.config)

    def use(name: Use, *args: Any, **static: Any) -> Any:
        return jax.jit(partial(getattr(algorithm, name), config=case.config, **static))(weights, *args)

    uses: tuple[Use, ...] = ("sample", "encode", "decode", "reconstruct", "act")
    has = {name for name in uses if contract.supports(algorithm, name)}
    if not has:
        raise Skipped("it offers none")
    made: dict[str, Any] = {}
    if "sample" in has:
        made["sample"] = use("sample", case.key, count=COUNT)
        _is(made["sample"].shape[0] == COUNT, f"sample gives {made['sample'].shape[0]} images of {COUNT}")
    if "encode" in has:
        codes = use("encode", case.one.images, case.key)
        _is(codes.shape[0] == len(case.one.images), "encode gives another number of codes than images")
        if "decode" in has:
            made["decode"] = use("decode", codes)
            _is(made["decode"].shape == case.one.images.shape, "decode gives images of another shape")
    if "reconstruct" in has:
        made["reconstruct"] = use("reconstruct", case.one.images, case.key)
        _is(made["reconstruct"].shape == case.one.images.shape, "reconstruct gives images of another shape")
    for name, images in made.items():
        _is(bool((images >= 0).all() & (images <= 1).all()), f"{name} leaves [0, 1]")


CLAUSES: tuple[Callable[[Case], None], ...] = (
    exports,
    config_is_hashable,
    validate_accepts_the_hyperparameters,
    hyperparameters_are_scalars,
    state_holds_arrays_only,
    metrics_are_finite_scalars,
    seeds_differ,
    one_trace_serves_all_hyperparameters,
    jit_changes_nothing,
    members_equal_single_runs,
    devices_divide_a_batch,
    pmap_divides_a_batch,
    bfloat16_keeps_a_float32_state,
    cut_equals_whole,
    resumed_equals_whole,
    chunks_are_the_pure_function_cut,
    a_trained_model_can_be_used,
)


def _is(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def _close(got: Tree, expected: Tree, rtol: float) -> None:
    """Require each array to match to `rtol` of its largest entry."""
    names = list(loop.named_leaves(expected))
    for name, one, other in zip(names, jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        error = float(np.abs(one - other).max(initial=0)) / max(float(np.abs(other).max(initial=0)), 1e-6)
        _is(error <= rtol, f"{name} differs by {error:.2g} of its largest entry")


def _mesh(case: Case) -> Any:
    if not contract.takes_axis(case.algorithm):
        raise Skipped("its step takes no axis_name")
    if len(jax.devices()) < case.devices:
        raise Skipped(f"JAX has {len(jax.devices())} devices, not {case.devices}")
    parallel.check_config(case.algorithm, case.config, case.devices)
    return parallel.mesh(case.devices)


def _chunks(case: Case, lengths: list[int], through_host: bool = False) -> Tree:
    """The state after running chunks of these lengths, `STEPS` steps at most in all."""
    keys, algorithm, config = loop.keys_of(case.key), case.algorithm, case.config
    metrics = len(loop.metric_names(algorithm, keys.init, case.hparams, case.split, config))
    carry = loop.Carry(case.init(keys.init), jnp.zeros(metrics), jnp.int32(-1))
    first = 0
    for length in lengths:
        carry, _ = case.chunk(carry, keys, case.hparams, case.split, jnp.int32(first), jnp.int32(first + length))
        first += length
        if through_host:
            carry = jax.tree.map(jnp.asarray, jax.device_get(carry))
    return carry.state
