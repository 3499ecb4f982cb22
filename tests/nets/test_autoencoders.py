import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import SettingError
from jaxgen.nets import autoencoders as nets


def init(module, *shape):
    return jax.jit(module.init)(jax.random.key(0), jnp.zeros(shape))["params"]


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def layer_shapes(module, params, x):
    """Shape of every layer's output by the layer's name."""
    _, state = module.apply({"params": params}, x, capture_intermediates=True)
    return {name: value["__call__"][0].shape for name, value in state["intermediates"].items() if name != "__call__"}


@pytest.mark.parametrize(
    ("module", "shape", "parameters"),
    [
        (nets.DenseEncoder(), (1, 28, 28, 1), 80_562),
        (nets.DenseDecoder(), (1, 2), 81_344),
        (nets.ConvEncoder(), (1, 28, 28, 1), 2_162),
        (nets.ConvDecoder(), (1, 2), 2_865),
        (nets.ConvEncoder(outputs=4), (1, 28, 28, 1), 2_420),
    ],
)
def test_parameter_counts_of_the_chapter(module, shape, parameters):
    assert count(init(module, *shape)) == parameters


def test_dense_layers():
    encoder, decoder = nets.DenseEncoder(), nets.DenseDecoder()
    shapes = layer_shapes(encoder, init(encoder, 1, 28, 28, 1), jnp.zeros((3, 28, 28, 1)))
    assert shapes == {"Dense_0": (3, 100), "Dense_1": (3, 20), "Dense_2": (3, 2)}
    shapes = layer_shapes(decoder, init(decoder, 1, 2), jnp.zeros((3, 2)))
    assert shapes == {"Dense_0": (3, 20), "Dense_1": (3, 100), "Dense_2": (3, 784)}


def test_conv_nets_end_in_the_right_shapes():
    encoder, decoder = nets.ConvEncoder(), nets.ConvDecoder()
    encoder_params, decoder_params = init(encoder, 1, 28, 28, 1), init(decoder, 1, 2)
    assert {k: v["kernel"].shape for k, v in encoder_params.items()} == {
        "Conv_0": (3, 3, 1, 16),
        "Conv_1": (3, 3, 16, 8),
        "Conv_2": (3, 3, 8, 8),
        "Dense_0": (128, 2),
    }
    assert {k: v["kernel"].shape for k, v in decoder_params.items()} == {
        "Dense_0": (2, 128),
        "Conv_0": (3, 3, 8, 8),
        "Conv_1": (3, 3, 8, 8),
        "Conv_2": (3, 3, 8, 16),
        "Conv_3": (3, 3, 16, 1),
    }
    assert encoder.apply({"params": encoder_params}, jnp.zeros((3, 28, 28, 1))).shape == (3, 2)
    assert decoder.apply({"params": decoder_params}, jnp.zeros((3, 2))).shape == (3, 28, 28, 1)


@pytest.mark.parametrize("image_shape", [(12, 12, 1), (20, 28, 3)])
def test_other_image_shapes(image_shape):
    encoder, decoder = nets.ConvEncoder(5), nets.ConvDecoder(image_shape)
    assert encoder.apply({"params": init(encoder, 1, *image_shape)}, jnp.zeros((2, *image_shape))).shape == (2, 5)
    assert decoder.apply({"params": init(decoder, 1, 5)}, jnp.zeros((2, 5))).shape == (2, *image_shape)


def test_image_shapes_that_do_not_fit_are_refused():
    with pytest.raises(SettingError, match="32x32"):
        nets.check_conv_image_shape((32, 32, 1))


@pytest.mark.parametrize("module", [nets.DenseEncoder(), nets.ConvEncoder()])
def test_initial_kernels_are_glorot_uniform_and_biases_zero(module):
    for layer in init(module, 1, 28, 28, 1).values():
        receptive = np.prod(layer["kernel"].shape[:-2])
        limit = np.sqrt(6 / (receptive * sum(layer["kernel"].shape[-2:])))
        assert np.abs(layer["kernel"]).max() <= limit
        if layer["kernel"].size > 100:
            assert np.abs(layer["kernel"]).max() > 0.9 * limit
        assert not np.any(layer["bias"])


def test_bfloat16_computes_near_float32():
    x = jax.random.uniform(jax.random.key(1), (2, 28, 28, 1))
    params = init(nets.ConvEncoder(), 1, 28, 28, 1)
    exact = nets.ConvEncoder().apply({"params": params}, x)
    rough = nets.ConvEncoder(dtype=jnp.bfloat16).apply({"params": params}, x)
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(rough, exact, atol=0.05)
    assert np.any(rough != exact)
