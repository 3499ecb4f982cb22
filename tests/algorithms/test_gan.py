import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import optim
from jaxgen.algorithms import gan
from jaxgen.errors import SettingError

PLAIN = gan.Config(
    image_shape=(8, 8, 1), noise_size=5, generator_widths=(12,), discriminator_widths=(12, 6), batch_size=8
)
SMALL = dataclasses.replace(PLAIN, net="small", generator_widths=(3, 2), discriminator_widths=(2, 3))
FULL = dataclasses.replace(
    PLAIN,
    loss="hinge",
    dropout=0.3,
    classes=3,
    spectral_norm=True,
    penalty="r1",
    penalty_every=2,
    ema=True,
    augment=("translation", "cutout"),
)
ALTERNATING = dataclasses.replace(PLAIN, loss="wasserstein", penalty="gradient", critic_steps=2, ema=True)
RATES = optim.HParams(learning_rate=1e-2)
HP = jax.tree.map(jnp.float32, gan.HParams(RATES, RATES, real_target=0.95))
KEY = jax.random.key(0)
each = pytest.mark.parametrize(
    "config",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(SMALL, id="small"),
        pytest.param(FULL, id="full", marks=pytest.mark.slow),
        pytest.param(ALTERNATING, id="alternating"),
    ],
)


def batch(n=8, seed=1):
    images = jax.random.randint(jax.random.key(seed), (n, 8, 8, 1), 0, 256).astype(jnp.uint8)
    return gan.Batch(images, jnp.arange(n, dtype=jnp.int32) % 3)


def fresh(config, seed=0):
    return jax.jit(partial(gan.init, config=config))(jax.random.key(seed), HP)


def step_of(config):
    return jax.jit(partial(gan.step, config=config))


VARIANTS = {
    "minimax": {"loss": "minimax"},
    "non_saturating": {},
    "smoothed": {"dropout": 0.3},
    "least_squares": {"loss": "least_squares"},
    "hinge": {"loss": "hinge", "spectral_norm": True, "classes": 3},
    "wasserstein": {"loss": "wasserstein", "penalty": "gradient", "augment": ("color", "translation", "cutout")},
}


def plain_gradients(state, real, classes, draws, hparams, config):
    """Two losses, differentiated one after the other, with a pass of its own for everything."""

    def logits(params, images, keys):
        return gan.discriminate(params, state.spectral, images, classes, keys, config)[0]

    def terms(params, fake):
        real_logits = logits(params["discriminator"], real, draws.real)
        return gan.losses_of(real_logits, logits(params["discriminator"], fake, draws.fake), hparams, config)

    def fakes(params):
        return gan.generate(params["generator"], draws.noise, classes, draws.generator, config)

    def discriminator_loss(params):
        losses = terms(params, jax.lax.stop_gradient(fakes(params)))
        return losses.real.mean() + losses.fake.mean()

    def generator_loss(params):
        return terms(params, fakes(params)).generator.mean()

    return {
        "generator": jax.grad(generator_loss)(state.params)["generator"],
        "discriminator": jax.grad(discriminator_loss)(state.params)["discriminator"],
    }


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS)
def test_the_shared_passes_give_the_gradients_of_the_two_losses(change):
    config = dataclasses.replace(PLAIN, **change)
    state, data = fresh(config), batch()
    inputs = (
        state,
        gan.normalize(data.images),
        gan.one_hot(data.labels, config),
        gan.draw(KEY, 8, config, None),
        HP,
    )
    expected = jax.jit(partial(plain_gradients, config=dataclasses.replace(config, penalty="none")))(*inputs)
    got = {}
    for shared in (True, False):
        variant = dataclasses.replace(config, penalty="none", shared_passes=shared)
        got[shared] = jax.jit(partial(gan.gradients, config=variant))(*inputs)
        for player, grads in expected.items():
            scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(grads))
            assert scale > 0
            chex.assert_trees_all_close(got[shared][0][player], grads, rtol=1e-4, atol=1e-6 * scale)
    chex.assert_trees_all_close(got[True][1:], got[False][1:], rtol=1e-5, atol=1e-6)


def test_a_flat_discriminator_loss_still_gives_the_generator_its_slope():
    """Hinge, all margins kept: the discriminator's own gradient is zero and its backward pass carries 2^-40."""
    config = dataclasses.replace(PLAIN, loss="hinge")
    state, data = fresh(config), batch()
    flat = jax.tree.map(lambda x: x, state.params)
    flat["discriminator"]["logit"]["bias"] = jnp.array([-50.0])
    real = gan.normalize(data.images)
    inputs = (state._replace(params=flat), real, None, gan.draw(KEY, 8, config, None), HP)
    expected = jax.jit(partial(plain_gradients, config=config))(*inputs)
    got, _, _ = jax.jit(partial(gan.gradients, config=config))(*inputs)
    chex.assert_trees_all_close(got["generator"], expected["generator"], rtol=1e-4, atol=1e-7)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(got["generator"])) > 1e-4


def test_the_penalty_is_added_with_its_weight():
    config = dataclasses.replace(PLAIN, penalty="r1")
    state, data = fresh(config), batch()
    real, draws = gan.normalize(data.images), gan.draw(KEY, 8, config, None)

    def r1(params):
        slopes = jax.grad(lambda x: gan.discriminate(params, {}, x, None, None, config)[0].sum())(real)
        return 0.5 * (slopes**2).sum() / 8

    value, grads = jax.value_and_grad(r1)(state.params["discriminator"])
    gradients = jax.jit(partial(gan.gradients, config=config))
    without, with_it = (
        gradients(state, real, None, draws, dataclasses.replace(HP, penalty=jnp.float32(w))) for w in (0.0, 3.0)
    )
    np.testing.assert_allclose(with_it[1]["penalty"], 3 * value, rtol=1e-4)
    added = jax.tree.map(lambda a, b: a - b, with_it[0]["discriminator"], without[0]["discriminator"])
    chex.assert_trees_all_close(added, jax.tree.map(lambda x: 3 * x, grads), rtol=1e-3, atol=1e-5)
    chex.assert_trees_all_equal(with_it[0]["generator"], without[0]["generator"])


@each
def test_training_moves_both_players_and_stays_finite(config):
    state, step = fresh(config), step_of(config)
    first = state
    for t in range(5):
        state, metrics = step(state, batch(), jax.random.fold_in(KEY, t), HP)
    assert int(state.step) == 5
    assert all(np.isfinite(value) for value in metrics.values())
    assert ("penalty" in metrics) == (config.penalty != "none")
    for player in ("generator", "discriminator"):
        pairs = zip(jax.tree.leaves(first.params[player]), jax.tree.leaves(state.params[player]), strict=True)
        assert all(jnp.any(old != new) for old, new in pairs if old.ndim > 1)
    if config.spectral_norm:
        assert jnp.any(first.spectral["Dense_0-kernel"] != state.spectral["Dense_0-kernel"])


def test_the_discriminator_learns_to_tell_and_the_generator_to_mislead():
    """Against a player held still (learning rate 0) the other one's loss falls."""
    held = dataclasses.replace(RATES, learning_rate=0.0)
    for moving in ("discriminator", "generator"):
        hparams = dataclasses.replace(gan.HParams(held, held), **{moving: RATES})
        hparams, state, step, seen = jax.tree.map(jnp.float32, hparams), fresh(PLAIN), step_of(PLAIN), []
        for t in range(40):
            state, metrics = step(state, batch(), jax.random.fold_in(KEY, t), hparams)
            seen.append(float(metrics[f"{moving}_loss"]))
        assert np.mean(seen[-5:]) < 0.8 * np.mean(seen[:5])


def test_seeds_and_steps_differ():
    metrics = [step_of(PLAIN)(fresh(PLAIN, seed), batch(), KEY, HP)[1]["fake_logit"] for seed in (0, 1)]
    metrics.append(step_of(PLAIN)(fresh(PLAIN, 0), batch(), jax.random.key(1), HP)[1]["fake_logit"])
    assert len({float(value) for value in metrics}) == 3


def test_draws_belong_to_the_images_number():
    whole = gan.draw(KEY, 8, PLAIN, None)
    parts = jax.vmap(lambda _: gan.draw(KEY, 2, PLAIN, "i"), axis_name="i", axis_size=4, in_axes=0)(jnp.arange(4))
    np.testing.assert_array_equal(parts.noise.reshape(8, 5), whole.noise)
    assert len(np.unique(np.asarray(whole.noise))) == 40
    streams = [jax.random.key_data(keys) for keys in (whole.generator, whole.real, whole.fake)]
    assert len(np.unique(np.concatenate(streams), axis=0)) == 24


def plain_losses(state, data):
    """The chapter's two losses, spelled out in NumPy from the nets' outputs."""
    draws = gan.draw(KEY, 8, PLAIN, None)
    fake = gan.generate(state.params["generator"], draws.noise, None, None, PLAIN)
    real, generated = (
        np.asarray(gan.discriminate(state.params["discriminator"], {}, x, None, None, PLAIN)[0], np.float64)
        for x in (gan.normalize(data.images), fake)
    )
    on_real = np.logaddexp(0, real) - 0.95 * real
    return (on_real + np.logaddexp(0, generated)).mean(), (np.logaddexp(0, generated) - generated).mean()


def test_critic_steps_see_the_images_in_turn_and_move_only_the_discriminator_but_once():
    config = dataclasses.replace(PLAIN, critic_steps=4)
    state, data = fresh(config), batch()
    one = dataclasses.replace(PLAIN, critic_steps=1, batch_size=2)
    expected, held = state, dataclasses.replace(HP, generator=dataclasses.replace(HP.generator, learning_rate=0.0))
    for number in range(4):
        real = gan.normalize(data.images[number::4])
        draws = gan.draw(jax.random.fold_in(KEY, number), 2, one, None)
        fake = gan.generate(expected.params["generator"], draws.noise, None, None, one)
        grads, _, _ = gan.discriminator_gradients(expected, real, fake, None, draws, held, one)
        expected = gan._apply(expected, "discriminator", grads, held, one)
    got, _ = step_of(config)(state, data, KEY, HP)
    chex.assert_trees_all_close(got.params["discriminator"], expected.params["discriminator"], rtol=1e-3, atol=1e-5)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), got.params["generator"], state.params["generator"])
    assert all(0 < x < 0.04 for x in jax.tree.leaves(moved))  # one RMSprop step of 0.01 is at most 0.01 sqrt(10)


def test_a_schedule_scales_both_players_updates():
    plain = dataclasses.replace(PLAIN, optimizer="sgd")
    linear = dataclasses.replace(plain, schedule="linear")
    before = fresh(plain)._replace(step=jnp.int32(5))
    whole, half = (
        jax.tree.map(jnp.subtract, step_of(config)(before, batch(), KEY, hparams)[0].params, before.params)
        for config, hparams in ((plain, HP), (linear, dataclasses.replace(HP, schedule_steps=jnp.float32(10))))
    )
    assert min(float(jnp.abs(x).max()) for x in jax.tree.leaves(whole)) > 1e-5
    chex.assert_trees_all_close(half, jax.tree.map(lambda x: x / 2, whole), rtol=1e-2, atol=1e-7)


def test_a_schedule_without_a_length_takes_the_runs():
    linear = dataclasses.replace(PLAIN, schedule="linear")
    assert gan.TRAITS.complete(gan.HParams(), linear, 30).schedule_steps == 30
    assert gan.TRAITS.complete(gan.HParams(schedule_steps=7.0), linear, 30).schedule_steps == 7
    assert gan.TRAITS.complete(gan.HParams(), PLAIN, 30) == gan.HParams()
    with pytest.raises(SettingError, match=r"hparams\.schedule_steps = -1"):
        gan.validate(gan.HParams(schedule_steps=-1.0), linear)


def test_the_moving_average_follows_the_generator():
    config = dataclasses.replace(PLAIN, ema=True)
    state = fresh(config)
    hparams = dataclasses.replace(HP, ema_decay=jnp.float32(0.2))
    chex.assert_trees_all_equal(state.ema, state.params["generator"])
    average = state.ema
    for t, decay in enumerate((2 / 11, 0.2, 0.2)):  # min(0.2, (1 + t) / (10 + t)), t updates done
        state, _ = step_of(config)(state, batch(), jax.random.fold_in(KEY, t), hparams)
        average = jax.tree.map(lambda a, p, d=decay: d * a + (1 - d) * p, average, state.params["generator"])
    chex.assert_trees_all_close(state.ema, average, rtol=1e-4, atol=1e-6)
    assert gan.weights(state, config) is state.ema
    assert gan.weights(state, PLAIN) is state.params["generator"]


def test_samples_differ_from_each_other_are_repeatable_and_lie_in_range():
    state = fresh(FULL)
    sample = jax.jit(partial(gan.sample, count=260, config=FULL))
    params = gan.weights(state, FULL)
    images = np.asarray(sample(params, KEY))
    assert images.shape == (260, 8, 8, 1)
    assert 0 <= images.min() < images.max() <= 1
    assert len(np.unique(images[:, 0, 0, 0])) > 250
    np.testing.assert_array_equal(images, sample(params, KEY))
    assert np.any(images != sample(params, jax.random.key(1)))


def test_evaluate_is_of_unseen_images_and_names_a_collapse():
    state, data = fresh(PLAIN), batch(11)
    got = jax.jit(partial(gan.evaluate, config=PLAIN))(state, data, KEY, HP)
    noise, _ = gan.noise_and_labels(KEY, 11, PLAIN)
    fake = gan.generate(state.params["generator"], noise, None, None, PLAIN)
    logits = gan.discriminate(state.params["discriminator"], {}, fake, None, None, PLAIN)[0]
    np.testing.assert_allclose(got["fake_logit"], logits.mean(), rtol=1e-4, atol=1e-6)
    spread = np.sqrt(np.asarray(fake).var(0).mean() / np.asarray(gan.normalize(data.images)).var(0).mean())
    np.testing.assert_allclose(got["diversity"], spread, rtol=1e-4)
    assert gan.health({"diversity": float(spread)}) is None
    silent = jax.tree.map(jnp.zeros_like, state.params["generator"])
    dead = gan.evaluate(state._replace(params={**state.params, "generator": silent}), data, KEY, HP, PLAIN)
    assert "the generator has collapsed" in gan.health({"diversity": float(dead["diversity"])})


def test_bfloat16_step_keeps_float32_state():
    config = dataclasses.replace(PLAIN, dtype="bfloat16")
    state, metrics = step_of(config)(fresh(config), batch(), KEY, HP)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    exact = step_of(PLAIN)(fresh(PLAIN), batch(), KEY, HP)[1]
    assert metrics["generator_loss"] != exact["generator_loss"]
    np.testing.assert_allclose(metrics["generator_loss"], exact["generator_loss"], rtol=0.05)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"net": "dens"}, r"config\.net = 'dens'.*did you mean 'dense'"),
        ({"loss": "hing"}, r"config\.loss = 'hing'.*did you mean 'hinge'"),
        ({"penalty": "r2"}, r"config\.penalty"),
        ({"schedule": "liner"}, r"config\.schedule = 'liner'.*did you mean 'linear'"),
        ({"augment": ("colour",)}, r"config\.augment = 'colour'.*did you mean 'color'"),
        ({"dropout": 1.0}, r"config\.dropout"),
        ({"batch_size": 0}, r"config\.batch_size"),
        ({"noise_size": 0}, r"config\.noise_size"),
        ({"classes": -1}, r"config\.classes"),
        ({"penalty_every": 0}, r"config\.penalty_every"),
        ({"critic_steps": 3}, r"config\.critic_steps = 3.*a divisor of the batch size, 128"),
        ({"generator_widths": (3, 0)}, r"config\.generator_widths"),
        ({"net": "flower", "generator_widths": (3, 3)}, r"4 positive integers for the flower net"),
        ({"net": "small", "image_shape": (30, 28, 1)}, "30x28"),
    ],
)
def test_wrong_config_is_refused(change, named):
    with pytest.raises(SettingError, match=named):
        gan.Config(**change)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"real_target": 1.1}, r"hparams\.real_target"),
        ({"penalty": -1.0}, r"hparams\.penalty"),
        ({"ema_decay": 1.0}, r"hparams\.ema_decay"),
        ({"generator": optim.HParams(learning_rate=0.0)}, r"hparams\.generator\.learning_rate"),
        ({"discriminator": optim.HParams(decay=1.0)}, r"hparams\.discriminator\.decay"),
    ],
)
def test_wrong_numbers_are_refused(change, named):
    with pytest.raises(SettingError, match=named):
        gan.validate(gan.HParams(**change), PLAIN)
