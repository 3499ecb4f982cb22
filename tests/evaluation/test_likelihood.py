from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxgen.algorithms import examples, vae
from jaxgen.data.dataset import Dataset, Split
from jaxgen.evaluation import codes, likelihood
from jaxgen.evaluation import vae as evaluation

CFG = vae.Config(image_shape=(2, 3, 1), latent_size=2, widths=(), batch_size=4, likelihood="gaussian")
HP = jax.tree.map(jnp.float32, vae.HParams(scale=0.6))
KEY = jax.random.key(0)


def linear_gaussian():
    """Without hidden layers: z ~ N(0, I), x = A z + c + 0.6 noise, and an encoder somewhat wider than the posterior."""
    params = jax.jit(partial(vae.init, cfg=CFG))(jax.random.key(1), HP).params
    encoder = {"kernel": 0.3 * params["encoder"]["Dense_0"]["kernel"], "bias": jnp.array([0.0, 0.0, 0.5, 0.5])}
    return {**params, "encoder": {"Dense_0": encoder}}


def images(n=7):
    return jax.random.randint(jax.random.key(2), (n, *CFG.image_shape), 60, 200).astype(jnp.uint8)


def exact(params):
    """log p(x) = log N(x | c, A A^T + 0.36 I)."""
    layer = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["decoder"]["Dense_0"])
    covariance = layer["kernel"].T @ layer["kernel"] + 0.36 * np.eye(6)
    pixels = np.asarray(images()).reshape(-1, 6) / 255
    return stats.multivariate_normal(layer["bias"], covariance).logpdf(pixels)


def estimate(samples, seeds=(0,)):
    """Estimates, one row a seed."""
    found = jax.jit(jax.vmap(partial(likelihood.log_likelihood, samples=samples, hp=HP, cfg=CFG), (None, None, 0)))
    return jax.device_get(found(linear_gaussian(), images(), jax.vmap(jax.random.key)(jnp.array([*seeds]))))


def test_it_finds_the_exact_log_likelihood_of_a_linear_gaussian_model(monkeypatch):
    monkeypatch.setattr(likelihood, "FLOATS", 20 * 6 * 1000)
    found = estimate(20_000)
    error = np.sqrt(found.variance)
    assert np.all(error < 0.02)
    np.testing.assert_array_less(np.abs(found.estimate[0] - exact(linear_gaussian())), 4.5 * error[0])


def test_the_bound_rises_to_the_truth_with_the_samples(monkeypatch):
    monkeypatch.setattr(likelihood, "FLOATS", 20 * 6 * 8)
    truth = exact(linear_gaussian()).mean()
    means = [estimate(k, range(64)).estimate.mean() for k in (1, 3, 50)]
    assert means[0] + 0.2 < means[1]
    assert means[1] + 0.1 < means[2]
    assert abs(means[2] - truth) < 0.1
    elbo = evaluation.judge(linear_gaussian(), images(), KEY, HP, CFG)
    assert -(elbo.distortion + elbo.rate).mean() < truth


def test_sums_in_chunks_are_those_of_all_weights_at_once():
    log_weights = 30 * np.asarray(jax.random.normal(KEY, (3, 12)), np.float64)
    sums = likelihood.nothing(3)
    for chunk in np.split(log_weights, 4, axis=1):
        sums = likelihood.add(sums, jnp.asarray(chunk, jnp.float32))
    found = likelihood.summarise(sums, 12)
    np.testing.assert_allclose(found.estimate, special.logsumexp(log_weights, axis=1) - np.log(12), rtol=1e-4)
    weights = special.softmax(log_weights, axis=1)
    np.testing.assert_allclose(found.effective_samples, 1 / (weights**2).sum(1), rtol=1e-3)
    np.testing.assert_allclose(found.variance, (weights**2).sum(1) - 1 / 12, rtol=1e-3)


def test_exactly_the_samples_asked_for_are_counted(monkeypatch):
    """5 of the 8 codes that two chunks of 4 draw."""
    monkeypatch.setattr(likelihood, "FLOATS", 20 * 6 * 4)
    params, key = linear_gaussian(), jax.random.key(0)
    code_keys = examples.keys(jax.random.split(key)[1], 7)
    x = images().astype(jnp.float32) / 255
    numbers, weights = vae.posterior_numbers(params, x, CFG), []
    for chunk in range(2):
        draws = vae.draw_codes(numbers, jax.vmap(jax.random.fold_in, (0, None))(code_keys, chunk), 4, CFG)
        distortion = likelihood.distortions(params, draws.codes, x, HP, CFG)
        weights.append(draws.log_prior - draws.log_q - distortion)
    first_five = np.concatenate(weights, axis=1)[:, :5]
    np.testing.assert_allclose(
        estimate(5).estimate[0], special.logsumexp(first_five, axis=1) - np.log(5), rtol=1e-4, atol=1e-4
    )


def test_memory_does_not_depend_on_the_samples():
    def bytes_needed(samples):
        compiled = jax.jit(partial(likelihood.log_likelihood, samples=samples, cfg=CFG))
        lowered = compiled.lower(linear_gaussian(), images(), KEY, hp=HP)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    chunk = likelihood.FLOATS // 6 // likelihood.IMAGES  # codes of one chunk
    few, many = bytes_needed(2 * chunk), bytes_needed(200 * chunk)
    assert many < 1.1 * few + 10_000  # the numbers 0..199 of the chunks


def tiny():
    rng = np.random.default_rng(0)
    split = [
        Split(rng.integers(0, 256, (n, 2, 3, 1)).astype(np.uint8), np.arange(n, dtype=np.int32) % 2) for n in (20, 9)
    ]
    return Dataset("tiny", "1", *split, ("a", "b"))


def judged(seed):
    return evaluation.evaluate(linear_gaussian(), tiny(), HP, CFG, samples=20, images=5, seed=seed)


def test_the_protocol_is_a_function_of_its_seed():
    first, again, other = judged(3), judged(3), judged(4)
    assert first == again
    assert first["negative_elbo"] != other["negative_elbo"]
    assert first["negative_log_likelihood"]["mean"] != other["negative_log_likelihood"]["mean"]
    assert first["negative_log_likelihood"]["images"] == 5
    assert len(first["kl_per_latent"]) == 2
    assert first["inputs"] == "grey"
    np.testing.assert_allclose(
        first["negative_elbo"]["mean"], first["distortion"]["mean"] + first["rate"]["mean"], rtol=1e-5
    )
    np.testing.assert_allclose(sum(first["kl_per_latent"]), first["rate"]["mean"], rtol=1e-4)
    text = evaluation.table(first)
    assert "inputs grey" in text
    assert f"{first['negative_elbo']['mean']:.3f} +- " in text


def test_grey_levels_have_no_bits_per_dimension():
    results = judged(3)
    assert results["bits_per_dimension"] is None
    assert "bits" not in evaluation.table(results)


def test_images_without_labels_have_no_accuracy():
    data = tiny()
    unlabelled = Split(data.test.images, np.full(9, -1, np.int32))
    data = Dataset("tiny", "1", data.train, unlabelled, data.class_names)
    results = evaluation.evaluate(linear_gaussian(), data, HP, CFG, samples=2, images=2, seed=0)
    assert results["neighbour_accuracy"] is None
    assert "neighbours" not in evaluation.table(results)


def test_active_units_and_neighbours_by_hand():
    means = jnp.array([[0.0, 1.0, 0.01], [0.0, -1.0, -0.01], [0.0, 0.5, 0.0]])
    assert codes.active_units(means) == 1
    train = np.repeat([[0.0, 0.0], [5.0, 5.0]], 12, axis=0)
    labels = np.repeat([0, 1], 12)
    test = np.array([[0.1, 0.0], [4.0, 5.0], [5.0, 6.0], [1.0, 1.0]])
    assert codes.neighbour_accuracy(train, labels, test, np.array([0, 1, 1, 1])) == pytest.approx(0.75)
