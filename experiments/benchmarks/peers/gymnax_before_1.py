"""gymnax 1.0 behind the interface of 0.0.x: `step` returns five values, `done` is terminated or truncated."""

from typing import Any

import jax.numpy as jnp


class FiveValues:
    """An environment, or a wrapped one, whose `step` returns observation, state, reward, done, info."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying and pickling look these up
            raise AttributeError(name)
        return getattr(self._env, name)

    def __deepcopy__(self, memo: Any) -> "FiveValues":
        return self

    def step(self, key: Any, state: Any, action: Any, params: Any = None) -> tuple[Any, ...]:
        """The environment's step; the last observation before a reset stays in `info`."""
        obs, state, reward, terminated, truncated, info = self._env.step(key, state, action, params)
        return obs, state, reward, jnp.logical_or(terminated, truncated), info
