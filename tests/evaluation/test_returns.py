import numpy as np
import pytest
from scipy import stats

from jaxgen.evaluation import returns


@pytest.mark.parametrize("seeds", [1, 2, 3, 4, 5, 8, 31, 32, 33])
def test_interquartile_mean_has_the_bits_of_scipys(seeds):
    values = np.random.default_rng(seeds).normal(size=(7, seeds))
    np.testing.assert_array_equal(returns.interquartile_mean(values), stats.trim_mean(values, 0.25, axis=-1))


def test_interquartile_mean_leaves_out_a_quarter_at_each_end():
    values = np.array([0.0, 100, 2, 4, 6, 8, -50, 1000])
    assert returns.interquartile_mean(values) == pytest.approx((2 + 4 + 6 + 8) / 4)
    np.testing.assert_allclose(returns.interquartile_mean(np.stack([values, values + 1])), [5, 6])


def test_interval_holds_the_mean_of_the_population_as_often_as_it_says():
    generator = np.random.default_rng(0)
    samples = generator.normal(3, 1, (200, 32))
    low, high = returns.interval(samples)
    assert 0.88 <= np.mean((low < 3) & (high > 3)) <= 0.99
    one = returns.interval(samples[0])
    assert one[0] == pytest.approx(low[0], abs=0.1)
    assert returns.interval(np.array([7.0])) == (7, 7)


def test_summary_of_seeds():
    evaluations = np.tile(np.array([500.0, 500, 500, 100]), (12, 1))
    evaluations[:2] = 1_000  # long ago
    evaluations[-1] = [500, 490, 500, 20]
    summary = returns.of_seeds(evaluations)
    assert summary["iqm"] == pytest.approx(495)
    assert summary["worst"] == 20
    assert summary["mean"] == pytest.approx(377.5)
    assert summary["fifth_percentile"] == pytest.approx(np.percentile([20, 490, 500, 500], 5))
    assert summary["seeds"][1] == {"final": 490, "last_ten": pytest.approx(499), "best": 1_000}
    assert summary["last_ten_mean"] == pytest.approx((500 + 499 + 500 + 92) / 4)
    assert summary["iqm_95"][0] <= summary["iqm"] <= summary["iqm_95"][1]
    assert "IQM 495.0" in returns.described(summary)
