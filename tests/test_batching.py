import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import batching


def test_batches_cover_a_split_that_no_batch_divides():
    split = (jnp.arange(11.0), jnp.arange(22.0).reshape(11, 2))
    doubled = batching.map_batches(lambda s: (2 * s[0], s[1].sum(1)), split, 4)
    np.testing.assert_array_equal(doubled[0], 2 * np.arange(11))
    np.testing.assert_array_equal(doubled[1], np.arange(22).reshape(11, 2).sum(1))


def test_a_shards_keys_are_those_of_the_whole_batch():
    key = jax.random.key(3)
    whole = jax.random.key_data(batching.keys(key, 8))
    sharded = jax.pmap(lambda _: jax.random.key_data(batching.keys(key, 2, "batch")), axis_name="batch")(jnp.arange(4))
    np.testing.assert_array_equal(np.asarray(sharded).reshape(8, -1), whole)
    assert len(np.unique(whole, axis=0)) == 8
