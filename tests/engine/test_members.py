"""Members over devices and within one: all equal the function alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.engine import loop, members


@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # one after the other, all at once
@pytest.mark.parametrize("count", [1, 4, 6, 7])
def test_spread_is_the_function_of_each_member(monkeypatch, backend, count):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)

    def function(key, shared, scale):
        noise = jax.random.normal(key, (3,))
        return {"sum": noise * scale + shared}, jnp.int32(scale)

    keys, scales = jax.random.split(jax.random.key(0), count), jnp.arange(count, dtype=jnp.float32)
    together = jax.jit(members.spread(function, (True, False, True), count))(keys, jnp.float32(2), scales)
    assert together[0]["sum"].shape == (count, 3)
    for i in range(count):
        alone = function(keys[i], jnp.float32(2), scales[i])
        for mine, one in zip(jax.tree.leaves(members.member(together, i)), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(mine, one, rtol=1e-6)


def test_keys_are_those_of_the_single_runs():
    seeds = (3, 0, 2**31 - 1, 2**31, 2**32 - 1)
    together = members.keys(members.Members(seeds, None))
    for i, seed in enumerate(seeds):
        for mine, one in zip(members.member(together, i), loop.keys(seed), strict=True):
            assert jax.random.key_data(mine).tolist() == jax.random.key_data(one).tolist()
