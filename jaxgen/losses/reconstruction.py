"""Reconstruction losses: one value per example, unreduced.

Everything is in nats per image: summed over the event (all axes but the first), never averaged over pixels or batch.
Unequal shapes are refused, never broadcast.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def _check_equal_shapes(predictions: Array, targets: Array) -> None:
    if predictions.shape != targets.shape:
        raise ValueError(f"shapes must be equal, got predictions {predictions.shape} and targets {targets.shape}")


def _sum_event(values: Float[Array, " b *event"]) -> Float[Array, " b"]:
    """Sum over all axes but the first, as a product with ones: XLA's CPU code fuses a plain sum with whatever
    computed its terms into one scalar loop, which made the logarithms below take twice a training step's time."""
    flat = values.reshape(values.shape[0], -1)
    return jnp.dot(flat, jnp.ones(flat.shape[1], flat.dtype), precision=lax.Precision.HIGHEST)


@jax.custom_vjp
def _bernoulli_cross_entropy(
    logits: Float[Array, " b *event"], targets: Float[Array, " b *event"]
) -> Float[Array, " b"]:
    # log(1 + x) for x in (0, 1] is wrong by 6e-8 at most; XLA's log1p costs twice as much.
    return _sum_event(jnp.maximum(logits, 0) - logits * targets + jnp.log(1 + jnp.exp(-jnp.abs(logits))))


def _forward(logits: Array, targets: Array) -> tuple[Array, tuple[Array, Array]]:
    return _bernoulli_cross_entropy(logits, targets), (logits, targets)


def _backward(arguments: tuple[Array, Array], to_losses: Float[Array, " b"]) -> tuple[Array, Array]:
    logits, targets = arguments
    each = to_losses.reshape(-1, *[1] * (logits.ndim - 1))
    return (jax.nn.sigmoid(logits) - targets) * each, -logits * each


_bernoulli_cross_entropy.defvjp(_forward, _backward)


def bernoulli_cross_entropy(
    logits: Float[Array, " b *event"], targets: Float[Array, " b *event"]
) -> Float[Array, " b"]:
    """-log Bernoulli(target | sigmoid(logit)), nats per image; targets in [0, 1], gray levels as probabilities.

    The gradient is written out, sigmoid(logit) - target: differentiating the formula takes twice the time.
    """
    _check_equal_shapes(logits, targets)
    return _bernoulli_cross_entropy(logits, targets)


def gaussian_nll(
    mean: Float[Array, " b *event"], targets: Float[Array, " b *event"], scale: Float[Array, ""] | float = 1.0
) -> Float[Array, " b"]:
    """-log N(target | mean, scale^2 I), nats per image (a density: may be negative)."""
    _check_equal_shapes(mean, targets)
    log_normalizer = jnp.log(scale) + 0.5 * math.log(2 * math.pi)
    return _sum_event(0.5 * ((targets - mean) / scale) ** 2 + log_normalizer)


def squared_error(predictions: Float[Array, " b *event"], targets: Float[Array, " b *event"]) -> Float[Array, " b"]:
    """Sum of squared differences over the event."""
    _check_equal_shapes(predictions, targets)
    return _sum_event((predictions - targets) ** 2)


def per_dimension(nats_per_image: Array, event_shape: tuple[int, ...]) -> Array:
    """Nats per image as the mean per pixel and channel, the figure Keras prints."""
    return nats_per_image / math.prod(event_shape)


def bits_per_dimension(nats_per_image: Array, event_shape: tuple[int, ...]) -> Array:
    """Nats per image as bits per pixel and channel."""
    return per_dimension(nats_per_image, event_shape) / math.log(2)
