import jax
import jax.numpy as jnp
import pytest

from jaxgen.errors import SettingError
from jaxgen.nets import flowers


def shapes(module, *shape):
    return jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))["params"]


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_parameter_counts_of_the_chapter():
    assert count(shapes(flowers.FlowerEncoder(), 1, 80, 80, 3)) == 1_115_873
    assert count(shapes(flowers.FlowerDecoder(), 1, 10)) == 1_278_464


def test_layers_of_the_chapter():
    encoder, decoder = shapes(flowers.FlowerEncoder(), 1, 80, 80, 3), shapes(flowers.FlowerDecoder(), 1, 10)
    assert encoder["Dense_0"]["kernel"].shape == (8192, 65)
    assert [decoder[f"ConvTranspose_{i}"]["kernel"].shape for i in range(6)] == [
        (7, 7, 128, 128),
        (5, 5, 128, 64),
        (5, 5, 64, 64),
        (5, 5, 64, 32),
        (5, 5, 32, 32),
        (4, 4, 32, 3),
    ]
    assert all("bias" not in decoder[f"ConvTranspose_{i}"] for i in range(6))


@pytest.mark.parametrize("image_shape", [(80, 80, 3), (52, 56, 1), (64, 52, 3)])
def test_decoder_ends_in_the_encoders_images(image_shape):
    encoder, decoder = flowers.FlowerEncoder(4), flowers.FlowerDecoder(image_shape)
    codes = jax.eval_shape(encoder.init_with_output, jax.random.key(0), jnp.zeros((2, *image_shape)))[0]
    images = jax.eval_shape(decoder.init_with_output, jax.random.key(0), jnp.zeros((2, 3)))[0]
    assert codes.shape == (2, 4)
    assert images.shape == (2, *image_shape)


def test_values_are_those_of_flax_layers():
    """One small image through the encoder, against `flax.linen` in the ordinary layout."""
    import flax.linen as nn

    x = jax.random.uniform(jax.random.key(1), (1, 52, 52, 3))
    encoder = flowers.FlowerEncoder(4)
    params = jax.jit(encoder.init)(jax.random.key(0), x)["params"]

    def reference(params, x):
        for i, (features, size, strides) in enumerate(flowers.ENCODER):
            layer = nn.Conv(features, (size, size), strides, "VALID")
            x = layer.apply({"params": params[f"Conv_{i}"]}, x)
            x = jnp.where(x > 0, x, 0.2 * x)
        return x.reshape(1, -1) @ params["Dense_0"]["kernel"]

    expected = jax.jit(reference)(params, x)
    got = jax.jit(encoder.apply)({"params": params}, x)
    assert jnp.allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("image_shape", [(28, 28, 3), (48, 80, 3), (82, 80, 3)])
def test_image_shapes_that_do_not_fit_are_refused(image_shape):
    with pytest.raises(SettingError, match=f"{image_shape[0]}x{image_shape[1]}.*multiples of 4"):
        flowers.check_flower_image_shape(image_shape)
