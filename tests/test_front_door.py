"""A training run as a pure function: jitted, vmapped, differentiated, and the same numbers from every door."""

import threading
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.algorithms import autoencoder, vae
from jaxgen.errors import SettingError


@pytest.fixture(scope="module")
def toys():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    labels = (np.arange(40) % 3).astype(np.int32)
    return jg.data.from_arrays(train=(images, labels), test=(images[:8], labels[:8]))


VAE = vae.Config(image_shape=(8, 8, 1), examples=40, widths=(8,), latent_size=2, batch_size=8)
RATES = (1e-3, 3e-3, 1e-2)


@pytest.fixture(scope="module")
def members(toys):
    return jg.fit(
        vae, toys, config=VAE, hparams=[vae.HParams(learning_rate=r) for r in RATES], seed=[0, 1, 2], epochs=1,
        progress=False,
    )  # fmt: skip


@pytest.mark.parametrize("i", range(3))
def test_a_member_is_its_run_alone_bit_for_bit(toys, members, i):
    hparams = vae.HParams(learning_rate=RATES[i])
    alone = jg.fit(vae, toys, config=VAE, hparams=hparams, seed=i, epochs=1, progress=False)
    jax.tree.map(np.testing.assert_array_equal, members.member(i).state, alone.state)


def test_vmapping_the_pure_function_gives_the_members(toys, members):
    keys = jnp.stack([jax.random.key(seed) for seed in range(3)])
    hparams = jg.stack([vae.HParams(learning_rate=r) for r in RATES])
    train = jax.jit(jax.vmap(partial(jg.train, vae, config=VAE, steps=5), (0, 0, None)))
    state, metrics = train(keys, hparams, vae.Batch(*map(jnp.asarray, toys.train)))
    assert metrics["loss"].shape == (3, 5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), state.params, members.state.params)


def test_the_final_loss_has_the_slope_in_the_learning_rate_that_differences_find():
    config = autoencoder.Config()
    data = autoencoder.Batch(*jg.data.load("digits").train)

    def loss(rate):
        hparams = autoencoder.HParams(learning_rate=rate)
        _, metrics = jg.train(autoencoder, jax.random.key(0), hparams, data, config=config, steps=20)
        return metrics["loss"][-1]

    rate, far = 3e-4, 1e-6  # larger rates or differences cross kinks of the relus
    slope, value = jax.jit(jax.grad(loss)), jax.jit(loss)
    difference = (float(value(rate + far)) - float(value(rate - far))) / (2 * far)
    assert float(slope(jnp.float32(rate))) == pytest.approx(difference, rel=0.01)


def test_a_second_fit_with_other_numbers_compiles_nothing(toys, members):
    compiled = []

    def heard(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jg.fit(vae, toys, config=VAE, hparams=vae.HParams(learning_rate=0.1), seed=3, epochs=1, progress=False)
    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        hparams = vae.HParams(learning_rate=0.02, beta=0.5)
        run = jg.fit(vae, toys, config=VAE, hparams=hparams, seed=4, epochs=2, progress=False)
        assert compiled == []
        assert run.step == 10
        with jax.default_matmul_precision("highest"):
            jg.fit(vae, toys, config=VAE, epochs=1, progress=False)
        assert compiled  # JAX's own settings are part of a program
        compiled.clear()
        changed = vae.Config(image_shape=(8, 8, 1), examples=40, widths=(7,), latent_size=2, batch_size=8)
        jg.fit(vae, toys, config=changed, epochs=1, progress=False)
        assert compiled  # so the listener hears
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def test_fit_works_in_a_thread_where_no_signal_can_be_caught(toys):
    runs = []
    thread = threading.Thread(target=lambda: runs.append(jg.fit(vae, toys, config=VAE, epochs=1, progress=False)))
    thread.start()
    thread.join()
    assert runs[0].status == "finished"


def test_data_may_be_the_name_of_a_source_and_nothing_else_but_a_data_set():
    config = autoencoder.Config(widths=(4,), batch_size=512)
    run = jg.fit(autoencoder, "digits", config=config, epochs=1, progress=False)
    assert run.data().name == "digits"
    assert run.step == run.steps_per_epoch == 1438 // 512
    same = jg.fit(autoencoder, jg.data.DataSettings("digits"), config=config, epochs=1, progress=False)
    assert list(same.metrics["test/loss"].values) == list(run.metrics["test/loss"].values)
    with pytest.raises(SettingError, match="data of type ndarray is not allowed: a data set"):
        jg.fit(autoencoder, np.zeros((8, 28, 28, 1), np.uint8), progress=False)
    with pytest.raises(SettingError, match="did you mean 'digits'"):
        jg.fit(autoencoder, "digit", progress=False)
