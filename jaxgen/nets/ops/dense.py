"""Dense layers, and their products in bfloat16: operands are rounded, everything else stays float32.

With dtype bfloat16, y = r(x) r(w) + b, where r rounds to bfloat16 and products are summed in float32; the gradients are
the same products of r(g) with r(w) and r(x). Biases, activations, losses and parameters are float32. Each
term of a product has a relative error of at most 2^-8.

Only this form is fast on a CPU. XLA computes a product with bfloat16 *results* in float32, with conversions of all
three matrices around it. With float32 results it passes the operands to YNNPACK, which uses the processor's matrix unit
(AMX), if the left operand is stored by rows. XLA takes a transposed left operand for one that is not, and falls back to
float32; hence the layouts that `_dot` prescribes.
"""

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float

Form = Literal["ab", "ab'", "a'b"]
Matrix = Float[Array, "_ _"]
ROWS = Layout((0, 1))
"""The last axis is contiguous."""

Dtype = Any


def _dot(a: Array, b: Array, form: Form) -> Matrix:
    """The product of two bfloat16 matrices, summed in float32."""

    def cpu(a: Array, b: Array) -> Array:
        left = with_layout_constraint(a.T if form == "a'b" else a, ROWS)
        return _contracted(left, with_layout_constraint(b, ROWS), 1, 1 if form == "ab'" else 0)

    def vendor(a: Array, b: Array) -> Array:
        return _contracted(a, b, 0 if form == "a'b" else 1, 1 if form == "ab'" else 0)

    product: Array = lax.platform_dependent(a, b, cpu=cpu, default=vendor)
    return product


def _contracted(a: Array, b: Array, axis: int, other: int) -> Array:
    return lax.dot_general(a, b, (((axis,), (other,)), ((), ())), preferred_element_type=jnp.float32)


# The three forms, each the others' derivative.


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def rounded_product(a: Matrix, b: Matrix, form: Form = "ab") -> Matrix:
    """a b, a b' or a' b in float32, of operands rounded to bfloat16; any number of times differentiable in reverse."""
    return _dot(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), form)


def _forward(a: Matrix, b: Matrix, form: Form) -> tuple[Matrix, tuple[Matrix, Matrix]]:
    return rounded_product(a, b, form), (a, b)


def _backward(form: Form, operands: tuple[Matrix, Matrix], g: Matrix) -> tuple[Matrix, Matrix]:
    a, b = operands
    match form:
        case "ab":
            return rounded_product(g, b, "ab'"), rounded_product(a, g, "a'b")
        case "ab'":
            return rounded_product(g, b, "ab"), rounded_product(g, a, "a'b")
        case "a'b":
            return rounded_product(b, g, "ab'"), rounded_product(a, g, "ab")


rounded_product.defvjp(_forward, _backward)


def _rounded_layer(x: Array, kernel: Array, dimensions: Any, **_: Any) -> Array:
    """`flax.linen.Dense`'s product: the last axis of x with the first of a kernel."""
    return rounded_product(x.reshape(-1, x.shape[-1]), kernel).reshape(*x.shape[:-1], kernel.shape[1])


def Dense(features: int, dtype: Dtype = jnp.float32, **kwargs: Any) -> nn.Dense:
    """A dense layer with a Glorot-uniform kernel and float32 outputs.

    dtype: float32; or bfloat16, which rounds the operands of its products and nothing else.
    """
    product = _rounded_layer if dtype == jnp.bfloat16 else None
    return nn.Dense(
        features, dtype=jnp.float32, dot_general=product, kernel_init=nn.initializers.glorot_uniform(), **kwargs
    )
