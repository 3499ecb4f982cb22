import jax.numpy as jnp
import numpy as np

from jaxgen import optim


def rates(schedule, steps, total):
    return np.array([float(optim.learning_rate(schedule, 0.01, jnp.int32(t), jnp.float32(total))) for t in steps])


def test_constant():
    np.testing.assert_allclose(rates("constant", [0, 5, 100], 10), 0.01)


def test_a_line_falls_to_zero_and_stays():
    np.testing.assert_allclose(rates("linear", [0, 5, 10, 20], 10), [0.01, 0.005, 0, 0], atol=1e-8)


def test_cosine_falls_to_zero_and_stays():
    np.testing.assert_allclose(rates("cosine", [0, 5, 10, 20], 10), [0.01, 0.005, 0, 0], atol=1e-8)


def test_stages_are_those_of_the_paper():
    """Over 3,280 epochs stage i lasts 3^i of them, at 10^(-i/7) times the first rate."""
    starts = [(3**i - 1) // 2 for i in range(8)]
    expected = [0.01 * 10 ** (-i / 7) for i in range(8)]
    np.testing.assert_allclose(rates("stages", starts, 3280), expected, rtol=1e-5)
    np.testing.assert_allclose(rates("stages", [start - 1 for start in starts[1:]], 3280), expected[:-1], rtol=1e-5)
    np.testing.assert_allclose(rates("stages", [3279, 5000], 3280), expected[-1], rtol=1e-5)
