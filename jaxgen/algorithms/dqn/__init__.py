"""Deep Q-network: fit Q(s, a) to r + gamma max_a' Q(s', a') on replayed transitions, and act on it.

Mnih et al., Human-level control through deep reinforcement learning, Nature 518, 2015; double: van Hasselt et al.,
AAAI 2016. One step plays `collect` steps of `envs` environments, then makes `updates` updates; environments, replay
and all counters are in the state, so several members (seeds, hyperparameters) are one `vmap`. An episode truncated at
its time limit has not terminated: its last value is bootstrapped.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxgen import collectives, optim
from jaxgen.algorithms.dqn.config import Config as Config
from jaxgen.algorithms.dqn.config import HParams as HParams
from jaxgen.algorithms.dqn.config import complete, divided
from jaxgen.algorithms.dqn.config import validate as validate
from jaxgen.contract import Metrics, Objective, Traits, Tree
from jaxgen.contract import NoBatch as Batch
from jaxgen.losses import temporal_difference
from jaxgen.nets.q import QNet
from jaxgen.rl import environments, replay

Params = Tree
PRIORITY_FLOOR = 1e-3
"""Added to each absolute error, so that no priority is 0."""
_COLLECT_WORDS = 4
"""Random words per environment step: the random action, whether to take it, and two for the environment's key."""


class Episodes(NamedTuple):
    """Training episodes, including exploration."""

    running: Float[Array, " e"]
    """Return so far of each environment's current episode."""
    last: Float[Array, " e"]
    """Return of each environment's last finished episode; 0 before the first."""
    finished: Int[Array, ""]
    scores: Float[Array, " episodes"] | None
    """Returns of the first `config.episodes` episodes, in the order they ended; None without a limit."""


class State(NamedTuple):
    """Training state; every leaf is an array."""

    step: Int[Array, ""]
    params: Params
    target: Params
    """Target network parameters."""
    opt_state: optax.OptState
    replay: replay.Replay
    env_state: environments.EnvState
    episodes: Episodes


TRAITS = Traits(
    objective=Objective("test/return", maximize=True),
    progress=("loss", "episode_return"),
    complete=complete,
    steps_per_epoch=lambda config: config.steps_per_epoch,
    divided=divided,
    divided_axes=State(-1, -1, -1, -1, replay.Replay(1, -1, -1), 0, -1),  # type: ignore[arg-type]
    single_thread=True,
    packages=("gymnax", "rlax"),
)


def net(config: Config) -> QNet:
    """Flax Q-network: observations (B, ...) to values (B, actions)."""
    environment = environments.make(config.environment)
    channels = config.channels if len(environment.observation_shape) == 3 else 0
    return QNet(environment.actions, config.widths, channels, config.dueling, config.activation)


def values(params: Params, observations: Float[Array, " b *shape"], config: Config) -> Float[Array, "b actions"]:
    """Q(observation, .)."""
    q_values: Any = net(config).apply({"params": params}, observations)
    return q_values


def _optimizer(hparams: HParams, config: Config, updates: Int[Array, ""] | int) -> optax.GradientTransformation:
    """Optimizer on one flat parameter vector: a few operations per update, not a few per layer."""
    own = optim.scheduled(hparams, config.schedule, updates, hparams.schedule_steps)
    chain = [optax.clip_by_global_norm(hparams.max_grad_norm)] if config.clip_gradients else []
    return optax.flatten(optax.chain(*chain, optim.optimizer(config.optimizer, own)))


def init(key: Array, hparams: HParams, config: Config) -> State:
    """Fresh parameters, and a replay buffer holding the first `learning_starts` environment steps."""
    net_key, env_key, collect_key = jax.random.split(key, 3)
    environment = environments.make(config.environment)
    params = net(config).init(net_key, jnp.zeros((1, *environment.observation_shape)))["params"]
    zeros = jnp.zeros(config.envs)
    state = State(
        jnp.zeros((), jnp.int32),
        params,
        jax.tree.map(jnp.copy, params),
        _optimizer(hparams, config, 0).init(params),
        replay.create(
            config.replay_size // config.envs,
            config.envs,
            environment.observation_shape,
            config.sampling == "prioritized",
        ),
        environments.reset(environment, jax.random.split(env_key, config.envs)),
        Episodes(zeros, zeros, jnp.zeros((), jnp.int32), jnp.zeros(config.episodes) if config.episodes else None),
    )

    def collect(t: Array, state: State) -> State:
        draws = jax.random.bits(jax.random.fold_in(collect_key, t), (config.envs, _COLLECT_WORDS))
        return _collect(state, draws, collect_key, hparams, config)

    return lax.fori_loop(0, config.learning_starts // config.envs, collect, state)


def epsilon(transitions: Int[Array, ""], hparams: HParams, config: Config) -> Float[Array, ""]:
    """Exploration rate after `transitions` environment steps."""
    done = jnp.minimum(jnp.float32(transitions) / hparams.epsilon_steps, 1.0)
    if config.epsilon_schedule == "linear":
        return hparams.epsilon_start + (hparams.epsilon_end - hparams.epsilon_start) * done
    return hparams.epsilon_start * (hparams.epsilon_end / hparams.epsilon_start) ** done


def _collect(
    state: State,
    draws: UInt32[Array, "e words"],
    key: Array,
    hparams: HParams,
    config: Config,
    axis_name: str | None = None,
) -> State:
    """One epsilon-greedy step of every environment; `key` only sets the type of the environments' keys."""
    environment = environments.make(config.environment)
    seen = state.env_state.observation
    random_actions = (replay.unit(draws[:, 0]) * environment.actions).astype(jnp.int32)
    explore = replay.unit(draws[:, 1]) < epsilon(state.replay.written * config.envs, hparams, config)
    actions = jnp.where(explore, random_actions, values(state.params, seen, config).argmax(axis=1))
    keys = jax.random.wrap_key_data(draws[:, 2:], impl=jax.random.key_impl(key))
    env_state, result = environments.step(environment, keys, state.env_state, actions)
    reward = result.reward + jnp.where(result.terminated, hparams.termination_reward, 0)
    row = replay.Transition(seen, actions, reward, result.observation, result.terminated, result.done)
    episodes = _count(state.episodes, *collectives.all_gather((result.reward, result.done), axis_name))
    return state._replace(replay=replay.add(state.replay, row), env_state=env_state, episodes=episodes)


def _count(episodes: Episodes, reward: Float[Array, " e"], done: Bool[Array, " e"]) -> Episodes:
    running = episodes.running + reward
    scores = episodes.scores
    if scores is not None:
        place = jnp.where(done, episodes.finished + jnp.cumsum(done) - 1, scores.size)
        scores = scores.at[place].set(running, mode="drop")
    last = jnp.where(done, running, episodes.last)
    return Episodes(jnp.where(done, 0, running), last, episodes.finished + done.sum(dtype=jnp.int32), scores)


def targets(params: Params, target: Params, batch: replay.Batch, config: Config) -> Float[Array, " b"]:
    """Bootstrap value of each transition, from the target network."""
    by_target = values(target, batch.next_observation, config)
    return temporal_difference.bootstrap_value(
        by_target, values(params, batch.next_observation, config) if config.double else None
    )


def loss(
    params: Params, following: Float[Array, " b"], batch: replay.Batch, config: Config
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Loss and TD error of each transition; the error is value + discount following - Q(observation, action)."""
    now = temporal_difference.take_action(values(params, batch.observation, config), batch.action)
    errors = temporal_difference.td_errors(now, batch.value, batch.discount, following)
    return temporal_difference.loss(config.loss, errors), errors


def _update(
    state: State,
    draws: UInt32[Array, " b"],
    number: Int[Array, ""],
    hparams: HParams,
    config: Config,
    axis_name: str | None,
) -> tuple[State, Metrics]:
    """One gradient step on the mean loss of a replay batch; `number` counts updates from 0."""
    place, weights = _sample(state.replay, draws, hparams, config, axis_name)
    batch, weights = (
        replay.gather(state.replay, place, config.n_step, hparams.gamma, axis_name),
        collectives.local_shard(weights, axis_name),
    )
    following = targets(state.params, state.target, batch, config)

    def mean_loss(params: Params) -> tuple[Float[Array, ""], Float[Array, " b"]]:
        losses, errors = loss(params, following, batch, config)
        return (weights * losses).mean(), errors

    (mean, errors), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    metrics = {"loss": mean, "target": (batch.value + batch.discount * following).mean()}
    grads, metrics = collectives.mean((grads, metrics), axis_name)
    params, opt_state = optim.descend(_optimizer(hparams, config, number), state.params, state.opt_state, grads)
    rate = jnp.where((number + 1) % config.target_every == 0, hparams.tau, 0.0)
    target = optax.incremental_update(params, state.target, rate)
    memory = state.replay
    if config.sampling == "prioritized":
        priorities = collectives.all_gather(jnp.abs(errors), axis_name) + PRIORITY_FLOOR
        memory = replay.update_priorities(memory, place, priorities)
    learned = state._replace(params=params, target=target, opt_state=opt_state, replay=memory)
    return _unless_over(state, learned, config), metrics


def _sample(
    memory: replay.Replay, draws: UInt32[Array, " b"], hparams: HParams, config: Config, axis_name: str | None
) -> tuple[replay.Index, Float[Array, " b"]]:
    if config.sampling == "uniform":
        return replay.uniform(memory, draws, config.n_step, axis_name), jnp.ones(draws.shape)
    return replay.prioritized(memory, draws, config.n_step, hparams.priority_exponent, hparams.importance_exponent)


def _unless_over(before: State, learned: State, config: Config) -> State:
    """Discard the update once `config.episodes` episodes have finished (0: never)."""
    if not config.episodes:
        return learned
    over = before.episodes.finished >= config.episodes
    kept = {name: getattr(before, name) for name in ("params", "target", "opt_state")}
    now = {name: getattr(learned, name) for name in kept}
    return learned._replace(**jax.tree.map(lambda old, new: jnp.where(over, old, new), kept, now))


def step(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> tuple[State, Metrics]:
    """Play `config.collect` steps, then make `config.updates` updates; `batch` is empty.

    With `axis_name` each device plays and stores its share of the environments (the rest of the state is replicated)
    and learns from its share of a batch drawn from all devices' replay buffers.
    """
    played, learned = config.collect * config.envs * _COLLECT_WORDS, config.updates * config.batch_size
    draws = jax.random.bits(key, (played + learned,))  # one draw per step: a call costs more than its words
    collect_draws = collectives.local_shard(
        draws[:played].reshape(config.collect, config.envs, _COLLECT_WORDS), axis_name, axis=1
    )
    update_draws = draws[played:].reshape(config.updates, config.batch_size)

    def collect(state: State, draws: Array) -> tuple[State, None]:
        return _collect(state, draws, key, hparams, config, axis_name), None

    def update(state: State, inputs: tuple[Array, Array]) -> tuple[State, Metrics]:
        return _update(state, *inputs, hparams, config, axis_name)

    state, _ = lax.scan(collect, state, collect_draws)
    state = state._replace(replay=lax.optimization_barrier(state.replay))  # otherwise XLA copies the ring to read it
    numbers = state.step * config.updates + jnp.arange(config.updates)
    state, metrics = lax.scan(update, state, (update_draws, numbers))
    metrics = jax.tree.map(jnp.mean, metrics) | {"episode_return": state.episodes.last.mean()}
    return state._replace(step=state.step + 1), metrics


def weights(state: State, config: Config) -> Params:
    """Parameters of the online net."""
    return state.params


def act(params: Params, observations: Float[Array, " n *shape"], config: Config) -> Int[Array, " n"]:
    """argmax_a Q(observation, a), the greedy actions."""
    return values(params, observations, config).argmax(axis=1)


def evaluate(
    state: State, batch: Batch, key: Array, hparams: HParams, config: Config, *, axis_name: str | None = None
) -> Metrics:
    """Returns of the greedy policy on unmodified rewards, over fresh episodes at every training step."""
    key = jax.random.fold_in(key, state.step)
    returns, _ = greedy_returns(state.params, key, config, config.evaluation_episodes, axis_name)
    return {"return": returns.mean(), "return_worst": returns.min()}


def greedy_returns(
    params: Params, key: Array, config: Config, episodes: int, axis_name: str | None = None
) -> tuple[Float[Array, " n"], Float[Array, "t n *shape"]]:
    """Returns of fresh episodes played by argmax_a Q(observation, a), and their observations (zeros after the end)."""

    policy = partial(act, params, config=config)
    return environments.play(environments.make(config.environment), policy, key, episodes, axis_name)
