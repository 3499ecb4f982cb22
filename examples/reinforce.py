"""REINFORCE with a running baseline on CartPole: ascend E[sum_t (G_t - b) grad log pi(a_t | s_t)].

Williams, Simple statistical gradient-following algorithms, Machine Learning 8, 1992. One step plays `config.envs`
environments in parallel for `config.horizon` steps and updates a linear-tanh policy once.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen import collectives, optim
from jaxgen.contract import NoBatch as Batch
from jaxgen.contract import Objective, Traits
from jaxgen.optim import HParams
from jaxgen.optim import validate as validate_optimizer
from jaxgen.rl import environments


@dataclass(frozen=True)
class Config:
    """Static settings: they fix shapes and trip counts."""

    environment: str = "CartPole-v1"
    envs: int = 16
    horizon: int = 200
    hidden: int = 32
    batch_size: int = 1
    gamma: float = 0.99


class State(NamedTuple):
    step: Array
    params: dict
    opt_state: tuple
    baseline: Array


TRAITS = Traits(
    Objective("test/return", maximize=True),
    progress=("loss", "return"),
    steps_per_epoch=lambda config: 10,
    divided=lambda config: {"envs": 1},
    single_thread=True,
)


def validate(hparams: HParams, config: Config) -> None:
    validate_optimizer(hparams)


def init(key: Array, hparams: HParams, config: Config) -> State:
    environment = environments.make(config.environment)
    first, last = jax.random.split(key)
    size = environment.observation_shape[0]
    params = {
        "hidden": jax.random.normal(first, (size, config.hidden)) / jnp.sqrt(size),
        "logits": 0.01 * jax.random.normal(last, (config.hidden, environment.actions)),
    }
    return State(jnp.zeros((), jnp.int32), params, optim.optimizer("adam", hparams).init(params), jnp.zeros(()))


def logits(params: dict, observations: Float[Array, "n s"]) -> Float[Array, "n a"]:
    return jnp.tanh(observations @ params["hidden"]) @ params["logits"]


def episodes(params: dict, key: Array, config: Config, axis_name: str | None):
    """Observations, actions, discounted returns (T, N) and a mask of the steps in each environment's first episode."""
    environment = environments.make(config.environment)
    reset_key, play_key = jax.random.split(key)
    start = environments.reset(
        environment, collectives.local_shard(jax.random.split(reset_key, config.envs), axis_name)
    )

    def play(carry, t):
        state, alive = carry
        keys = collectives.local_shard(jax.random.split(jax.random.fold_in(play_key, t), config.envs), axis_name)
        actions = jax.vmap(lambda k, z: jax.random.categorical(k, z))(keys, logits(params, state.observation))
        after, result = environments.step(environment, keys, state, actions)
        return (after, alive & ~result.done), (state.observation, actions, result.reward, alive)

    _, (seen, actions, rewards, alive) = lax.scan(
        play, (start, jnp.ones(len(start.observation), bool)), jnp.arange(config.horizon)
    )
    rewards = jnp.where(alive, rewards, 0.0)
    _, returns = lax.scan(lambda g, r: (r + config.gamma * g,) * 2, jnp.zeros(rewards.shape[1]), rewards, reverse=True)
    return seen, actions, returns, alive, rewards.sum(axis=0)


def step(state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name=None):
    seen, actions, returns, alive, scores = episodes(state.params, key, config, axis_name)

    def loss(params):
        log_pi = jnp.take_along_axis(jax.nn.log_softmax(logits(params, seen)), actions[..., None], axis=-1)[..., 0]
        return -jnp.where(alive, log_pi * (returns - state.baseline), 0.0).sum(axis=0).mean() / config.horizon

    value, grads = jax.value_and_grad(loss)(state.params)
    total, steps = jnp.where(alive, returns, 0.0).sum(), alive.sum().astype(jnp.float32)
    value, grads, total, steps, score = collectives.mean((value, grads, total, steps, scores.mean()), axis_name)
    params, opt_state = optim.descend(optim.optimizer("adam", hparams), state.params, state.opt_state, grads)
    baseline = optim.moving_average(state.baseline, total / steps, 0.9)
    return State(state.step + 1, params, opt_state, baseline), {"loss": value, "return": score}


def evaluate(state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name=None):
    environment, key = environments.make(config.environment), jax.random.fold_in(key, state.step)
    returns, _ = environments.play(environment, partial(act, state.params, config=config), key, 16, axis_name)
    return {"return": returns.mean()}


def weights(state: State, config: Config) -> dict:
    return state.params


def act(params: dict, observations: Float[Array, "n s"], config: Config) -> Array:
    return logits(params, observations).argmax(axis=1)
