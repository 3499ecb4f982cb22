"""No random key is used twice, by JAX's own check of the traced programs.

Left out is a GAN without shared passes, whose two passes draw the same on purpose. `map_batches` is left out of what is
checked: the check takes a key that is gathered from an array for the array's use as a whole.
"""

from functools import partial

import jax
import pytest
from cases import CASES, abstract_state

from jaxgen import batching

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setattr(batching, "map_batches", lambda function, split, *_, **__: function(split))
    with jax.debug_key_reuse(True):
        yield


def check(function, *arguments):
    jax.eval_shape(jax.jit(lambda *arguments: function(*arguments)), *arguments)  # a function jit has not seen


def test_the_check_finds_a_key_that_is_used_twice():
    with pytest.raises(jax.errors.KeyReuseError):
        check(lambda key: jax.random.normal(key) + jax.random.uniform(key), KEY)


@pytest.mark.parametrize("name", CASES)
def test_no_key_is_used_twice(name):
    algorithm, config, hparams, batch = case = CASES[name]
    state = abstract_state(case)
    check(partial(algorithm.init, config=config), KEY, hparams)
    check(partial(algorithm.step, config=config), state, batch, KEY, hparams)
    check(partial(algorithm.evaluate, config=config), state, batch, KEY, hparams)
    if name.startswith("vae"):
        check(lambda params, key: algorithm.sample(params, key, 4, config), state.params, KEY)
        check(partial(algorithm.encode, config=config), state.params, batch.images, KEY)
        check(partial(algorithm.reconstruct, config=config), state.params, batch.images, KEY)
    if name.startswith("gan"):
        check(lambda params, key: algorithm.sample(params, key, 4, config), algorithm.weights(state, config), KEY)
