"""Dense layers whose operands are rounded to bfloat16: the definition, derivatives, programs and places of matrices."""

import os
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import installed
from jaxgen.nets.ops.dense import Dense, rounded_product

SHAPES = {"ab": ((5, 33), (33, 9)), "ab'": ((5, 33), (9, 33)), "a'b": ((33, 5), (33, 9))}


def exact(a, b, form):
    """The product in the operands' own precision."""
    return (a.T if form == "a'b" else a) @ (b.T if form == "ab'" else b)


def normal(size):
    return np.random.default_rng(0).standard_normal(size)


def operands(form, draw=normal):
    return [jnp.asarray(draw(shape), jnp.float32) for shape in SHAPES[form]]


def rounded(x):
    return np.asarray(jnp.asarray(x).astype(jnp.bfloat16), np.float64)


def whole(size):
    """Integers that neither operands nor products round."""
    return np.random.default_rng(1).integers(-3, 4, size)


@pytest.mark.parametrize("form", SHAPES)
def test_operands_are_rounded_and_nothing_else(form):
    a, b = operands(form)
    product = jax.jit(rounded_product, static_argnums=2)(a, b, form)
    assert product.dtype == jnp.float32
    np.testing.assert_allclose(product, exact(rounded(a), rounded(b), form), rtol=1e-5, atol=1e-5)
    assert np.abs(product - exact(a, b, form)).max() > 1e-3


@pytest.mark.parametrize("form", SHAPES)
def test_gradients_are_products_of_rounded_operands(form):
    a, b = operands(form)
    product, pull = jax.vjp(lambda a, b: rounded_product(a, b, form), a, b)
    g = jnp.asarray(normal(product.shape), jnp.float32)
    _, pull_exactly = jax.vjp(lambda a, b: exact(a, b, form), jnp.float32(rounded(a)), jnp.float32(rounded(b)))
    for got, wanted in zip(pull(g), pull_exactly(jnp.float32(rounded(g))), strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", SHAPES)
def test_derivatives_of_all_orders_are_those_of_a_product(form):
    def penalty(product):
        def slope(a, b):
            return (jax.grad(lambda a: (product(a, b) ** 2).sum() / 4)(a) ** 2).sum() / 64

        return jax.jit(jax.grad(slope, argnums=(0, 1)))

    a, b = operands(form, whole)
    a, b = jnp.sign(a), jnp.sign(b)
    for got, wanted in zip(
        penalty(lambda a, b: rounded_product(a, b, form))(a, b), penalty(lambda a, b: exact(a, b, form))(a, b),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(got, wanted, rtol=2e-2, atol=2e-2 * np.abs(wanted).max())
        assert np.any(wanted)


def test_not_a_number_and_infinity_pass():
    a = jnp.array([[jnp.nan, 1.0], [jnp.inf, 1.0]])
    np.testing.assert_array_equal(rounded_product(a, jnp.ones((2, 2))), [[np.nan] * 2, [np.inf] * 2])


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), (2, 1)])
@pytest.mark.parametrize("form", SHAPES)
def test_many_members_are_many_products(form, axes):
    a, b = operands(form, whole)
    many = [x if axis is None else jnp.stack([x, 2 * x, -x], axis) for x, axis in zip((a, b), axes, strict=True)]
    got = jax.jit(jax.vmap(lambda a, b: rounded_product(a, b, form), axes))(*many)
    power = sum(axis is not None for axis in axes)
    for factor, product in zip((1, 2, -1), got, strict=True):
        np.testing.assert_array_equal(product, factor**power * exact(a, b, form))


@pytest.mark.parametrize("form", SHAPES)
def test_operands_may_be_the_results_of_transpositions(form):
    """XLA would store them by columns, which its product of bfloat16 matrices does not take."""
    a, b = operands(form, whole)
    turned = jax.jit(lambda a, b: rounded_product((2 * a).T, (2 * b).T, form))(
        np.transpose(a).copy(), np.transpose(b).copy()
    )
    np.testing.assert_array_equal(turned, 4 * exact(a, b, form))


def products(form):
    """The compiled program's products, as text."""
    shapes = [jax.ShapeDtypeStruct((size, size), jnp.float32) for size in (128, 128)]
    program = jax.jit(rounded_product, static_argnums=2).lower(*shapes, form).compile().as_text()
    return [line for line in program.splitlines() if " dot(" in line], program


@pytest.mark.skipif(installed.OPTION in os.environ.get("XLA_FLAGS", ""), reason="YNNPACK is off")
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only a CPU needs it")
@pytest.mark.parametrize("form", SHAPES)
def test_the_program_multiplies_bfloat16_matrices(form):
    (dot,), program = products(form)
    names = [name.strip(" )%,") for name in dot.partition(" dot(")[2].partition(")")[0].split(",")]
    for name in names:
        assert any(f"{name} = bf16[" in line for line in program.splitlines()), (form, dot)


def test_without_ynnpack_the_numbers_are_the_same():
    flags = f"{os.environ.get('XLA_FLAGS', '')} {installed.REMEDY}"
    code = """
import jax, numpy as np
from jaxgen.nets.ops.dense import rounded_product
x = np.random.default_rng(0).integers(-3, 4, (128, 128)).astype(np.float32)
for form, wanted in (("ab", x @ x), ("ab'", x @ x.T), ("a'b", x.T @ x)):
    np.testing.assert_array_equal(jax.jit(rounded_product, static_argnums=2)(x, x, form), wanted)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_in_float32_a_layer_is_flax_s():
    x = operands("ab")[0]
    ours, theirs = Dense(9), nn.Dense(9, kernel_init=nn.initializers.glorot_uniform())
    params = theirs.init(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, ours.init(jax.random.key(0), x), params)
    np.testing.assert_array_equal(ours.apply(params, x), theirs.apply(params, x))


def test_in_bfloat16_bias_and_result_stay_float32():
    x, kernel = whole((2, 3, 33)).astype(np.float32), whole((33, 9)).astype(np.float32)
    bias = np.full(9, 1 + 2.0**-20, np.float32)
    result = Dense(9, jnp.bfloat16).apply({"params": {"kernel": jnp.array(kernel), "bias": jnp.array(bias)}}, x)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result, x @ kernel + bias)
