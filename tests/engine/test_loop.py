import itertools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.algorithms import autoencoder as ae
from jaxgen.engine import loop

CFG = ae.Config(image_shape=(4, 4, 1), widths=(5,), batch_size=4)
HP = jax.tree.map(jnp.float32, ae.HParams(learning_rate=0.01))
DATA = ae.Batch(
    jax.random.randint(jax.random.key(9), (14, 4, 4, 1), 0, 256).astype(jnp.uint8), jnp.arange(14, dtype=jnp.int32)
)
RUN = partial(loop.run_chunk, algorithm=ae, config=CFG, log_every=4, rows=16)
CHUNK = jax.jit(RUN)


def start(seed=0):
    return loop.start(ae, loop.keys(seed).init, HP, CFG, 2)


def run(cuts, seed=0):
    """Steps 0 to the last cut, cut there and at the ends of epochs (3 steps each)."""
    cuts = sorted({*cuts, *range(0, max(cuts), 3)})
    carry, rows = start(seed), []
    for first, last in itertools.pairwise(cuts):
        carry, chunk = CHUNK(carry, loop.keys(seed), HP, DATA, jnp.int32(first), jnp.int32(last))
        rows += list(np.asarray(chunk.rows)[: last // 4 - first // 4])
    return carry, np.array(rows)


@pytest.mark.parametrize("cuts", [(0, 20), (0, 1, 2, 20), (0, 7, 13, 20), (0, 4, 8, 20)])
def test_where_a_run_is_cut_changes_no_bit(cuts):
    whole_carry, whole_rows = run(range(21))
    carry, rows = run(cuts)
    chex.assert_trees_all_equal(carry, whole_carry)
    np.testing.assert_array_equal(rows, whole_rows)
    assert rows.shape == (5, 2)


def test_one_trace_serves_every_chunk():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def traced(*args):
        return RUN(*args)

    for first, last in ((0, 3), (3, 5), (5, 6)):
        traced(start(), loop.keys(0), HP, DATA, jnp.int32(first), jnp.int32(last))


def test_seeds_differ():
    assert np.all(run((0, 8), seed=0)[1] != run((0, 8), seed=1)[1])


class Recorder:
    """An algorithm that records which labels it was given, to see the order of the data."""

    Config, HParams, Batch = ae.Config, ae.HParams, ae.Batch

    @staticmethod
    def init(key, hparams, config):
        return {"seen": jnp.zeros((20, 4), jnp.int32), "step": jnp.int32(0), "noise": jnp.zeros(20)}

    @staticmethod
    def step(state, batch, key, hparams, config):
        t = state["step"]
        state = {
            "seen": state["seen"].at[t].set(batch.labels),
            "step": t + 1,
            "noise": state["noise"].at[t].set(jax.random.uniform(key)),
        }
        return state, {"loss": jnp.float32(t)}


def test_the_programs_of_a_run_share_one_trace_of_each_function():
    chex.clear_trace_counter()

    class Once(Recorder):
        init = staticmethod(chex.assert_max_traces(Recorder.init, n=1))
        step = staticmethod(chex.assert_max_traces(Recorder.step, n=1))

    keys, bound = loop.keys(0), jnp.int32(0)
    assert loop.metric_names(Once, keys.init, HP, DATA, CFG) == ("loss",)
    carry = jax.eval_shape(partial(loop.start, Once, config=CFG, metrics=1), keys.init, HP)
    chunk = partial(loop.run_chunk, algorithm=Once, config=CFG, log_every=4, rows=16)
    jax.eval_shape(chunk, carry, keys, HP, DATA, bound, bound)


def test_each_epoch_is_a_new_permutation_without_repetition():
    carry = loop.start(Recorder, loop.keys(0).init, HP, CFG, 1)
    run_chunk = partial(loop.run_chunk, algorithm=Recorder, config=CFG, log_every=4, rows=16)
    rows = []
    for first in (0, 3, 6):
        carry, chunk = run_chunk(carry, loop.keys(0), HP, DATA, jnp.int32(first), jnp.int32(first + 3))
        rows += list(np.asarray(chunk.rows)[: (first + 3) // 4 - first // 4, 0])
    epochs = np.asarray(carry.state["seen"])[:9].reshape(3, 12)
    assert all(len(set(epoch)) == 12 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len(set(np.asarray(carry.state["noise"])[:9])) == 9
    np.testing.assert_allclose(rows, [0 + 1 + 2 + 3, 4 + 5 + 6 + 7])
    np.testing.assert_allclose(carry.sums, [8.0])


def test_vmapped_runs_equal_lone_ones():
    seeds = (3, 4)
    keys = jax.tree.map(lambda *k: jnp.stack(k), *(loop.keys(seed) for seed in seeds))
    hparams = jax.tree.map(lambda x: jnp.full(2, x), HP)
    carries = jax.vmap(lambda k, hparams: loop.start(ae, k.init, hparams, CFG, 2))(keys, hparams)
    together = jax.jit(jax.vmap(RUN, in_axes=(0, 0, 0, None, None, None)))
    carries, _ = together(carries, keys, hparams, DATA, jnp.int32(0), jnp.int32(3))
    for i, seed in enumerate(seeds):
        carry, _ = run((0, 3), seed)
        np.testing.assert_allclose(carries.sums[i], carry.sums, rtol=1e-4)
        chex.assert_trees_all_close(
            jax.tree.map(lambda x, i=i: x[i], carries.state.params), carry.state.params, rtol=1e-3, atol=1e-5
        )


def test_the_first_step_that_is_not_finite_is_named():
    carry = start()
    carry = carry._replace(state=carry.state._replace(params=jax.tree.map(lambda x: x * jnp.nan, carry.state.params)))
    carry, chunk = CHUNK(carry, loop.keys(0), HP, DATA, jnp.int32(0), jnp.int32(3))
    assert int(carry.first_bad) == 0
    finite = dict(zip(loop.named_leaves(carry.state), np.asarray(chunk.finite), strict=True))
    assert finite["step"]
    assert not finite["params.decoder.Dense_0.bias"]
