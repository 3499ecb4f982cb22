"""The scripts of a page in Node: CartPole against gymnax, the arithmetic of curves, the brush."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from elements import evaluate

from jaxgen.page import neighbors, poles


def test_the_pole_moves_as_in_gymnax():
    env, params = gymnax.make("CartPole-v1")
    rng = np.random.default_rng(0)
    states = (rng.uniform(-1, 1, (2_000, 4)) * [2.5, 4, 0.25, 4]).astype(np.float32)
    actions = rng.integers(0, 2, len(states))
    inner = jax.vmap(
        lambda s: env.reset_env(jax.random.key(0), params)[1].replace(x=s[0], x_dot=s[1], theta=s[2], theta_dot=s[3])
    )
    step = jax.vmap(lambda s, a: env.step_env(jax.random.key(0), s, a, params))
    with jax.numpy_dtype_promotion("standard"):
        wanted, after, _, _, _ = step(inner(jnp.asarray(states)), jnp.asarray(actions))
        over = jax.vmap(lambda s: env.is_terminated(s, params))(after)
    physics = poles.physics()["physics"]
    moved = "x.states.map((s, i) => cartStep(s, (2 * x.actions[i] - 1) * x.physics.force_mag, x.physics))"
    found = np.array(evaluate("cartpole.js", moved, states=states.tolist(), actions=actions.tolist(), physics=physics))
    np.testing.assert_allclose(found, np.asarray(wanted), atol=1e-5)
    ended = evaluate(
        "cartpole.js", "x.states.map((s) => cartFallen(s, x.physics))", states=found.tolist(), physics=physics
    )
    assert 0.05 < np.mean(ended) < 0.95
    np.testing.assert_array_equal(ended, np.asarray(over))


def test_an_episode_of_the_pole_as_in_gymnax():
    env, params = gymnax.make("CartPole-v1")
    _, inner = env.reset_env(jax.random.key(3), params)
    state = [float(one) for one in (inner.x, inner.x_dot, inner.theta, inner.theta_dot)]
    actions = [int(x) for x in np.random.default_rng(1).integers(0, 2, 40)]
    seen = []
    with jax.numpy_dtype_promotion("standard"):
        for action in actions:
            observation, inner, *_ = env.step_env(jax.random.key(0), inner, action, params)
            seen.append(np.asarray(observation))
    rolled = "x.actions.map((a) => (x.state = cartStep(x.state, (2 * a - 1) * x.physics.force_mag, x.physics)))"
    found = evaluate("cartpole.js", rolled, state=state, actions=actions, physics=poles.physics()["physics"])
    np.testing.assert_allclose(found, seen, atol=1e-4)


def test_states_of_the_phase_plane():
    state = [0.5, -1.0, 9.0, 9.0]
    rows = evaluate("cartpole.js", "Array.from(phaseStates(x.state, 3, 0.3, 6))", state=state)
    rows = np.array(rows).reshape(3, 3, 4)
    np.testing.assert_allclose(rows[..., 0], 0.5)
    np.testing.assert_allclose(rows[..., 1], -1.0)
    np.testing.assert_allclose(rows[1, :, 2], [-0.2, 0, 0.2], atol=1e-6)
    np.testing.assert_allclose(rows[:, 0, 3], [4, 0, -4], atol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.12, 0.31, [0.15, 0.2, 0.25, 0.3]), (-3, 4, [-2, 0, 2, 4]), (5, 5, [5])],
)
def test_round_ticks(low, high, wanted):
    assert evaluate("curves.js", "ticks(x.low, x.high, 5)", low=low, high=high) == wanted


def test_ticks_of_a_log_scale():
    assert evaluate("curves.js", "logTicks(0.9, 120)") == [1, 2, 5, 10, 20, 50, 100]
    assert evaluate("curves.js", "logTicks(1e-6, 1e3)") == [10.0**e for e in range(-6, 4)]


def test_smoothing_is_a_mean_that_keeps_gaps():
    values = [1.0, 2.0, None, 4.0, 9.0]
    assert evaluate("curves.js", "smoothed(x.values, 1)", values=values) == values
    found = evaluate("curves.js", "smoothed(x.values, 3)", values=values)
    assert found == [1.5, 1.5, None, 6.5, 6.5]


def test_scales():
    places = evaluate("curves.js", "[0, 5, 10].map(scale([0, 10], [100, 300], false))")
    assert places == [100, 200, 300]
    places = evaluate("curves.js", "[1, 10, 100].map(scale([1, 100], [200, 0], true))")
    assert places == pytest.approx([200, 100, 0])


def test_the_range_holds_values_and_bands():
    line = {"values": [1.0, None, 3.0], "errors": [None, None, 0.5]}
    low, high = evaluate("curves.js", "range([x], false)", **line)
    assert low == pytest.approx(1 - 0.04 * 2.98)
    assert high == pytest.approx(3.98 + 0.04 * 2.98)
    assert evaluate("curves.js", "range([{values: [-1, 0]}], true)") is None
    low, high = evaluate("curves.js", "range([{values: [-1, 2, 8]}], true)")
    assert (low, high) == (pytest.approx(2 / 1.05), pytest.approx(8 * 1.05))


def test_paths_break_at_gaps_and_bands_close():
    path = evaluate("curves.js", "pathOf([0, 1, 2, 3], [1, null, 2, 3], (v) => v, (v) => v, (v) => v !== null)")
    assert path == "M0.0 1.0M2.0 2.0L3.0 3.0"
    line = {"steps": [0, 1], "values": [1, 2], "errors": [0, 1]}
    band = evaluate("curves.js", "bandOf(x, (v) => v, (v) => v, -Infinity)", **line)
    assert band == "M0.0 1.0L1.0 4.0L1.0 0.0L0.0 1.0Z"


def test_the_nearest_step():
    assert evaluate("curves.js", "nearest([0, 10, 20], 14)") == 1
    assert evaluate("curves.js", "nearest([], 14)") == -1


def test_the_brush_paints_along_its_stroke():
    drawn = "(stroke(x.p, 8, 8, [1, 4], [7, 4], 1), x.p)"
    pixels = np.array(evaluate("images.js", drawn, p=[0.0] * 64)).reshape(8, 8)
    assert (pixels[3:5, 1:7] == 1).all()
    assert (pixels[[0, 1, 6, 7]] == 0).all()
    assert pixels.max() == 1


def test_a_drawing_is_moved_to_the_middle():
    pixels = np.zeros((9, 9))
    pixels[1:3, 0:2] = 1
    moved = np.array(evaluate("images.js", "centered(x.p, 9, 9)", p=pixels.ravel().tolist())).reshape(9, 9)
    assert moved.sum() == 4
    rows, columns = np.nonzero(moved)
    assert abs(rows.mean() - 4) <= 0.5
    assert abs(columns.mean() - 4) <= 0.5


def test_images_made_smaller_and_their_neighbors():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 6, 8, 3)).astype(np.uint8)
    small = neighbors.smaller(images, 2)
    wanted = images.reshape(9, 3, 2, 4, 2, 3).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(small / 255, wanted, atol=0.5 / 255 + 1e-6)
    pixels = (images[4] / 255).ravel().tolist()
    found = evaluate("neighbors.js", "Array.from(shrunk(x.pixels, [6, 8, 3], 2))", pixels=pixels)
    np.testing.assert_allclose(found, wanted[4].ravel(), atol=1e-6)
    every = (small / 255).reshape(-1).tolist()
    near = evaluate("neighbors.js", "nearestOf(x.found, x.every, 3)", found=found, every=every)
    distances = np.sqrt(((small / 255 - wanted[4]) ** 2).mean(axis=(1, 2, 3)))
    assert [i for i, _ in near] == np.argsort(distances)[:3].tolist()
    assert near[0][0] == 4
    np.testing.assert_allclose([one for _, one in near], np.sort(distances)[:3], atol=1e-6)


def test_how_much_smaller():
    sides = {(28, 28): 2, (80, 80): 5, (40, 40): 2, (8, 8): 1, (30, 45): 1, (12, 40): 1}
    assert {sizes: neighbors.factor(*sizes) for sizes in sides} == sides


def test_a_walk_keeps_to_the_sphere():
    rng = np.random.default_rng(0)
    first, last = rng.normal(size=(2, 10))
    last *= np.linalg.norm(first) / np.linalg.norm(last)
    path = "[0, 0.3, 0.5, 1].map((t) => onSphere(x.first, x.last, t))"
    points = np.array(evaluate("noise.js", path, first=first.tolist(), last=last.tolist()))
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), np.linalg.norm(first))
    np.testing.assert_allclose(points[[0, 3]], [first, last], atol=1e-12)
    turned = points[0] @ points[2] / np.linalg.norm(first) ** 2
    assert np.arccos(turned) == pytest.approx(np.arccos(first @ last / np.linalg.norm(first) ** 2) / 2)
