import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.engine import batches


@pytest.mark.parametrize("n", [1, 2, 3, 16, 17, 1797, 65_536, 65_537, 100_000])
def test_a_permutation_is_the_stable_order_of_random_words(n):
    key = jax.random.key(0)
    words = np.asarray(jax.random.bits(key, (n,)))
    np.testing.assert_array_equal(batches.permutation(key, n), np.argsort(words, stable=True))


def test_equal_words_stay_in_their_order(monkeypatch):
    words = np.random.default_rng(0).integers(0, 50, 2_000).astype(np.uint32) * np.uint32(2**32 // 50)
    monkeypatch.setattr(jax.random, "bits", lambda key, shape: jnp.asarray(words))
    np.testing.assert_array_equal(batches.permutation(jax.random.key(0), 2_000), np.argsort(words, stable=True))
