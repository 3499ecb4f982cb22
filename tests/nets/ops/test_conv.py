import itertools
import math
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxgen.nets.ops import conv, winograd

GLOROT = nn.initializers.glorot_uniform()
LAYOUTS = ("NHWC", "HWNC", "CHWN")
BOUND = 1e-4
"""Largest difference from `lax` in float32, of the largest number there is."""
BOUND_BFLOAT16 = 1e-2
"""The same in bfloat16, whose numbers have 8 bits: half a unit in the last place is 4e-3, and `lax` rounds too."""


def by_lax(transposed, x, w, strides, padding, layout):
    function = lax.conv_transpose if transposed else lax.conv_general_dilated
    return function(x, w, strides, padding, dimension_numbers=(layout, "HWIO", layout))


def ours(transposed, x, w, strides, padding, layout):
    function = conv.conv_transpose2d if transposed else conv.conv2d
    return function(x, w, strides=strides, padding=padding, layout=layout)


def draw(seed, layout, n, h, w, c, dtype=jnp.float32):
    sizes = {"N": n, "H": h, "W": w, "C": c}
    return jax.random.normal(jax.random.key(seed), [sizes[axis] for axis in layout]).astype(dtype)


def with_gradients(function, x, w, seed=2):
    y, pull_back = jax.vjp(function, x, w)
    return y, *pull_back(jax.random.normal(jax.random.key(seed), y.shape).astype(y.dtype))


def alone_and_with_gradients(function, x, w):
    return function(x, w), *with_gradients(function, x, w)


def assert_close(got, expected, bound=BOUND):
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        assert np.abs(a - b).max() <= bound * max(1e-6, np.abs(b).max())


@st.composite
def geometries(draw):
    kernel = draw(st.tuples(*[st.integers(1, 9)] * 2))
    strides = draw(st.tuples(*[st.integers(1, 3)] * 2))
    pads = st.tuples(*[st.tuples(*[st.integers(0, 10)] * 2)] * 2)
    padding = draw(st.one_of(st.sampled_from(["SAME", "VALID"]), pads))
    size = tuple(draw(st.integers(k, 20)) for k in kernel)
    channels = draw(st.tuples(*[st.sampled_from([1, 3, 17, 20])] * 2))
    return kernel, strides, padding, size, channels, draw(st.integers(1, 3)), draw(st.sampled_from(LAYOUTS))


@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True)
@given(geometry=geometries())
def test_any_geometry_and_its_gradients_equal_lax(transposed, geometry):
    kernel, strides, padding, size, (c, k), n, layout = geometry
    x, w = draw(0, layout, n, *size, c), jax.random.normal(jax.random.key(1), (*kernel, c, k))
    functions = (partial(f, transposed, strides=strides, padding=padding, layout=layout) for f in (ours, by_lax))
    try:
        jax.eval_shape(partial(by_lax, transposed, strides=strides, padding=padding, layout=layout), x, w)
    except (ValueError, TypeError):
        return
    assert_close(*(jax.jit(partial(alone_and_with_gradients, f))(x, w) for f in functions))


LAYERS = {
    "few inputs": (False, 3, 20, 5, 2, "SAME"),
    "few outputs": (True, 20, 3, 4, 1, "VALID"),
    "many": (False, 20, 24, 3, 1, "SAME"),
    "many, strides": (True, 20, 24, 4, 2, "SAME"),
}
layers = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def both(layer, layout="HWNC", dtype=jnp.float32):
    transposed, c, k, size, stride, padding = layer
    x, w = draw(0, layout, 2, 9, 11, c, dtype), jax.random.normal(jax.random.key(1), (size, size, c, k)).astype(dtype)
    make = lambda f: partial(f, transposed, strides=(stride, stride), padding=padding, layout=layout)  # noqa: E731
    return make(ours), make(by_lax), x, w


@layers
def test_bfloat16(layer):
    function, reference, x, w = both(layer, dtype=jnp.bfloat16)
    assert_close(alone_and_with_gradients(function, x, w), alone_and_with_gradients(reference, x, w), BOUND_BFLOAT16)


@pytest.mark.parametrize("layout", LAYOUTS)
@layers
def test_an_output_alone_equals_lax(layer, layout):
    function, reference, x, w = both(layer, layout)
    assert_close([jax.jit(function)(x, w)], [reference(x, w)])


@layers
def test_inside_a_loop_as_outside(layer):
    function, _, x, w = both(layer)

    def body(_, carry):
        _, dx, dw = with_gradients(function, *carry)
        return carry[0] + 0.01 * dx, carry[1] + 0.01 * dw

    looped = jax.jit(lambda x, w: lax.fori_loop(0, 2, body, (x, w)))(x, w)
    once = jax.jit(partial(body, 0))
    assert_close(looped, once(once((x, w))))


@pytest.mark.parametrize("layer", [LAYERS["few inputs"], LAYERS["many"]], ids=["few", "many"])
@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)], ids=["both", "kernels", "images"])
def test_vmapped_equals_alone(layer, axes):
    function, _, x, w = both(layer)
    xs, ws = jnp.stack([x, 2 * x, -x]), jnp.stack([w, w + 1, w - 1])
    arguments = xs if axes[0] == 0 else x, ws if axes[1] == 0 else w
    together = jax.jit(jax.vmap(partial(with_gradients, function), axes))(*arguments)
    alone = jax.jit(partial(with_gradients, function))
    for i in range(3):
        one = [a if axis is None else a[i] for a, axis in zip(arguments, axes, strict=True)]
        assert_close([part[i] for part in together], alone(*one))


@layers
def test_second_derivatives_equal_lax(layer):
    """As in a gradient penalty: the gradient of the squared norm of the gradient with respect to the images."""

    def penalty(function, x, w):
        to_images = jax.grad(lambda x: jnp.sin(function(x, w)).sum())(x)
        return (to_images**2).mean()

    function, reference, x, w = both(layer)
    got, expected = (jax.jit(jax.grad(partial(penalty, f), (0, 1)))(x, w / 10) for f in (function, reference))
    assert_close(got, expected)


@layers
def test_shard_map_and_pmap_equal_the_whole_batch(layer):
    function, _, x, w = both(layer, "NHWC")
    x = jnp.concatenate([x, 2 * x, -x, x + 1])  # 8 images on 4 devices
    step = lambda x, w: lax.psum(jax.grad(lambda w: (function(x, w) ** 2).sum())(w), "batch")  # noqa: E731
    expected = jax.jit(jax.grad(lambda w: (function(x, w) ** 2).sum()))(w)
    mesh, split, whole = Mesh(np.array(jax.devices()[:4]), ("batch",)), PartitionSpec("batch"), PartitionSpec()
    sharded = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(split, whole), out_specs=whole, check_vma=False))
    pmapped = jax.pmap(step, axis_name="batch", in_axes=(0, None))(x.reshape(4, 2, *x.shape[1:]), w)
    assert_close([sharded(x, w), pmapped[0]], [expected, expected])


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
    def test_hand_value(self):
        """[1 2 3] * [1 10] = 1 x 1 + 2 x 10, 2 x 1 + 3 x 10."""
        x, w = jnp.array([1.0, 2, 3]).reshape(1, 1, 3, 1), jnp.array([1.0, 10]).reshape(1, 2, 1, 1)
        got = self.variant(partial(conv.conv2d, padding="VALID"))(x, w)
        np.testing.assert_allclose(got.ravel(), [21, 32], rtol=1e-5)


def compiled_for(platform, function, *arguments):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


@layers
def test_the_vendors_convolution_on_other_platforms(layer):
    function, _, x, w = both(layer)
    step = partial(with_gradients, function)
    for platform in ("cuda", "tpu"):
        text = compiled_for(platform, step, x, w)
        assert text.count("stablehlo.convolution") == 3
        assert "dot_general" not in text
    assert "stablehlo.convolution" not in compiled_for("cpu", step, x, w)


@layers
def test_a_wide_output_alone_is_xlas_convolution_in_the_layout_that_is_fast_in_loops(layer):
    function, _, x, w = both(layer)
    text = compiled_for("cpu", function, x, w)
    wide = min(w.shape[2:]) > conv._FEW
    assert text.count("stablehlo.convolution") == wide
    assert ("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in text) == wide


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2), (0, 1))])
@pytest.mark.parametrize(("kernel", "strides"), [(3, 1), ((5, 2), (2, 1))])
@pytest.mark.parametrize(("module", "flax"), [(conv.Conv, nn.Conv), (conv.ConvTranspose, nn.ConvTranspose)])
def test_parameters_and_results_are_those_of_flax(module, flax, kernel, strides, padding):
    pair = (kernel, kernel) if isinstance(kernel, int) else kernel
    steps = (strides, strides) if isinstance(strides, int) else strides
    x = jax.random.normal(jax.random.key(1), (2, 9, 8, 3))
    theirs = flax(4, pair, steps, padding, kernel_init=GLOROT)
    expected, params = jax.jit(theirs.init_with_output)(jax.random.key(0), x)
    got, our_params = jax.jit(module(4, kernel, strides, padding).init_with_output)(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, our_params, params)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    for layout in LAYOUTS[1:]:
        module_ = module(4, kernel, strides, padding, layout=layout)
        turned = jax.jit(module_.apply)(our_params, conv.from_nhwc(x, layout))
        np.testing.assert_allclose(conv.to_nhwc(turned, layout), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (2, 3))])
@pytest.mark.parametrize(("kernel", "factor"), [((3, 3), 2), ((4, 1), 3)])
def test_convolving_an_enlarged_image_without_it(kernel, factor, padding, layout):
    x, w = draw(0, layout, 2, 5, 6, 3), jax.random.normal(jax.random.key(1), (*kernel, 3, 4))
    fused = partial(conv.upsample_conv2d, factor=factor, padding=padding, layout=layout)

    def plain(x, w):
        return conv.conv2d(conv.upsample2d(x, factor, layout=layout), w, padding=padding, layout=layout)

    assert_close(*(jax.jit(partial(with_gradients, f))(x, w) for f in (fused, plain)))


def test_a_module_enlarges_first():
    x = jax.random.normal(jax.random.key(1), (2, 5, 6, 3))
    got, params = conv.Conv(4, 3, upsample=2).init_with_output(jax.random.key(0), x)
    np.testing.assert_allclose(got, conv.Conv(4, 3).apply(params, conv.upsample2d(x)), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="strides = 2: must be 1"):
        conv.Conv(4, 3, 2, upsample=2).init(jax.random.key(0), x)


def test_pooling_and_upsampling_hand_values():
    x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(conv.max_pool2d(x, padding="SAME")[0, ..., 0], [[4, 5], [7, 8]])
    np.testing.assert_array_equal(conv.max_pool2d(x, padding="VALID")[0, ..., 0], [[4]])
    np.testing.assert_array_equal(conv.upsample2d(x[:, :1, :2])[0, ..., 0], [[0, 0, 1, 1], [0, 0, 1, 1]])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("window", "padding"), list(itertools.product((2, 3), ("SAME", "VALID"))))
def test_pooling_and_its_gradient_equal_lax_where_pixels_are_equal_too(window, padding, layout):
    x = jnp.round(draw(0, layout, 2, 7, 6, 3))
    sizes = [window if axis in "HW" else 1 for axis in layout]
    expected, pull_back = jax.vjp(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, sizes, sizes, padding), x)
    got, our_pull_back = jax.vjp(partial(conv.max_pool2d, window=window, padding=padding, layout=layout), x)
    g = jax.random.normal(jax.random.key(1), got.shape)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(our_pull_back(g)[0], pull_back(g)[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_upsampling_and_its_gradient_are_repeat(layout):
    x = draw(0, layout, 2, 3, 4, 5)
    repeat = lambda x: x.repeat(3, layout.index("H")).repeat(3, layout.index("W"))  # noqa: E731
    expected, pull_back = jax.vjp(repeat, x)
    got, our_pull_back = jax.vjp(partial(conv.upsample2d, factor=3, layout=layout), x)
    g = jax.random.normal(jax.random.key(1), got.shape)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(our_pull_back(g)[0], pull_back(g)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("m", "k"), [(1, 1), (4, 3), (4, 5), (2, 5), (5, 2), (3, 4)])
def test_a_transform_is_exact_in_double_precision(m, k):
    f, rng = winograd.transform(m, k), np.random.default_rng(0)
    x, w = rng.normal(size=f.t), rng.normal(size=k)
    got = np.array(f.outputs) @ ((np.array(f.inputs) @ x) * (np.array(f.kernels) @ w))
    np.testing.assert_allclose(got, np.correlate(x, w, "valid"), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("k", range(1, 6))
def test_the_chosen_tile_never_takes_more_products_than_the_definition(k, fine):
    for outputs in range(1, 81):
        f = winograd.choose(outputs, k, fine)
        assert math.ceil(outputs / f.m) * f.t <= outputs * k


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"padding": "same"}, "padding = 'same'"),
        ({"strides": 0}, "strides = "),
        ({"kernel": jnp.zeros((3, 3, 2, 4))}, "images have 3 channels, the kernel takes 2"),
        ({"kernel": jnp.zeros((7, 7, 3, 4)), "padding": "VALID"}, "too small for a kernel"),
    ],
)
def test_wrong_arguments_are_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        conv.conv2d(jnp.zeros((1, 5, 5, 3)), **{"kernel": jnp.zeros((3, 3, 3, 4)), **arguments})
