"""A model's functions for figures."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.report import models


@pytest.mark.parametrize("count", [1, 7, models.BLOCK, 2 * models.BLOCK + 3])
def test_blocks_give_what_the_whole_gives_from_one_trace(count):
    traces = []

    def scaled(params, points, shifts, config):
        traces.append(points.shape)
        return params * points + shifts[:, None] + config

    points = np.arange(3.0 * count, dtype=np.float32).reshape(count, 3)
    shifts = np.arange(count, dtype=np.float32)
    for _ in range(2):
        result = models.apply(scaled, 5.0, jnp.full((1, 1), 2.0), points, shifts)
        np.testing.assert_array_equal(result, 2 * points + shifts[:, None] + 5)
    assert traces == [(models.BLOCK, 3)]
