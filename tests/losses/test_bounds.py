import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxgen.losses import bounds


def log_weights(k=7):
    return 3 * jax.random.normal(jax.random.key(0), (5, k))


def test_importance_weighted_matches_scipy():
    got = bounds.importance_weighted(log_weights())
    np.testing.assert_allclose(
        got, special.logsumexp(np.asarray(log_weights(), np.float64), axis=1) - np.log(7), rtol=1e-5
    )


def test_one_weight_is_the_elbos_estimate():
    np.testing.assert_allclose(bounds.importance_weighted(log_weights(1)), log_weights(1)[:, 0], rtol=1e-6)


def test_the_bound_rises_with_k():
    """In expectation; over 20,000 draws the difference is many standard errors."""
    draws = 2 * jax.random.normal(jax.random.key(1), (20_000, 64))
    means = [float(bounds.importance_weighted(draws[:, :k]).mean()) for k in (1, 2, 8, 64)]
    assert all(b > a + 0.1 for a, b in itertools.pairwise(means))
    assert means[-1] < 2.0 + 0.1  # log E[w] = 2^2 / 2


def free(floor, kls):
    return np.asarray(bounds.free_bits(jnp.asarray(kls), floor))


def test_free_bits_count_the_floor_and_stop_the_gradient_below_it():
    kls = np.array([[0.1, 2.0], [0.3, 1.0]], np.float32)
    np.testing.assert_allclose(free(0.5, kls), [2.5, 1.5])
    np.testing.assert_allclose(free(0.0, kls), kls.sum(1))
    gradient = jax.grad(lambda k: bounds.free_bits(k, 0.5).mean())(jnp.asarray(kls))
    np.testing.assert_allclose(gradient, [[0, 0.5], [0, 0.5]])


def test_warm_up_is_a_line_to_the_weight():
    steps = jnp.arange(6)
    weights = [jax.vmap(lambda step, n=n: bounds.warm_up(2.0, step, n))(steps) for n in (4.0, 0.0)]
    np.testing.assert_allclose(weights, [[0.5, 1.0, 1.5, 2.0, 2.0, 2.0], [2.0] * 6])


def toy():
    """A posterior of two latents for each of 4 images, and one code drawn from each."""
    means, noise = jax.random.normal(jax.random.key(2), (2, 4, 2))
    codes = means + 0.5 * noise
    pairs = jnp.asarray(stats.norm.logpdf(codes[:, None], means[None], 0.5), jnp.float32)
    prior = jnp.asarray(stats.norm.logpdf(codes).sum(1), jnp.float32)
    return pairs, prior


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_the_decomposition_sums_to_the_rate(estimator):
    pairs, prior = toy()
    parts = bounds.decompose(pairs, jnp.eye(4, dtype=bool), prior, estimator, 100)
    own = np.asarray(pairs)[np.arange(4), np.arange(4)].sum(1)
    np.testing.assert_allclose(sum(parts), own - prior, rtol=1e-4)


def test_stratified_estimate_is_unbiased():
    """Over all orders of the other images, each of N = 100 images gets 1 / N of the aggregate posterior."""
    weights = jnp.exp(bounds.log_importance_weights(jnp.eye(8, dtype=bool), "stratified", 100))
    np.testing.assert_allclose(np.diag(weights), 1 / 100, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(1) - np.diag(weights), 99 / 100, rtol=1e-5)
    pairs, _ = toy()
    estimates = []
    for order in itertools.permutations(range(1, 4)):  # code 0, with the other three images in every order
        order = np.array([0, *order])
        log_joint = bounds.log_importance_weights(jnp.eye(4, dtype=bool), "stratified", 4)[0]
        estimates.append(np.exp(special.logsumexp(np.asarray(pairs)[0, order].sum(1) + np.asarray(log_joint))))
    np.testing.assert_allclose(np.mean(estimates), np.exp(np.asarray(pairs)[0].sum(1)).mean(), rtol=1e-4)


def test_stratified_weights_sum_to_one_and_weighted_are_the_papers():
    own = jnp.eye(8, dtype=bool)
    np.testing.assert_allclose(jnp.exp(bounds.log_importance_weights(own, "stratified", 100)).sum(1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(bounds.log_importance_weights(own, "weighted", 100)), 1 / 800, rtol=1e-5)


def test_doubly_reparameterized_weighs_the_gradient_by_the_normalized_weight():
    codes = jax.random.normal(jax.random.key(3), (3, 4, 2))

    def bound(codes):
        codes, zeros = bounds.doubly_reparameterized(codes)
        return bounds.importance_weighted(-(codes**2).sum(-1) + zeros).mean()

    weights = special.softmax(-(np.asarray(codes) ** 2).sum(-1), axis=1)
    expected = weights[..., None] ** 2 * -2 * np.asarray(codes) / 3
    np.testing.assert_allclose(jax.grad(bound)(codes), expected, rtol=1e-4)


class VariantsTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
    def test_values_do_not_depend_on_the_transformation(self):
        got = self.variant(bounds.importance_weighted)(log_weights())
        np.testing.assert_allclose(got, special.logsumexp(np.asarray(log_weights()), axis=1) - np.log(7), rtol=1e-5)
