"""The program of a first state: compiled with fewer passes, to the same bits."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import pytest

from jaxgen.algorithms import autoencoder, dqn, vae
from jaxgen.engine import executables


@pytest.mark.parametrize(
    ("algorithm", "config"),
    [
        (autoencoder, autoencoder.Config()),
        (dqn, dqn.Config()),
        pytest.param(vae, vae.Config(net="conv"), marks=pytest.mark.slow),
    ],
    ids=["autoencoder", "dqn", "vae"],
)
def test_a_program_for_few_calls_computes_the_same_bits(algorithm, config, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    options = executables.for_few_calls()
    assert options == {"xla_backend_optimization_level": 1}
    hparams = jax.tree.map(jnp.float32, algorithm.HParams())
    lowered = jax.jit(partial(algorithm.init, config=config)).lower(jax.random.key(5), hparams)
    first, full = (
        lowered.compile(compiler_options=chosen)(jax.random.key(5), hparams)
        for chosen in (options, {"xla_backend_optimization_level": 3})
    )
    chex.assert_trees_all_equal(*(jax.tree.map(_plain, state) for state in (first, full)))


def test_xla_flags_take_precedence(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    assert executables.for_few_calls() is None


def _plain(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
