import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets import conv

GLOROT = nn.initializers.glorot_uniform()


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2), (0, 1))])
@pytest.mark.parametrize(("kernel", "strides"), [(3, 1), ((5, 2), (2, 1))])
@pytest.mark.parametrize(("ours", "flax"), [(conv.Conv, nn.Conv), (conv.ConvTranspose, nn.ConvTranspose)])
def test_parameters_and_results_are_those_of_flax(ours, flax, kernel, strides, padding):
    pair = (kernel, kernel) if isinstance(kernel, int) else kernel
    steps = (strides, strides) if isinstance(strides, int) else strides
    x = jax.random.normal(jax.random.key(1), (2, 9, 8, 3))
    theirs = flax(4, pair, steps, padding, kernel_init=GLOROT)
    expected, params = jax.jit(theirs.init_with_output)(jax.random.key(0), x)
    got, ours_params = jax.jit(ours(4, kernel, strides, padding).init_with_output)(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, ours_params, params)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_pooling_and_upsampling_hand_values():
    x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(conv.max_pool2d(x, padding="SAME")[0, ..., 0], [[4, 5], [7, 8]])
    np.testing.assert_array_equal(conv.max_pool2d(x, padding="VALID")[0, ..., 0], [[4]])
    np.testing.assert_array_equal(conv.upsample2d(x[:, :1, :2])[0, ..., 0], [[0, 0, 1, 1], [0, 0, 1, 1]])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"padding": "same"}, "padding = 'same'"),
        ({"strides": 0}, "strides = "),
    ],
)
def test_wrong_arguments_are_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        conv.conv2d(jnp.zeros((1, 5, 5, 3)), **{"kernel": jnp.zeros((3, 3, 3, 4)), **arguments})
