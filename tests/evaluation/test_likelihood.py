from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxgen import batching
from jaxgen.algorithms import vae
from jaxgen.data.dataset import Dataset, Split
from jaxgen.errors import SettingError, UserError
from jaxgen.evaluation import codes, likelihood
from jaxgen.evaluation import vae as evaluation

CFG = vae.Config(image_shape=(2, 3, 1), latent_size=2, widths=(), batch_size=4, likelihood="gaussian")
HP = jax.tree.map(jnp.float32, vae.HParams(scale=0.6))
KEY = jax.random.key(0)


def linear_gaussian():
    """Without hidden layers: z ~ N(0, I), x = A z + c + 0.6 noise, and an encoder somewhat wider than the posterior."""
    params = jax.jit(partial(vae.init, config=CFG))(jax.random.key(1), HP).params
    encoder = {"kernel": 0.3 * params["encoder"]["Dense_0"]["kernel"], "bias": jnp.array([0.0, 0.0, 0.5, 0.5])}
    decoder = {**params["decoder"]["Dense_0"], "bias": jnp.full(6, -0.5)}  # c = 0: outputs are added to mid-gray
    return {"encoder": {"Dense_0": encoder}, "decoder": {"Dense_0": decoder}}


def images(n=7):
    return jax.random.randint(jax.random.key(2), (n, *CFG.image_shape), 60, 200).astype(jnp.uint8)


def exact(params):
    """log p(x) = log N(x | c, A A^T + 0.36 I)."""
    layer = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["decoder"]["Dense_0"])
    covariance = layer["kernel"].T @ layer["kernel"] + 0.36 * np.eye(6)
    pixels = np.asarray(images()).reshape(-1, 6) / 255
    return stats.multivariate_normal(layer["bias"] + 0.5, covariance).logpdf(pixels)


def estimate(samples, seeds=(0,)):
    """Estimates, one row a seed."""
    found = jax.jit(
        jax.vmap(partial(likelihood.log_likelihood, samples=samples, hparams=HP, config=CFG), (None, None, 0))
    )
    return jax.device_get(found(linear_gaussian(), images(), jax.vmap(jax.random.key)(jnp.array([*seeds]))))


def test_it_finds_the_exact_log_likelihood_of_a_linear_gaussian_model(monkeypatch):
    monkeypatch.setattr(likelihood, "FLOATS", 20 * 6 * 1000)
    found = estimate(20_000)
    summary = likelihood.summarize(found.blocks[0])
    assert np.all(np.sqrt(summary.variance) < 0.02)
    np.testing.assert_allclose(-summary.value, exact(linear_gaussian()), atol=0.05)
    assert abs((summary.value + exact(linear_gaussian())).mean()) < 4 * np.sqrt(summary.variance.sum()) / 7


def test_the_bound_rises_to_the_truth_with_the_samples(monkeypatch):
    monkeypatch.setattr(likelihood, "FLOATS", 20 * 6 * 8)
    truth = exact(linear_gaussian()).mean()
    few, many = (likelihood.summarize(estimate(k, range(64)).blocks.reshape(-1, 4)) for k in (4, 48))
    bounds = [-part.mean() for part in (few.quarter, few.half, few.value, many.quarter, many.value)]
    assert all(np.diff(bounds) > 0.01)
    assert bounds[0] + 0.2 < bounds[2]
    assert abs(bounds[-1] - truth) < 0.1
    assert abs(-many.corrected.mean() - truth) < abs(bounds[-1] - truth)
    elbo = evaluation.judge(linear_gaussian(), images(), KEY, HP, CFG)
    assert -(elbo.distortion + elbo.rate).mean() < truth


def drawn(log_weights):
    """A summary from log weights (n, k), as of k codes of n images."""
    blocks = np.split(log_weights, 4, axis=1)
    return likelihood.summarize(np.stack([special.logsumexp(b, axis=1) - np.log(b.shape[1]) for b in blocks], axis=1))


@pytest.mark.parametrize("spread", [0.3, 2.0, 4.0])
def test_the_stated_sampling_error_is_the_true_one(spread):
    """Log weights N(-s^2 / 2, s^2): at s = 4 4 of 500 codes count, and the first-order error is half the true one."""
    rng, count, effective = np.random.default_rng(0), 400, []
    values, stated = [], []
    for _ in range(40):
        log_weights = spread * rng.standard_normal((count, 500)) - spread**2 / 2
        summary = drawn(log_weights)
        values.append(summary.value)
        stated.append(summary.variance.mean())
        effective.append(1 / (special.softmax(log_weights, axis=1) ** 2).sum(axis=1))
    true = np.var(values, axis=0, ddof=1).mean()
    assert 0.88 < np.sqrt(np.mean(stated) / true) < 1.08
    first_order = np.sqrt((1 / np.array(effective) - 1 / 500).mean() / true)
    assert first_order < 0.6 if spread == 4 else first_order > 0.7


def test_half_and_quarter_are_what_fewer_codes_give():
    log_weights = np.random.default_rng(0).normal(size=(3, 8))
    summary = drawn(log_weights)

    def value(codes):
        return -(special.logsumexp(log_weights[:, codes], axis=1) - np.log(len(codes)))

    blocks = [[0, 1], [2, 3], [4, 5], [6, 7]]
    np.testing.assert_allclose(summary.value, value([*range(8)]), rtol=1e-10)
    np.testing.assert_allclose(summary.quarter, np.mean([value(b) for b in blocks], axis=0), rtol=1e-10)
    pairs = [value(a + b) for i, a in enumerate(blocks) for b in blocks[:i]]
    np.testing.assert_allclose(summary.half, np.mean(pairs, axis=0), rtol=1e-10)
    without_one = np.array([value([code for code in range(8) if code not in blocks[i]]) for i in range(4)])
    np.testing.assert_allclose(summary.corrected, 4 * summary.value - 3 * without_one.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(summary.variance, 0.75 * without_one.var(axis=0) * 4, rtol=1e-10)


def test_equal_weights_are_all_effective_and_have_no_error():
    """The prior as the posterior and a decoder that ignores the code: p(x, z) / q(z | x) is the same for all z."""
    params = linear_gaussian()
    params = {**params, **{name: jax.tree.map(jnp.zeros_like, params[name]) for name in ("encoder", "decoder")}}
    unit_scale = np.log(np.e - 1)  # its softplus is 1
    params["encoder"]["Dense_0"]["bias"] = jnp.array([0.0, 0.0, unit_scale, unit_scale])
    found = jax.device_get(
        jax.jit(partial(likelihood.log_likelihood, samples=20, config=CFG))(params, images(), KEY, hparams=HP)
    )
    np.testing.assert_allclose(found.effective_samples, 20, rtol=1e-5)
    summary = likelihood.summarize(found.blocks)
    np.testing.assert_allclose(summary.variance, 0, atol=1e-9)
    np.testing.assert_allclose(summary.corrected, summary.value, rtol=1e-5)


@pytest.mark.parametrize("samples", [0, 3, 10, -4])
def test_codes_that_make_no_equal_blocks_are_refused(samples):
    with pytest.raises(SettingError, match=f"samples = {samples} is not allowed: a multiple of 4, at least 4"):
        likelihood.log_likelihood(linear_gaussian(), images(), KEY, samples, HP, CFG)


def test_paired_errors_leave_out_what_the_images_share():
    rng = np.random.default_rng(0)
    hard, noise = 25 * rng.normal(size=400), rng.normal(size=(2, 400))
    a, b = 100 + hard + noise[0], 98 + hard + noise[1]
    found = likelihood.paired_difference(a, b)
    assert found["mean"] == pytest.approx(2 + (noise[0] - noise[1]).mean())
    assert found["standard_error"] == pytest.approx(np.sqrt(2 / 400), rel=0.15)
    assert found["standard_error"] < likelihood.mean_over_images(a)["standard_error"] / 10
    with pytest.raises(ValueError, match=r"\(400,\) and \(399,\)"):
        likelihood.paired_difference(a, b[1:])


def test_sums_in_chunks_are_those_of_all_weights_at_once():
    log_weights = 30 * np.asarray(jax.random.normal(KEY, (3, 12)), np.float64)
    parts = []
    for block in np.split(log_weights, 2, axis=1):
        sums = likelihood.nothing(3)
        for chunk in np.split(block, 2, axis=1):
            sums = likelihood.add(sums, jnp.asarray(chunk, jnp.float32))
        np.testing.assert_allclose(sums.largest + np.log(sums.total), special.logsumexp(block, axis=1), rtol=1e-4)
        parts.append(sums)
    weights = special.softmax(log_weights, axis=1)
    found = likelihood.effective_samples(jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts))
    np.testing.assert_allclose(found, 1 / (weights**2).sum(1), rtol=1e-3)


def test_exactly_the_samples_asked_for_are_counted(monkeypatch):
    """5 of the 6 codes that two chunks of 3 draw for each of 4 blocks."""
    monkeypatch.setattr(likelihood, "FLOATS", 20 * 6 * 4)
    params, key = linear_gaussian(), jax.random.key(0)
    code_keys = batching.keys(jax.random.split(key)[1], 7)
    x = images().astype(jnp.float32) / 255
    numbers, weights = vae.posterior_params(params, x, CFG), []
    for chunk in range(8):
        draws = vae.draw_codes(numbers, jax.vmap(jax.random.fold_in, (0, None))(code_keys, chunk), 3, CFG)
        distortion = likelihood.distortions(params, draws.codes, x, HP, CFG)
        weights.append(draws.log_prior - draws.log_q - distortion)
    counted = np.concatenate(weights, axis=1).reshape(7, 4, 6)[:, :, :5]
    found = estimate(20)
    expected = special.logsumexp(counted, axis=2) - np.log(5)
    np.testing.assert_allclose(found.blocks[0], expected, rtol=1e-4, atol=1e-4)
    shares = special.softmax(counted.reshape(7, 20), axis=1)
    np.testing.assert_allclose(found.effective_samples[0], 1 / (shares**2).sum(axis=1), rtol=1e-3)


def test_memory_does_not_depend_on_the_samples():
    def bytes_needed(samples):
        compiled = jax.jit(partial(likelihood.log_likelihood, samples=samples, config=CFG))
        lowered = compiled.lower(linear_gaussian(), images(), KEY, hparams=HP)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    chunk = 4 * (likelihood.FLOATS // 6 // likelihood.IMAGES)  # codes of one chunk of each block
    few, many = bytes_needed(2 * chunk), bytes_needed(200 * chunk)
    assert many < 1.1 * few + 10_000  # the numbers 0..199 of the chunks


def tiny():
    rng = np.random.default_rng(0)
    split = [
        Split(rng.integers(0, 256, (n, 2, 3, 1)).astype(np.uint8), np.arange(n, dtype=np.int32) % 2) for n in (20, 9)
    ]
    return Dataset("tiny", "1", *split, ("a", "b"))


def judged(seed):
    return evaluation.evaluate(linear_gaussian(), tiny(), HP, CFG, samples=20, images=5, seed=seed).results


def test_the_protocol_is_a_function_of_its_seed():
    first, again, other = judged(3), judged(3), judged(4)
    assert first == again
    assert first["negative_elbo"] != other["negative_elbo"]
    assert first["negative_log_likelihood"]["mean"] != other["negative_log_likelihood"]["mean"]
    assert first["negative_log_likelihood"]["images"] == 5
    assert len(first["kl_per_latent"]) == 2
    assert first["inputs"] == "gray"
    np.testing.assert_allclose(
        first["negative_elbo"]["mean"], first["distortion"]["mean"] + first["rate"]["mean"], rtol=1e-5
    )
    np.testing.assert_allclose(sum(first["kl_per_latent"]), first["rate"]["mean"], rtol=1e-4)
    text = evaluation.table(first)
    assert "inputs gray" in text
    assert f"{first['negative_elbo']['mean']:.3f} +- " in text
    assert "-log p(x) at most, 20 codes" in text
    found = first["negative_log_likelihood"]
    assert found["mean"] < found["mean_with_half_of_the_samples"] < found["mean_with_a_quarter_of_the_samples"]
    assert 1 <= found["effective_samples"]["percentile_5"] <= found["effective_samples"]["median"] <= 20
    assert f"lowered it by {found['mean_with_half_of_the_samples'] - found['mean']:.3f}" in text


def test_values_are_read_back_only_for_the_same_images_and_draws(tmp_path):
    budget = {"samples": 4, "images": 5, "seed": 3}
    found = evaluation.evaluate(linear_gaussian(), tiny(), HP, CFG, **budget)
    conditions = evaluation.conditions(tiny(), CFG, **budget)
    with pytest.raises(UserError, match=r"has no likelihoods\.json: evaluate it first"):
        evaluation.read_values(tmp_path, conditions)
    evaluation.write_values(tmp_path, conditions, found.negative_log_likelihoods)
    values = evaluation.read_values(tmp_path, conditions)
    assert values.mean() == pytest.approx(found.results["negative_log_likelihood"]["mean"], rel=1e-12)
    for name, other in {"samples": 8, "images": 4, "seed": 0}.items():
        changed = evaluation.conditions(tiny(), CFG, **{**budget, name: other})
        said = "images_sha256" if name == "images" else f"{name} = {budget[name]}, this run with {other}"
        with pytest.raises(UserError, match=said):
            evaluation.read_values(tmp_path, changed)
    against = likelihood.paired_difference(values, values)
    text = evaluation.table({**found.results, "against": {"run": "runs/other", **against}})
    assert "minus the other's      0.000 +- 0.000" in text


def test_gray_levels_have_no_bits_per_dimension():
    results = judged(3)
    assert results["bits_per_dimension"] is None
    assert "bits" not in evaluation.table(results)


def test_images_without_labels_have_no_accuracy():
    data = tiny()
    unlabeled = Split(data.test.images, np.full(9, -1, np.int32))
    data = Dataset("tiny", "1", data.train, unlabeled, data.class_names)
    results = evaluation.evaluate(linear_gaussian(), data, HP, CFG, samples=4, images=2, seed=0).results
    assert results["neighbor_accuracy"] is None
    assert "neighbors" not in evaluation.table(results)


def test_active_units_and_neighbors_by_hand():
    means = jnp.array([[0.0, 1.0, 0.01], [0.0, -1.0, -0.01], [0.0, 0.5, 0.0]])
    assert codes.active_units(means) == 1
    train = np.repeat([[0.0, 0.0], [5.0, 5.0]], 12, axis=0)
    labels = np.repeat([0, 1], 12)
    test = np.array([[0.1, 0.0], [4.0, 5.0], [5.0, 6.0], [1.0, 1.0]])
    assert codes.neighbor_accuracy(train, labels, test, np.array([0, 1, 1, 1])) == pytest.approx(0.75)
