"""The models that ship with jaxgen, and exported ones, as runs."""

import json
import shutil

import jax
import numpy as np
import pytest

import jaxgen
from jaxgen.errors import SettingError, UserError
from jaxgen.export import pretrained

EIGHT = [
    *("ae_mnist", "conv_ae_mnist", "dqn_cartpole", "gan_flowers", "gan_mnist"),
    *("iwae_mnist", "vae_flowers", "vae_mnist"),
]


def test_what_ships():
    assert pretrained.names() == EIGHT
    hashes = json.loads(pretrained.HASHES.read_text())
    assert hashes == {name: pretrained.sha256(pretrained.SHIPPED / name / "weights.safetensors") for name in EIGHT}
    assert sum(path.stat().st_size for path in pretrained.SHIPPED.rglob("*") if path.is_file()) < 3 * 2**20
    for name in EIGHT:
        assert "SHA-256" in (pretrained.SHIPPED / name / "README.md").read_text()


@pytest.mark.parametrize("name", EIGHT)
def test_each_can_be_used(name):
    run = jaxgen.pretrained(name)
    if name == "dqn_cartpole":
        falling = np.array([[0.0, 0.0, 0.15, 0.5], [0.0, 0.0, -0.15, -0.5]], np.float32)
        assert np.asarray(run.act(falling)).tolist() == [1, 0]  # pushed to the side it falls to
        return
    shape = run.config.image_shape
    if name in ("ae_mnist", "conv_ae_mnist"):
        digits = jaxgen.data.load("digits").test.images[:50]
        again = np.asarray(run.reconstruct(digits))
        error = np.mean((again - np.asarray(digits) / 255) ** 2)
        assert error < 0.6 * np.var(np.asarray(digits) / 255)
    else:
        images = np.asarray(run.sample(jax.random.key(0), 20))
        assert images.shape == (20, *shape)
        assert (images.min(), images.max()) >= (0, 0)
        assert images.std(axis=0).mean() > 0.05  # they differ


def test_a_damaged_or_foreign_model_is_one_line(tmp_path):
    with pytest.raises(SettingError, match="did you mean 'vae_mnist'"):
        pretrained.pretrained("vae_mnis")
    with pytest.raises(UserError, match="is not an exported model"):
        pretrained.read(tmp_path)
    for name, damage in (("weights.safetensors", b"x" * 99), ("settings.json", b"{}"), ("settings.json", b"[")):
        shutil.rmtree(tmp_path / "m", ignore_errors=True)
        shutil.copytree(pretrained.SHIPPED / "vae_mnist", tmp_path / "m")
        (tmp_path / "m" / name).write_bytes(damage)
        with pytest.raises(UserError, match=rf"{name} is damaged") as error:
            pretrained.read(tmp_path / "m")
        assert "\n" not in str(error.value)


def test_a_model_without_a_state_is_not_trained_on():
    with pytest.raises(UserError, match="cannot be trained on"):
        pretrained.pretrained("vae_mnist").fit(epochs=2)
