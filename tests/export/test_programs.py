"""Exported programs: bit-equal to the functions, for any batch size, and in a process that has no jaxgen."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.evaluation import likelihood
from jaxgen.export import functions as functions_lib
from jaxgen.export import programs

CASES = {
    "autoencoder": (autoencoder, autoencoder.HParams(), autoencoder.Config(widths=(8,), image_shape=(6, 6, 1))),
    "vae": (
        vae,
        vae.HParams(),
        vae.Config(widths=(8,), image_shape=(6, 6, 1), latent_size=3, posterior="full", inputs="binarized"),
    ),
    "gan": (
        gan,
        gan.HParams(),
        gan.Config(net="small", image_shape=(8, 8, 3), classes=3, noise_size=5, spectral_norm=True, ema=True),
    ),
    "dqn": (dqn, dqn.HParams(), dqn.Config(widths=(8,), learning_starts=200)),
}
NAMES = {
    "autoencoder": {"encode", "decode"},
    "vae": {"encode", "decode", "terms", "sample", "log_likelihood"},
    "gan": {"generate", "discriminate", "sample"},
    "dqn": {"values", "act"},
}


def made(name):
    algorithm, hparams, config = CASES[name]
    state = algorithm.init(jax.random.key(0), hparams, config)
    return programs.functions(algorithm, state, hparams, config, samples=8)


def drawn(function, batch):
    rng = np.random.default_rng(0)

    def of(x):
        shape = (batch, *(int(size) for size in x.shape[1:]))
        if x.dtype == jnp.float32:
            return jnp.asarray(rng.uniform(size=shape), jnp.float32)
        return jnp.asarray(rng.integers(0, np.iinfo(x.dtype).max, shape), x.dtype)

    return [of(x) for x in function.inputs.values()]


@pytest.mark.parametrize("name", CASES)
def test_programs_equal_the_functions(name):
    found = made(name)
    assert set(found) == NAMES[name]
    for called, function in found.items():
        program = programs.exported(function, platforms=("cpu",))
        inputs = drawn(function, 3)
        wanted = jax.jit(function.call)(function.weights, *inputs)
        for one, other in zip(jax.tree.leaves(program.call(*inputs)), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6, err_msg=called)


def test_one_program_for_every_platform_and_batch_size():
    """A convolution is another one on each platform."""
    hparams, config = vae.HParams(), vae.Config(net="conv", latent_size=2)
    state = vae.init(jax.random.key(0), hparams, config)
    function = programs.functions(vae, state, hparams, config)["decode"]
    program = programs.exported(function)
    assert program.platforms == ("cpu", "cuda", "tpu")
    for batch in (1, 7):
        (codes,) = drawn(function, batch)
        wanted = jax.jit(function.call)(function.weights, codes)
        np.testing.assert_allclose(program.call(codes), wanted, rtol=1e-6, atol=1e-6)


def test_weights_apart_are_taken_by_name():
    function = made("vae")["decode"]
    program = programs.exported(function, apart=True, platforms=("cpu",))
    inputs = drawn(function, 2)
    weights = functions_lib.named(function.weights)
    assert "decoder/Dense_0/kernel" in weights
    np.testing.assert_array_equal(program.call(weights, *inputs), programs.exported(function).call(*inputs))
    doubled = {name: 2 * x for name, x in weights.items()}
    assert jnp.abs(program.call(doubled, *inputs) - program.call(weights, *inputs)).max() > 1e-3


def test_the_likelihood_is_the_evaluation_s():
    algorithm, hparams, config = CASES["vae"]
    state = algorithm.init(jax.random.key(0), hparams, config)
    function = programs.functions(algorithm, state, hparams, config, samples=8)["log_likelihood"]
    images, _ = drawn(function, 2)
    keys = jax.random.split(jax.random.key(3), 2)
    found = function.call(function.weights, images, jax.random.key_data(keys))
    for image, key, value in zip(images, keys, found, strict=True):
        blocks = likelihood.log_likelihood(state.params, image[None], key, 8, hparams, config).blocks
        np.testing.assert_allclose(value, -likelihood.summarize(blocks).value[0], rtol=1e-5)


FRESH = """
import sys
import jax, numpy as np
serve = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
weights = [] if len(sys.argv) < 5 else [dict(np.load(sys.argv[4]))]
np.save(sys.argv[3], serve.call(*weights, np.load(sys.argv[2])))
assert not [name for name in sys.modules if name.startswith("jaxgen")]
"""


@pytest.mark.parametrize("apart", [False, True])
def test_a_file_needs_jax_alone(tmp_path, apart):
    pytest.importorskip("flatbuffers", reason="programs are serialized by flatbuffers")
    function = made("vae")["decode"]
    (path,) = programs.write({"decode": function}, tmp_path, apart=apart)
    (codes,) = drawn(function, 5)
    np.save(tmp_path / "codes.npy", codes)
    arguments = [path, tmp_path / "codes.npy", tmp_path / "images.npy"]
    if apart:
        np.savez(tmp_path / "weights.npz", **functions_lib.named(function.weights))
        arguments.append(tmp_path / "weights.npz")
    command = [sys.executable, "-c", FRESH, *map(str, arguments)]
    subprocess.run(command, check=True, cwd=tmp_path)
    wanted = jax.jit(function.call)(function.weights, codes)
    np.testing.assert_allclose(np.load(tmp_path / "images.npy"), wanted, rtol=1e-6, atol=1e-6)
