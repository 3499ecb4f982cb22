import json

import jax
import numpy as np
import pytest
from training import train

from jaxgen import optim
from jaxgen.algorithms import autoencoder, gan, vae
from jaxgen.data import DataSettings
from jaxgen.errors import UserError
from jaxgen.files import read_json, write_json
from jaxgen.runs import settings
from jaxgen.runs.load import load
from jaxgen.runs.settings import RunSettings

pytestmark = pytest.mark.usefixtures("tiny")


def go(made, algorithm=autoencoder):
    last = {}
    path = train("tiny", algorithm, made, lambda snapshot: last.update(state=snapshot.state))
    return path, last["state"]


def test_the_last_state_of_a_finished_run_comes_back(make_settings):
    made = make_settings(epochs=2)
    path, state = go(made)
    run = load(path, algorithm=autoencoder)
    jax.tree.map(np.testing.assert_array_equal, run.state, state)
    assert run.config == made.config
    assert float(run.hparams.learning_rate) == pytest.approx(0.01)
    assert (run.experiment, run.step, run.status) == ("tiny", 12, "finished")
    assert run.data().name == "tiny"


def test_the_best_state_is_that_of_the_best_evaluation(make_settings):
    states = []

    def note(snapshot):
        states.append(jax.device_get(snapshot.state))
        return False

    path = train("tiny", autoencoder, make_settings(epochs=4, learning_rate=0.3), on_evaluation=note)
    run = load(path)
    best = int(np.argmin(run.metrics["test/loss"].values))
    assert run.best().step == run.metrics["test/loss"].steps[best]
    jax.tree.map(np.testing.assert_array_equal, run.best().state, states[best])
    assert run.best().metrics["test/loss"].values[-1] == run.metrics["test/loss"].values.min()


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


def test_runs_of_another_algorithm_and_folders_that_are_no_run_are_refused(make_settings, tmp_path):
    path, _ = go(make_settings(epochs=1))
    with pytest.raises(UserError, match="does not fit here: the settings hold code_size"):
        load(path, algorithm=vae)
    with pytest.raises(UserError, match="is not a run directory"):
        load(tmp_path)


def test_an_unfinished_run_comes_back_at_its_newest_checkpoint(make_settings):
    path, _ = go(make_settings(epochs=1))
    (path / "result.json").unlink()
    run = load(path)
    assert (run.status, run.step) == ("running", 6)


def test_members_of_a_run_of_many_are_runs(make_settings):
    many, _ = go(make_settings(name="many", epochs=1, seeds=2))
    single, state = go(make_settings(name="single", epochs=1, seed=1))
    run = load(many)
    with pytest.raises(UserError, match=r"choose one by \.member\(i\)"):
        _ = run.weights
    member = run.member(1)
    assert (member.seed, member.members) == (1, None)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6), member.state, state)
    np.testing.assert_allclose(member.metrics["test/loss"].values, load(single).metrics["test/loss"].values, rtol=1e-5)


def test_the_module_of_an_algorithm_outside_jaxgen_must_be_given(make_settings):
    path, _ = go(make_settings(epochs=1))
    record = read_json(path / "settings.json")
    for name, said in (
        ("nowhere.to.be.found", "which is not imported"),
        ("jaxgen.algorithms.nothing", "does not have"),
    ):
        write_json(path / "settings.json", {**record, "algorithm": name})
        with pytest.raises(UserError, match=said):
            load(path)
    assert load(path, algorithm=autoencoder).step == 6


def test_a_newer_format_is_refused(make_settings):
    path, _ = go(make_settings(epochs=1))
    record = read_json(path / "settings.json")
    write_json(path / "settings.json", {**record, "format": 99})
    with pytest.raises(UserError, match="is of format 99, this version of jaxgen reads up to 1"):
        load(path)


def test_other_data_than_the_runs_are_refused(make_settings):
    path, _ = go(make_settings(epochs=1))
    saved = read_json(path / "settings.json")
    saved["data"]["version"] = "0"
    write_json(path / "settings.json", saved)
    run = load(path)  # the directory alone is needed
    with pytest.raises(UserError, match="the data are now"):
        run.data()
