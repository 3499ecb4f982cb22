"""A model's functions for figures."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import tiny_dataset

from jaxgen import report
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.engine import executables
from jaxgen.report import models
from jaxgen.runs.snapshot import Snapshot

SMALL = {"image_shape": (12, 12, 1), "widths": (8,), "batch_size": 8}
GAN = gan.Config(image_shape=(12, 12, 1), generator_widths=(8,), discriminator_widths=(8,), batch_size=8)
DQN = dqn.Config(envs=4, batch_size=8, replay_size=64, learning_starts=32, widths=(8,), evaluation_episodes=2)
NAMES = ["loss_per_pixel", "distortion", "rate", "negative_elbo", "return", "episode_return"]
GAN_NAMES = ["generator_loss", "discriminator_loss", "real_logit", "fake_logit"]
ROWS = [
    {"step": step, **{f"{split}/{name}": 1.0 for split in ("train", "test") for name in (*NAMES, *GAN_NAMES)}}
    for step in (1, 2)
]
RUNS = {
    "autoencoder": (autoencoder, autoencoder.Config(**SMALL), report.autoencoder.draw),
    "vae, 2 latents": (vae, vae.Config(**SMALL, latent_size=2), report.vae.draw),
    "vae, 5 latents": (vae, vae.Config(**SMALL, latent_size=5), report.vae.draw),
    "gan": (gan, GAN, report.gan.draw),
    "gan with classes and averages": (gan, replace(GAN, classes=3, ema=True), report.gan.draw),
    "dqn": (dqn, DQN, report.dqn.draw),
}


@pytest.mark.parametrize("count", [1, 7, models.BLOCK, 2 * models.BLOCK + 3])
def test_blocks_give_what_the_whole_gives_from_one_trace(count):
    traces = []

    def scaled(params, points, shifts, config):
        traces.append(points.shape)
        return params * points + shifts[:, None] + config

    points = np.arange(3.0 * count, dtype=np.float32).reshape(count, 3)
    shifts = np.arange(count, dtype=np.float32)
    for _ in range(2):
        result = models.apply(scaled, 5.0, jnp.full((1, 1), 2.0), points, shifts)
        np.testing.assert_array_equal(result, 2 * points + shifts[:, None] + 5)
    assert traces == [(models.BLOCK, 3)]


def numbers(function, config, *arguments):
    """Random results of the right shapes, without a program."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(partial(function, config=config), *arguments)
    return jax.tree.map(lambda shape: jnp.asarray(random.uniform(1, 2, shape.shape), shape.dtype), shapes)


@pytest.mark.parametrize("name", RUNS)
def test_just_the_programs_that_figures_call_are_prepared(tmp_path, monkeypatch, name):
    algorithm, config, draw = RUNS[name]
    prepared, called = set(), set()

    def prepare(function, config, *arguments):
        prepared.add(executables._call_of(function, config, arguments))

    def record(function, config, *arguments):
        called.add(executables._call_of(function, config, jax.tree.map(jnp.asarray, arguments)))
        return numbers(function, config, *arguments)

    monkeypatch.setattr(executables, "ahead", prepare)
    monkeypatch.setattr(executables, "call", record)
    state = numbers(algorithm.init, config, jax.random.key(0), algorithm.HParams())
    draw.ahead(config, jax.eval_shape(lambda: state))
    data = None if algorithm is dqn else tiny_dataset()
    folder = tmp_path / "figures"
    folder.mkdir()
    draw(Snapshot(folder, state, lambda: state, jax.random.key(0), config, data, ROWS, None, 2, 1))
    assert prepared == called != set()
