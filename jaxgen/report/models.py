"""A model's functions for figures: each compiled once, whatever the number of images in a figure."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

BLOCK = 50
"""Examples computed at a time."""


@lru_cache(maxsize=32)
def _program(function: Callable[..., Any], config: Any) -> Callable[..., Any]:
    return jax.jit(partial(function, config=config))


def apply(function: Callable[..., Any], config: Any, params: Any, *arrays: Any) -> np.ndarray:
    """`function(params, *arrays, config=config)` for arrays with examples along axis 0, `BLOCK` of them at a time.

    No example's result may depend on another. The last block is filled up by repetition.
    """
    program, inputs = _program(function, config), [np.asarray(array) for array in arrays]
    count = len(inputs[0])
    blocks = [
        program(params, *(np.resize(array[first : first + BLOCK], (BLOCK, *array.shape[1:])) for array in inputs))
        for first in range(0, count, BLOCK)
    ]
    return np.concatenate(jax.device_get(blocks))[:count]
