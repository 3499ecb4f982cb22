import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from jaxgen.errors import UserError
from jaxgen.evaluation import neighbors, sample_quality
from jaxgen.evaluation.sample_quality import Quality, collapse_alarm, frechet_distance, quality

KEY = jax.random.key(0)


def points(seed, count=600, mean=0.0):
    return np.asarray(mean + jax.random.normal(jax.random.key(seed), (count, 4)))


def test_frechet_distance_of_gaussians():
    a, b = np.diag([1.0, 4.0]), np.diag([9.0, 1.0])
    np.testing.assert_allclose(frechet_distance([0, 0], a, [3, 4], b), 25 + (1 - 3) ** 2 + (2 - 1) ** 2, rtol=1e-9)
    rng = np.random.default_rng(0)
    roots = [rng.normal(size=(5, 5)) for _ in range(2)]
    a, b = (root @ root.T for root in roots)
    expected = np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    np.testing.assert_allclose(frechet_distance(np.zeros(5), a, np.zeros(5), b), expected, rtol=1e-6)
    assert abs(frechet_distance(np.ones(5), a, np.ones(5), a)) < 1e-9
    singular = np.diag([1.0, 0.0])
    np.testing.assert_allclose(frechet_distance([0, 0], singular, [0, 0], singular), 0, atol=1e-12)


def test_moments_are_those_of_numpy():
    x = points(0)
    mean, covariance = sample_quality.moments(x)
    np.testing.assert_allclose(mean, np.mean(x, axis=0), atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(x, rowvar=False, dtype=np.float64), rtol=1e-12)


def test_identical_sets_are_perfect():
    got = quality(points(0), points(0))
    assert abs(got.frechet_distance) < 1e-4
    assert (got.precision, got.recall, got.coverage) == (1, 1, 1)
    assert (got.n_real, got.n_fake) == (600, 600)


def test_sets_of_one_law_are_near_perfect_and_the_kernel_distance_is_unbiased():
    got = quality(points(0, 1000), points(1, 600))
    assert got.frechet_distance < 0.1
    assert min(got.precision, got.recall, got.coverage) > 0.9
    assert 0.9 < got.density < 1.1
    many = np.concatenate([sample_quality.kernel_distances(points(s), points(s + 50), 20) for s in range(4)])
    assert abs(many.mean()) < 3 * many.std(ddof=1) / np.sqrt(len(many))
    assert many.min() < 0  # an unbiased estimate of 0 must come out on either side


def test_the_kernel_distance_by_hand():
    x, y = np.array([[1.0], [2.0]]), np.array([[0.0], [3.0]])
    k = lambda a, b: (a * b + 1) ** 3  # noqa: E731
    expected = k(1, 2) + k(0, 3) - 2 * np.mean([k(1, 0), k(1, 3), k(2, 0), k(2, 3)])
    np.testing.assert_allclose(sample_quality.kernel_distances(x, y, 2), [expected], rtol=1e-12)


def test_the_kernel_distances_error_covers_repeated_draws():
    """Mean and error of 100 draws of both sets, near each other and far: the spread is the error that is stated."""
    for mean in (0.0, 0.3):
        got = [quality(points(2 * s, 200), points(2 * s + 1, 200, mean)) for s in range(100)]
        means, errors = (np.array([getattr(q, f"kernel_distance{of}") for q in got]) for of in ("", "_error"))
        stated = np.sqrt(np.square(errors).mean())
        assert 0.8 < means.std(ddof=1) / stated < 1.25
        assert 0.55 < np.mean(np.abs(means - means.mean()) < errors) < 0.8


def test_a_split_sorted_by_class_has_the_kernel_distance_of_a_mixed_one():
    """Else each block of real images would hold one class, far from samples of all."""
    real = np.concatenate([points(s, 200, 3.0 * s) for s in range(4)])
    fake = np.concatenate([points(s + 4, 200, 3.0 * s) for s in range(4)])
    got = quality(real, fake)
    assert abs(got.kernel_distance) < 4 * got.kernel_distance_error
    far = sample_quality.kernel_distances(points(0, 200), fake, 20).mean()
    assert got.kernel_distance_error < far / 50


def test_small_distances_survive_large_features():
    """Sums in float32 would lose them: features 1e3 from the origin, sets 0.03 apart."""
    x = points(0)
    exact = quality(x.astype(np.float64), x.astype(np.float64) + 0.03)
    moved = quality(x.astype(np.float64) + 1e3, x.astype(np.float64) + 1e3 + 0.03)
    np.testing.assert_allclose(exact.frechet_distance, 4 * 0.03**2, rtol=1e-9)
    np.testing.assert_allclose(moved[:1] + moved[3:], exact[:1] + exact[3:], rtol=1e-6)


def test_disjoint_sets_share_nothing():
    got = quality(points(0), points(1, mean=100.0))
    assert (got.precision, got.recall, got.density, got.coverage) == (0, 0, 0, 0)
    np.testing.assert_allclose(got.frechet_distance, 4 * 100**2, rtol=0.01)
    assert got.kernel_distance > 100 * got.kernel_distance_error > 0


def test_a_collapsed_set_is_precise_and_recalls_nothing():
    got = quality(points(0), points(1)[:1] * 0.01 + 1e-3 * points(2))
    assert got.precision == 1
    assert got.recall < 0.02
    assert got.coverage < 0.1


def test_half_the_modes():
    """Real points in two far clusters, samples in one: all look real, half is covered."""
    real = np.concatenate([points(0), points(1, mean=50.0)])
    got = quality(real, points(2, 1200))
    assert got.precision > 0.9
    np.testing.assert_allclose([got.recall, got.coverage], 0.5, atol=0.06)


@pytest.mark.parametrize("block", [7, 500])
def test_blocks_change_nothing(block, monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK", block)
    a, b = np.asarray(points(0, 30), np.float64), np.asarray(points(1, 40), np.float64)
    pairs = ((b[:, None] - a[None]) ** 2).sum(-1)
    own = np.sort(((a[:, None] - a[None]) ** 2).sum(-1), axis=1)
    radii = neighbors.squared_radii(jnp.asarray(a, jnp.float32), (3, 5))
    np.testing.assert_allclose(radii, own[:, [3, 5]].T, rtol=1e-4)
    own = own[:, 3]
    counts, covered = neighbors.balls_around(*(jnp.asarray(x, jnp.float32) for x in (b, a, own)))
    np.testing.assert_array_equal(counts, (pairs <= own).sum(1))
    np.testing.assert_array_equal(covered, (pairs <= own).any(0))


def test_equal_points_are_each_others_neighbors():
    """A collapsed set holds the same point many times: its radii are zero."""
    x = jnp.concatenate([jnp.zeros((4, 2)), jnp.ones((2, 2))])
    np.testing.assert_array_equal(neighbors.squared_radii(x, (1, 3, 4))[0], [0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(neighbors.squared_radii(x, (1, 3, 4))[1], [0, 0, 0, 0, 2, 2])
    np.testing.assert_array_equal(neighbors.squared_radii(x, (1, 3, 4))[2], [2, 2, 2, 2, 2, 2])


def test_nearest_images_are_found_by_pixels():
    pool = jax.random.randint(KEY, (30, 4, 4, 1), 0, 256).astype(jnp.uint8)
    images = pool[jnp.array([7, 3])].astype(jnp.float32) / 255 + jnp.array([0.0, 0.01]).reshape(2, 1, 1, 1)
    distances, indices = neighbors.nearest(images, pool, 2)
    np.testing.assert_array_equal(indices[:, 0], [7, 3])
    np.testing.assert_allclose(distances[:, 0], [0, 0.01], atol=2e-3)
    assert np.all(distances[:, 1] > distances[:, 0])


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match="5 real and 600 generated images: at least 20"):
        quality(points(0, 5), points(1))


GOOD = Quality(0.1, 0.0, 0.0, 0.9, 0.9, 0.9, 0.9, 100, 100)


@pytest.mark.parametrize(
    ("scores", "fake", "said"),
    [
        (GOOD, [40, 30, 30], None),
        (GOOD, [90, 1, 109], "collapsed: b come up less than 0.2 times"),
        (GOOD, [0, 0, 5], "collapsed: a, b come up"),
        (GOOD._replace(recall=0.0, coverage=0.01), [40, 30, 30], "collapsed: recall 0.000 and coverage 0.010"),
    ],
)
def test_the_collapse_alarm(scores, fake, said):
    got = collapse_alarm(scores, [35, 30, 35], fake, ("a", "b", "c"))
    assert got is None if said is None else got.startswith(said)
