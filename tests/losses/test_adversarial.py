import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxgen.losses import adversarial
from jaxgen.losses.adversarial import LOSSES, Targets

REAL, FAKE = np.array([0.3, -1.2, 4.0]), np.array([-2.0, 0.5, 0.0])
P, Q = special.expit(REAL), special.expit(FAKE)
EXPECTED = {
    "minimax": (-np.log(P), -np.log(1 - Q), np.log(1 - Q)),
    "non_saturating": (-np.log(P), -np.log(1 - Q), -np.log(Q)),
    "least_squares": ((REAL - 1) ** 2 / 2, FAKE**2 / 2, (FAKE - 1) ** 2 / 2),
    "hinge": ([0.7, 2.2, 0.0], [0.0, 1.5, 1.0], -FAKE),
    "wasserstein": (-REAL, FAKE, -FAKE),
}


@pytest.mark.parametrize("name", LOSSES)
def test_hand_computed_values(name):
    got = LOSSES[name](jnp.asarray(REAL, jnp.float32), jnp.asarray(FAKE, jnp.float32))
    for terms, expected in zip(got, EXPECTED[name], strict=True):
        np.testing.assert_allclose(terms, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_examples_do_not_mix(name):
    jacobians = jax.jacobian(LOSSES[name], argnums=(0, 1))(jnp.asarray(REAL), jnp.asarray(FAKE) + 0.1)
    for terms in jacobians:
        for jacobian in terms:
            assert not np.any(jacobian - np.diag(np.diag(jacobian)))


@pytest.mark.parametrize("name", LOSSES)
def test_logits_with_a_second_axis_are_refused(name):
    with pytest.raises(ValueError, match=r"fake logits must be one number an image.*\(3, 1\)"):
        LOSSES[name](jnp.zeros(3), jnp.zeros((3, 1)))


def test_smoothing_is_that_of_keras():
    """Label smoothing 0.1 turns 1 into 0.95 and 0 into 0.05; one-sided leaves the generated images' label alone."""
    both = adversarial.non_saturating(jnp.asarray(REAL), jnp.asarray(FAKE), Targets(0.95, 0.05, 0.95))
    np.testing.assert_allclose(both.real, -0.95 * np.log(P) - 0.05 * np.log(1 - P), rtol=1e-5)
    np.testing.assert_allclose(both.fake, -0.05 * np.log(Q) - 0.95 * np.log(1 - Q), rtol=1e-5)
    np.testing.assert_allclose(both.generator, -0.95 * np.log(Q) - 0.05 * np.log(1 - Q), rtol=1e-5)
    one = adversarial.non_saturating(jnp.asarray(REAL), jnp.asarray(FAKE), Targets(real=0.95))
    np.testing.assert_array_equal(one.real, both.real)
    np.testing.assert_allclose(one.fake, -np.log(1 - Q), rtol=1e-5)


def test_targets_are_traced():
    values = jax.vmap(lambda t: adversarial.non_saturating(jnp.zeros(1) + 2, jnp.zeros(1), Targets(t)).real)(
        jnp.array([1.0, 0.5])
    )
    np.testing.assert_allclose(values[:, 0], [np.log1p(np.exp(-2)), np.log1p(np.exp(-2)) + 1], rtol=1e-5)


def test_at_the_optimum_minimax_is_minus_twice_log_two():
    """D = 1/2 everywhere: the discriminator pays 2 ln 2, the generator -ln 2 or ln 2 (Goodfellow et al., thm. 1)."""
    even = jnp.zeros(1)
    np.testing.assert_allclose(sum(adversarial.minimax(even, even)[:2]), 2 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(adversarial.minimax(even, even).generator, -np.log(2), rtol=1e-6)
    np.testing.assert_allclose(adversarial.non_saturating(even, even).generator, np.log(2), rtol=1e-6)


def slope(name, logit):
    return float(jax.grad(lambda x: LOSSES[name](x, x).generator.sum())(jnp.array([logit]))[0])


def test_known_limits_of_the_generators_slope():
    assert abs(slope("minimax", -20.0)) < 1e-6  # a confident discriminator stops the minimax generator
    np.testing.assert_allclose(slope("non_saturating", -20.0), -1, rtol=1e-6)  # and leaves this one its full slope
    np.testing.assert_allclose(slope("minimax", 20.0), -1, rtol=1e-6)
    assert abs(slope("non_saturating", 20.0)) < 1e-6
    # where D is fooled or not by the same odds they differ by that factor: d log(1-D) = D/(1-D) d(-log D)
    np.testing.assert_allclose(slope("minimax", 0.7) / slope("non_saturating", 0.7), np.exp(0.7), rtol=1e-5)
    assert slope("hinge", 3.0) == slope("wasserstein", -3.0) == -1


def test_hinge_is_wasserstein_plus_one_inside_the_margin():
    x = jnp.linspace(-0.9, 0.9, 7)
    hinge, plain = adversarial.hinge(x, x), adversarial.wasserstein(x, x)
    for name in ("real", "fake"):
        np.testing.assert_allclose(getattr(hinge, name), getattr(plain, name) + 1, rtol=1e-6)


WEIGHTS = jnp.array([3.0, 0.0, 4.0, 0.0]).reshape(1, 2, 2, 1)  # |gradient| 5


def linear(images):
    return (images * WEIGHTS).sum(axis=(1, 2, 3))


def test_penalties_of_a_linear_critic():
    images = jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
    np.testing.assert_allclose(adversarial.r1_penalty(linear, images), [12.5] * 3, rtol=1e-6)
    penalty = adversarial.gradient_penalty(linear, images, -images, jnp.array([0.0, 0.3, 1.0]))
    np.testing.assert_allclose(penalty, [16.0] * 3, rtol=1e-5)


def test_penalties_of_a_quadratic_critic_and_where_they_look():
    """D = |x|^2 / 2 has slope |x|."""
    real, fake = jnp.full((2, 1, 1, 1), 2.0), jnp.full((2, 1, 1, 1), 6.0)

    def critic(x):
        return 0.5 * (x**2).sum(axis=(1, 2, 3))

    np.testing.assert_allclose(adversarial.r1_penalty(critic, real), [2.0, 2.0], rtol=1e-6)
    penalty = adversarial.gradient_penalty(critic, real, fake, jnp.array([1.0, 0.25]))
    np.testing.assert_allclose(penalty, [(2 - 1) ** 2, (5 - 1) ** 2], rtol=1e-5)


def test_penalties_have_gradients_by_the_critics_parameters():
    images = jax.random.normal(jax.random.key(0), (3, 2, 2, 1))

    def r1(scale):
        return adversarial.r1_penalty(lambda x: scale * linear(x), images).mean()

    np.testing.assert_allclose(jax.grad(r1)(2.0), 50.0, rtol=1e-5)  # d (25 s^2 / 2) = 25 s

    def flat(scale):
        return adversarial.gradient_penalty(lambda x: scale * linear(x), images, images, jnp.ones(3)).mean()

    assert np.isfinite(jax.grad(flat)(0.0))


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="shapes must be equal"):
        adversarial.gradient_penalty(linear, jnp.zeros((3, 2, 2, 1)), jnp.zeros((1, 2, 2, 1)), jnp.ones(3))


class VariantsTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_pmap=True)
    def test_values_do_not_depend_on_the_transformation(self):
        got = self.variant(adversarial.non_saturating)(jnp.asarray(REAL, jnp.float32), jnp.asarray(FAKE, jnp.float32))
        for terms, expected in zip(got, EXPECTED["non_saturating"], strict=True):
            np.testing.assert_allclose(terms, expected, rtol=1e-5)
