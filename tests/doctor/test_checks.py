"""A check fails when a computation is wrong, and only its own line says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.doctor import checks, known, models, precise, quick
from jaxgen.doctor.checks import Check


@pytest.mark.parametrize(
    ("measured", "excuse", "status"),
    [(1e-6, "", "ok"), (1e-3, "", "WRONG"), (float("nan"), "", "WRONG"), (1e-3, "unused", "known")],
)
def test_the_error_decides(measured, excuse, status):
    assert checks.run(Check("a", "b", lambda: measured, 1e-4, excuse)).status == status


def test_an_exception_is_a_line():
    def broken() -> float:
        raise RuntimeError("first\nsecond")

    result = checks.run(Check("a", "b", broken))
    assert (result.status, result.error, result.note) == ("failed", None, "RuntimeError: first")


def test_one_wrong_element_of_many_counts_in_full():
    true = np.ones(40_000)
    computed = true.copy()
    computed[-1] = 1.01
    assert checks.difference({"a": computed}, {"a": true}) == pytest.approx(0.01)
    computed[-1] = np.nan
    assert checks.difference(computed, true) == np.inf
    assert checks.difference(np.array([1, 2]), np.array([1, 3])) == np.inf
    assert checks.difference(np.ones(2), np.ones(3)) == np.inf


def test_float64_draws_what_float32_draws():
    def program(key):
        noise = jax.random.normal(key, (1_000,))
        kept = jax.random.bernoulli(key, 0.7, (1_000,))
        total, sums = jax.lax.scan(lambda sum, x: (sum + x, sum), jnp.float32(0), noise)
        root = jax.lax.while_loop(lambda x: x > 2, lambda x: x / 2, 100 * jnp.exp(total / 100))
        return noise, kept, sums, root, jnp.zeros(5).at[jnp.array([1, 1])].add(noise[:2])

    key = jax.random.key(0)
    wide = precise.in_float64(program, key)
    assert [leaf.dtype for leaf in wide] == [np.float64, np.bool_, np.float64, np.float64, np.float64]
    assert checks.difference(jax.jit(program)(key), wide) < 1e-5
    assert np.abs(wide[2][1:] - np.cumsum(wide[0])[:-1]).max() < 1e-12  # sums of a thousand: float32 has 1e-6


def test_what_is_lost_in_float32_is_not_in_float64():
    lost = precise.in_float64(lambda x: (x + 1e-9) - x, jnp.float32(1))
    assert float(lost) == pytest.approx(1e-9, rel=1e-6)


def test_a_wrong_row_of_a_model_is_found(monkeypatch):
    def wrong(function, *args):
        loss, gradient = jax.jit(function)(*args)
        mean, (losses, errors) = loss
        return (mean, (losses.at[-1].mul(1.008), errors)), gradient

    check = next(check for check in models.CHECKS if check.name.startswith("DQN: loss"))
    assert checks.run(check).status == "ok"
    monkeypatch.setattr(models, "compiled", wrong)
    result = checks.run(check)
    assert result.status == "WRONG"
    assert 1e-4 < result.error < 8.1e-3


def test_a_wrong_compiler_is_found(monkeypatch):
    real = jax.jit

    def jit(function, *args, **kwargs):
        compiled = real(function, *args, **kwargs)
        return lambda *inputs: jax.tree.map(
            lambda leaf: leaf.at[..., -1].add(leaf[..., -1] // 50 + 1), compiled(*inputs)
        )

    rows = next(check for check in known.CHECKS if check.name == "matrix rows")
    assert checks.run(rows).status == "ok"
    monkeypatch.setattr(jax, "jit", jit)
    assert checks.run(rows).status == "WRONG"


QUICK = ("shift", "rolled row", "cropped convolution", "floor division", "first index", "two paddings", "scaled affine")


@pytest.mark.parametrize("check", [c for c in known.CHECKS if c.name in QUICK], ids=lambda check: check.name)
def test_known_programs(check):
    assert checks.run(check).status == "ok"


@pytest.mark.parametrize("check", quick.CHECKS, ids=lambda check: check.name)
def test_quick_checks(check):
    assert checks.run(check).status == "ok"


def test_names_are_different():
    from jaxgen.doctor import catalogue

    names = [check.name for check in catalogue.CHECKS]
    assert len(set(names)) == len(names)
