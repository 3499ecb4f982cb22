"""Rounding of the flower nets in float32, layer by layer and through a whole gradient, against float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.layers import FLOWERS, Layer
from jax import lax

from jaxgen import batching
from jaxgen import data as data_lib
from jaxgen.algorithms import gan, vae
from jaxgen.data import DataSettings
from jaxgen.doctor import precise
from jaxgen.nets.ops import conv

LAYER = {"output": 5e-6, "input gradient": 1e-5, "kernel gradient": 2e-5}
"""Largest norm of a layer's error, relative to the array's: twice the largest measured."""
NET = {"vae": 3e-3, "gan": 3e-3}
"""Largest error of a gradient's worst array, relative to its norm. Measured: 9e-4 and 1e-5 here, 2e-3 on photographs;
errors in outputs flip relus near 0, and a single flip may count 1e-3."""


def arrays(layer: Layer, batch: int) -> tuple[jax.Array, jax.Array]:
    """Images as after a leaky relu, and a kernel."""
    sizes = {"H": layer.size, "W": layer.size, "N": batch, "C": layer.channels}
    x = jax.nn.leaky_relu(jax.random.normal(jax.random.key(0), [sizes[axis] for axis in layer.layout]), 0.2)
    shape = layer.kernel, layer.kernel, layer.channels, layer.kernels
    return x, jax.nn.initializers.glorot_uniform()(jax.random.key(1), shape)


def with_gradients(function, x, w, g):
    y, pull_back = jax.vjp(function, x, w)
    return dict(zip(LAYER, (y, *pull_back(g)), strict=True))


def error(computed, true) -> float:
    """Norm of the difference, relative to the norm of the true array."""
    computed, true = np.asarray(computed, np.float64), np.asarray(true)
    return float(np.linalg.norm(computed - true) / np.linalg.norm(true))


@pytest.mark.slow
@pytest.mark.parametrize("layer", FLOWERS, ids=lambda layer: layer.name)
def test_each_layer(layer):
    x, w = arrays(layer, 2)
    function = conv.conv_transpose2d if layer.transposed else conv.conv2d
    ours = partial(function, strides=layer.stride, padding=layer.padding, layout=layer.layout)
    lax_form = lax.conv_transpose if layer.transposed else lax.conv_general_dilated
    dimensions = (layer.layout, "HWIO", layer.layout)

    def by_lax(x, w):
        return lax_form(x, w, (layer.stride, layer.stride), layer.padding, dimension_numbers=dimensions)

    g = jax.random.normal(jax.random.key(2), jax.eval_shape(ours, x, w).shape)
    true = precise.in_float64(partial(with_gradients, by_lax), x, w, g)
    errors = {name: error(y, true[name]) for name, y in jax.jit(partial(with_gradients, ours))(x, w, g).items()}
    assert all(errors[name] <= LAYER[name] for name in LAYER), errors


def gradients_of_vae(images, key):
    config = vae.Config(net="flower", image_shape=(80, 80, 3), latent_size=10, posterior="full", rate="sampled")
    hparams = vae.HParams(beta=0.0006)
    params = vae.init(jax.random.key(0), hparams, config).params

    def loss(params, images, key):
        keys = batching.keys(key, len(images))
        return vae.terms(params, images / 255, keys, hparams.beta, hparams, config)[0].loss.mean()

    return jax.grad(loss), (params, images.astype(jnp.float32), key)


def gradients_of_gan(images, key):
    config = gan.Config(net="flower", image_shape=(80, 80, 3), dropout=0.3, batch_size=len(images))
    hparams = gan.HParams(real_target=0.95, fake_target=0.05, generator_target=0.95)
    state = gan.init(jax.random.key(0), hparams, config)

    def gradients(params, images, key):
        draws = gan.draw(key, len(images), config, None)
        return gan.gradients(state._replace(params=params), gan.normalize(images), None, draws, hparams, config)[0]

    return gradients, (state.params, images, key)


@pytest.mark.slow
@pytest.mark.parametrize("net", NET)
def test_the_gradient_of_a_fresh_net_on_flowers(net):
    flowers = data_lib.load(DataSettings("petals", count=40))
    make = {"vae": gradients_of_vae, "gan": gradients_of_gan}[net]
    function, arguments = make(jnp.asarray(flowers.train.images[:8]), jax.random.key(1))
    computed, true = jax.jit(function)(*arguments), precise.in_float64(function, *arguments)
    errors = jax.tree.leaves(jax.tree.map(error, jax.device_get(computed), true))
    assert max(errors) <= NET[net], errors
