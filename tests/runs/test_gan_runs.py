"""An algorithm without a test loss, with an alarm and with classes, through the engine and read back."""

import dataclasses
import json
import os
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training import train

from jaxgen import data
from jaxgen.algorithms import gan
from jaxgen.errors import SettingError, UserError
from jaxgen.files import read_json, write_json
from jaxgen.proof.verify import verify
from jaxgen.runs import checkpoint, metrics
from jaxgen.runs.guard import NonFiniteError
from jaxgen.runs.load import load
from jaxgen.runs.settings import RunSettings, Settings

pytestmark = pytest.mark.usefixtures("tiny")


CONFIG = gan.Config(
    image_shape=(12, 12, 1),
    noise_size=5,
    generator_widths=(8,),
    discriminator_widths=(8,),
    dropout=0.3,
    spectral_norm=True,
    ema=True,
    batch_size=8,
)


@pytest.fixture
def make(tmp_path):
    def settings(config=CONFIG, hparams=None, **run):
        run = RunSettings(
            **{"root": tmp_path / "runs", "name": "run", "epochs": 3, "log_every": 4, "save_every": 1, **run}
        )
        return Settings(config, hparams or gan.HParams(), run, data.DataSettings(source="digits"))

    return settings


def go(settings, algorithm=gan, draw=lambda snapshot: None):
    return train("gan_tiny", algorithm, settings, draw)


def test_resumed_equals_uninterrupted_and_is_read_back(make):
    states = []

    def keep(snapshot):
        states.append(jax.device_get(snapshot.state))

    whole = go(make(name="whole"), draw=keep)

    def stop(snapshot):
        if int(snapshot.state.step) == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        go(make(name="cut", chunk_steps=3, draw_every=1), draw=stop)
    cut = go(make(name="cut", chunk_steps=5), draw=keep)
    assert metrics.read(whole / "metrics.jsonl") == metrics.read(cut / "metrics.jsonl")
    chex.assert_trees_all_equal(*states)

    run = load(whole)
    assert (run.experiment, run.step, run.config) == ("gan_tiny", 18, CONFIG)
    chex.assert_trees_all_close(run.hparams, gan.HParams())
    chex.assert_trees_all_equal(run.state, states[0])


def test_without_an_objective_no_state_is_the_best(make):
    path = go(make(epochs=4, keep=2))
    with pytest.raises(UserError, match="has no objective, so no state of it is the best"):
        load(path).best()
    result = json.loads((path / "result.json").read_text())
    assert "test/diversity" in result
    assert "test/loss" not in result
    assert "alarm" not in result


class Faulty:
    """The GAN with another evaluation."""

    Config, HParams, State, Batch, TRAITS = gan.Config, gan.HParams, gan.State, gan.Batch, gan.TRAITS
    validate, init, step, weights = (staticmethod(f) for f in (gan.validate, gan.init, gan.step, gan.weights))

    def __init__(self, **changes):
        self.changes = changes

    def evaluate(self, state, batch, key, hparams, config):
        return {
            **gan.evaluate(state, batch, key, hparams, config),
            **{k: jnp.float32(v) for k, v in self.changes.items()},
        }


def test_a_collapse_is_said_and_stands_in_the_result(make, capsys):
    path = go(make(), algorithm=Faulty(diversity=0.01))
    assert "warning: the generator has collapsed" in capsys.readouterr().err
    result = json.loads((path / "result.json").read_text())
    assert "collapsed" in result["alarm"]
    (path / "result.json").unlink()  # as if killed after the last checkpoint
    go(make(), algorithm=Faulty(diversity=0.01))
    assert json.loads((path / "result.json").read_text())["alarm"] == result["alarm"]


def test_any_test_number_that_is_not_finite_stops_the_run(make):
    settings = make()
    with pytest.raises(NonFiniteError, match="the test fake_logit is nan at step 6"):
        go(settings, algorithm=Faulty(fake_logit=float("nan")))
    assert not checkpoint.steps(settings.run.root / "run" / "checkpoints")


def test_classes_must_be_those_of_the_data(make, tmp_path):
    with pytest.raises(SettingError, match=r"config\.classes = 4 is not allowed: 0, or 3, the classes of tiny"):
        go(make(dataclasses.replace(CONFIG, classes=4)))
    assert not (tmp_path / "runs").exists()
    go(make(dataclasses.replace(CONFIG, classes=3), epochs=1))


def test_running_means_weigh_intervals_by_their_steps():
    rows = [
        {"step": 4, "x": 1.0},
        {"step": 4, "y": 9.0},
        {"step": 8, "x": 3.0},
        {"step": 10, "x": 7.0, "partial": True},
    ]
    means = metrics.running_means(rows, "x")
    assert list(means) == [4, 8, 10]
    np.testing.assert_allclose(list(means.values()), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_record_older_than_a_setting_goes_on_with_its_default(make, seeds):
    """`config.schedule` and its length came later than the format of run directories."""
    settings = make(epochs=1, seeds=seeds)
    go(settings)
    file = settings.run.root / "run" / "settings.json"
    record = read_json(file)
    for part in (record["settings"], record["fitted"]):
        del part["config"]["schedule"], part["hparams"]["schedule_steps"], part["hparams"]["generator"]["momentum"]
    for name in ("schedule_steps", "generator.momentum") if seeds > 1 else ():
        del record["members"]["hparams"][name]
    write_json(file, record)
    assert verify(file.parent, all=True).passed
    linear = dataclasses.replace(CONFIG, schedule="linear")
    with pytest.raises(SettingError, match=r"config\.schedule: constant -> linear"):
        go(make(linear, epochs=2, seeds=seeds))
    with pytest.raises(SettingError, match=r"its members" if seeds > 1 else r"hparams\.schedule_steps: 0\.0 -> 7\.0"):
        go(make(hparams=gan.HParams(schedule_steps=7.0), epochs=2, seeds=seeds))
    assert load(go(make(epochs=2, seeds=seeds))).step == 12
    assert verify(file.parent, all=True).passed
