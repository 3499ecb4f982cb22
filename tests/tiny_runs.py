"""Fixtures of tiny runs."""

import jax
import numpy as np
import pytest

from jaxgen import data
from jaxgen.algorithms import autoencoder
from jaxgen.data.dataset import Dataset, Split
from jaxgen.runs.settings import RunSettings, Settings


def tiny_dataset():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70, 12, 12, 1)).astype(np.uint8)
    labels = (np.arange(70) % 3).astype(np.int32)
    train = Split(jax.device_put(images[:50]), jax.device_put(labels[:50]))
    test = Split(jax.device_put(images[50:]), jax.device_put(labels[50:]))
    return Dataset("tiny", "1", train, test, ("a", "b", "c"))


@pytest.fixture
def tiny(monkeypatch):
    """Data of 50 training images: batches of 8 leave a remainder, an epoch has 6 steps."""
    monkeypatch.setattr(data, "load", lambda settings, on_device=True: tiny_dataset())


@pytest.fixture
def make_settings(tmp_path):
    """A factory of settings for the tiny data: `make_settings(learning_rate=..., seed=..., **run settings)`."""

    def make(learning_rate=0.01, **run):
        run = {"root": tmp_path / "runs", "name": "run", "epochs": 3, "log_every": 4, "save_every": 1, **run}
        return Settings(
            autoencoder.Config(image_shape=(12, 12, 1), widths=(8,), batch_size=8),
            autoencoder.HParams(learning_rate=learning_rate),
            RunSettings(**run),
            data.DataSettings(source="digits"),
        )

    return make
