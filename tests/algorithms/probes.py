"""Environments of a few steps, each of which only a sound algorithm values rightly."""

from typing import Any

import gymnax
import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces


@struct.dataclass
class EnvState:
    time: int
    sign: jax.Array


@struct.dataclass
class EnvParams:
    max_steps_in_episode: int = 1_000


class Probe(environment.Environment):
    """Observation (time, sign): the sign is drawn at random for each episode."""

    steps = 1
    """Length at which an episode terminates."""
    cut = 1_000
    actions = 1

    @property
    def default_params(self) -> EnvParams:
        return EnvParams(max_steps_in_episode=self.cut)

    def reward(self, state: EnvState, action: Any) -> Any:
        return 1.0

    def step_env(self, key, state, action, params):
        reward = jnp.asarray(self.reward(state, action), jnp.float32)
        state = EnvState(state.time + 1, state.sign)
        return self.get_obs(state), state, reward, state.time >= self.steps, {}

    def reset_env(self, key, params):
        state = EnvState(0, jnp.where(jax.random.bernoulli(key), 1.0, -1.0))
        return self.get_obs(state), state

    def get_obs(self, state, params=None, key=None):
        return jnp.stack([jnp.asarray(state.time, jnp.float32), state.sign])

    def action_space(self, params=None):
        return spaces.Discrete(self.actions)

    def observation_space(self, params):
        return spaces.Box(-1, 1_000, (2,), jnp.float32)


class RewardNow(Probe):
    """A reward of 1, then the end."""


class RewardOfObservation(Probe):
    """The reward is the sign."""

    def reward(self, state, action):
        return state.sign


class RewardLater(Probe):
    """The first step brings nothing, the second 1."""

    steps = 2

    def reward(self, state, action):
        return state.time == 1


class RewardOfAction(Probe):
    """1 for action 1, -1 for action 0."""

    actions = 2

    def reward(self, state, action):
        return 2 * action - 1


class RewardOfBoth(Probe):
    """1 where the action goes with the sign, -1 where it does not."""

    actions = 2

    def reward(self, state, action):
        return (2 * action - 1) * state.sign


class Timeless(Probe):
    """A reward of 1 at every step, whose number is not seen."""

    def get_obs(self, state, params=None, key=None):
        return jnp.zeros(2)


class Cut(Timeless):
    """Never terminates, is cut after five steps."""

    steps, cut = 1_000, 5


class Ended(Timeless):
    """Terminates after one step."""


PROBES = (RewardNow, RewardOfObservation, RewardLater, RewardOfAction, RewardOfBoth, Cut, Ended)
for probe in PROBES:
    gymnax.register(probe.__name__, probe)
