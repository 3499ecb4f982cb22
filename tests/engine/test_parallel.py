"""A run on many devices is the run on one, to rounding; what cannot be shared out is said before anything compiles."""

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training import train

from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.engine import batches, loop, parallel, placements
from jaxgen.engine.programs import Programs
from jaxgen.errors import SettingError
from jaxgen.runs import metrics

SHAPE = (6, 6, 1)
CASES = {
    "autoencoder": (
        autoencoder,
        autoencoder.Config(image_shape=SHAPE, widths=(5,), batch_size=8),
        autoencoder.HParams(learning_rate=0.01),
    ),
    "vae": (
        vae,
        vae.Config(image_shape=SHAPE, widths=(5,), inputs="binarized", objective="tc", examples=50, batch_size=8),
        vae.HParams(),
    ),
    "gan": (
        gan,
        gan.Config(
            image_shape=SHAPE, generator_widths=(5,), discriminator_widths=(4,), noise_size=3, dropout=0.25,
            critic_steps=2, batch_size=8, ema=True,
        ),
        gan.HParams(),
    ),
    "dqn": (
        dqn,
        dqn.Config(
            envs=4, batch_size=8, replay_size=64, learning_starts=32, widths=(8,), evaluation_episodes=4,
            sampling="prioritized", steps_per_epoch=6,
        ),
        dqn.HParams(learning_rate=0.01),
    ),
}  # fmt: skip
each = pytest.mark.parametrize("name", CASES)


def data(algorithm):
    if algorithm is dqn:
        return dqn.Batch(), dqn.Batch()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70, *SHAPE)).astype(np.uint8)
    labels = (np.arange(70) % 3).astype(np.int32)
    return algorithm.Batch(images[:51], labels[:51]), algorithm.Batch(images[51:], labels[51:])


def run(name, devices, steps=6):
    algorithm, config, hparams = CASES[name]
    mesh = parallel.mesh(devices)
    programs = Programs(algorithm, config, data(algorithm), placements.of(0, mesh=mesh), 2)
    programs.compile(hparams)
    carry, rows = programs.start(), []
    for first in range(0, steps, 3):
        carry, chunk = programs.chunk(carry, first, first + 3)
        rows.append(chunk.rows)
    return jax.device_get(carry), rows, programs.evaluate(carry)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in ("dqn", "gan") else ()) for name in CASES]
)
def test_four_devices_give_the_curve_of_one(name):
    (carry, rows, tested), (lone, lone_rows, lone_tested) = run(name, 4), run(name, 1)
    chex.assert_trees_all_close(rows, lone_rows, rtol=1e-4, atol=1e-4)
    chex.assert_trees_all_close(carry.state.params, lone.state.params, rtol=1e-3, atol=1e-4)
    chex.assert_trees_all_close(tested, lone_tested, rtol=1e-4, atol=1e-4)


def test_each_device_gets_its_share_of_the_batch_that_one_would_see():
    split, mesh = data(autoencoder)[0], parallel.mesh(4)
    config = CASES["autoencoder"][1]
    key, first = loop.keys(0).order, jnp.int32(12)

    def batch(axis_name, data, t):
        return batches.of_split(split, config, axis_name)(data, key, first, first + 6)(t)

    inputs = (parallel.P("batch"), parallel.P())
    shared = parallel.spread(partial(batch, "batch"), mesh, inputs, parallel.P("batch"))
    placed = parallel.place_split(split, mesh)
    assert placed.images.shape == (52, *SHAPE)
    assert {part.data.shape for part in placed.images.addressable_shards} == {(13, *SHAPE)}
    for t in (12, 17):
        got, wanted = jax.jit(shared)(placed, t), batch(None, jax.device_put(split), t)
        chex.assert_trees_all_equal(jax.device_get(got), jax.device_get(wanted))
        assert len(got.images.addressable_shards[0].data) == 2


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("before", "after"), [(4, 1), (1, 4)])
def test_a_run_goes_on_with_other_devices(make_settings, before, after):
    def go(**run):
        return train("tiny", autoencoder, make_settings(**run), lambda snapshot: None)

    whole = metrics.read(go(name="whole", epochs=2) / "metrics.jsonl")
    go(name="cut", epochs=1, devices=before)
    cut = metrics.read(go(name="cut", epochs=2, devices=after) / "metrics.jsonl")
    assert [row["step"] for row in cut] == [row["step"] for row in whole]
    for one, other in zip(cut, whole, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.usefixtures("tiny")
def test_figures_are_drawn_from_a_state_on_one_device(make_settings):
    seen = {}

    def draw(snapshot):
        seen.update(snapshot._asdict(), start=snapshot.initial())

    train("tiny", autoencoder, make_settings(epochs=1, devices=4), draw)
    leaves = jax.tree.leaves((seen["state"], seen["start"], seen["key"]))
    assert all(len(leaf.devices()) == 1 for leaf in leaves)
    encoded = autoencoder.encode(seen["state"].params, seen["dataset"].test.images, None, seen["config"])
    assert np.isfinite(encoded).all()
    assert int(seen["start"].step) == 0


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"devices": 3}, r"config.batch_size = 8 is not allowed: a multiple of 3 on 3 devices"),
        ({"devices": 5}, r"run.devices = 5 is not allowed: at most 4, the cpu devices there are, or 0 for all"),
        ({"devices": -1}, r"run.devices = -1 is not allowed: at least 0"),
        ({"devices": 2, "seeds": 2}, r"run.devices = 2 is not allowed: 1 with many run.seeds"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_first(make_settings, run, said):
    chex.clear_trace_counter()
    with pytest.raises(SettingError, match=said) as error:
        train("tiny", autoencoder, make_settings(**run), lambda snapshot: None)
    assert "\n" not in str(error.value)
    assert not make_settings().run.root.exists()


def test_parts_of_a_batch_that_belong_together_stay_together():
    config = dataclasses.replace(CASES["gan"][1], critic_steps=2, penalty="r1", penalty_every=2)
    parallel.check_config(gan, config, 2)
    with pytest.raises(SettingError, match="a multiple of 16 on 4 devices, each taking a multiple of 4"):
        parallel.check_config(gan, config, 4)


class Steps(chex.TestCase):
    """Every algorithm's step runs as it is under `jit` and under `pmap`, where it averages over the devices."""

    @chex.variants(with_jit=True, with_pmap=True)
    def test_autoencoder(self):
        self.check("autoencoder")

    @chex.variants(with_jit=True, with_pmap=True)
    def test_vae(self):
        self.check("vae")

    @chex.variants(with_jit=True, with_pmap=True)
    def test_gan(self):
        self.check("gan")

    @chex.variants(with_pmap=True)
    def test_dqn(self):
        """Each device's environments are its own, so the whole state is cut into the devices' parts."""
        _, config, hparams = CASES["dqn"]
        hparams, key = jax.tree.map(jnp.float32, hparams), jax.random.key(3)
        state = jax.jit(partial(dqn.init, config=config))(jax.random.key(0), hparams)
        _, expected = jax.jit(partial(dqn.step, config=config))(state, dqn.Batch(), key, hparams)
        axes = jax.tree.map(lambda axis, branch: jax.tree.map(lambda _: axis, branch), dqn.TRAITS.divided_axes, state)
        parts = jax.tree.map(
            lambda axis, x: jnp.broadcast_to(x, (4, *x.shape)) if axis < 0 else jnp.stack(jnp.split(x, 4, axis)),
            axes,
            state,
        )
        step = self.variant(
            partial(dqn.step, config=config, axis_name="i"), axis_name="i", in_axes=(0, None, None, None),
            broadcast_args_to_devices=False, reduce_fn="first_device_output",
        )  # fmt: skip
        chex.assert_trees_all_close(step(parts, dqn.Batch(), key, hparams)[1], expected, rtol=1e-4, atol=1e-4)

    def check(self, name):
        algorithm, config, hparams = CASES[name]
        hparams, key = jax.tree.map(jnp.float32, hparams), jax.random.key(3)
        whole = jax.tree.map(lambda leaf: jnp.asarray(leaf[:8]), data(algorithm)[0])
        state = jax.jit(partial(algorithm.init, config=config))(jax.random.key(0), hparams)
        expected = jax.jit(partial(algorithm.step, config=config))(state, whole, key, hparams)
        if self.variant.type == chex.ChexVariantType.WITH_PMAP:
            shares = jax.tree.map(lambda leaf: leaf.reshape(4, 2, *leaf.shape[1:]), whole)
            step = self.variant(
                partial(algorithm.step, config=config, axis_name="i"), axis_name="i", in_axes=(None, 0, None, None),
                broadcast_args_to_devices=False, reduce_fn="first_device_output",
            )  # fmt: skip
            got = step(state, shares, key, hparams)
        else:
            got = self.variant(partial(algorithm.step, config=config))(state, whole, key, hparams)
        chex.assert_trees_all_close(got[1], expected[1], rtol=1e-4, atol=1e-4)
        chex.assert_trees_all_close(got[0].params, expected[0].params, rtol=1e-3, atol=1e-4)
