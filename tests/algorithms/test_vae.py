import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import batching, distributions
from jaxgen.algorithms import vae
from jaxgen.algorithms.vae import objectives as vae_objectives
from jaxgen.data import petals
from jaxgen.errors import SettingError
from jaxgen.losses import reconstruction

MLP = vae.Config(image_shape=(6, 6, 1), examples=100, latent_size=3, widths=(8,), batch_size=8, inputs="binarized")
HP = jax.tree.map(jnp.float32, vae.HParams(learning_rate=0.01))
KEY = jax.random.key(0)

VARIANTS = {
    "elbo": {},
    "sampled": {"rate": "sampled", "samples": 2},
    "free_bits": {"rate": "free_bits"},
    "iwae": {"objective": "iwae", "samples": 3},
    "dreg": {"objective": "dreg", "samples": 3},
    "tc": {"objective": "tc"},
    "full": {"posterior": "full"},
    "full_dreg": {"posterior": "full", "objective": "dreg", "samples": 3},
    "gaussian": {"likelihood": "gaussian", "inputs": "gray", "learn_scale": True},
    "logistic": {"likelihood": "logistic", "inputs": "gray", "learn_scale": True},
    "threshold": {"inputs": "threshold", "activation": "tanh", "schedule": "cosine"},
    "bfloat16": {"dtype": "bfloat16"},
}


def variant(name):
    return dataclasses.replace(MLP, **VARIANTS[name])


def numbers(**changes):
    return jax.tree.map(jnp.float32, vae.HParams(learning_rate=0.01, schedule_steps=50, **changes))


def batch(config=MLP, n=8, seed=1):
    images = jax.random.randint(jax.random.key(seed), (n, *config.image_shape), 0, 256).astype(jnp.uint8)
    return vae.Batch(images, jnp.zeros(n, jnp.int32))


def fresh(config, seed=0, hparams=HP):
    return jax.jit(partial(vae.init, config=config))(jax.random.key(seed), hparams)


def keys(n=8, seed=2):
    return batching.keys(jax.random.key(seed), n)


def terms_of(params, x, config, hparams=HP, seed=2, beta=1.0):
    return jax.jit(partial(vae.terms, config=config))(params, x, keys(len(x), seed), beta, hparams)[0]


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("elbo", "full", "dreg")])
def test_the_loss_falls_and_everything_stays_finite(name):
    config, hparams = variant(name), numbers(free_bits=0.1)
    state = fresh(config, hparams=hparams)

    @jax.jit
    def train(state):
        keys = jax.random.split(KEY, 40)
        return jax.lax.scan(lambda state, key: vae.step(state, batch(config), key, hparams, config), state, keys)

    state, metrics = train(state)
    assert all(np.all(np.isfinite(values)) for values in metrics.values())
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    assert metrics["loss"][-8:].mean() < metrics["loss"][:8].mean()
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(metrics["negative_elbo"], metrics["distortion"] + metrics["rate"], rtol=1e-5)


@pytest.mark.parametrize("name", ["elbo", "threshold", "logistic"])
def test_bits_per_dimension_of_discrete_pixels(name):
    config, hparams = variant(name), numbers()
    stepped = jax.jit(partial(vae.step, config=config))(fresh(config), batch(), KEY, hparams)[1]
    tested = jax.jit(partial(vae.evaluate, config=config))(fresh(config), batch(), KEY, hparams)
    for metrics in (stepped, tested):
        np.testing.assert_allclose(metrics["bits_per_dimension"], metrics["negative_elbo"] / 36 / np.log(2), rtol=1e-5)


@pytest.mark.parametrize("changes", [{"inputs": "gray"}, {"inputs": "gray", "likelihood": "gaussian"}])
def test_gray_levels_as_numbers_in_0_1_have_no_bits_per_dimension(changes):
    config, hparams = dataclasses.replace(MLP, **changes), numbers()
    assert (
        "bits_per_dimension"
        not in jax.eval_shape(partial(vae.step, config=config), fresh(config), batch(), KEY, hparams)[1]
    )
    assert "bits_per_dimension" not in jax.eval_shape(
        partial(vae.evaluate, config=config), fresh(config), batch(), KEY, hparams
    )


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (vae.Config(net="conv", latent_size=2), 5_285),
        (vae.Config(net="flower", image_shape=(80, 80, 3), latent_size=10, posterior="full"), 2_394_337),
        (vae.Config(), 815_824),
        (vae.Config(latent_size=50, widths=(200, 200)), 425_284),
    ],
)
def test_parameter_counts(config, parameters):
    state = jax.eval_shape(partial(vae.init, config=config), KEY, HP)
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == parameters


@pytest.mark.parametrize("name", ["elbo", "full", "sampled", "iwae", "dreg", "logistic"])
def test_examples_do_not_mix(name):
    config = variant(name)
    params, x = fresh(config).params, jax.random.uniform(KEY, (3, 6, 6, 1))

    def losses(x):
        return vae.terms(params, x, keys(3), 1.0, HP, config)[0].loss

    if name == "logistic":  # whose targets are rounded: only the way through the encoder is looked at

        def losses(x):
            numbers = vae.posterior_params(params, x, config)
            return vae_objectives.draw_codes(numbers, keys(3), 1, config).codes.sum((1, 2))

    mixed = np.abs(np.asarray(jax.jit(jax.jacrev(losses))(x))).sum((2, 3, 4)) > 0
    np.testing.assert_array_equal(mixed, np.eye(3, dtype=bool))


def test_elbo_terms_by_hand():
    params, x = fresh(MLP).params, jax.random.bernoulli(KEY, 0.5, (8, 6, 6, 1)).astype(jnp.float32)
    got = terms_of(params, x, MLP, beta=0.5)
    numbers = np.asarray(vae.posterior_params(params, x, MLP), np.float64)
    mean, scale = numbers[:, :3], np.log1p(np.exp(numbers[:, 3:]))
    np.testing.assert_allclose(got.rate, (0.5 * (scale**2 + mean**2 - 1) - np.log(scale)).sum(1), rtol=1e-4)
    noise = jax.vmap(lambda key: jax.random.normal(key, (1, 3)))(keys())[:, 0]
    logits = np.asarray(vae.decoder_output(params, jnp.asarray(mean + scale * noise, jnp.float32), MLP))
    expected = -(np.asarray(x) * logits - np.logaddexp(0, logits)).reshape(8, -1).sum(1)
    np.testing.assert_allclose(got.distortion, expected, rtol=1e-4)
    np.testing.assert_allclose(got.loss, got.distortion + 0.5 * got.rate, rtol=1e-5)


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_one_importance_sample_is_the_elbo(posterior):
    config = dataclasses.replace(MLP, posterior=posterior)
    params, x = fresh(config).params, jax.random.uniform(KEY, (8, 6, 6, 1))
    elbo = terms_of(params, x, dataclasses.replace(config, rate="sampled"))
    for objective in ("iwae", "dreg"):
        bound = terms_of(params, x, dataclasses.replace(config, objective=objective))
        np.testing.assert_allclose(bound.loss, elbo.loss, rtol=1e-4)


def test_tc_with_beta_one_is_the_sampled_elbo():
    params, x = fresh(MLP).params, jax.random.uniform(KEY, (8, 6, 6, 1))
    for estimator in ("weighted", "stratified"):
        tc = terms_of(params, x, dataclasses.replace(MLP, objective="tc", tc_estimator=estimator))
        elbo = terms_of(params, x, dataclasses.replace(MLP, rate="sampled"))
        np.testing.assert_allclose(tc.loss, elbo.loss, rtol=1e-4)
        np.testing.assert_allclose(tc.rate, elbo.rate, rtol=1e-3, atol=1e-4)


def bound_gradients(objective, samples, draws):
    """Gradients of the bound over `draws` key seeds: (draws, parameters) of encoder and decoder."""
    config = vae.Config(
        image_shape=(2, 2, 1), latent_size=1, widths=(2,), batch_size=1, objective=objective, samples=samples
    )
    params = fresh(dataclasses.replace(config, objective="elbo")).params
    x = jnp.array([0.1, 0.9, 0.4, 0.6]).reshape(1, 2, 2, 1)

    def gradient(key):
        grads = jax.grad(lambda p: vae.terms(p, x, key[None], 1.0, HP, config)[0].loss.mean())(params)
        return {part: jnp.concatenate([g.ravel() for g in jax.tree.leaves(grads[part])]) for part in grads}

    return jax.device_get(jax.jit(jax.vmap(gradient))(batching.keys(jax.random.key(7), draws)))


def test_dreg_has_the_expectation_of_iwaes_gradient_and_less_noise():
    """Tucker et al., 2019: unbiased for the encoder, unchanged for the decoder."""
    iwae, dreg = (bound_gradients(objective, 4, 40_000) for objective in ("iwae", "dreg"))
    np.testing.assert_allclose(dreg["decoder"], iwae["decoder"], rtol=1e-3, atol=1e-4)
    difference = dreg["encoder"] - iwae["encoder"]
    error = difference.std(axis=0) / np.sqrt(len(difference))
    assert np.all(np.abs(difference.mean(axis=0)) < 4.5 * error + 1e-6)
    assert np.linalg.norm(iwae["encoder"].mean(axis=0)) > 20 * np.linalg.norm(error)  # there is something to compare
    assert dreg["encoder"].var(axis=0).sum() < iwae["encoder"].var(axis=0).sum()


def test_beta_warm_up_and_free_bits_reach_the_loss():
    state, step = fresh(MLP), jax.jit(partial(vae.step, config=MLP))
    for hparams, weight in ((numbers(beta=0.0), 0.0), (numbers(beta=3.0), 3.0), (numbers(warm_up_steps=4.0), 0.25)):
        metrics = step(state, batch(), KEY, hparams)[1]
        np.testing.assert_allclose(metrics["loss"], metrics["distortion"] + weight * metrics["rate"], rtol=1e-5)
    bits = jax.jit(partial(vae.step, config=variant("free_bits")))
    metrics = bits(state, batch(), KEY, numbers(free_bits=50.0))[1]
    np.testing.assert_allclose(metrics["loss"], metrics["distortion"] + 3 * 50.0, rtol=1e-5)


def test_pixels_are_what_the_inputs_say():
    images = jnp.arange(256, dtype=jnp.uint8).reshape(1, 256, 1, 1)
    gray, threshold = (
        vae.pixels(images, keys(1), dataclasses.replace(MLP, inputs=name))[0, :, 0, 0] for name in ("gray", "threshold")
    )
    np.testing.assert_allclose(gray, np.arange(256) / 255, rtol=1e-6)
    np.testing.assert_array_equal(threshold, np.arange(256) > 127)


def test_binarized_pixels_are_bernoulli_draws_of_the_gray_level():
    """Every level over 20,000 draws: frequencies within five standard errors, black and white exact."""
    images = jnp.tile(jnp.arange(256, dtype=jnp.uint8).reshape(1, 256, 1, 1), (20_000, 1, 1, 1))
    config = dataclasses.replace(MLP, inputs="binarized")
    drawn = np.asarray(jax.jit(partial(vae.pixels, config=config))(images, keys(20_000)))[:, :, 0, 0]
    assert set(np.unique(drawn)) == {0.0, 1.0}
    p = np.arange(256) / 255
    errors = np.abs(drawn.mean(0) - p)
    assert errors[0] == errors[255] == 0
    assert np.all(errors[1:-1] < 5 * np.sqrt(p * (1 - p) / 20_000)[1:-1])
    correlation = np.corrcoef(drawn[:, 100], drawn[:, 228])[0, 1]  # the two halves of one random word
    assert abs(correlation) < 5 / np.sqrt(20_000)


def test_an_odd_number_of_pixels_can_be_binarized():
    images = jnp.full((2, 3, 5, 1), 255, jnp.uint8)
    np.testing.assert_array_equal(vae.pixels(images, keys(2), MLP), 1.0)


def test_evaluate_is_the_mean_over_a_split_that_no_batch_divides(monkeypatch):
    monkeypatch.setattr(batching, "SIZE", 4)
    state, split = fresh(MLP), batch(n=11)
    got = jax.jit(partial(vae.evaluate, config=MLP))(state, split, KEY, HP)
    pixel_key, code_key = jax.random.split(KEY)
    x = vae.pixels(split.images, batching.keys(pixel_key, 11), MLP)
    terms = jax.jit(partial(vae.terms, config=MLP))
    expected, _ = terms(state.params, x, batching.keys(code_key, 11), 1.0, HP)
    np.testing.assert_allclose(got["loss"], expected.loss.mean(), rtol=1e-5)
    np.testing.assert_allclose(got["rate"], expected.rate.mean(), rtol=1e-5)


def test_codes_reconstructions_and_samples():
    params, images = fresh(MLP).params, batch().images
    means = vae.encode(params, images, KEY, MLP)
    numbers = vae.posterior_params(params, vae.pixels(images, batching.keys(KEY, 8), MLP), MLP)
    expected = [distributions.posterior("diagonal", n).mean() for n in numbers]
    np.testing.assert_allclose(means, expected, rtol=1e-6)
    for made in (vae.reconstruct(params, images, KEY, MLP), vae.sample(params, KEY, 8, MLP)):
        assert made.shape == (8, 6, 6, 1)
        assert 0 <= made.min() < made.max() <= 1
    assert np.any(vae.sample(params, KEY, 8, MLP) != vae.sample(params, jax.random.key(1), 8, MLP))


@pytest.fixture(scope="module")
def flowers():
    return petals.load(count=10, size=52, test_fraction=0.4, seed=0).test.images


@pytest.mark.parametrize(
    ("net", "likelihood"),
    [
        ("mlp", "gaussian"),
        ("mlp", "logistic"),
        ("conv", "logistic"),
        pytest.param("flower", "logistic", marks=pytest.mark.slow),
    ],
)
def test_a_fresh_net_is_about_as_good_as_mid_gray(net, likelihood, flowers):
    """Petals, bits per dimension of a logistic of scale 0.15: black 9.4, mid-gray 8.3, the best constants 8.07."""
    config = vae.Config(image_shape=(52, 52, 3), net=net, likelihood=likelihood, learn_scale=True)
    hparams = numbers(scale=0.15)
    params = fresh(config, hparams=hparams).params
    codes = jax.random.normal(KEY, (len(flowers), 1, config.latent_size))

    @jax.jit
    def bits(images):
        x = images.astype(jnp.float32) / 255
        nats = {"net": vae_objectives.distortions(params, codes, x, hparams, config)}
        for name, mean in (("gray", 0.5), ("black", 0.0)):
            means = jnp.full(x.shape, mean)
            nats[name] = distributions.negative_log_likelihood(likelihood, means, x, hparams.scale)
        return {name: reconstruction.bits_per_dimension(n.mean(), config.image_shape) for name, n in nats.items()}

    got = bits(flowers)
    assert abs(got["net"] - got["gray"]) < 0.2 * (got["black"] - got["gray"])
    if likelihood == "logistic":
        assert got["net"] < 8.6
        noise = 127.5 + 38 * np.random.default_rng(0).normal(size=flowers.shape)
        assert bits(jnp.asarray(noise.round().clip(0, 255).astype(np.uint8)))["net"] < 8  # a uniform guess


@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_a_bernoullis_logits_are_the_decoders_outputs(net):
    config = vae.Config(net=net)
    params, codes = fresh(config).params, jax.random.normal(KEY, (2, config.latent_size))
    outputs = vae_objectives.decoder(config).apply({"params": params["decoder"]}, codes)
    np.testing.assert_array_equal(vae.decoder_output(params, codes, config), outputs)
    other = fresh(dataclasses.replace(config, likelihood="gaussian")).params
    jax.tree.map(np.testing.assert_array_equal, params, other)


def test_a_learned_scale_starts_where_it_is_told_and_moves():
    config = variant("gaussian")
    state = fresh(config)
    np.testing.assert_allclose(jnp.exp(state.params["log_scale"]), 0.1, rtol=1e-5)
    state, _ = jax.jit(partial(vae.step, config=config))(state, batch(), KEY, HP)
    assert not np.isclose(jnp.exp(state.params["log_scale"]), 0.1, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"latent_size": 0}, "config.latent_size = 0"),
        ({"samples": 0}, "config.samples = 0"),
        ({"batch_size": 0}, "config.batch_size"),
        ({"widths": (10, 0)}, "config.widths"),
        ({"channels": (1, 2)}, "config.channels"),
        ({"net": "cnv"}, "config.net = 'cnv'.*did you mean 'conv'"),
        ({"posterior": "dense"}, "config.posterior"),
        ({"likelihood": "poisson"}, "config.likelihood"),
        ({"inputs": "binarised"}, "config.inputs.*did you mean 'binarized'"),
        ({"objective": "elb"}, "config.objective"),
        ({"net": "conv", "image_shape": (80, 80, 3)}, "80x80"),
        ({"net": "flower", "image_shape": (28, 28, 1)}, "28x28"),
        ({"likelihood": "logistic", "inputs": "binarized"}, "config.likelihood = 'logistic'.*0 or 1"),
        ({"likelihood": "gaussian", "inputs": "threshold"}, "config.likelihood = 'gaussian'.*0 or 1"),
        ({"learn_scale": True}, "config.learn_scale"),
        ({"rate": "free_bits", "posterior": "full"}, "config.rate = 'free_bits'"),
        ({"rate": "sampled", "objective": "iwae"}, "config.rate = 'sampled'"),
        ({"objective": "tc", "posterior": "full"}, "config.objective = 'tc'"),
        ({"objective": "tc", "batch_size": 1}, "config.objective = 'tc'"),
    ],
)
def test_wrong_config_is_refused(change, named):
    with pytest.raises(SettingError, match=named) as error:
        vae.Config(**change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"beta": -0.1}, "hparams.beta = -0.1"),
        ({"beta": float("nan")}, "hparams.beta"),
        ({"scale": -1.0}, "hparams.scale = -1.0"),
        ({"scale": 0.0}, "hparams.scale"),
        ({"free_bits": -1.0}, "hparams.free_bits"),
        ({"warm_up_steps": -1.0}, "hparams.warm_up_steps"),
        ({"learning_rate": 0.0}, "hparams.learning_rate"),
    ],
)
def test_numbers_out_of_range_are_refused(change, named):
    with pytest.raises(SettingError, match=named):
        vae.validate(vae.HParams(**change), vae.Config())


def test_a_schedule_without_a_length_takes_the_runs():
    config = vae.Config(schedule="cosine")
    vae.validate(vae.HParams(), config)
    assert vae.TRAITS.complete(vae.HParams(), config, 30).schedule_steps == 30
    assert vae.TRAITS.complete(vae.HParams(schedule_steps=7.0), config, 30).schedule_steps == 7
    assert vae.TRAITS.complete(vae.HParams(), vae.Config(), 30) == vae.HParams()
    with pytest.raises(SettingError, match=r"hparams\.schedule_steps = -1"):
        vae.validate(vae.HParams(schedule_steps=-1.0), config)
