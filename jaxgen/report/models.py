"""A model's functions for figures: each compiled once, whatever the number of images in a figure."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxgen.engine import executables
from jaxgen.runs.session import Draw

BLOCK = 50
"""Examples computed at a time."""


def ahead(function: Callable[..., Any], config: Any, params: Any, *examples: jax.ShapeDtypeStruct) -> None:
    """Begin to compile what `apply` will call for examples of these shapes and types."""
    blocks = [jax.ShapeDtypeStruct((BLOCK, *one.shape), one.dtype) for one in examples]
    executables.ahead(function, config, params, *blocks)


def prepared(ahead: Callable[[Any, Any], None]) -> Callable[[Draw], Draw]:
    """Give a function that draws figures its `ahead`."""

    def with_ahead(draw: Draw) -> Draw:
        draw.ahead = ahead  # type: ignore[attr-defined]
        return draw

    return with_ahead


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
