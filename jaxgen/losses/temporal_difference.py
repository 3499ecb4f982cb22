"""TD errors and losses of action values; the only module that uses rlax."""

import warnings
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Loss = Literal["huber", "squared"]


@lru_cache
def _rlax() -> Any:
    """rlax, imported on first use: it takes seconds, which other runs should not pay."""
    with warnings.catch_warnings(), jax.ensure_compile_time_eval():
        warnings.simplefilter("ignore", DeprecationWarning)  # its dependencies' warnings about one another
        import rlax
    return rlax


def take_action(q_values: Float[Array, "b actions"], actions: Int[Array, " b"]) -> Float[Array, " b"]:
    """Q(s, a), as a product with a one-hot row: the gradient of indexing would be a scatter, one row after another."""
    return (q_values * jax.nn.one_hot(actions, q_values.shape[1])).sum(axis=1)


def bootstrap_value(
    by_target: Float[Array, "b actions"], by_net: Float[Array, "b actions"] | None = None
) -> Float[Array, " b"]:
    """max_a Q_target(s', a); with `by_net`, Q_target(s', argmax_a Q(s', a)) for double Q-learning."""
    return by_target.max(axis=1) if by_net is None else take_action(by_target, by_net.argmax(axis=1))


def td_errors(
    values: Float[Array, " b"],
    rewards: Float[Array, " b"],
    discounts: Float[Array, " b"],
    bootstrap_values: Float[Array, " b"],
) -> Float[Array, " b"]:
    """reward + discount bootstrap value - value; the target is not differentiated."""
    return jax.vmap(_rlax().td_learning)(values, rewards, discounts, bootstrap_values)


def loss(name: Loss, errors: Float[Array, " b"]) -> Float[Array, " b"]:
    """Half the square of each error; huber: linear beyond 1."""
    return _rlax().huber_loss(errors) if name == "huber" else _rlax().l2_loss(errors, jnp.zeros_like(errors))
