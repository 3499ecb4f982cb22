"""A model's functions for figures: each compiled once, whatever the number of images in a figure."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxgen.engine import executables

BLOCK = 50
"""Examples computed at a time."""


def apply(function: Callable[..., Any], config: Any, params: Any, *arrays: Any) -> Any:
    """`function(params, *arrays, config=config)` for arrays with examples along axis 0, `BLOCK` of them at a time.

    Its results, one array or a tuple of them, are NumPy's. No example's may depend on another. The last block is filled
    up by repetition.
    """
    inputs = [np.asarray(array) for array in arrays]
    count = len(inputs[0])
    blocks = [
        executables.call(
            function,
            config,
            params,
            *(np.resize(array[first : first + BLOCK], (BLOCK, *array.shape[1:])) for array in inputs),
        )
        for first in range(0, count, BLOCK)
    ]
    return jax.tree.map(lambda *each: np.concatenate(each)[:count], *jax.device_get(blocks))
