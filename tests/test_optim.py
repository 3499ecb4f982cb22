import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import optim
from jaxgen.errors import SettingError

GRADIENTS = (np.array([0.5, -2.0]), np.array([0.1, 1.0]), np.array([-0.3, 0.2]))


def trajectory(family, hparams):
    def run(hparams):
        params = jnp.array([1.0, -1.0])
        state = optim.optimizer(family, hparams).init(params)
        for gradient in GRADIENTS:
            updates, state = optim.optimizer(family, hparams).update(jnp.asarray(gradient, jnp.float32), state, params)
            params = optax.apply_updates(params, updates)
        return params

    return jax.jit(run)(jax.tree.map(jnp.float32, hparams))


def test_rmsprop_is_that_of_keras():
    x, mean_square = np.array([1.0, -1.0]), np.zeros(2)
    for g in GRADIENTS:
        mean_square = 0.9 * mean_square + 0.1 * g**2
        x = x - 0.01 * g / (np.sqrt(mean_square) + 1e-7)
    np.testing.assert_allclose(trajectory("rmsprop", optim.HParams(learning_rate=0.01)), x, rtol=1e-5)


def test_adamax_matches_kingma_and_ba():
    x, m, u = np.array([1.0, -1.0]), np.zeros(2), np.zeros(2)
    for t, g in enumerate(GRADIENTS, start=1):
        m = 0.9 * m + 0.1 * g
        u = np.maximum(0.999 * u, np.abs(g))
        x = x - 0.01 / (1 - 0.9**t) * m / u
    np.testing.assert_allclose(trajectory("adamax", optim.HParams(learning_rate=0.01)), x, rtol=1e-5)


@pytest.mark.parametrize("family", ["adam", "adamw", "sgd", "adamax", "rmsprop"])
def test_learning_rates_vmap(family):
    rates = jnp.array([0.1, 0.01])
    stacked = jax.tree.map(lambda x: jnp.full(2, x, jnp.float32), optim.HParams())
    stacked = optim.HParams(**{**vars(stacked), "learning_rate": rates})
    together = jax.vmap(lambda hparams: trajectory(family, hparams))(stacked)
    alone = [trajectory(family, optim.HParams(learning_rate=float(rate))) for rate in rates]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert not np.allclose(together[0], together[1])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 0.0}, "hparams.learning_rate"),
        ({"learning_rate": float("nan")}, "hparams.learning_rate"),
        ({"b1": 1.0}, "hparams.b1"),
        ({"decay": -0.1}, "hparams.decay"),
        ({"eps": 0.0}, "hparams.eps"),
        ({"weight_decay": -1.0}, "hparams.weight_decay"),
    ],
)
def test_numbers_out_of_range_are_refused(change, named):
    with pytest.raises(SettingError, match=named):
        optim.validate(optim.HParams(**change))
