import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from jax import lax

from jaxgen.algorithms import dqn
from jaxgen.errors import SettingError
from jaxgen.rl import environments, replay

TINY = dqn.Config(
    environment="CartPole-v1",
    envs=4,
    collect=2,
    updates=2,
    batch_size=8,
    replay_size=64,
    learning_starts=32,
    widths=(8,),
    evaluation_episodes=4,
)
HP = jax.tree.map(jnp.float32, dqn.HParams(learning_rate=0.01, epsilon_steps=100.0))
KEY = jax.random.key(0)
EVERYTHING = dataclasses.replace(
    TINY,
    sampling="prioritized",
    n_step=3,
    dueling=True,
    target_every=3,
    schedule="linear",
    loss="squared",
    episodes=100,
)
ENOUGH = dataclasses.replace(HP, schedule_steps=jnp.float32(1_000), tau=jnp.float32(0.5))


init = jax.jit(dqn.init, static_argnames="config")
jitted_step = jax.jit(dqn.step, static_argnames="config")
slow = pytest.mark.slow


def fresh(config=TINY, hparams=HP, seed=0):
    return init(jax.random.key(seed), hparams, config=config)


def step(state, config=TINY, key=KEY, hparams=HP):
    return jitted_step(state, dqn.Batch(), key, hparams, config=config)


def run(state, key, hparams, config, steps):
    def body(t, state):
        return dqn.step(state, dqn.Batch(), jax.random.fold_in(key, t), hparams, config)[0]

    return lax.fori_loop(0, steps, body, state)


def learned_values(probe, n_step=1, **changes):
    """Q(time, sign) of a net trained on a probe, as a function."""
    config = dqn.Config(
        environment=probe.__name__,
        envs=4,
        batch_size=32,
        replay_size=128,
        learning_starts=64,
        widths=(16,),
        n_step=n_step,
        schedule="linear",
        target_every=5,
        **changes,
    )
    hparams = dqn.HParams(learning_rate=0.01, gamma=0.5, epsilon_start=1.0, epsilon_end=1.0, schedule_steps=700.0)
    dqn.validate(hparams, config)
    hparams = jax.tree.map(jnp.float32, hparams)

    @jax.jit
    def train(key):
        return run(dqn.init(key, hparams, config), key, hparams, config, 700).params

    params = train(KEY)
    return lambda time, sign: dqn.values(params, jnp.array([[time, sign]], jnp.float32), config)[0]


@slow
@pytest.mark.parametrize("double", [False, True])
def test_probe_reward_now(double):
    q = learned_values(probes.RewardNow, double=double)
    np.testing.assert_allclose([q(0, 1), q(0, -1)], 1, atol=0.05)


def test_probe_reward_of_the_observation():
    q = learned_values(probes.RewardOfObservation)
    np.testing.assert_allclose([q(0, 1)[0], q(0, -1)[0]], [1, -1], atol=0.05)


@pytest.mark.parametrize("n_step", [1, pytest.param(3, marks=slow)])
def test_probe_delayed_reward(n_step):
    q = learned_values(probes.RewardLater, n_step, sampling="prioritized")
    np.testing.assert_allclose([q(0, 1)[0], q(1, 1)[0]], [0.5, 1], atol=0.05)


def test_probe_action_matters():
    np.testing.assert_allclose(learned_values(probes.RewardOfAction, dueling=True)(0, 1), [-1, 1], atol=0.05)


def test_probe_action_and_observation_matter():
    q = learned_values(probes.RewardOfBoth)
    np.testing.assert_allclose([q(0, 1), q(0, -1)], [[-1, 1], [1, -1]], atol=0.1)


@pytest.mark.parametrize("n_step", [1, pytest.param(3, marks=slow)])
def test_probe_cut_is_bootstrapped_and_ended_is_not(n_step):
    """r / (1 - gamma) where episodes are only cut, r where they end."""
    np.testing.assert_allclose(learned_values(probes.Cut, n_step)(0, 0), 2, atol=0.1)
    np.testing.assert_allclose(learned_values(probes.Ended, n_step)(0, 0), 1, atol=0.05)


def table(params, observations, config):
    """A net that looks its values up: parameters (observations, actions)."""
    return params[observations[:, 0].astype(jnp.int32)]


def transitions():
    observations = jnp.array([[0.0], [1.0], [0.0]])
    following = jnp.array([[1.0], [2.0], [2.0]])
    return replay.Batch(
        observations, jnp.array([0, 1, 1]), jnp.array([1.0, 2.0, 3.0]), jnp.array([0.9, 0.9, 0.0]), following
    )


def test_targets_by_hand(monkeypatch):
    monkeypatch.setattr(dqn, "values", table)
    net = jnp.array([[1.0, 2.0], [5.0, 4.0], [0.0, 1.0]])
    target = jnp.array([[0.0, 0.0], [10.0, 20.0], [40.0, 30.0]])
    double = dqn.targets(net, target, transitions(), TINY)
    np.testing.assert_array_equal(double, [10, 30, 30])  # the net prefers actions 0, 1, 1
    single = dqn.targets(net, target, transitions(), dataclasses.replace(TINY, double=False))
    np.testing.assert_array_equal(single, [20, 40, 40])
    losses, errors = dqn.loss(net, double, transitions(), dataclasses.replace(TINY, loss="squared"))
    np.testing.assert_allclose(errors, [1 + 9 - 1, 2 + 27 - 4, 3 - 2], rtol=1e-6)
    np.testing.assert_allclose(losses, np.square(errors) / 2, rtol=1e-6)
    losses, _ = dqn.loss(net, double, transitions(), TINY)
    np.testing.assert_allclose(losses, [8.5, 24.5, 0.5], rtol=1e-6)


def test_no_gradient_reaches_the_target(monkeypatch):
    monkeypatch.setattr(dqn, "values", table)
    net = jnp.ones((3, 2))

    def total(following):
        return dqn.loss(net, following, transitions(), TINY)[0].sum()

    assert not np.any(jax.grad(total)(jnp.array([3.0, 4.0, 5.0])))
    of_net = jax.grad(lambda net: dqn.loss(net, jnp.ones(3), transitions(), TINY)[0].sum())(net)
    np.testing.assert_array_equal(of_net != 0, [[True, True], [False, True], [False, False]])


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_target_moves_when_it_is_due(rate):
    config = dataclasses.replace(TINY, updates=1, target_every=2)
    hparams = dataclasses.replace(HP, tau=jnp.float32(rate))
    first = fresh(config, hparams)
    one, _ = step(first, config, hparams=hparams)
    two, _ = step(one, config, hparams=hparams)
    jax.tree.map(np.testing.assert_array_equal, one.target, first.target)
    expected = jax.tree.map(lambda new, old: rate * new + (1 - rate) * old, two.params, first.target)
    chex.assert_trees_all_close(two.target, expected, rtol=1e-6)


def test_epsilon_falls_from_start_to_end():
    hparams = dataclasses.replace(HP, epsilon_start=0.8, epsilon_end=0.2, epsilon_steps=100.0)
    steps = jnp.array([0, 50, 100, 1_000])
    np.testing.assert_allclose(
        jax.vmap(lambda t: dqn.epsilon(t, hparams, TINY))(steps), [0.8, 0.5, 0.2, 0.2], rtol=1e-6
    )
    exponential = dataclasses.replace(TINY, epsilon_schedule="exponential")
    np.testing.assert_allclose(
        jax.vmap(lambda t: dqn.epsilon(t, hparams, exponential))(steps), [0.8, 0.4, 0.2, 0.2], rtol=1e-6
    )


def test_exploration_is_random_and_greed_is_not():
    for start, mean in ((0.0, None), (1.0, 0.5)):
        hparams = dataclasses.replace(HP, epsilon_start=start, epsilon_end=start)
        config = dataclasses.replace(TINY, learning_starts=2_000, replay_size=2_000)
        state = fresh(config, hparams)
        rows = state.replay.rows
        greedy = dqn.values(state.params, rows.observation.reshape(-1, 4), config).argmax(1)
        actions = rows.action.reshape(-1)
        if mean is None:
            np.testing.assert_array_equal(actions, greedy)
        else:
            assert np.mean(actions) == pytest.approx(mean, abs=0.05)
            assert np.mean(actions == greedy) == pytest.approx(0.5, abs=0.05)


def test_replay_holds_what_was_seen():
    """A row's last observation is the next row's first, but where an episode is over."""
    config = dataclasses.replace(TINY, learning_starts=400, replay_size=400)
    state = fresh(config)
    rows = jax.tree.map(np.asarray, state.replay.rows)
    assert int(state.replay.written) == 100
    over = rows.done[:-1]
    assert over.any()
    assert rows.terminated[:-1][over].all()
    same = (rows.next_observation[:-1] == rows.observation[1:]).all(-1)
    np.testing.assert_array_equal(same, ~over)
    assert (np.abs(rows.next_observation[rows.terminated]) > 0.2).any(-1).all()  # an angle of 0.21 or a place of 2.4
    np.testing.assert_array_equal(
        state.env_state.observation[~rows.done[-1]], rows.next_observation[-1][~rows.done[-1]]
    )
    assert int(state.episodes.finished) == rows.done.sum()


def test_scores_are_the_first_episodes_and_nothing_is_learned_after_them():
    config = dataclasses.replace(TINY, episodes=12, learning_starts=400, replay_size=1_000)
    state = fresh(config)
    assert int(state.episodes.finished) > 12
    done = np.asarray(state.replay.rows.done[:100])
    lengths, running = [], np.zeros(4)
    for row in done:
        running += 1
        lengths += list(running[row])
        running[row] = 0
    np.testing.assert_array_equal(state.episodes.scores, lengths[:12])
    later, metrics = step(state, config)
    assert metrics["loss"] > 0
    for name in ("params", "target", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(later, name), getattr(state, name))


def test_termination_reward_is_added_where_the_episode_ends_only():
    config = dataclasses.replace(TINY, learning_starts=400, replay_size=400)
    state = fresh(config, dataclasses.replace(HP, termination_reward=-11.0))
    rows = state.replay.rows
    np.testing.assert_array_equal(rows.reward, np.where(rows.terminated, -10, 1))
    assert state.episodes.last.min() >= 8  # scores are of the environment's own rewards


def test_the_ring_is_not_copied_in_the_loop():
    """Alone or vmapped: were it copied at each step, time would grow with its size."""
    config = dataclasses.replace(TINY, replay_size=40_000)
    for name, transform in (("alone", lambda f: f), ("vmapped", partial(jax.vmap, in_axes=(0, 0, None)))):
        members = () if name == "alone" else (3,)
        state = jax.eval_shape(partial(dqn.init, config=config), KEY, HP)
        state = jax.tree.map(lambda x, members=members: jax.ShapeDtypeStruct((*members, *x.shape), x.dtype), state)
        keys = jax.ShapeDtypeStruct(members, KEY.dtype)
        loop = jax.jit(transform(partial(run, config=config, steps=5)), donate_argnums=0).lower(state, keys, HP)
        sizes = loop.compile().memory_analysis()
        ring = 10_000 * 4 * (2 * 4 * 4 + 4 + 4 + 2) * (members[0] if members else 1)
        assert sizes.temp_size_in_bytes < ring / 2, name


def test_greedy_returns_are_of_whole_episodes():
    """A policy that always pushes to one side: the pole falls within some ten steps, and nothing counts after it."""
    environment = environments.make("CartPole-v1")
    returns, seen = jax.jit(
        lambda key: environments.play(environment, lambda x: jnp.zeros(len(x), jnp.int32), key, 16)
    )(KEY)
    assert returns.min() >= 7
    assert returns.max() <= 12
    assert seen.shape == (500, 16, 4)
    np.testing.assert_array_equal((seen != 0).any(-1).sum(0), returns)


def test_evaluations_at_two_steps_are_of_other_episodes():
    state = fresh()
    evaluate = jax.jit(partial(dqn.evaluate, config=dataclasses.replace(TINY, evaluation_episodes=50)))
    results = [evaluate(state._replace(step=jnp.int32(step)), dqn.Batch(), KEY, HP)["return"] for step in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


def test_images_go_through_the_convolution():
    config = dataclasses.replace(TINY, environment="Breakout-MinAtar", learning_starts=8, collect=1, channels=4)
    state = fresh(config)
    assert state.replay.rows.observation.shape == (16, 4, 10, 10, 4)
    assert state.params["Conv_0"]["kernel"].shape == (3, 3, 4, 4)
    later, metrics = step(state, config)
    assert np.isfinite(metrics["loss"])
    assert np.any(later.params["Conv_0"]["kernel"] != state.params["Conv_0"]["kernel"])


@slow
@pytest.mark.parametrize(
    "name", ["Acrobot-v1", "MountainCar-v0", "Catch-bsuite", "UmbrellaChain-bsuite", "FourRooms-misc"]
)
def test_other_environments(name):
    config = dataclasses.replace(TINY, environment=name)
    dqn.validate(dqn.HParams(), config)
    state, metrics = step(fresh(config), config)
    assert np.isfinite(metrics["loss"])
    assert int(state.step) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"replay_size": 4}, "config.replay_size = 4.*batch_size"),
        ({"replay_size": 66}, "config.replay_size = 66.*multiple of config.envs, 4"),
        ({"learning_starts": 33}, "config.learning_starts = 33.*multiple"),
        ({"batch_size": 64}, "config.learning_starts = 32.*at least 56"),
        ({"sampling": "priority"}, "config.sampling = 'priority'.*did you mean 'prioritized'"),
        ({"loss": "hubert"}, "config.loss = 'hubert'.*did you mean 'huber'"),
        ({"updates": 0}, "config.updates"),
        ({"n_step": 0}, "config.n_step"),
        ({"widths": ()}, "config.widths"),
        ({"episodes": -1}, "config.episodes"),
    ],
)
def test_wrong_config_is_refused(change, named):
    with pytest.raises(SettingError, match=named):
        dataclasses.replace(TINY, **change)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"epsilon_start": 1.5}, r"hparams.epsilon_start = 1.5 is not allowed: 0 to 1"),
        ({"epsilon_end": -0.1}, r"hparams.epsilon_end"),
        ({"gamma": 1.1}, "hparams.gamma"),
        ({"tau": 0.0}, "hparams.tau"),
        ({"epsilon_steps": 0.0}, "hparams.epsilon_steps"),
        ({"max_grad_norm": 0.0}, "hparams.max_grad_norm"),
        ({"termination_reward": float("nan")}, "hparams.termination_reward"),
        ({"learning_rate": -1.0}, "hparams.learning_rate"),
    ],
)
def test_wrong_hyperparameters_are_refused(change, named):
    with pytest.raises(SettingError, match=named):
        dqn.validate(dataclasses.replace(dqn.HParams(), **change), TINY)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("CartPole-v0", r"config.environment = 'CartPole-v0'.*did you mean 'CartPole-v1'"),
        ("Pendulum-v1", "config.environment = 'Pendulum-v1'.*discrete actions"),
        ("FrozenLake-misc", "config.environment = 'FrozenLake-misc'.*arrays"),
    ],
)
def test_wrong_environments_are_refused(name, named):
    with pytest.raises(SettingError, match=named):
        dqn.validate(dqn.HParams(), dataclasses.replace(TINY, environment=name))


def test_a_learning_start_beyond_the_budget_is_refused():
    dqn.TRAITS.complete(HP, TINY, 4)
    with pytest.raises(SettingError, match=r"config.learning_starts = 32 is not allowed: at most.*24"):
        dqn.TRAITS.complete(HP, TINY, 3)
