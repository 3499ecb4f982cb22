"""The models that ship with jaxgen, and exported ones, as runs."""

import json

import jax
import numpy as np
import pytest

import jaxgen
from jaxgen.errors import SettingError, UserError
from jaxgen.export import pretrained

SIX = ["conv_ae_mnist", "dqn_cartpole", "gan_flowers", "gan_mnist", "iwae_mnist", "vae_mnist"]


def test_what_ships():
    assert pretrained.names() == SIX
    hashes = json.loads(pretrained.HASHES.read_text())
    assert hashes == {name: pretrained.sha256(pretrained.SHIPPED / name / "weights.safetensors") for name in SIX}
    assert sum(path.stat().st_size for path in pretrained.SHIPPED.rglob("*") if path.is_file()) < 3 * 2**20
    for name in SIX:
        assert "SHA-256" in (pretrained.SHIPPED / name / "README.md").read_text()


@pytest.mark.parametrize("name", SIX)
def test_each_can_be_used(name):
    run = jaxgen.pretrained(name)
    if name == "dqn_cartpole":
        falling = np.array([[0.0, 0.0, 0.15, 0.5], [0.0, 0.0, -0.15, -0.5]], np.float32)
        assert np.asarray(run.act(falling)).tolist() == [1, 0]  # pushed to the side it falls to
        return
    shape = run.config.image_shape
    if name == "conv_ae_mnist":
        digits = jaxgen.data.load("digits").test.images[:50]
        again = np.asarray(run.reconstruct(digits))
        error = np.mean((again - np.asarray(digits) / 255) ** 2)
        assert error < 0.6 * np.var(np.asarray(digits) / 255)
    else:
        images = np.asarray(run.sample(jax.random.key(0), 20))
        assert images.shape == (20, *shape)
        assert (images.min(), images.max()) >= (0, 0)
        assert images.std(axis=0).mean() > 0.05  # they differ


def test_an_unknown_name_is_one_line():
    with pytest.raises(SettingError, match="did you mean 'vae_mnist'"):
        pretrained.pretrained("vae_mnis")


def test_a_model_is_not_trained_on():
    with pytest.raises(UserError, match="cannot be trained on"):
        pretrained.pretrained("vae_mnist").fit(epochs=2)
