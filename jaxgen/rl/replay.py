"""Replay buffer: the last transitions of E environments in an on-device ring of T rows; uniform or prioritized.

Rows are in time order and hold one transition of each environment, so n-step returns are computed from the following
rows when a row is sampled. Everything is arithmetic on the row count: no branches, and no copies under `vmap`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxgen import collectives

BLOCK = 128
"""Transitions per block of summed priorities in the search."""


class Transition(NamedTuple):
    """One step of E environments, or one such row for every row of the ring."""

    observation: Float[Array, "..."]
    action: Int[Array, "*rows e"]
    reward: Float[Array, "*rows e"]
    next_observation: Float[Array, "..."]
    """The observation after the step: at the end of an episode its last one, not the first of the next."""
    terminated: Bool[Array, "*rows e"]
    done: Bool[Array, "*rows e"]
    """Terminated, or truncated at the time limit."""


class Replay(NamedTuple):
    """The ring buffer."""

    rows: Transition
    written: Int[Array, ""]
    """Rows ever written."""
    priorities: Float[Array, "rows e"] | None
    """Priority of each transition, 0 for empty slots; None if sampling is uniform."""


class Index(NamedTuple):
    """Positions of B transitions."""

    row: Int[Array, " b"]
    environment: Int[Array, " b"]


class Batch(NamedTuple):
    """B transitions over up to n steps: Q(observation, action) is fit to value + discount Q(next_observation, .)."""

    observation: Float[Array, " b *shape"]
    action: Int[Array, " b"]
    value: Float[Array, " b"]
    """Sum of the discounted rewards."""
    discount: Float[Array, " b"]
    """gamma to the number of steps; 0 if the episode terminated within them, not if it was truncated."""
    next_observation: Float[Array, " b *shape"]


def create(rows: int, environments: int, observation_shape: tuple[int, ...], prioritized: bool) -> Replay:
    """An empty ring buffer."""

    def zeros(dtype: Any, *shape: int) -> Array:
        return jnp.zeros((rows, environments, *shape), dtype)

    observations = zeros(jnp.float32, *observation_shape)
    empty = Transition(
        observations, zeros(jnp.int32), zeros(jnp.float32), jnp.copy(observations), zeros(bool), zeros(bool)
    )
    return Replay(empty, jnp.zeros((), jnp.int32), zeros(jnp.float32) if prioritized else None)


def add(replay: Replay, transition: Transition) -> Replay:
    """Overwrite the oldest row; the new row's priorities are the current maximum (1 at first)."""
    at = replay.written % replay.rows.reward.shape[0]
    rows = jax.tree.map(lambda ring, new: lax.dynamic_update_index_in_dim(ring, new, at, 0), replay.rows, transition)
    priorities = replay.priorities
    if priorities is not None:
        largest = jnp.where(replay.written > 0, priorities.max(), 1.0)
        row = jnp.broadcast_to(largest, priorities.shape[1:])
        priorities = lax.dynamic_update_index_in_dim(priorities, row, at, 0)
    return Replay(rows, replay.written + 1, priorities)


def uniform(replay: Replay, draws: UInt32[Array, " b"], n_step: int, axis_name: str | None = None) -> Index:
    """Positions drawn with replacement from all transitions followed by n - 1 rows; `draws` are random words.

    With `axis_name`, positions in the rings of all devices, each of which holds its own environments.
    """
    capacity, environments = replay.rows.reward.shape
    environments *= collectives.size(axis_name)
    filled = jnp.minimum(replay.written, capacity)
    choices = (filled - (n_step - 1)) * environments
    chosen = jnp.minimum((unit(draws) * choices.astype(jnp.float32)).astype(jnp.int32), choices - 1)
    row = (replay.written - filled + chosen // environments) % capacity
    return Index(row, chosen % environments)


def unit(draws: UInt32[Array, "*n"]) -> Float[Array, "*n"]:
    """Random words as numbers in [0, 1), from their upper 24 bits."""
    return (draws >> 8).astype(jnp.float32) * 2.0**-24


def prioritized(
    replay: Replay,
    draws: UInt32[Array, " b"],
    n_step: int,
    priority_exponent: Float[Array, ""] | float,
    importance_exponent: Float[Array, ""] | float,
) -> tuple[Index, Float[Array, " b"]]:
    """Positions drawn with P(i) ~ priority_i^a, and weights (choices P(i))^-b divided by their maximum.

    Schaul et al., Prioritized experience replay, ICLR 2016: stratified, one position from each of B equal parts.
    """
    assert replay.priorities is not None
    capacity, environments = replay.priorities.shape
    age = (replay.written - 1 - jnp.arange(capacity)) % capacity  # 0 for the newest row
    allowed = (age >= n_step - 1) & (age < replay.written)
    masses = jnp.where(allowed[:, None], replay.priorities**priority_exponent, 0).reshape(-1)
    chosen, total = _by_mass(masses, draws)
    choices = (jnp.minimum(replay.written, capacity) - (n_step - 1)) * environments
    weights = (choices.astype(jnp.float32) * masses[chosen] / total) ** -importance_exponent
    return Index(chosen // environments, chosen % environments), weights / weights.max()


def _by_mass(masses: Float[Array, " n"], draws: UInt32[Array, " b"]) -> tuple[Int[Array, " b"], Float[Array, ""]]:
    """Stratified inverse-CDF sampling in two steps, the block and then the position in it; and the total mass."""
    blocks = jnp.pad(masses, (0, -masses.size % BLOCK)).reshape(-1, BLOCK)
    ends = jnp.cumsum(blocks.sum(axis=1))
    wanted = (jnp.arange(draws.size, dtype=jnp.float32) + unit(draws)) / draws.size * ends[-1]
    block = jnp.minimum((ends[None, :] <= wanted[:, None]).sum(axis=1), ends.size - 1)
    within = jnp.cumsum(blocks[block], axis=1)
    rest = wanted - jnp.where(block > 0, ends[block - 1], 0)
    inside = (within <= jnp.minimum(rest, within[:, -1] * (1 - 2.0**-20))[:, None]).sum(axis=1)
    return jnp.minimum(block * BLOCK + inside, masses.size - 1), ends[-1]


def update_priorities(replay: Replay, place: Index, priorities: Float[Array, " b"]) -> Replay:
    """The ring with new priorities at the given positions."""
    assert replay.priorities is not None
    return replay._replace(priorities=replay.priorities.at[place.row, place.environment].set(priorities))


def gather(
    replay: Replay, place: Index, n_step: int, gamma: Float[Array, ""] | float, axis_name: str | None = None
) -> Batch:
    """The transitions at the given positions, over n steps or to the end of their episode.

    With `axis_name` the positions are in all devices' rings, and each device gets its share of the transitions.
    """
    if axis_name is not None:
        environments = replay.rows.reward.shape[1]
        environment = place.environment - lax.axis_index(axis_name) * environments
        here = (environment >= 0) & (environment < environments)
        found = gather(replay, Index(place.row, jnp.where(here, environment, 0)), n_step, gamma)
        return collectives.reduce_scatter(
            jax.tree.map(lambda x: jnp.where(_like(here, x), x, 0).astype(x.dtype), found), axis_name
        )
    capacity, rows = replay.rows.reward.shape[0], replay.rows
    value, discount = jnp.zeros(place.row.shape), jnp.ones(place.row.shape)
    alive, last = jnp.ones(place.row.shape, bool), place.row
    for k in range(n_step):
        at = (place.row + k) % capacity, place.environment
        value = value + jnp.where(alive, discount * rows.reward[at], 0)
        discount = jnp.where(alive, discount * gamma * (~rows.terminated[at]).astype(jnp.float32), discount)
        last = jnp.where(alive, at[0], last)
        alive = alive & ~rows.done[at]
    first = place.row, place.environment
    reached = rows.next_observation[last, place.environment]
    return Batch(rows.observation[first], rows.action[first], value, discount, reached)


def _like(flags: Bool[Array, " b"], values: Array) -> Array:
    return flags.reshape(flags.shape + (1,) * (values.ndim - 1))
