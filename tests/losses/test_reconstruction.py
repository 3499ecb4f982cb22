import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxgen.losses import reconstruction

SHAPES = ((3, 4), (2, 5, 5, 1), (4, 3, 3, 3))
LOSSES = (reconstruction.bernoulli_cross_entropy, reconstruction.gaussian_nll, reconstruction.squared_error)


def draw(shape):
    rng = np.random.default_rng(0)
    return rng.normal(size=shape).astype(np.float32), rng.uniform(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_bernoulli_matches_numpy(shape):
    logits, targets = draw(shape)
    p = special.expit(logits.astype(np.float64))
    expected = -(targets * np.log(p) + (1 - targets) * np.log1p(-p)).reshape(shape[0], -1).sum(1)
    np.testing.assert_allclose(reconstruction.bernoulli_cross_entropy(logits, targets), expected, rtol=1e-5)


def test_bernoulli_hand_values():
    logits = jnp.array([[0.0, 0.0], [100.0, -100.0], [100.0, -100.0]])
    targets = jnp.array([[1.0, 0.3], [1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(
        reconstruction.bernoulli_cross_entropy(logits, targets), [2 * math.log(2), 0.0, 200.0], atol=1e-6
    )


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_gaussian_matches_scipy(scale):
    mean, targets = draw((4, 3, 3, 1))
    expected = -stats.norm.logpdf(targets, mean, scale).reshape(4, -1).sum(1)
    np.testing.assert_allclose(reconstruction.gaussian_nll(mean, targets, scale), expected, rtol=1e-5)


def test_squared_error_hand_value():
    np.testing.assert_allclose(reconstruction.squared_error(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 4.0]])), [5.0])


@pytest.mark.parametrize("loss", LOSSES)
def test_unequal_shapes_are_refused(loss):
    with pytest.raises(ValueError, match="shapes must be equal"):
        loss(jnp.zeros((3, 4)), jnp.zeros((3, 1)))


@pytest.mark.parametrize("loss", LOSSES)
def test_examples_do_not_mix(loss):
    predictions, targets = draw((3, 4))
    jacobian = jax.jacobian(loss)(jnp.asarray(predictions), jnp.asarray(targets))
    for i in range(3):
        for j in range(3):
            assert bool(jnp.any(jacobian[i, j] != 0)) == (i == j)


class VariantsTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
    def test_values_do_not_depend_on_the_transformation(self):
        logits, targets = draw((2, 6))
        got = self.variant(reconstruction.bernoulli_cross_entropy)(logits, targets)
        np.testing.assert_allclose(got, -np.sum(targets * logits - np.logaddexp(0, logits), axis=1), rtol=1e-5)


def test_units():
    np.testing.assert_allclose(reconstruction.per_dimension(jnp.float32(784.0), (28, 28, 1)), 1.0)
    np.testing.assert_allclose(reconstruction.bits_per_dimension(jnp.float32(784.0 * math.log(2)), (28, 28, 1)), 1.0)
