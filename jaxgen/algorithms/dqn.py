"""Deep Q-network: make Q(s, a) equal r + gamma max_a' Q(s', a') on remembered transitions, and act by it.

Mnih et al., Human-level control through deep reinforcement learning, Nature 518, 2015; double: van Hasselt et al.,
AAAI 2016. One step plays `collect` steps of `envs` environments, then makes `updates` updates; environments, replay
and all counters are in the state, so many members (seeds, hyperparameters) are one `vmap`. An episode that is cut at
its time limit has not terminated: its last value is bootstrapped.
"""

from dataclasses import replace as changed
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxgen import environments, replay, shares, value_losses
from jaxgen.algorithms import optimizers, schedules
from jaxgen.algorithms.dqn_settings import Config as Config
from jaxgen.algorithms.dqn_settings import HParams as HParams
from jaxgen.algorithms.dqn_settings import check_budget as check_budget
from jaxgen.algorithms.dqn_settings import validate as validate
from jaxgen.nets.q import QNet

Params = Any
Metrics = dict[str, Float[Array, ""]]
PRIORITY_FLOOR = 1e-3
"""Added to an error to make a priority: none is ever 0."""
_COLLECT_WORDS = 4
"""Random words of an environment's step: what to do, whether to do it, and the two words of its key."""


class Episodes(NamedTuple):
    """The episodes of training, explorations and all."""

    running: Float[Array, " e"]
    """Sum of rewards of each environment's episode so far."""
    last: Float[Array, " e"]
    """That of the last one that ended; 0 before."""
    finished: Int[Array, ""]
    scores: Float[Array, " episodes"] | None
    """That of the first `config.episodes`, in the order in which they ended; None where there is no end."""


class State(NamedTuple):
    """All that training carries; every leaf an array."""

    step: Int[Array, ""]
    params: Params
    target: Params
    """The older copy of the parameters that values what follows."""
    opt_state: optax.OptState
    replay: replay.Replay
    situation: environments.Situation
    episodes: Episodes


SHARED_AXES = State(-1, -1, -1, -1, replay.Replay(1, -1, -1), 0, -1)  # type: ignore[arg-type]
"""The axis of environments where devices share these out, -1 for what all of them hold."""


class Batch(NamedTuple):
    """A DQN makes its own data."""


def net(cfg: Config) -> QNet:
    """The flax module, observations (B, ...) to values (B, actions)."""
    environment = environments.make(cfg.environment)
    channels = cfg.channels if len(environment.observation_shape) == 3 else 0
    return QNet(environment.actions, cfg.widths, channels, cfg.dueling, cfg.activation)


def values(params: Params, observations: Float[Array, " b *shape"], cfg: Config) -> Float[Array, "b actions"]:
    """Q(observation, .)."""
    q_values: Any = net(cfg).apply({"params": params}, observations)
    return q_values


def _optimizer(hp: HParams, cfg: Config, updates: Int[Array, ""] | int) -> optax.GradientTransformation:
    """One vector holds all parameters: an update is a few operations, not a few for every layer."""
    rate = schedules.learning_rate(cfg.schedule, hp.learning_rate, updates, hp.schedule_steps)
    chain = [optax.clip_by_global_norm(hp.max_grad_norm)] if cfg.clip_gradients else []
    scheduled = optimizers.optimizer(cfg.optimizer, changed(hp, learning_rate=rate))
    return optax.flatten(optax.chain(*chain, scheduled))


def init(key: Array, hp: HParams, cfg: Config) -> State:
    """Fresh parameters, and a replay that holds the first `learning_starts` environment steps."""
    net_key, env_key, collect_key = jax.random.split(key, 3)
    environment = environments.make(cfg.environment)
    params = net(cfg).init(net_key, jnp.zeros((1, *environment.observation_shape)))["params"]
    zeros = jnp.zeros(cfg.envs)
    state = State(
        jnp.zeros((), jnp.int32),
        params,
        jax.tree.map(jnp.copy, params),
        _optimizer(hp, cfg, 0).init(params),
        replay.create(
            cfg.replay_size // cfg.envs, cfg.envs, environment.observation_shape, cfg.sampling == "prioritised"
        ),
        environments.reset(environment, jax.random.split(env_key, cfg.envs)),
        Episodes(zeros, zeros, jnp.zeros((), jnp.int32), jnp.zeros(cfg.episodes) if cfg.episodes else None),
    )

    def collect(t: Array, state: State) -> State:
        draws = jax.random.bits(jax.random.fold_in(collect_key, t), (cfg.envs, _COLLECT_WORDS))
        return _collect(state, draws, collect_key, hp, cfg)

    return lax.fori_loop(0, cfg.learning_starts // cfg.envs, collect, state)


def epsilon(transitions: Int[Array, ""], hp: HParams, cfg: Config) -> Float[Array, ""]:
    """Share of random actions after so many environment steps."""
    done = jnp.minimum(jnp.float32(transitions) / hp.epsilon_steps, 1.0)
    if cfg.epsilon_schedule == "linear":
        return hp.epsilon_start + (hp.epsilon_end - hp.epsilon_start) * done
    return hp.epsilon_start * (hp.epsilon_end / hp.epsilon_start) ** done


def _collect(
    state: State, draws: UInt32[Array, "e words"], key: Array, hp: HParams, cfg: Config, axis_name: str | None = None
) -> State:
    """One step of every environment, epsilon-greedy; `key` only says of which kind the environments' keys are."""
    environment = environments.make(cfg.environment)
    seen = state.situation.observation
    random_actions = (replay.unit(draws[:, 0]) * environment.actions).astype(jnp.int32)
    explore = replay.unit(draws[:, 1]) < epsilon(state.replay.written * cfg.envs, hp, cfg)
    actions = jnp.where(explore, random_actions, values(state.params, seen, cfg).argmax(axis=1))
    keys = jax.random.wrap_key_data(draws[:, 2:], impl=jax.random.key_impl(key))
    situation, outcome = environments.step(environment, keys, state.situation, actions)
    reward = outcome.reward + jnp.where(outcome.terminated, hp.termination_reward, 0)
    row = replay.Transition(seen, actions, reward, outcome.observation, outcome.terminated, outcome.done)
    episodes = _count(state.episodes, *shares.everyones((outcome.reward, outcome.done), axis_name))
    return state._replace(replay=replay.insert(state.replay, row), situation=situation, episodes=episodes)


def _count(episodes: Episodes, reward: Float[Array, " e"], done: Bool[Array, " e"]) -> Episodes:
    running = episodes.running + reward
    scores = episodes.scores
    if scores is not None:
        place = jnp.where(done, episodes.finished + jnp.cumsum(done) - 1, scores.size)
        scores = scores.at[place].set(running, mode="drop")
    last = jnp.where(done, running, episodes.last)
    return Episodes(jnp.where(done, 0, running), last, episodes.finished + done.sum(dtype=jnp.int32), scores)


def targets(params: Params, target: Params, batch: replay.Batch, cfg: Config) -> Float[Array, " b"]:
    """The worth of what follows each transition, by the target."""
    by_target = values(target, batch.next_observation, cfg)
    return value_losses.following(by_target, values(params, batch.next_observation, cfg) if cfg.double else None)


def loss(
    params: Params, following: Float[Array, " b"], batch: replay.Batch, cfg: Config
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Loss of each transition and its error, value + discount following - Q(observation, action)."""
    now = value_losses.chosen(values(params, batch.observation, cfg), batch.action)
    errors = value_losses.td_errors(now, batch.value, batch.discount, following)
    return value_losses.loss(cfg.loss, errors), errors


def _update(
    state: State, draws: UInt32[Array, " b"], number: Int[Array, ""], hp: HParams, cfg: Config, axis_name: str | None
) -> tuple[State, Metrics]:
    """One descent step on the mean loss of a batch from the replay; `number` counts updates from 0."""
    place, weights = _sample(state.replay, draws, hp, cfg, axis_name)
    batch, weights = replay.gather(state.replay, place, cfg.n_step, hp.gamma, axis_name), shares.own(weights, axis_name)
    following = targets(state.params, state.target, batch, cfg)

    def mean_loss(params: Params) -> tuple[Float[Array, ""], Float[Array, " b"]]:
        losses, errors = loss(params, following, batch, cfg)
        return (weights * losses).mean(), errors

    (mean, errors), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    metrics = {"loss": mean, "target": (batch.value + batch.discount * following).mean()}
    if axis_name is not None:
        grads, metrics = lax.pmean((grads, metrics), axis_name)
    updates, opt_state = _optimizer(hp, cfg, number).update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    rate = jnp.where((number + 1) % cfg.target_every == 0, hp.target_rate, 0.0)
    target = optax.incremental_update(params, state.target, rate)
    memory = state.replay
    if cfg.sampling == "prioritised":
        priorities = shares.everyones(jnp.abs(errors), axis_name) + PRIORITY_FLOOR
        memory = replay.reprioritise(memory, place, priorities)
    learnt = state._replace(params=params, target=target, opt_state=opt_state, replay=memory)
    return _unless_over(state, learnt, cfg), metrics


def _sample(
    memory: replay.Replay, draws: UInt32[Array, " b"], hp: HParams, cfg: Config, axis_name: str | None
) -> tuple[replay.Place, Float[Array, " b"]]:
    if cfg.sampling == "uniform":
        return replay.uniform(memory, draws, cfg.n_step, axis_name), jnp.ones(draws.shape)
    return replay.prioritised(memory, draws, cfg.n_step, hp.priority_exponent, hp.importance_exponent)


def _unless_over(before: State, learnt: State, cfg: Config) -> State:
    """With `config.episodes`, what was learnt counts only while so many have not been played."""
    if not cfg.episodes:
        return learnt
    over = before.episodes.finished >= cfg.episodes
    kept = {name: getattr(before, name) for name in ("params", "target", "opt_state")}
    now = {name: getattr(learnt, name) for name in kept}
    return learnt._replace(**jax.tree.map(lambda old, new: jnp.where(over, old, new), kept, now))


def step(
    state: State, batch: Batch, key: Array, hp: HParams, cfg: Config, *, axis_name: str | None = None
) -> tuple[State, Metrics]:
    """Plays `config.collect` steps, then makes `config.updates` updates; `batch` is empty.

    With `axis_name` every device plays its share of the environments and remembers it (the state's other parts are the
    same on all), and learns from its share of a batch that is drawn from what all of them remember.
    """
    played, learnt = cfg.collect * cfg.envs * _COLLECT_WORDS, cfg.updates * cfg.batch_size
    draws = jax.random.bits(key, (played + learnt,))  # all of a step at once: every call costs more than its words
    collect_draws = shares.own(draws[:played].reshape(cfg.collect, cfg.envs, _COLLECT_WORDS), axis_name, axis=1)
    update_draws = draws[played:].reshape(cfg.updates, cfg.batch_size)

    def collect(state: State, draws: Array) -> tuple[State, None]:
        return _collect(state, draws, key, hp, cfg, axis_name), None

    def update(state: State, inputs: tuple[Array, Array]) -> tuple[State, Metrics]:
        return _update(state, *inputs, hp, cfg, axis_name)

    state, _ = lax.scan(collect, state, collect_draws)
    state = state._replace(replay=lax.optimization_barrier(state.replay))  # else XLA copies the ring to read it
    numbers = state.step * cfg.updates + jnp.arange(cfg.updates)
    state, metrics = lax.scan(update, state, (update_draws, numbers))
    metrics = jax.tree.map(jnp.mean, metrics) | {"episode_return": state.episodes.last.mean()}
    return state._replace(step=state.step + 1), metrics


OBJECTIVE = ("test/return", True)
"""What sweeps and searches compare runs by, and whether more of it is better."""


def evaluate(
    state: State, batch: Batch, key: Array, hp: HParams, cfg: Config, *, axis_name: str | None = None
) -> Metrics:
    """Returns of the greedy policy, rewards as the environment gives them, over episodes fresh at every step."""
    key = jax.random.fold_in(key, state.step)
    returns, _ = greedy_returns(state.params, key, cfg, cfg.evaluation_episodes, axis_name)
    return {"return": returns.mean(), "return_worst": returns.min()}


def greedy_returns(
    params: Params, key: Array, cfg: Config, episodes: int, axis_name: str | None = None
) -> tuple[Float[Array, " n"], Float[Array, "t n *shape"]]:
    """Returns of fresh episodes played by argmax_a Q(observation, a), and what was seen in them (zeros once over)."""

    def policy(observations: Float[Array, " n *shape"]) -> Int[Array, " n"]:
        return values(params, observations, cfg).argmax(axis=1)

    return environments.play(environments.make(cfg.environment), policy, key, episodes, axis_name)
