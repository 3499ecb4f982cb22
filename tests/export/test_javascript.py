"""Translated functions in Node against JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jax import lax
from node import ask, call

from jaxgen.errors import UserError
from jaxgen.export import javascript, plain
from jaxgen.nets.ops import conv

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape):
    return np.abs(floats(*shape)) + np.float32(0.1)


def unit(*shape):
    return RNG.uniform(-0.95, 0.95, shape).astype(np.float32)


def booleans(*shape):
    return RNG.random(shape) < 0.5


def integers(*shape, dtype=np.int32, low=-100, high=100):
    return RNG.integers(low, high, shape).astype(dtype)


def big(*shape):
    return integers(*shape, low=-(2**31), high=2**31 - 1)


def same(found, wanted, tolerance=1e-5):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        other = np.asarray(other)
        kind = np.uint8 if other.dtype == bool else other.dtype
        assert one.dtype == kind or not np.issubdtype(kind, np.integer)
        np.testing.assert_allclose(one, other.astype(kind).reshape(-1), rtol=tolerance, atol=tolerance)


def check(function, *inputs, weights=None, tolerance=1e-5, simd=True, jit=False):
    """Compare on `inputs`; returns the program."""
    named = {f"x{i}": x for i, x in enumerate(inputs)}
    program = plain.trace("f", function, {} if weights is None else weights, named)
    script = javascript.write([program], simd=simd)
    found = call(script, [("f", inputs)] * 2)  # twice: nothing of the first call may be left
    wanted = jax.tree.leaves((jax.jit(function) if jit else function)(weights, *map(jnp.asarray, inputs)))
    same(found[0], wanted, tolerance)
    same(found[1], wanted, tolerance)
    return program


UNARY = {
    "abs": floats, "acos": unit, "acosh": lambda *s: positive(*s) + 1, "asin": unit, "asinh": floats, "atan": floats,
    "atanh": unit, "cbrt": floats, "ceil": floats, "cos": floats, "cosh": floats, "erf": floats, "exp": floats,
    "exp2": floats, "expm1": floats, "floor": floats, "is_finite": floats, "log": positive, "log1p": positive,
    "logistic": floats, "neg": floats, "round": floats, "rsqrt": positive, "sign": floats, "sin": floats,
    "sinh": floats, "sqrt": positive, "tan": unit, "tanh": floats,
}  # fmt: skip
BINARY = ("add", "sub", "mul", "div", "max", "min", "atan2", "eq", "ne", "lt", "le", "gt", "ge", "rem")


@pytest.mark.parametrize("name", UNARY)
def test_elementwise_of_one(name):
    x = UNARY[name](3, 7)
    assert name in check(lambda _, x: getattr(lax, name)(x), x).primitives


@pytest.mark.parametrize("name", BINARY)
def test_elementwise_of_two(name):
    x, y = floats(3, 7), floats(3, 7)
    y[0, :3] = x[0, :3]
    assert name in check(lambda _, x, y: getattr(lax, name)(x, y), x, y).primitives


@pytest.mark.parametrize("name", ["abs", "exp", "logistic", "tanh", "floor", "sqrt", "is_finite", "max", "erf", "sign"])
def test_infinities_and_nan(name):
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 2e-38, 3e38], np.float32)
    inputs = (x, x[::-1].copy()) if name == "max" else (x,)
    with np.errstate(invalid="ignore"):
        check(lambda _, *x: getattr(lax, name)(*x), *inputs)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "max", "min", "and", "or", "xor"])
@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.uint8, np.int8, np.int16, np.uint16])
def test_integers_wrap(name, dtype):
    info = np.iinfo(dtype)
    x, y = (integers(50, dtype=np.int64, low=info.min, high=info.max).astype(dtype) for _ in range(2))
    operation = {"and": lax.bitwise_and, "or": lax.bitwise_or, "xor": lax.bitwise_xor}.get(name)
    check(lambda _, x, y: (operation or getattr(lax, name))(x, y), x, y)


@pytest.mark.parametrize("name", ["neg", "sign", "abs", "not"])
def test_integers_of_one(name):
    operation = {"not": lax.bitwise_not}.get(name)
    check(lambda _, x: (operation or getattr(lax, name))(x), integers(30))


def test_division_of_integers():
    x, y = integers(60), np.where(integers(60) > 0, integers(60, low=1), integers(60, high=-1)).astype(np.int32)
    check(lambda _, x, y: (lax.div(x, y), lax.rem(x, y)), x, y)


def test_booleans():
    x, y = booleans(40), booleans(40)
    check(lambda _, x, y: (x & y, x | y, x ^ y, ~x, jnp.where(x, y, ~y)), x, y)


@pytest.mark.parametrize("new", [np.float32, np.int32, np.uint8, np.uint32, np.bool_])
@pytest.mark.parametrize(
    "x",
    [
        np.array([0.0, 0.4, 1.7, 99.9, 200.2], np.float32),
        integers(20, low=0),
        integers(20, dtype=np.uint8, low=0, high=256),
        booleans(20),
    ],
    ids=lambda x: str(x.dtype),
)
def test_conversions(x, new):
    check(lambda _, x: lax.convert_element_type(x, new), x)


def test_negative_floats_to_integers():
    x = np.array([-0.5, -1.9, 1.9, -100.5, 3e9, -3e9], np.float32)
    check(lambda _, x: x.astype(jnp.int32), x)


@pytest.mark.parametrize("power", [-2, 0, 1, 2, 3, 4, 7])
def test_integer_powers(power):
    check(lambda _, x: lax.integer_pow(x, power), positive(9))


def test_powers():
    assert "pow" in check(lambda _, x, y: lax.pow(x, y), positive(9), floats(9)).primitives


def test_choices():
    x, y, z = floats(3, 4), floats(3, 4), floats(3, 4)
    check(lambda _, b, x, y: lax.select_n(b, x, y), booleans(3, 4), x, y)
    check(lambda _, b, x, y, z: lax.select_n(b, x, y, z), integers(3, 4, low=0, high=3), x, y, z)
    check(lambda _, b, x, y: lax.select_n(b, x, y), np.array(True), x, y)
    assert "clamp" in check(lambda _, x: lax.clamp(jnp.float32(-0.5), x, jnp.float32(0.7)), x).primitives


@pytest.mark.parametrize("method", [lax.RoundingMethod.AWAY_FROM_ZERO, lax.RoundingMethod.TO_NEAREST_EVEN])
def test_rounding(method):
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49, -0.51, 7.0], np.float32)
    check(lambda _, x: lax.round(x, method), x)


MOVES = {
    "broadcast_in_dim": (lambda _, x: lax.broadcast_in_dim(x, (2, 3, 5, 4), (1, 3)) + 1.0, (3, 4)),
    "broadcast ones": (lambda _, x: lax.broadcast_in_dim(x, (3, 4), (0, 1)) * 2.0, (3, 1)),
    "reshape": (lambda _, x: x.reshape(6, 2, 2), (2, 3, 4)),
    "reshape of transposed": (lambda _, x: x.T.reshape(6, 2, 2), (2, 3, 4)),
    "transpose": (lambda _, x: x.transpose(2, 0, 1) + 1, (2, 3, 4)),
    "rev": (lambda _, x: lax.rev(x, (0, 2)), (2, 3, 4)),
    "slice": (lambda _, x: lax.slice(x, (1, 0, 1), (2, 3, 4), (1, 2, 2)), (2, 3, 4)),
    "pad": (lambda _, x: lax.pad(x, jnp.float32(7), [(1, 2, 0), (0, 3, 2)]), (3, 4)),
    "pad negative": (lambda _, x: lax.pad(x, jnp.float32(7), [(-1, 2, 1), (1, -2, 0)]), (3, 4)),
    "pad negative into gaps": (lambda _, x: lax.pad(x, jnp.float32(7), [(-1, -2, 2), (-3, 3, 3)]), (4, 4)),
    "pad to nothing kept": (lambda _, x: lax.pad(x, jnp.float32(7), [(-3, 4, 0), (0, 0, 0)]), (3, 4)),
    "concatenate": (lambda _, x: jnp.concatenate([x, 2 * x.T, jnp.zeros((3, 3)), x[:1]]), (3, 3)),
    "concatenate inside": (lambda _, x: jnp.concatenate([x, x[:, :1], x.sum(1, keepdims=True)], 1), (3, 4)),
    "stack": (lambda _, x: jnp.stack([x, x + 1], 1), (3, 4)),
    "split": (lambda _, x: jnp.split(x, [1, 3], 1), (3, 4)),
    "squeeze": (lambda _, x: x.squeeze(1) + x[:, 0], (3, 1, 4)),
    "expand_dims": (lambda _, x: x[:, None] * x[None, :], (4, 4)),
    "take": (lambda _, x: x[np.array([2, 0, 2])], (3, 4)),
    "scatter": (lambda _, x: jnp.zeros((4, 4)).at[np.arange(3), np.array([3, 0, 1])].set(x), (3,)),
    "iota": (lambda _, x: x + lax.broadcasted_iota(jnp.float32, (3, 4), 1), (3, 4)),
    "dynamic_slice": (lambda _, x: lax.dynamic_slice(x, (1, 5), (2, 2)), (3, 4)),
    "copy of the input": (lambda _, x: (x, x.T), (3, 4)),
    "a scalar": (lambda _, x: x * x, ()),
    "a constant result": (lambda _, x: (x, jnp.full((2, 2), 3.0)), (2,)),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    function, shape = MOVES[name]
    with jax.numpy_rank_promotion("allow"):
        check(function, floats(*shape))


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2), (1, 2)])
@pytest.mark.parametrize("name", ["sum", "max", "min", "prod", "mean"])
def test_reductions(name, axes):
    check(lambda _, x: getattr(jnp, name)(x.transpose(1, 0, 2) * 2, axes), floats(3, 4, 5))


@pytest.mark.parametrize("name", ["all", "any"])
def test_reductions_of_booleans(name):
    check(lambda _, x: getattr(jnp, name)(x, 1), booleans(8, 3))


def test_sums_of_integers_wrap():
    check(lambda _, x: x.sum(0), big(9, 4))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_first_of_the_extremes(name, axis):
    x = np.round(floats(4, 5, 1))
    x[1, 2], x[2, 3] = np.nan, np.inf
    check(lambda _, x: getattr(jnp, name)(x, axis), x)


DOTS = {
    "matrix": ("mk,kn->mn", (9, 13), (13, 17)),
    "vector": ("k,kn->n", (13,), (13, 17)),
    "row": ("mk,kn->mn", (1, 30), (30, 50)),
    "column": ("mk,k->m", (9, 13), (13,)),
    "inner": ("k,k->", (13,), (13,)),
    "outer": ("m,n->mn", (5,), (6,)),
    "batch": ("bmk,bkn->bmn", (3, 6, 7), (3, 7, 10)),
    "turned": ("kbm,nkb->bmn", (7, 3, 6), (10, 7, 3)),
    "several": ("abij,jbc->aic", (2, 3, 4, 5), (5, 3, 6)),
    "large": ("mk,kn->mn", (64, 100), (100, 72)),
}


@pytest.mark.parametrize("simd", [True, False])
@pytest.mark.parametrize("name", DOTS)
def test_products(name, simd):
    formula, a, b = DOTS[name]
    program = check(lambda _, a, b: jnp.einsum(formula, a, b), floats(*a), floats(*b), simd=simd)
    assert "dot_general" in program.primitives or name == "outer"


def test_the_webassembly_is_used():
    program = plain.trace("f", lambda _, x: x @ x, {}, {"x": floats(8, 8)})
    assert ask(javascript.write([program]), [])["simd"] is True
    assert ask(javascript.write([program], simd=False), [])["simd"] is False


def test_without_webassembly_the_loops_are_javascript():
    x = floats(8, 8)
    script = "var WebAssembly;\n" + javascript.write([plain.trace("f", lambda _, x: x @ x, {}, {"x": x})])
    assert ask(script, [])["simd"] is False
    same(call(script, [("f", [x])])[0], [x @ x])


def test_a_script_needs_nothing_around_it():
    script = javascript.write([plain.trace("f", lambda _, x: jax.nn.gelu(x @ x), {}, {"x": floats(8, 8)})])
    for word in ("window", "document", "require", "import ", "eval", "Function(", "fetch", "http", "</"):
        assert word not in script, word


CONVOLUTIONS = {
    "same": {"padding": ((1, 1), (1, 1))},
    "valid": {"padding": ((0, 0), (0, 0))},
    "uneven": {"padding": ((0, 2), (3, 1))},
    "cropping": {"padding": ((-1, 2), (0, -2))},
    "strides": {"padding": ((1, 2), (0, 1)), "window_strides": (2, 3)},
    "dilated kernel": {"padding": ((2, 2), (1, 3)), "rhs_dilation": (2, 1)},
    "transposed": {"padding": ((2, 2), (2, 3)), "lhs_dilation": (2, 2)},
    "transposed, uneven": {"padding": ((1, 2), (0, 3)), "lhs_dilation": (3, 1)},
    "transposed, cropping": {"padding": ((-1, 1), (2, -1)), "lhs_dilation": (2, 2)},
    "transposed, dilated": {"padding": ((4, 4), (2, 2)), "lhs_dilation": (2, 3), "rhs_dilation": (2, 1)},
    "full": {"padding": ((2, 2), (2, 2))},
    "everything": {
        "padding": ((3, 2), (4, 1)), "window_strides": (2, 1), "lhs_dilation": (3, 2), "rhs_dilation": (1, 2),
    },
}  # fmt: skip
NUMBERS = (("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW"), ("CHWN", "IHWO", "HWNC"), ("HWNC", "HWOI", "CHWN"))


def convolve(x, w, numbers, options):
    options = {"window_strides": (1, 1), **options}
    return lax.conv_general_dilated(x, w, dimension_numbers=numbers, **options)


@pytest.mark.parametrize("numbers", NUMBERS, ids="-".join)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, numbers):
    sizes = {"N": 2, "H": 7, "W": 6, "C": 3, "I": 3, "O": 9}
    x = floats(*(sizes[axis] for axis in numbers[0]))
    w = floats(*({"H": 3, "W": 2}.get(axis, sizes[axis]) for axis in numbers[1]))
    program = check(lambda w, x: convolve(x, w, numbers, CONVOLUTIONS[name]) + 1, x, weights=w)
    assert "conv_general_dilated" in program.primitives


def test_a_convolution_in_pieces():
    """More patches than are held at a time, in both formulations."""
    x, w = floats(1, 40, 40, 12), floats(5, 5, 12, 16)
    check(lambda w, x: convolve(x, w, NUMBERS[0], CONVOLUTIONS["valid"]), x, weights=w, tolerance=1e-4)
    check(lambda w, x: convolve(x, w, NUMBERS[0], CONVOLUTIONS["transposed"]), x, weights=w, tolerance=1e-4)


def test_a_kernel_that_is_computed():
    check(
        lambda _, x, w: convolve(x, w[:, ::-1], NUMBERS[0], CONVOLUTIONS["same"]),
        floats(1, 5, 5, 3),
        floats(3, 3, 3, 4),
    )


def test_groups_are_refused():
    def function(w, x):
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", feature_group_count=2)

    with pytest.raises(UserError, match=r"^f needs conv_general_dilated with groups, which cannot be translated"):
        check(function, floats(1, 4, 5, 5), weights=floats(4, 2, 3, 3))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda _, x: jnp.sort(x), "the primitive sort"),
        (lambda _, x: jax.random.normal(jax.random.key(0), (4,)) * x, "the primitive"),
        (lambda _, x: lax.lgamma(x), "the primitive lgamma"),
        (lambda _, x: lax.pad(x, x[0], [(1, 1, 0)]), "pad with a computed value"),
    ],
)
def test_the_error_names_the_function_and_the_primitive(function, name):
    program = plain.trace("decode", function, {}, {"x": floats(4)})
    with pytest.raises(UserError, match=f"^decode needs {name}"):
        javascript.write([program])


def test_wrong_arguments_are_refused_by_the_script():
    script = javascript.write([plain.trace("decode", lambda _, code: code + 1, {}, {"code": floats(4)})])
    with pytest.raises(RuntimeError, match="code of decode must have 4 numbers, got 3"):
        call(script, [("decode", [floats(3)])])


def test_functions_share_weights_by_name():
    weights = {"kernel": floats(30, 30)}
    programs = [plain.trace(name, lambda w, x: x @ w["kernel"], weights, {"x": floats(1, 30)}) for name in "fg"]
    one, both = (len(javascript.write(programs[:count])) for count in (1, 2))
    assert both - one < 1500 < 30 * 30 * 4
    other = plain.trace("h", lambda w, x: x @ w["kernel"], {"kernel": floats(30, 30)}, {"x": floats(1, 30)})
    with pytest.raises(UserError, match="different weights named kernel"):
        javascript.write([programs[0], other])


@pytest.mark.parametrize(
    ("precision", "share"), [("float16", 1 / 2), ("int12", 3 / 8), ("int11", 3 / 8), ("int10", 3 / 8), ("int8", 1 / 4)]
)
def test_rounded_says_what_a_precision_does(precision, share):
    weights = {"kernel": floats(3, 3, 20, 16) * np.exp(floats(16)), "bias": floats(16), "zero": np.zeros((3, 3, 16, 4))}
    weights = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), weights)
    constant = floats(16) * np.float32(1.2345)  # is no weight, and stays

    def function(weights, x):
        y = convolve(x, weights["kernel"], NUMBERS[0], CONVOLUTIONS["same"])
        y = y + weights["bias"].reshape(1, 1, 1, -1) + constant.reshape(1, 1, 1, -1)
        return y, convolve(y, weights["zero"], NUMBERS[0], CONVOLUTIONS["same"])

    x = floats(1, 5, 5, 20)
    program = plain.trace("f", function, weights, {"x": x})
    script, whole = javascript.write([program], precision=precision), javascript.write([program])
    wanted = jax.tree.leaves(function(javascript.rounded(weights, precision), jnp.asarray(x)))
    same(call(script, [("f", [x])])[0], wanted, 1e-4)
    assert np.abs(wanted[0] - function(weights, jnp.asarray(x))[0]).max() > 1e-3  # else the comparison shows nothing
    stored = 4 / 3 * 4 * 3 * 3 * (20 * 16 + 16 * 4)
    assert abs(len(whole) - len(script) - (1 - share) * stored) < 500


def test_every_kind_of_half_precision_number():
    numbers = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    program = plain.trace("f", lambda w, x: w["numbers"] + x, {"numbers": numbers}, {"x": np.zeros(65536, np.float32)})
    (found,) = call(javascript.write([program], precision="float16"), [("f", [np.zeros(65536, np.float32)])])[0]
    np.testing.assert_array_equal(found, numbers)


def test_the_script_describes_its_functions():
    def function(_, x, y):
        return {"a": x[0], "b": y > 0}

    program = plain.trace("f", function, {}, {"x": floats(2, 3), "y": integers(4)})
    answer = ask(javascript.write([program], name="other"), [])
    assert answer["functions"]["f"]["inputs"] == [
        {"name": "x", "shape": [2, 3], "array": "Float32Array"},
        {"name": "y", "shape": [4], "array": "Int32Array"},
    ]
    assert answer["functions"]["f"]["outputs"] == [
        {"name": "a", "shape": [3], "array": "Float32Array"},
        {"name": "b", "shape": [4], "array": "Uint8Array"},
    ]


def test_constants_with_nan():
    constant = np.array([np.nan, 1, np.nan], np.float32)
    check(lambda _, x: (x + constant, x * constant, x - np.full(3, np.nan, np.float32)), floats(3))


def test_an_expression_used_twice_is_computed_once():
    program = plain.trace("f", lambda _, x: jax.nn.silu(jnp.exp(x)) + 1, {}, {"x": floats(5)})
    script, _ = javascript.parts([program])
    assert script.count("Math.exp(b") == 1
    assert script.split("function f0")[1].count("for (") == 1


def test_scripts_are_reproducible():
    program = plain.trace("f", lambda w, x: x @ w, floats(4, 4), {"x": floats(1, 4)})
    assert javascript.write([program]) == javascript.write([program])


# Random programs.

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def chains(draw):
    """A random chain of moves, elementwise operations and reductions, with every fifth value used again."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    steps, rank = [], len(shape)
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(
            ["transpose", "rev", "slice", "pad", "flatten", "split", "tanh", "twice", "sum", "column", "own", "max"]
        ))  # fmt: skip
        steps.append((kind, draw(st.integers(0, 10**6))))
    return tuple(shape), steps, rank


def walk(x, steps):
    first = x
    for kind, seed in steps:
        rng = np.random.default_rng(seed)
        axis = int(rng.integers(x.ndim)) if x.ndim else 0
        if kind == "tanh":
            x = jnp.tanh(x)
        elif kind == "twice":
            x = x * jax.nn.sigmoid(x) + x
        elif kind == "flatten":
            x = x.reshape(-1)
        elif x.ndim == 0:
            continue
        elif kind == "transpose":
            x = x.transpose(tuple(int(i) for i in rng.permutation(x.ndim)))
        elif kind == "rev":
            x = jnp.flip(x, axis)
        elif kind == "slice":
            x = lax.slice_in_dim(x, int(rng.integers(x.shape[axis])), None, int(rng.integers(1, 3)), axis)
        elif kind == "pad":
            config = [(int(rng.integers(0, 2)), int(rng.integers(0, 3)), int(rng.integers(0, 2))) for _ in x.shape]
            x = lax.pad(x, jnp.float32(rng.integers(2)), config)
        elif kind == "split" and x.shape[axis] % 2 == 0:
            x = x.reshape(*x.shape[:axis], 2, x.shape[axis] // 2, *x.shape[axis + 1 :])
        elif kind == "sum":
            x = x.sum(axis)
        elif kind == "max":
            x = jnp.maximum(x, x.max(axis, keepdims=True) - 1)
        elif kind == "column" and x.ndim < 5:
            x = jnp.broadcast_to(jnp.expand_dims(x, axis), (*x.shape[:axis], 2, *x.shape[axis:]))
        elif kind == "own" and x.size < 200:
            x = jnp.concatenate([x, jnp.flip(x, axis) * 0.5], axis)
        if x.size > 3000:
            x = x.reshape(-1)[:100]
    return x, x * 2, first + 1


@QUICK
@given(chains())
def test_random_chains(case):
    shape, steps, _ = case
    check(lambda _, x: walk(x, steps), floats(*shape))


@st.composite
def convolutions(draw):
    pair = lambda low, high: (draw(st.integers(low, high)), draw(st.integers(low, high)))  # noqa: E731
    size, taps, grid, dilation = pair(1, 9), pair(1, 4), pair(1, 3), pair(1, 2)
    strides = pair(1, 3)
    pads = []
    for n, k, g, d in zip(size, taps, grid, dilation, strict=True):
        reach, length = (k - 1) * d + 1, (n - 1) * g + 1
        low = draw(st.integers(-min(1, n - 1), reach))
        pads.append((low, draw(st.integers(max(0, reach - length - low), reach + 2))))
    numbers = draw(st.sampled_from(NUMBERS))
    sizes = {"N": draw(st.integers(1, 2)), "C": draw(st.integers(1, 9)), "O": draw(st.integers(1, 18))}
    options = {"padding": pads, "window_strides": strides, "lhs_dilation": grid, "rhs_dilation": dilation}
    sizes |= {"I": sizes["C"]}
    x = [sizes.get(a) or {"H": size[0], "W": size[1]}[a] for a in numbers[0]]
    w = [sizes.get(a) or {"H": taps[0], "W": taps[1]}[a] for a in numbers[1]]
    return x, w, numbers, options, draw(st.booleans())


@QUICK
@given(convolutions())
def test_random_convolutions(case):
    x, w, numbers, options, simd = case
    w = floats(*w)
    check(lambda w, x: jnp.tanh(convolve(x, w, numbers, options)), floats(*x), weights=w, tolerance=1e-4, simd=simd)


ACTIVATIONS = (jax.nn.relu, jnp.tanh, jax.nn.silu, jax.nn.leaky_relu, jax.nn.gelu, jax.nn.softplus)
LAYERS = ("conv", "transposed", "upsampled", "pool", "norm", "activation")


@st.composite
def nets(draw):
    """Layers of the house's nets, with their random numbers drawn in advance."""
    layers = [
        (draw(st.sampled_from(LAYERS)), draw(st.integers(1, 20)), draw(st.integers(1, 4)), draw(st.integers(1, 2)),
         draw(st.sampled_from(["SAME", "VALID"])), draw(st.sampled_from(ACTIVATIONS)))
        for _ in range(draw(st.integers(1, 4)))
    ]  # fmt: skip
    return draw(st.sampled_from(["HWNC", "CHWN", "NHWC"])), draw(st.integers(5, 9)), draw(st.integers(1, 20)), layers


def images_of(weights, x, layout, layers):
    x = conv.from_nhwc(x, layout)
    channels = layout.index("C")
    for number, (kind, _, _, strides, padding, activation) in enumerate(layers):
        kernel, bias = weights.get(f"kernel{number}"), weights.get(f"bias{number}")
        if kind == "conv":
            x = conv.conv2d(x, kernel, strides=strides, padding=padding, layout=layout)
        elif kind == "transposed":
            x = conv.conv_transpose2d(x, kernel, strides=strides, padding=padding, layout=layout)
        elif kind == "upsampled":
            x = conv.upsample_conv2d(x, kernel, padding="SAME", layout=layout)
        elif kind == "pool":
            x = conv.max_pool2d(x, layout=layout)
        elif kind == "norm":
            x = (x - x.mean(channels, keepdims=True)) * lax.rsqrt(x.var(channels, keepdims=True) + 1e-2)
        else:
            x = activation(x)
        x = (
            x
            if bias is None
            else activation(x + jnp.expand_dims(bias, [axis for axis in range(4) if axis != channels]))
        )
    return conv.to_nhwc(x, layout)


@settings(QUICK, max_examples=15)
@given(nets())
def test_random_nets(case):
    layout, size, inputs, layers = case
    weights, shape = {}, (1, size, size, inputs)
    for number, (kind, features, taps, *_) in enumerate(layers):
        if kind in ("conv", "transposed", "upsampled"):
            taps = min(taps, *shape[1:3])
            weights[f"kernel{number}"] = jnp.asarray(floats(taps, taps, shape[3], features)) / (taps * shape[3] ** 0.5)
            weights[f"bias{number}"] = jnp.asarray(floats(features))
        net = lambda x, upto=number + 1: images_of(weights, x, layout, layers[:upto])  # noqa: E731
        shape = jax.eval_shape(net, jax.ShapeDtypeStruct((1, size, size, inputs), jnp.float32)).shape
        assume(max(shape) < 40)
    weights["head"] = jnp.asarray(floats(int(np.prod(shape[1:])), 5)) / 10

    def net(weights, x):
        y = images_of(weights, x, layout, layers)
        return {"images": y, "numbers": y.reshape(1, -1) @ weights["head"]}

    check(net, floats(1, size, size, inputs), weights=weights, tolerance=1e-4, jit=True)
