import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen import distributions as d
from jaxgen.losses import reconstruction

FAMILIES = ("diagonal", "full")
LATENTS = 3


def numbers(family, seed=0):
    return jax.random.normal(jax.random.key(seed), (d.posterior_outputs(family, LATENTS),))


def as_scipy(family):
    """The same posterior built by hand with numpy."""
    raw = np.asarray(numbers(family), np.float64)
    mean, rest = raw[:LATENTS], raw[LATENTS:]
    if family == "diagonal":
        return mean, np.diag(np.log1p(np.exp(rest)))
    scale = np.zeros((LATENTS, LATENTS))
    scale[np.tril_indices(LATENTS)] = rest
    diagonal = np.log1p(np.exp(np.diag(scale))) + 1e-5
    return mean, np.tril(scale, -1) + np.diag(diagonal)


def test_numbers_a_posterior_takes():
    assert [d.posterior_outputs("diagonal", n) for n in (1, 2, 20)] == [2, 4, 40]
    assert [d.posterior_outputs("full", n) for n in (1, 2, 10)] == [2, 5, 65]


@pytest.mark.parametrize("family", FAMILIES)
def test_posterior_density_is_that_of_scipy(family):
    q = d.posterior(family, numbers(family))
    assert q.batch_shape == ()
    assert q.event_shape == (LATENTS,)
    mean, scale = as_scipy(family)
    z = np.array([0.3, -1.0, 0.5])
    expected = stats.multivariate_normal(mean, scale @ scale.T).logpdf(z)
    np.testing.assert_allclose(q.log_prob(jnp.asarray(z, jnp.float32)), expected, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_code_is_mean_plus_scale_times_noise_and_knows_its_density(family):
    q, noise = d.posterior(family, numbers(family)), jnp.array([0.1, -0.7, 1.2])
    z, log_q = d.reparameterized(q, noise)
    mean, scale = as_scipy(family)
    np.testing.assert_allclose(z, mean + scale @ np.asarray(noise), rtol=1e-5)
    np.testing.assert_allclose(log_q, q.log_prob(z), rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_kl_is_the_textbook_formula(family):
    mean, scale = as_scipy(family)
    covariance = scale @ scale.T
    expected = 0.5 * (np.trace(covariance) + mean @ mean - LATENTS - np.linalg.slogdet(covariance)[1])
    np.testing.assert_allclose(d.kl(family, numbers(family)), expected, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_kl_is_the_mean_of_its_one_sample_estimate(family):
    q, p = d.posterior(family, numbers(family)), d.prior(LATENTS)
    z, log_q = jax.vmap(lambda noise: d.reparameterized(q, noise))(jax.random.normal(jax.random.key(1), (20_000, 3)))
    estimates = np.asarray(log_q - jax.vmap(p.log_prob)(z))
    error = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - d.kl(family, numbers(family))) < 4 * error


@pytest.mark.parametrize("family", FAMILIES)
def test_marginal_kls_are_those_of_each_latent(family):
    mean, scale = as_scipy(family)
    variance = np.diag(scale @ scale.T)
    expected = 0.5 * (variance + mean**2 - 1 - np.log(variance))
    np.testing.assert_allclose(d.marginal_kls(family, numbers(family)), expected, rtol=1e-3)
    if family == "diagonal":
        np.testing.assert_allclose(d.kl(family, numbers(family)), expected.sum(), rtol=1e-4)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_faster_formulas_are_the_distributions(kind):
    outputs = jax.random.normal(jax.random.key(2), (4, 5, 5, 1))
    pixels = jax.random.uniform(jax.random.key(3), outputs.shape)
    distribution = d.likelihood(kind, outputs, 0.3)
    assert distribution.batch_shape == (4,)
    assert distribution.event_shape == (5, 5, 1)
    got = d.negative_log_likelihood(kind, outputs, pixels, 0.3)
    np.testing.assert_allclose(got, -distribution.log_prob(pixels), rtol=1e-5)


@pytest.mark.parametrize("mean", [-0.2, 0.0, 0.31, 1.0, 1.4])
@pytest.mark.parametrize("scale", [0.005, 0.05, 1.0])
def test_discretized_logistic_sums_to_one_over_the_bytes(mean, scale):
    levels = (jnp.arange(256.0) / 255).reshape(256, 1, 1, 1)
    nats = d.negative_log_likelihood("logistic", jnp.full(levels.shape, mean), levels, scale)
    np.testing.assert_allclose(jnp.exp(-nats).sum(), 1.0, rtol=1e-4)


def test_discretized_logistic_is_a_difference_of_sigmoids():
    levels, mean, scale = np.array([0.0, 100.0, 255.0]), 0.4, 0.05
    below = stats.logistic.cdf((levels - 0.5) / 255, mean, scale)
    above = stats.logistic.cdf((levels + 0.5) / 255, mean, scale)
    expected = -np.log(np.where(levels == 255, 1, above) - np.where(levels == 0, 0, below))
    pixels = jnp.asarray(levels / 255, jnp.float32).reshape(3, 1, 1, 1)
    got = d.negative_log_likelihood("logistic", jnp.full(pixels.shape, mean), pixels, scale)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_discretized_logistic_has_a_finite_gradient_everywhere():
    pixels = jnp.array([0.0, 0.5, 1.0, 0.0, 1.0]).reshape(5, 1, 1, 1)
    means = jnp.array([0.0, 0.5, 1.0, 3.0, -3.0]).reshape(5, 1, 1, 1)

    def loss(means, scale):
        return d.negative_log_likelihood("logistic", means, pixels, scale).sum()

    for scale in (0.001, 0.1):
        to_means, to_scale = jax.grad(loss, (0, 1))(means, jnp.float32(scale))
        assert np.all(np.isfinite(to_means))
        assert np.isfinite(to_scale)
        assert to_means[3] > 0 > to_means[4]


def test_examples_do_not_mix():
    outputs, pixels = jax.random.normal(jax.random.key(2), (3, 2, 2, 1)), jnp.full((3, 2, 2, 1), 0.5)
    for kind in ("bernoulli", "gaussian", "logistic"):
        jacobian = jax.jacrev(lambda o, kind=kind: d.negative_log_likelihood(kind, o, pixels, 0.1))(outputs)
        mixed = np.abs(np.asarray(jacobian)).sum((2, 3, 4)) > 0
        np.testing.assert_array_equal(mixed, np.eye(3, dtype=bool))


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="shapes must be equal"):
        reconstruction.bernoulli_cross_entropy(jnp.zeros((2, 3)), jnp.zeros((2, 1)))


def test_distrax_comes_with_the_first_distribution_and_without_tensorflow():
    code = (
        "import sys; from jaxgen import distributions as d; before = 'distrax' in sys.modules; d.prior(2); "
        "print(before, 'distrax' in sys.modules, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "True", "False"], done.stderr
