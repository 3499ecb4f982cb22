"""The models that ship with jaxgen, and exported ones, as runs."""

import json
import os
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest

import jaxgen
from jaxgen.engine import loop
from jaxgen.errors import SettingError, UserError
from jaxgen.export import pretrained

EIGHT = sorted(
    ["ae_mnist", "conv_ae_mnist", "vae_mnist", "iwae_mnist", "gan_mnist", "gan_flowers", "vae_flowers", "dqn_cartpole"]
)


def test_what_ships():
    assert pretrained.names() == EIGHT
    hashes = json.loads(pretrained.HASHES.read_text())
    assert hashes == {name: pretrained.sha256(pretrained.SHIPPED / name / "weights.safetensors") for name in EIGHT}
    assert sum(path.stat().st_size for path in pretrained.SHIPPED.rglob("*") if path.is_file()) < 3_000_000
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
        assert images.min() >= 0
        assert images.max() <= 1
        assert images.std(axis=0).mean() > 0.05  # they differ


@pytest.mark.parametrize("name", ["ae_mnist", "vae_mnist"])
def test_the_numbers_on_a_card_are_those_of_the_rounded_weights(name):
    run, digits = jaxgen.pretrained(name), jaxgen.data.load("digits").test
    evaluate = jax.jit(partial(run.algorithm.evaluate, config=run.config))
    batch = run.algorithm.Batch(digits.images, digits.labels)
    found = evaluate(run.state, batch, loop.keys(run.seed).evaluate, run.hparams)
    assert f"{float(found['loss']):.5g}" == f"{run.rows[-1]['test/loss']:.5g}"


FRESH = """
import jax, numpy as np, time, jaxgen
run = jaxgen.pretrained({name!r})
if {name!r} == "dqn_cartpole":
    run.act(np.zeros((1, 4)))
elif {name!r} in ("ae_mnist", "conv_ae_mnist"):
    run.decode(np.zeros((1, 2)))
else:
    run.sample(jax.random.key(0), 8)
print(time.process_time())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", EIGHT)
def test_each_draws_at_once_in_a_fresh_process_without_data(name, tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": "", "XLA_FLAGS": ""}
    environment.pop("TFDS_DATA_DIR", None)
    code = FRESH.format(name=name)
    seconds = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(seconds.stdout) < 10  # of the processor


def test_an_unknown_name_is_one_line():
    with pytest.raises(SettingError, match="did you mean 'vae_mnist'"):
        pretrained.pretrained("vae_mnis")


def test_a_model_is_not_trained_on():
    with pytest.raises(UserError, match="cannot be trained on"):
        pretrained.pretrained("vae_mnist").fit(epochs=2)
