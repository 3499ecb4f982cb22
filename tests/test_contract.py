"""Every algorithm and variant keeps the contract; each clause can fail."""

import dataclasses
import importlib.util
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import SMALL, TINY_DQN, TINY_GAN, images

from jaxgen import Experiment, RunSettings, Settings, data, fit, load, sweep
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.contract import Traits
from jaxgen.testing import CLAUSES, ContractError, check_algorithm

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


slow = pytest.mark.slow
CASES = {
    "autoencoder dense": (autoencoder, autoencoder.Config(image_shape=(8, 8, 1), widths=(8,), batch_size=8)),
    "autoencoder conv": (autoencoder, autoencoder.Config(image_shape=(12, 12, 1), net="conv", batch_size=8)),
    "vae": (vae, SMALL),
    "vae tc": (vae, dataclasses.replace(SMALL, objective="tc")),
    "vae dreg full": (vae, dataclasses.replace(SMALL, objective="dreg", samples=2, posterior="full")),
    "vae free bits": (vae, dataclasses.replace(SMALL, rate="free_bits")),
    "vae logistic": (vae, dataclasses.replace(SMALL, likelihood="logistic", inputs="gray", learn_scale=True)),
    "gan": (gan, dataclasses.replace(TINY_GAN, dropout=0.25)),
    "gan plain": (gan, dataclasses.replace(TINY_GAN, shared_passes=False)),
    "gan everything": (
        gan,
        dataclasses.replace(
            TINY_GAN, loss="hinge", spectral_norm=True, classes=3, ema=True, penalty="r1", penalty_every=2,
            augment=("translation",),
        ),
    ),
    "gan critic": (gan, dataclasses.replace(TINY_GAN, loss="wasserstein", penalty="gradient", critic_steps=2)),
    "dqn": (dqn, TINY_DQN),
    "dqn everything": (dqn, dataclasses.replace(TINY_DQN, sampling="prioritized", n_step=3, dueling=True, episodes=50)),
}  # fmt: skip
LONG = (
    "autoencoder conv", "vae free bits", "vae logistic", "gan plain", "gan everything", "gan critic", "dqn everything",
    "vae dreg full", "vae tc",
)  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=slow) if name in LONG else name for name in CASES])
def test_every_algorithm_keeps_the_contract(name):
    algorithm, config = CASES[name]
    batch = algorithm.Batch() if algorithm is dqn else algorithm.Batch(*images(config.image_shape))
    results = check_algorithm(algorithm, config, algorithm.HParams(), batch, rtol=5e-3)
    assert set(results) == {clause.__name__ for clause in CLAUSES}
    assert results["devices_divide_a_batch"] == "ok"
    skipped = {clause for clause, said in results.items() if said != "ok"}
    assert skipped <= {"pmap_divides_a_batch", "bfloat16_keeps_a_float32_state"}


LINEAR = example("linear_autoencoder")
CONFIG = LINEAR.Config(image_shape=(4, 4, 1), code_size=2, batch_size=8)


def broken(**changes):
    module = types.ModuleType("broken")
    vars(module).update({k: v for k, v in vars(LINEAR).items() if not k.startswith("__")} | changes)
    return module


def _step(change):
    def step(state, batch, key, hparams, config, *, axis_name=None):
        return change(*LINEAR.step(state, batch, key, hparams, config, axis_name=axis_name), batch, hparams)

    return step


BROKEN = {
    "exports": {"weights": None},
    "state_holds_arrays_only": {
        "init": lambda key, hparams, config: LINEAR.init(key, hparams, config)._replace(opt_state=1)
    },
    "metrics_are_finite_scalars": {"step": _step(lambda s, m, b, h: (s, {"loss": jnp.zeros(2)}))},
    "seeds_differ": {"init": lambda key, hparams, config: LINEAR.init(jax.random.key(0), hparams, config)},
    "devices_divide_a_batch": {"step": lambda s, b, k, h, c, *, axis_name=None: LINEAR.step(s, b, k, h, c)},
    "a_trained_model_can_be_used": {"decode": lambda w, codes, config: LINEAR.decode(w, codes, config) + 2},
}


@pytest.mark.parametrize("clause", BROKEN)
def test_a_broken_clause_fails_by_its_name(clause):
    module = broken(**BROKEN[clause])
    if clause == "exports":
        del module.weights
    with pytest.raises(ContractError) as error:
        check_algorithm(module, CONFIG, LINEAR.HParams(), LINEAR.Batch(*images((4, 4, 1))))
    assert clause in error.value.failures
    assert clause in str(error.value)


def test_a_step_without_axis_name_skips_what_needs_devices():
    module = broken(step=lambda s, b, k, h, config: LINEAR.step(s, b, k, h, config))
    results = check_algorithm(module, CONFIG, LINEAR.HParams(), LINEAR.Batch(*images((4, 4, 1))))
    assert results["devices_divide_a_batch"] == "skipped: its step takes no axis_name"


def test_the_linear_autoencoder_trains_resumes_divides_and_sweeps(tmp_path):
    """It is written by the documentation alone and touches no file of jaxgen."""
    x, y = images((6, 6, 1), 40)
    dataset = data.from_arrays(train=(x[:30], y[:30]), test=(x[30:], y[30:]))
    config, hparams = LINEAR.Config(batch_size=8), LINEAR.HParams(1e-2)
    check_algorithm(LINEAR, dataclasses.replace(CONFIG, image_shape=(6, 6, 1)), hparams, LINEAR.Batch(x, y))
    whole = fit(LINEAR, dataset, config=config, hparams=hparams, epochs=4, progress=False)
    first = fit(LINEAR, dataset, config=config, hparams=hparams, epochs=2, progress=False, directory=tmp_path / "cut")
    assert whole.metrics["test/loss"].values[-1] < whole.metrics["test/loss"].values[0]
    cut = first.fit(epochs=4)
    np.testing.assert_array_equal(cut.state.w, whole.state.w)
    np.testing.assert_array_equal(load(tmp_path / "cut", algorithm=LINEAR).state.w, whole.state.w)
    divided = fit(LINEAR, dataset, config=config, hparams=hparams, epochs=4, progress=False, devices=4)
    np.testing.assert_allclose(divided.state.w, whole.state.w, rtol=1e-3, atol=1e-5)


def test_the_linear_experiment_sweeps(tmp_path):
    preset = Settings(LINEAR.Config(), LINEAR.HParams(), RunSettings(epochs=2), data.DataSettings("digits"))
    found = sweep(
        Experiment("linear", LINEAR, {"one": preset}),
        {"hparams.learning_rate": [1e-4, 1e-2], "seed": range(2)},
        directory=tmp_path / "s",
    )
    assert len(found) == 4
    assert found.best["hparams.learning_rate"] == 1e-2
    assert found.columns["test/loss"].shape == (4,)


@slow
def test_reinforce_keeps_the_contract_and_learns():
    reinforce = example("reinforce")
    small = reinforce.Config(envs=4, horizon=20)
    check_algorithm(reinforce, small, reinforce.HParams(), reinforce.Batch(), rtol=5e-3)
    run = fit(reinforce, config=reinforce.Config(), hparams=reinforce.HParams(1e-2), epochs=6, progress=False)
    assert run.metrics["test/return"].values[-1] > 2 * run.metrics["test/return"].values[0]
    many = fit(reinforce, config=small, hparams=[reinforce.HParams(1e-2)], seed=[0, 1], epochs=1, progress=False)
    assert many.member(1).metrics["test/return"].values.shape == (1,)


@slow
def test_reinforce_sweeps_resumes_and_divides(tmp_path):
    reinforce = example("reinforce")
    small, hparams = reinforce.Config(envs=4, horizon=20), reinforce.HParams(1e-2)
    whole = fit(reinforce, config=small, hparams=hparams, epochs=2, progress=False)
    first = fit(reinforce, config=small, hparams=hparams, epochs=1, progress=False, directory=tmp_path / "cut")
    np.testing.assert_array_equal(first.fit(epochs=2).state.params["logits"], whole.state.params["logits"])
    divided = fit(reinforce, config=small, hparams=hparams, epochs=2, progress=False, devices=4)
    np.testing.assert_allclose(divided.state.params["hidden"], whole.state.params["hidden"], rtol=1e-3, atol=1e-5)
    preset = Settings(small, hparams, RunSettings(epochs=1))
    found = sweep(
        Experiment("reinforce", reinforce, {"one": preset}),
        {"hparams.learning_rate": [1e-3, 1e-2], "seed": range(2)},
        directory=tmp_path / "s",
    )
    assert found.columns["test/return"].shape == (4,)
    assert found.run(3).metrics["test/return"].values.shape == (1,)


def test_traits_have_defaults_for_an_algorithm_of_images():
    assert Traits().objective is None
    assert dict(Traits().divided(None)) == {"batch_size": 1}
