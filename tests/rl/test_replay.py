from functools import partial

import flashbax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxgen.rl import replay

ROWS, ENVS = 5, 3
GAMMA = 0.5


def row(t, terminated=False, cut=False):
    """A transition whose every field tells its time and environment: t + e / 10."""
    name = jnp.float32(t) + jnp.arange(ENVS) / 10
    flags = jnp.full(ENVS, terminated), jnp.full(ENVS, terminated or cut)
    return replay.Transition(
        jnp.stack([name, -name], 1),
        jnp.full(ENVS, t) * 10 + jnp.arange(ENVS),
        name * 2,
        jnp.stack([name, name], 1),
        *flags,
    )


def ring(*rows, prioritized=False):
    memory = replay.create(ROWS, ENVS, (2,), prioritized)
    for one in rows:
        memory = replay.add(memory, one)
    return memory


def words(n, seed=0):
    return jax.random.bits(jax.random.key(seed), (n,))


def tree_stack(*trees):
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


@pytest.mark.parametrize("count", [1, 3, 5, 6, 13])
def test_contents_are_those_of_flashbax(count):
    buffer = flashbax.make_trajectory_buffer(
        add_batch_size=ENVS,
        sample_batch_size=1,
        sample_sequence_length=1,
        period=1,
        min_length_time_axis=1,
        max_length_time_axis=ROWS,
    )
    theirs = buffer.init(jax.tree.map(lambda x: x[0], row(0)))
    for t in range(count):
        theirs = buffer.add(theirs, jax.tree.map(lambda x: x[:, None], row(t)))
    ours = ring(*map(row, range(count)))
    assert int(theirs.current_index) == count % ROWS
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.swapaxes(0, 1)), ours.rows, theirs.experience)
    assert int(ours.written) == count


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("count", [3, 13])
@pytest.mark.parametrize("prioritized", [False, True])
def test_samples_are_aligned_and_from_all_that_have_their_followers(prioritized, count, n_step):
    memory = ring(*map(row, range(count)), prioritized=prioritized)
    if prioritized:
        place, _ = replay.prioritized(memory, words(400), n_step, 0.6, 0.4)
    else:
        place = replay.uniform(memory, words(400), n_step)
    batch = replay.gather(memory, place, n_step, GAMMA)
    name = np.asarray(batch.observation[:, 0])
    times = np.floor(name + 1e-3)
    np.testing.assert_array_equal(batch.observation[:, 1], -name)
    np.testing.assert_allclose(batch.action, 10 * times + np.round(10 * (name - times)), atol=1e-4)
    np.testing.assert_allclose(batch.next_observation[:, 0], name + n_step - 1, rtol=1e-6)
    expected = sum(2 * (name + k) * GAMMA**k for k in range(n_step))
    np.testing.assert_allclose(batch.value, expected, rtol=1e-6)
    np.testing.assert_allclose(batch.discount, GAMMA**n_step)
    oldest = max(0, count - ROWS)
    assert set(times) == set(range(oldest, count - n_step + 1))
    counts = np.unique(np.round(name, 1), return_counts=True)[1]
    assert len(counts) == ENVS * (count - oldest - n_step + 1)
    assert counts.min() > 0.4 * counts.mean()


def test_uniform_reaches_the_first_and_the_last_word():
    memory = ring(*map(row, range(5)))
    place = replay.uniform(memory, jnp.array([0, 2**32 - 1], jnp.uint32), 1)
    np.testing.assert_array_equal(place.row, [0, 4])
    np.testing.assert_array_equal(place.environment, [0, ENVS - 1])


def test_n_step_returns_end_where_the_episode_does():
    """Rewards 2t: rows 0..4, terminated at 1, cut at 3."""
    memory = ring(row(0), row(1, terminated=True), row(2), row(3, cut=True), row(4))
    place = replay.Index(jnp.array([0, 1, 2, 3]), jnp.zeros(4, jnp.int32))
    batch = replay.gather(memory, place, 2, GAMMA)
    np.testing.assert_allclose(batch.value, [0 + 0.5 * 2, 2, 4 + 0.5 * 6, 6])
    np.testing.assert_allclose(batch.discount, [0, 0, 0.25, 0.5])
    np.testing.assert_allclose(batch.next_observation[:, 0], [1, 1, 3, 3])
    batch = replay.gather(memory, replay.Index(jnp.array([2]), jnp.zeros(1, jnp.int32)), 3, GAMMA)
    np.testing.assert_allclose([batch.value[0], batch.discount[0]], [7, 0.25])  # not over the cut into the next episode


def test_priorities_draw_in_proportion_and_weights_make_up_for_it():
    memory = ring(*map(row, range(4)), prioritized=True)
    everywhere = replay.Index(jnp.repeat(jnp.arange(4), ENVS), jnp.tile(jnp.arange(ENVS), 4))
    priorities = jnp.arange(1.0, 13.0)
    memory = replay.update_priorities(memory, everywhere, priorities)
    place, weights = jax.jit(replay.prioritized, static_argnums=2)(memory, words(40_000), 1, 0.5, 0.7)
    flat = np.asarray(place.row * ENVS + place.environment)
    chances = np.sqrt(priorities) / np.sqrt(priorities).sum()
    np.testing.assert_allclose(np.bincount(flat, minlength=12) / 40_000, chances, atol=1e-3)  # stratified
    expected = (12 * chances[flat]) ** -0.7
    np.testing.assert_allclose(weights, expected / expected.max(), rtol=1e-5)
    uniform, ones = replay.prioritized(memory, words(1_200), 1, 0.0, 1.0)
    assert (np.bincount(np.asarray(uniform.row * ENVS + uniform.environment)) == 100).all()
    np.testing.assert_allclose(ones, 1)


def test_new_rows_have_the_largest_priority():
    memory = ring(row(0), row(1), prioritized=True)
    np.testing.assert_array_equal(memory.priorities[:3], [[1] * ENVS, [1] * ENVS, [0] * ENVS])
    memory = replay.update_priorities(memory, replay.Index(jnp.array([0]), jnp.array([2])), jnp.array([7.0]))
    memory = replay.add(memory, row(2))
    np.testing.assert_array_equal(memory.priorities[:3], [[1, 1, 7], [1] * ENVS, [7] * ENVS])


def test_a_place_without_priority_is_never_drawn():
    """Over several blocks, most of whose transitions have none."""
    memory = replay.create(400, 2, (), True)
    memory = memory._replace(
        written=jnp.int32(400), priorities=jnp.zeros((400, 2)).at[jnp.array([3, 399]), jnp.array([1, 0])].set(2.0)
    )
    place, _ = replay.prioritized(memory, words(1_000), 1, 1.0, 1.0)
    assert set(zip(place.row.tolist(), place.environment.tolist(), strict=True)) == {(3, 1), (399, 0)}


def test_inserting_in_a_loop_and_vmapped_is_the_same():
    def fill(offset):
        def body(t, memory):
            return replay.add(memory, row(t + offset))

        return lax.fori_loop(0, 7, body, replay.create(ROWS, ENVS, (2,), True))

    together = jax.jit(jax.vmap(fill))(jnp.array([0, 100]))
    alone = tree_stack(*(jax.jit(partial(fill))(offset) for offset in (0, 100)))
    jax.tree.map(np.testing.assert_array_equal, together, alone)
    np.testing.assert_array_equal(together.rows.action[1, :, 0], [1050, 1060, 1020, 1030, 1040])
