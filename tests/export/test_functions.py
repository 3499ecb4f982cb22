"""Every function of every algorithm, at the sizes of its presets, in Node against JAX."""

import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from node import call

from jaxgen import distributions
from jaxgen.algorithms import autoencoder, vae
from jaxgen.errors import UserError
from jaxgen.export import javascript
from jaxgen.export.functions import functions, programs

PRESETS = {
    "ae_mnist": "chapter",
    "conv_ae_mnist": "chapter",
    "vae_mnist": "conv",
    "vae_mnist mlp": "mlp",
    "vae_mnist quick": "quick",
    "iwae_mnist": "iwae",
    "gan_mnist": "chapter",
    "gan_mnist better": "better",
    "gan_mnist quick": "quick",
    "gan_flowers quick": "quick",
    "vae_flowers quick": "quick",
    "dqn_cartpole": "solve",
    "dqn_cartpole chapter": "chapter",
}
LARGE = {"vae_flowers": "logistic", "gan_flowers better": "better", "gan_flowers": "chapter"}
CODES, IMAGES = 1000, 50
"""Inputs of each function of a small net."""


def trained(name, preset):
    """An algorithm, a state with drawn weights (fresh biases are zero), and the preset's settings."""
    experiment = importlib.import_module(name.split()[0]).EXPERIMENT
    settings, algorithm = experiment.settings(preset), experiment.algorithm
    shapes = jax.eval_shape(partial(algorithm.init, config=settings.config), jax.random.key(0), settings.hparams)
    rng = np.random.default_rng(2)

    def drawn(leaf):
        inputs = np.prod(leaf.shape[:-1], dtype=int) if len(leaf.shape) > 1 else 100
        return jnp.asarray(rng.normal(0, inputs**-0.5, leaf.shape), leaf.dtype)

    return algorithm, jax.tree.map(drawn, shapes), settings.hparams, settings.config


def draws(function, count, rng):
    """`count` inputs of a function: images in [0, 1], classes, or normal draws."""

    def of(name, shape):
        if name == "images":
            return rng.uniform(size=(count, *shape)).astype(np.float32)
        if name == "classes":
            return np.eye(shape[-1], dtype=np.float32)[rng.integers(shape[-1], size=(count, 1))]
        return rng.normal(size=(count, *shape)).astype(np.float32)

    return [of(name, x.shape) for name, x in function.inputs.items()]


def compare(name, preset, codes, images, tolerance=1e-4):
    trained_state = trained(name, preset)
    script = javascript.write(programs(*trained_state))
    rng = np.random.default_rng(3)
    for called, function in functions(*trained_state).items():
        count = images if "images" in function.inputs else codes
        inputs = draws(function, count, rng)
        answers = call(script, [(called, [x[i] for x in inputs]) for i in range(count)])
        rows = [jnp.asarray(x).reshape(count, *x.shape[2:]) for x in inputs]
        wanted = jax.tree.leaves(jax.jit(function.call)(function.weights, *rows))
        for number, array in enumerate(wanted):
            found = np.stack([answer[number] for answer in answers])
            scale = max(1.0, float(jnp.abs(array).max()))
            np.testing.assert_allclose(found, np.asarray(array).reshape(count, -1), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("name", PRESETS)
def test_functions_of_small_nets(name):
    compare(name, PRESETS[name], CODES if PRESETS[name] != "quick" else IMAGES, IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_functions_of_flower_nets(name):
    compare(name, LARGE[name], 3, 3)


def test_the_functions_agree_with_the_algorithms():
    """Images in [0, 1] here are what the algorithms make of bytes there."""
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)), jnp.uint8)
    levels = images.astype(jnp.float32) / 255
    config = vae.Config(latent_size=3, widths=(20,), posterior="full")
    state = vae.init(jax.random.key(0), vae.HParams(), config)
    found = functions(vae, state, vae.HParams(), config, 3)
    posterior = found["encode"].call(state.params, levels)
    np.testing.assert_allclose(
        posterior["mean"], vae.encode(state.params, images, jax.random.key(0), config), atol=1e-6
    )
    numbers = vae.posterior_params(state.params, levels, config)
    scale = [distributions.posterior("full", row).scale_tri for row in numbers]
    np.testing.assert_allclose(posterior["scale"], np.stack(scale), atol=1e-6)
    config = autoencoder.Config(widths=(20,))
    state = autoencoder.init(jax.random.key(0), autoencoder.HParams(), config)
    found = functions(autoencoder, state, autoencoder.HParams(), config, 3)
    codes = found["encode"].call(state.params, levels)
    np.testing.assert_allclose(codes, autoencoder.encode(state.params, images, None, config), atol=1e-6)


def test_the_terms_are_those_of_the_evaluation():
    """With the same noise, distortion and rate are what the algorithm reports."""
    config = vae.Config(latent_size=3, widths=(20,))
    state = vae.init(jax.random.key(0), vae.HParams(), config)
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(4, 28, 28, 1)), jnp.float32)
    keys = jax.random.split(jax.random.key(1), 4)
    noise = jnp.stack([jax.random.normal(key, (1, 3))[0] for key in keys])
    terms, _ = vae.terms(state.params, images, keys, 1.0, vae.HParams(), config)
    found = functions(vae, state, vae.HParams(), config, 4)["terms"].call(state.params, images, noise)
    np.testing.assert_allclose(found["distortion"], terms.distortion, rtol=1e-5)
    np.testing.assert_allclose(found["rate"], terms.rate, rtol=1e-5)


def test_a_foreign_algorithm_is_told_how_to_be_translated():
    class Foreign:
        __name__ = "foreign"

    with pytest.raises(UserError, match=r"^foreign has no functions that are known here: trace its own with"):
        functions(Foreign(), None, None, None)
