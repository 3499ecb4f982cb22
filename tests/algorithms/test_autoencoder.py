import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import batching
from jaxgen.algorithms import autoencoder as ae
from jaxgen.errors import SettingError

DENSE = ae.Config(image_shape=(12, 12, 1), widths=(16, 8), batch_size=8)
CONV = ae.Config(image_shape=(12, 12, 1), net="conv", channels=(4, 3, 2), optimizer="rmsprop", batch_size=8)
HP = jax.tree.map(jnp.float32, ae.HParams(learning_rate=0.01))
KEY = jax.random.key(0)


def batch(n=8, seed=1):
    images = jax.random.randint(jax.random.key(seed), (n, 12, 12, 1), 0, 256).astype(jnp.uint8)
    return ae.Batch(images, jnp.zeros(n, jnp.int32))


def fresh(config, seed=0):
    return jax.jit(partial(ae.init, config=config))(jax.random.key(seed), HP)


both = pytest.mark.parametrize("config", [DENSE, CONV], ids=["dense", "conv"])


@both
def test_the_loss_falls(config):
    state, step = fresh(config), jax.jit(partial(ae.step, config=config))
    losses = []
    for _ in range(30):
        state, metrics = step(state, batch(), KEY, HP)
        losses.append(metrics["loss"])
    assert np.all(np.isfinite(losses))
    assert np.mean(losses[-5:]) < losses[0]
    assert int(state.step) == 30


@both
def test_examples_do_not_mix(config):
    params = fresh(config).params

    def outputs(scaled):
        codes = ae.encoder(config).apply({"params": params["encoder"]}, scaled)
        return ae.decoder(config).apply({"params": params["decoder"]}, codes).sum(axis=(1, 2, 3))

    grads = np.asarray(jax.jit(jax.jacrev(outputs))(ae.normalize(batch(3).images)))
    for i in range(3):
        assert np.any(grads[i, i] != 0)
        assert not np.any(np.delete(grads[i], i, axis=0))


def test_evaluate_is_the_mean_over_a_split_that_no_batch_divides(monkeypatch):
    monkeypatch.setattr(batching, "SIZE", 4)
    state, split = fresh(DENSE), batch(11)
    expected = ae.reconstruction_loss(state.params, split.images, DENSE)
    got = ae.evaluate(state, split, KEY, HP, DENSE)
    np.testing.assert_allclose(got["loss"], expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(got["loss_per_pixel"], expected.mean() / 144, rtol=1e-5)


def test_gaussian_likelihood_is_half_the_squared_error():
    config = dataclasses.replace(DENSE, likelihood="gaussian")
    params, images = fresh(config).params, batch().images
    outputs = ae.decoder(config).apply({"params": params["decoder"]}, ae.encode(params, images, None, config))
    squares = ((np.asarray(outputs) - np.asarray(images) / 255) ** 2).reshape(8, -1).sum(1)
    expected = squares / 2 + 72 * np.log(2 * np.pi)
    np.testing.assert_allclose(ae.reconstruction_loss(params, images, config), expected, rtol=1e-5)
    made = ae.reconstruct(params, images, KEY, config)
    assert 0 <= made.min() <= made.max() <= 1


def test_bfloat16_step_keeps_float32_state():
    config = dataclasses.replace(CONV, dtype="bfloat16")
    state, metrics = jax.jit(partial(ae.step, config=config))(fresh(config), batch(), KEY, HP)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    assert np.isfinite(metrics["loss"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"net": "dens"}, r"config.net = 'dens'.*did you mean 'dense'"),
        ({"code_size": 0}, "config.code_size"),
        ({"batch_size": 0}, "config.batch_size"),
        ({"widths": (10, 0)}, "config.widths"),
        ({"channels": (1, 2)}, "config.channels"),
        ({"optimizer": "adan"}, "config.optimizer"),
        ({"likelihood": "poisson"}, "config.likelihood"),
        ({"net": "conv", "image_shape": (80, 80, 3)}, "80x80"),
    ],
)
def test_wrong_config_is_refused(change, named):
    with pytest.raises(SettingError, match=named):
        ae.Config(**change)
