"""A variational autoencoder through the engine: cut and continued, it is the same run."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from training import train

from jaxgen import data
from jaxgen.algorithms import vae
from jaxgen.data.dataset import Dataset, Split
from jaxgen.engine import loop
from jaxgen.runs import metrics
from jaxgen.runs.load import load
from jaxgen.runs.settings import RunSettings, Settings


def dataset(settings=None, on_device=True):
    images = np.random.default_rng(0).integers(0, 256, (70, 6, 6, 1)).astype(np.uint8)
    labels = (np.arange(70) % 3).astype(np.int32)
    train, test = (Split(jnp.asarray(images[part]), jnp.asarray(labels[part])) for part in (slice(50), slice(50, None)))
    return Dataset("tiny", "1", train, test, ("a", "b", "c"))


def settings(root, name, **run):
    config = vae.Config(
        image_shape=(6, 6, 1), latent_size=2, widths=(5,), inputs="binarized", objective="tc", batch_size=8
    )
    hparams = vae.HParams(warm_up_steps=10.0)
    return Settings(config, hparams, RunSettings(name=name, root=root, log_every=4, **run), data.DataSettings("digits"))


def test_resumed_equals_uninterrupted(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "load", dataset)
    whole = train("tiny", vae, settings(tmp_path, "whole", epochs=3), lambda snapshot: None)
    train("tiny", vae, settings(tmp_path, "cut", epochs=1, chunk_steps=4), lambda snapshot: None)
    cut = train("tiny", vae, settings(tmp_path, "cut", epochs=3, chunk_steps=1), lambda snapshot: None)
    assert metrics.read(whole / "metrics.jsonl") == metrics.read(cut / "metrics.jsonl")
    one, other = load(whole, algorithm=vae), load(cut, algorithm=vae)
    jax.tree.map(np.testing.assert_array_equal, one.state, other.state)
    assert one.config.examples == 50
    assert int(one.state.step) == 18


def test_the_same_images_are_binarized_anew_at_each_visit(monkeypatch):
    config = dataclasses.replace(settings(None, "x").config, batch_size=50, objective="elbo")
    hparams, keys, images = jax.tree.map(jnp.float32, vae.HParams()), loop.keys(0), dataset().train
    drawn, draw = [], vae.pixels
    monkeypatch.setattr(vae, "pixels", lambda *args: drawn.append(draw(*args)) or drawn[-1])

    @jax.jit
    def pixels_of_step(state, t):
        vae.step(state, vae.Batch(images.images, images.labels), jax.random.fold_in(keys.step, t), hparams, config)
        return drawn.pop()

    state = jax.jit(partial(vae.init, config=config))(keys.init, hparams)
    first, second = (np.asarray(pixels_of_step(state, t)) for t in range(2))
    assert 0.1 < np.mean(first != second) < 0.6
