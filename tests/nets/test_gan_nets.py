from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import SettingError
from jaxgen.nets import gan
from jaxgen.nets.ops import dropout, spectral

KEY = jax.random.key(0)
SMALL = {
    "dense": (gan.DenseGenerator(image_shape=(8, 4, 1), widths=(6,)), gan.DenseDiscriminator(widths=(6, 5))),
    "flower": (
        gan.FlowerGenerator(image_shape=(8, 4, 1), widths=(3, 4, 5, 2), dropout_rate=0.0),
        gan.FlowerDiscriminator(widths=(2, 3, 4), dropout_rate=0.0),
    ),
    "small": (gan.SmallGenerator(image_shape=(8, 4, 1), widths=(3, 2)), gan.SmallDiscriminator(widths=(2, 3))),
    "doubled once": (gan.SmallGenerator(image_shape=(8, 4, 1), widths=(3,)), gan.SmallDiscriminator(widths=(2,))),
}
each = pytest.mark.parametrize("net", SMALL)


def count(module, *inputs):
    shapes = jax.eval_shape(module.init, KEY, *inputs)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("module", "inputs", "parameters"),
    [
        (gan.DenseGenerator(), (1, 100), 217_984),
        (gan.DenseDiscriminator(), (1, 28, 28, 1), 177_201),
        (gan.FlowerGenerator(), (1, 100), 6_443_712),
        (gan.FlowerDiscriminator(), (1, 80, 80, 3), 530_561),
    ],
)
def test_parameter_counts_of_the_chapter(module, inputs, parameters):
    assert count(module, jnp.zeros(inputs)) == parameters


@pytest.mark.parametrize(
    ("module", "shapes"),
    [
        (gan.FlowerGenerator(), [(100, 51_200), (3, 3, 128, 256), (5, 5, 256, 128), (5, 5, 128, 64), (5, 5, 64, 3)]),
        (gan.FlowerDiscriminator(), [(5, 5, 3, 64), (5, 5, 64, 128), (3, 3, 128, 256), (25_600, 1)]),
    ],
)
def test_kernels_of_the_flower_nets(module, shapes):
    inputs = jnp.zeros((1, 100) if module.__class__ is gan.FlowerGenerator else (1, 80, 80, 3))
    leaves = jax.tree.leaves(jax.eval_shape(module.init, KEY, inputs))
    assert sorted(leaf.shape for leaf in leaves if leaf.ndim > 1) == sorted(shapes)
    assert all(leaf.ndim > 1 for leaf in leaves) == (module.__class__ is gan.FlowerGenerator)  # it has no biases


def test_class_conditioning_adds_a_row_of_noise_and_an_embedding():
    classes = jnp.zeros((1, 10))
    assert count(gan.DenseGenerator(), jnp.zeros((1, 100)), classes) == 217_984 + 10 * 200
    assert count(gan.DenseDiscriminator(), jnp.zeros((1, 28, 28, 1)), classes) == 177_201 + 10 * 100


def test_each_width_of_the_small_generator_doubles_its_map():
    leaves = jax.tree.leaves(
        jax.eval_shape(gan.SmallGenerator(image_shape=(80, 40, 3), widths=(7, 6, 5)).init, KEY, jnp.zeros((1, 9)))
    )
    kernels = [leaf.shape for leaf in leaves if leaf.ndim > 1]
    assert sorted(kernels) == sorted([(9, 10 * 5 * 7), (5, 5, 7, 6), (5, 5, 6, 5), (5, 5, 5, 3)])
    with pytest.raises(SettingError, match=r"doubles its map 4 times cannot make images of 80x40.*multiples of 16"):
        gan.check_conv_image_shape((80, 40, 3), 4)


def nets(net):
    """The small nets as functions of (inputs, classes, keys), jitted, with fresh parameters."""
    classes = jax.nn.one_hot(jnp.arange(4) % 3, 3)
    made = []
    for module, inputs in zip(SMALL[net], (jnp.zeros((1, 7)), jnp.zeros((1, 8, 4, 1))), strict=True):
        params = jax.jit(module.init)(KEY, inputs, classes[:1])
        made.append(jax.jit(partial(module.apply, params)))
    return *made, classes


@each
def test_shapes_ranges_and_no_example_sees_another(net):
    generate, discriminate, classes = nets(net)
    noise = jax.random.normal(KEY, (4, 7))
    images = generate(noise, classes)
    assert images.shape == (4, 8, 4, 1)
    assert np.abs(images).max() < 1
    logits = discriminate(images, classes)
    assert logits.shape == (4,)
    for f, x in ((generate, noise), (discriminate, images)):
        got = f(x.at[2].add(0.5), classes)
        moved = np.any(np.asarray(got != f(x, classes)).reshape(4, -1), axis=1)
        np.testing.assert_array_equal(moved, [False, False, True, False])


@each
def test_the_class_matters_to_both(net):
    generate, discriminate, classes = nets(net)
    noise = jax.random.normal(KEY, (4, 7))
    images, other = generate(noise, classes), jnp.roll(classes, 1, axis=1)
    assert np.all(np.any(np.asarray(images != generate(noise, other)).reshape(4, -1), axis=1))
    assert np.all(discriminate(images, classes) != discriminate(images, other))


@each
def test_images_in_parts_are_one_batch_and_only_those_differentiated_cost_a_gradient(net):
    _, discriminate, classes = nets(net)
    images = jax.random.normal(KEY, (4, 8, 4, 1))
    parts = images[:1], images[1:]
    np.testing.assert_allclose(discriminate(parts, classes), discriminate(images, classes), rtol=1e-5, atol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: discriminate((images[:1], x), classes).sum()))(images[1:])
    whole = jax.grad(lambda x: discriminate(x, classes).sum())(images)
    np.testing.assert_allclose(gradient, whole[1:], rtol=1e-4, atol=1e-6)


@each
def test_dropout_only_with_keys_and_by_image(net):
    module = SMALL[net][1].clone(dropout_rate=0.5)
    images = jax.random.normal(KEY, (4, 8, 4, 1))
    params = jax.jit(module.init)(KEY, images)
    apply = jax.jit(module.apply)
    keys = jax.random.split(KEY, 4)
    plain, dropped = apply(params, images), apply(params, images, None, keys)
    assert np.all(plain != dropped)
    np.testing.assert_array_equal(plain, apply(params, images))
    np.testing.assert_allclose(apply(params, images[1:3], None, keys[1:3]), dropped[1:3], rtol=1e-5)
    np.testing.assert_array_equal(jax.jit(module.clone(dropout_rate=0.0).apply)(params, images, None, keys), plain)


@pytest.mark.parametrize("shape", [(40, 30, 3, 51), (3, 50, 40, 30), (50, 40, 30, 3)])
def test_dropout_keeps_the_stated_share_and_the_mean(shape):
    keys = jax.random.split(KEY, 3)
    axis = shape.index(3)
    got = np.asarray(jax.jit(partial(dropout.dropout, rate=0.3, axis=axis))(jnp.ones(shape), keys))
    share, size = 1 - 77 / 256, got.size
    np.testing.assert_allclose(np.unique(got), [0, 1 / share], rtol=1e-6)
    assert abs((got > 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / size)
    assert abs(got.mean() - 1) < 4 * np.sqrt((1 - share) / share / size)


def test_the_four_masks_of_a_word_are_independent_and_keys_differ():
    kept = np.asarray(dropout.keep_mask(jax.random.split(KEY, 2), (2, 20_000, 4), 0.3)).astype(np.float64)
    correlations = np.corrcoef(kept.transpose(0, 2, 1).reshape(8, -1))
    assert np.abs(correlations - np.eye(8)).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 0.001, 0.999, float("nan")])
def test_wrong_dropout_rates_are_refused(rate):
    with pytest.raises(SettingError, match=r"config\.dropout"):
        dropout.check_rate("config.dropout", rate)


def test_spectral_norm_is_that_of_a_singular_value_decomposition():
    shapes = {"a": (20, 6), "b": (3, 3, 4, 5), "bias": (6,)}
    params = {
        name: jax.random.normal(k, s) for (name, s), k in zip(shapes.items(), jax.random.split(KEY, 3), strict=True)
    }
    vectors = spectral.init_vectors(KEY, params)
    assert {name: v.shape for name, v in vectors.items()} == {"a": (6,), "b": (5,)}
    normalize = jax.jit(spectral.normalize)
    for _ in range(100):
        normalized, vectors = normalize(params, vectors)
    np.testing.assert_array_equal(normalized["bias"], params["bias"])
    for name in ("a", "b"):
        matrix = np.asarray(params[name]).reshape(-1, shapes[name][-1])
        expected = params[name] / np.linalg.svd(matrix, compute_uv=False)[0]
        np.testing.assert_allclose(normalized[name], expected, rtol=1e-4)
    # a kernel's own scale no longer matters: its gradient has no part along it
    gradient = jax.grad(lambda p: (spectral.normalize(p, vectors)[0]["a"] ** 3).sum())(params)["a"]
    assert abs(float((gradient * params["a"]).sum())) < 1e-3


@pytest.mark.parametrize("net", ["dense", "small"])
def test_bfloat16_computes_near_float32(net):
    generator, discriminator = SMALL[net]
    images = jax.random.normal(KEY, (4, 8, 4, 1))
    for module, inputs, low in ((generator, jax.random.normal(KEY, (4, 7)), 0.02), (discriminator, images, 0.1)):
        params = jax.jit(module.init)(KEY, inputs)
        exact, rough = (jax.jit(m.apply)(params, inputs) for m in (module, module.clone(dtype=jnp.bfloat16)))
        assert rough.dtype == jnp.float32
        np.testing.assert_allclose(rough, exact, atol=low)
        assert np.any(rough != exact)


def test_image_shapes_that_do_not_fit_are_refused():
    with pytest.raises(SettingError, match="30x28"):
        gan.check_conv_image_shape((30, 28, 1))
