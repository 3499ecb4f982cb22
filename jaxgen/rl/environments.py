"""Environments that run on the device; the only module that uses gymnax.

gymnax is imported when an environment is first made, because that takes seconds. Observations and rewards are always
float32; environments reset automatically.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxgen import collectives, imports
from jaxgen.errors import check_choice, refuse


class Environment(NamedTuple):
    """A named environment and the properties a net needs."""

    name: str
    gymnax: Any
    params: Any
    observation_shape: tuple[int, ...]
    actions: int
    episode_steps: int
    """Time limit of an episode, in steps."""


class EnvState(NamedTuple):
    """State of N copies of an environment."""

    observation: Float[Array, " n *shape"]
    inner: Any
    """gymnax's state of each copy."""


class StepResult(NamedTuple):
    """The result of one step of N copies."""

    reward: Float[Array, " n"]
    observation: Float[Array, " n *shape"]
    """Observation after the step, before any automatic reset."""
    terminated: Bool[Array, " n"]
    """The episode reached a terminal state."""
    done: Bool[Array, " n"]
    """The episode terminated or was truncated at its time limit."""


@lru_cache
def make(name: str) -> Environment:
    """The environment called `name`; an unknown one, or one a DQN cannot play, raises a `SettingError`."""
    with imports.deferred("seaborn", "matplotlib.pyplot"):  # 2 of 2.5 s, for drawings that are not used here
        import gymnax

    check_choice("config.environment", name, gymnax.registered_envs)
    try:
        # Some create arrays, which must outlive the trace that first needs them, and mix numbers with booleans.
        with jax.ensure_compile_time_eval(), jax.numpy_dtype_promotion("standard"):
            env, params = gymnax.make(name)
    except OSError as error:  # one of them downloads its images
        refuse("config.environment", name, f"it cannot be made here ({error})")
    actions, observations = env.action_space(params), env.observation_space(params)
    if not isinstance(actions, gymnax.environments.spaces.Discrete):
        refuse("config.environment", name, "an environment of discrete actions; this one's are continuous")
    if not isinstance(observations, gymnax.environments.spaces.Box):
        refuse("config.environment", name, "an environment whose observations are arrays")
    return Environment(name, env, params, tuple(observations.shape), int(actions.n), int(params.max_steps_in_episode))


def reset(environment: Environment, keys: Key[Array, " n"]) -> EnvState:
    """Initial states, one copy per key."""
    with jax.numpy_dtype_promotion("standard"):  # gymnax writes booleans into arrays of numbers
        observation, inner = jax.vmap(environment.gymnax.reset, in_axes=(0, None))(keys, environment.params)
    return EnvState(
        observation.astype(jnp.float32), jax.tree.map(lambda x: lax.convert_element_type(x, x.dtype), inner)
    )


def step(
    environment: Environment, keys: Key[Array, " n"], env_state: EnvState, actions: Int[Array, " n"]
) -> tuple[EnvState, StepResult]:
    """One step of every copy; copies whose episode is over are reset."""
    play_on = jax.vmap(environment.gymnax.step, in_axes=(0, 0, 0, None))
    with jax.numpy_dtype_promotion("standard"):  # gymnax multiplies numbers by integer actions and by booleans
        observation, inner, reward, terminated, truncated, info = play_on(
            keys, env_state.inner, actions, environment.params
        )
    inner = jax.tree.map(lambda new, old: new.astype(old.dtype), inner, env_state.inner)
    reached = info["final_observation"].astype(jnp.float32)
    result = StepResult(reward.astype(jnp.float32), reached, terminated, terminated | truncated)
    return EnvState(observation.astype(jnp.float32), inner), result


def play(
    environment: Environment,
    policy: Callable[[Float[Array, " n *shape"]], Int[Array, " n"]],
    key: Array,
    episodes: int,
    axis_name: str | None = None,
) -> tuple[Float[Array, " n"], Float[Array, "t m *shape"]]:
    """Returns of fresh episodes played by a policy in parallel, and their observations (zeros after the end).

    With `axis_name` each device plays its share and gets those observations and all returns.
    """
    reset_key, step_key = jax.random.split(key)
    start = reset(environment, collectives.local_shard(jax.random.split(reset_key, episodes), axis_name))
    played = episodes // collectives.size(axis_name)

    def one(carry: tuple[Any, Array, Array], t: Array) -> tuple[tuple[Any, Array, Array], Array]:
        env_state, returns, alive = carry
        keys = collectives.local_shard(jax.random.split(jax.random.fold_in(step_key, t), episodes), axis_name)
        seen = jnp.where(_like(alive, env_state.observation), env_state.observation, 0)
        env_state, result = step(environment, keys, env_state, policy(env_state.observation))
        returns = returns + jnp.where(alive, result.reward, 0)
        return (env_state, returns, alive & ~result.done), seen

    carry = (start, jnp.zeros(played), jnp.ones(played, bool))
    (_, returns, _), seen = lax.scan(one, carry, jnp.arange(environment.episode_steps))
    return collectives.all_gather(returns, axis_name), seen


def _like(flags: Array, values: Array) -> Array:
    return flags.reshape(flags.shape + (1,) * (values.ndim - flags.ndim))
