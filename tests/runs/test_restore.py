import json

import jax
import numpy as np
import pytest

from jaxgen import optim
from jaxgen.algorithms import autoencoder, gan, vae
from jaxgen.data import DataSettings
from jaxgen.errors import UserError
from jaxgen.runs import settings
from jaxgen.runs.restore import restore
from jaxgen.runs.settings import RunSettings
from jaxgen.runs.train import train

pytestmark = pytest.mark.usefixtures("tiny")


def go(made, algorithm=autoencoder):
    last = {}
    path = train("tiny", algorithm, made, lambda drawing: last.update(state=drawing.state))
    return path, last["state"]


def test_the_last_state_of_a_finished_run_comes_back(make_settings):
    made = make_settings(epochs=2)
    path, state = go(made)
    run = restore(path, autoencoder)
    jax.tree.map(np.testing.assert_array_equal, run.state, state)
    assert run.config == made.config
    assert float(run.hparams.learning_rate) == pytest.approx(0.01)
    assert (run.experiment, run.step, run.data) == ("tiny", 12, made.data)


def test_settings_survive_the_way_through_a_file(tmp_path):
    for value in (
        vae.Config(widths=(3, 4), objective="iwae", samples=5),
        DataSettings(source="folder", path=tmp_path, size=12),
        vae.HParams(beta=0.5),
        gan.HParams(optim.HParams(learning_rate=0.5), real_target=0.95),
        gan.Config(augment=("cutout",)),
        RunSettings(name="x"),
    ):
        plain = json.loads(json.dumps(settings.to_dict(value)))
        assert settings.from_dict(type(value), plain) == value


def test_what_is_no_finished_run_of_the_algorithm_is_said(make_settings, tmp_path):
    path, _ = go(make_settings(epochs=1))
    with pytest.raises(UserError, match="does not fit here: the settings hold code_size"):
        restore(path, vae)
    with pytest.raises(UserError, match=r"is a run of tiny, not of one or other$"):
        restore(path, autoencoder, ("one", "other"))
    many, _ = go(make_settings(name="many", epochs=1, seeds=2))
    with pytest.raises(UserError, match="holds 2 runs in one"):
        restore(many, autoencoder)
    (path / "result.json").unlink()
    with pytest.raises(UserError, match="is not finished"):
        restore(path, autoencoder)
    with pytest.raises(UserError, match="is no run directory"):
        restore(tmp_path, autoencoder)


def test_other_data_than_the_runs_are_refused(make_settings):
    path, _ = go(make_settings(epochs=1))
    saved = json.loads((path / "settings.json").read_text())
    saved["data"]["version"] = "0"
    (path / "settings.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match="the data are now"):
        restore(path, autoencoder)
