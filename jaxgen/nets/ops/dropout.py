"""Dropout with per-example masks: one key per example, one byte per mask entry."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxgen.errors import refuse

LEVELS = 256
"""Values of a byte: a rate is a multiple of 1 / 256."""


def dropped_levels(rate: float) -> int:
    """The rate in units of 1/256, rounded to the nearest: 0.3 becomes 77 / 256 = 0.3008."""
    return round(LEVELS * rate)


def check_rate(field: str, rate: float) -> None:
    """Refuse a rate outside [0, 1), or one so small or large that it would be rounded to never or always."""
    if not 0 <= rate < 1 or (rate > 0 and dropped_levels(rate) in (0, LEVELS)):
        refuse(field, rate, "0, or 1/512 to 511/512 (it is rounded to a multiple of 1/256)")


def keep_mask(keys: Array, shape: tuple[int, ...], rate: float, *, axis: int = 0) -> Array:
    """Booleans of `shape`, each true with probability 1 - k/256, k = `dropped_levels(rate)`.

    Example i is at index i of `axis` and depends on `keys[i]` alone, so a batch can be cut anywhere.
    A word of random bits gives four mask entries, as most of the cost of dropout is drawing bits.
    """
    if axis == len(shape) - 1:  # the axis reserved for the bytes of a word
        return jnp.moveaxis(keep_mask(keys, (shape[-1], *shape[:-1]), rate), 0, -1)
    event = shape[:axis] + shape[axis + 1 :]
    words = -(-event[-1] // 4)
    bits = jax.vmap(lambda key: jax.random.bits(key, (*event[:-1], words)), out_axes=axis)(keys)
    levels = lax.bitcast_convert_type(bits, jnp.uint8).reshape(*bits.shape[:-1], 4 * words)[..., : event[-1]]
    return levels >= dropped_levels(rate)


def dropout(x: Array, keys: Array | None, rate: float, *, axis: int = 0) -> Array:
    """x with random entries set to zero and the others scaled so that the mean stays exactly that of x.

    Without `keys` (evaluation) or at rate 0, x itself. `axis` is the example axis.
    """
    if keys is None or rate == 0:
        return x
    scale = LEVELS / (LEVELS - dropped_levels(rate))
    return jnp.where(keep_mask(keys, x.shape, rate, axis=axis), x * jnp.asarray(scale, x.dtype), 0)
