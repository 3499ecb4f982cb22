import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxgen.errors import UserError
from jaxgen.export import plain
from jaxgen.nets.ops import conv


def floats(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def check(program, function, weights, *inputs):
    found = plain.evaluate(program, *inputs)
    wanted = jax.tree.leaves(function(weights, *inputs))
    assert len(found) == len(wanted)
    for one, other in zip(found.values(), wanted, strict=True):
        largest = float(jnp.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * largest)  # Winograd's rounding


@pytest.mark.parametrize("channels", [3, 32])
@pytest.mark.parametrize("layout", ["NHWC", "HWNC", "CHWN"])
def test_a_convolution_becomes_one_ordinary_convolution(channels, layout):
    """Patches for few channels and Winograd for many are the CPU's own branches."""
    kernel = floats(5, 5, channels, 24)

    def net(kernel, x):
        images = conv.from_nhwc(x, layout)
        images = conv.conv2d(images, kernel, strides=2, layout=layout)
        return conv.to_nhwc(conv.conv_transpose2d(images, kernel.swapaxes(2, 3), strides=2, layout=layout), layout)

    program = plain.trace("net", net, kernel, {"x": floats(1, 12, 12, channels)})
    names = [equation.primitive for equation in (*program.prepared, *program.equations)]
    assert names.count("conv_general_dilated") == 2
    assert set(names) <= {"conv_general_dilated", "transpose", "rev", "reshape"}
    check(program, net, kernel, floats(1, 12, 12, channels))


def test_calls_and_custom_derivatives_are_inlined():
    @jax.custom_vjp
    def twice(x):
        return 2 * x

    twice.defvjp(lambda x: (twice(x), None), lambda _, g: (2 * g,))

    def function(weights, x):
        y = jax.jit(jax.nn.relu)(x) + jax.checkpoint(jnp.sin)(weights)
        return {"a": twice(lax.optimization_barrier(y)), "b": lax.stop_gradient(jax.nn.silu(x))}

    program = plain.trace("f", function, floats(4), {"x": floats(4)})
    assert program.primitives == ("add", "logistic", "max", "mul", "sin")
    assert list(program.outputs) == ["a", "b"]
    check(program, function, floats(4), floats(4))


def test_equations_of_weights_alone_are_prepared_and_unused_ones_dropped():
    weights = {"used": floats(3, 4), "unused": floats(5)}

    def function(weights, x):
        _ = jnp.exp(weights["unused"])
        return x @ jnp.exp(weights["used"]).T + jnp.arange(3, dtype=jnp.float32)[None]

    program = plain.trace("f", function, weights, {"x": floats(2, 4)})
    assert [equation.primitive for equation in program.prepared] == ["exp", "transpose"]
    assert "exp" not in [equation.primitive for equation in program.equations]
    assert list(program.parameters) == ["used"]
    assert "iota" not in program.primitives
    check(program, function, weights, floats(2, 4))


def test_constant_indices_become_a_table():
    rows, columns = np.tril_indices(4)

    def function(_, x):
        triangle = jnp.zeros((4, 4)).at[rows, columns].set(x)
        return jnp.diagonal(triangle), triangle[np.array([2, 0])], jnp.tril(triangle, -1)

    program = plain.trace("f", function, {}, {"x": floats(10)})
    assert set(program.primitives) <= {"take", "reshape", "concatenate", "select_n"}
    check(program, function, {}, floats(10))


def test_indices_that_are_computed_stay_a_gather():
    program = plain.trace("f", lambda _, x, i: x[i], {}, {"x": floats(5), "i": jnp.array([1, 2])})
    assert "gather" in program.primitives


def test_a_known_branch_is_taken():
    def function(_, x):
        return lax.cond(jnp.array(True), jnp.sin, jnp.cos, x)

    program = plain.trace("f", function, {}, {"x": floats(5)})
    assert program.primitives == ("sin",)


def test_a_known_choice_is_made():
    program = plain.trace("f", lambda _, x: jnp.where(jnp.full(5, True), jnp.sin(x), jnp.nan), {}, {"x": floats(5)})
    assert program.primitives == ("sin",)


def test_an_operation_without_a_default_is_refused():
    def function(_, x):
        return lax.platform_dependent(x, cpu=jnp.sin, cuda=jnp.cos)

    with pytest.raises(UserError, match="without a default"):
        plain.trace("f", function, {}, {"x": floats(5)})


def test_other_primitives_are_kept_for_a_writer_to_refuse():
    program = plain.trace("f", lambda _, x: jnp.sort(x), {}, {"x": floats(5)})
    assert program.primitives == ("sort",)
