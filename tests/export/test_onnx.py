"""ONNX models in onnxruntime against JAX."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.errors import UserError
from jaxgen.export import onnx, plain
from jaxgen.export.functions import functions

FLOWERS = {"net": "flower", "image_shape": (80, 80, 3)}
CASES = {
    "autoencoder": (autoencoder, autoencoder.Config()),
    "conv autoencoder": (autoencoder, autoencoder.Config(net="conv")),
    "vae": (vae, vae.Config(inputs="binarized")),
    "conv vae": (vae, vae.Config(net="conv", latent_size=2)),
    "flower vae": (vae, vae.Config(**FLOWERS, latent_size=10, posterior="full", likelihood="logistic")),
    "dense gan": (gan, gan.Config(classes=10)),
    "small gan": (gan, gan.Config(net="small", spectral_norm=True)),
    "dqn": (dqn, dqn.Config()),
}
CONVERTED = ("encode", "decode", "generate", "discriminate", "values")


@pytest.fixture(scope="module")
def runtime():
    with jax.numpy_dtype_promotion("standard"):
        pytest.importorskip("jax2onnx", reason="ONNX models are made by jax2onnx")
    return pytest.importorskip("onnxruntime", reason="ONNX models are run by onnxruntime")


@pytest.mark.filterwarnings("ignore")  # those of jax2onnx and its dependencies
@pytest.mark.parametrize("name", CASES)
def test_models_equal_the_functions(runtime, name):
    algorithm, config = CASES[name]
    hparams = algorithm.HParams()
    shapes = jax.eval_shape(lambda key: algorithm.init(key, hparams, config), jax.random.key(0))
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda x: jnp.asarray(0.05 * rng.normal(size=x.shape), x.dtype), shapes)
    for called, function in functions(algorithm, state, hparams, config, 2).items():
        if called not in CONVERTED:
            continue
        program = plain.trace(called, function.call, function.weights, function.inputs)
        with jax.numpy_dtype_promotion("standard"):
            model = onnx.convert(program)
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        inputs = [rng.uniform(size=x.shape).astype(np.float32) for x in function.inputs.values()]
        found = session.run(None, {x.name: value for x, value in zip(session.get_inputs(), inputs, strict=True)})
        wanted = jax.tree.leaves(jax.jit(function.call)(function.weights, *map(jnp.asarray, inputs)))
        for one, other in zip(found, wanted, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, atol=1e-4 * max(1, float(jnp.abs(other).max())))


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_converted_is_one_line(runtime):
    program = plain.trace("decode", lambda _, x: jax.random.normal(jax.random.key(0), (4,)) * x, {}, {"x": jnp.ones(4)})
    logging.disable(logging.ERROR)
    with pytest.raises(UserError, match=r"^decode (needs|cannot be converted to ONNX)"):
        onnx.convert(program)


def test_without_jax2onnx_the_error_says_how_to_install_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    program = plain.trace("f", lambda _, x: x + 1, {}, {"x": jnp.ones(4)})
    with pytest.raises(UserError, match=r'pip install "jaxgen\[onnx\]"'):
        onnx.convert(program)
