import functools
import shutil

import jax
import numpy as np
import pytest
from forging import CONFIGS, contents, edited, resealed, trained, with_arrays
from tiny_runs import tiny_dataset

from jaxgen import data
from jaxgen.errors import SettingError, UserError
from jaxgen.files import read_json
from jaxgen.proof.fork import fork
from jaxgen.proof.replay import replay
from jaxgen.proof.verify import verify
from jaxgen.runs.fit import Task, execute
from jaxgen.runs.load import load
from jaxgen.runs.settings import settings_from

pytestmark = pytest.mark.usefixtures("tiny")
BIAS = "state.params.encoder.Dense_0.bias"
RATE = {"gan": "generator.learning_rate"}


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """The directory of a run of each algorithm, not to be changed."""

    @functools.cache
    def once(name, **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(data, "load", lambda settings, on_device=True: tiny_dataset())
            return trained(name, tmp_path_factory.mktemp(name), **options)

    return once


@pytest.fixture
def run_of(trained_once, tmp_path):
    """A copy of such a run, alone in its folder."""
    return lambda name, **options: shutil.copytree(trained_once(name, **options), tmp_path / "run")


def go_on(path, name):
    """Continue as the command line does, by the settings alone."""
    algorithm = CONFIGS[name][0]
    settings = settings_from(read_json(path / "settings.json")["settings"], algorithm)
    assert settings.run.name == path.name
    return execute(Task(name, algorithm, settings))


def leaves_differ(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return any(not np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_fork_trains_on_with_other_hyperparameters_and_is_proved(name, run_of):
    path = run_of(name)
    before = contents(path)
    found = fork(path, 6, "new", {RATE.get(name, "learning_rate"): 0.02})
    assert (found.directory, found.step, found.checkpoint) == (path.parent / "new", 6, 6)
    assert found.lines()[1].endswith("-> 0.02")
    assert found.to_json()["parent"] == str(path)
    assert contents(path) == before
    assert not [one for one in path.parent.iterdir() if one.name.startswith(".")]
    run = go_on(found.directory, name)
    assert (run.status, run.step) == ("finished", 18)
    old = load(path)
    assert [row for row in run.rows if row["step"] <= 6] == [row for row in old.rows if row["step"] <= 6]
    assert leaves_differ(run.state, old.state)
    parent = read_json(found.directory / "settings.json")["parent"]
    assert (parent["directory"], parent["step"]) == (str(path), 6)
    verdict = verify(found.directory, all=True)
    assert verdict.passed, verdict.lines()
    assert [stretch[:2] for stretch in verdict.stretches] == [(6, 12), (12, 18)]
    assert "before step 6 it rests on" in "\n".join(verdict.notes)


def test_a_fork_without_changes_goes_on_as_its_parent_from_any_step(run_of):
    path = run_of("autoencoder")
    found = fork(path, 8, "new")
    assert (found.step, found.checkpoint) == (8, 6)
    assert "made again from checkpoint 6" in found.lines()[0]
    run = load(found.directory).fit(epochs=3)
    assert not leaves_differ(run.state, load(path).state)
    assert run.rows == load(path).rows
    verdict = verify(found.directory, all=True)
    assert verdict.passed, verdict.lines()
    assert replay(found.directory, 9).metrics == replay(path, 9).metrics


def test_a_longer_fork_of_a_finished_run(run_of):
    path = run_of("vae")
    with pytest.raises(SettingError, match=r"step = 18 is not allowed: 1 to 17.*more epochs"):
        fork(path, 18, "new")
    found = fork(path, 18, "new", epochs=4)
    with pytest.raises(UserError, match="has trained nothing yet"):
        verify(found.directory)
    assert found.changes == ("run.epochs: 3 -> 4",)
    assert go_on(found.directory, "vae").step == 24
    assert verify(found.directory, all=True).passed


def test_a_fork_of_several_members(run_of):
    path = run_of("autoencoder", seeds=3)
    found = fork(path, 12, "same", {"learning_rate": 0.5})
    assert go_on(found.directory, "autoencoder").step == 18
    verdict = verify(found.directory, all=True)
    assert verdict.passed, verdict.lines()
    found = fork(path, 12, "each", {"learning_rate": [0.1, 0.2, 0.3]})
    run = load(found.directory).fit(epochs=3)
    np.testing.assert_array_equal(run.hparams.learning_rate, np.float32([0.1, 0.2, 0.3]))
    assert verify(found.directory, all=True).passed
    with pytest.raises(SettingError, match="one number, or one for each of 3 members"):
        fork(path, 12, "wrong", {"learning_rate": [0.1, 0.2]})


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda new: edited(new, 4, "train/loss", lambda value: value + 1), "train/loss of step 4"),
        (lambda new: with_arrays(new, 6, lambda a: a[BIAS].fill(3)), "is not its parent's"),
        (lambda new: shutil.rmtree(new / "checkpoints" / "6"), "its first checkpoint, of step 6, is missing"),
        (
            lambda new: resealed(new / "settings.json", lambda r: r["parent"].update(manifest="0" * 64)),
            "is no longer the one that it began with",
        ),
        (lambda new: resealed(new / "settings.json", lambda r: r.pop("parent")), "arrays of checkpoint 6 differ"),
    ],
)  # fmt: skip
def test_a_forged_fork_is_caught(run_of, forge, said):
    new = fork(run_of("autoencoder"), 6, "new", {"learning_rate": 0.5}).directory
    go_on(new, "autoencoder")
    forge(new)
    verdict = verify(new, all=True)
    assert not verdict.passed
    found = [difference for stretch in verdict.stretches for difference in stretch.differences]
    assert said in "\n".join([*found, *verdict.problems])


def test_what_cannot_be_forked_is_refused_in_a_line_and_leaves_nothing(run_of):
    path = run_of("autoencoder")
    for arguments, said in (
        ((0, "new"), "step = 0 is not allowed: 1 to 17"),
        ((19, "new"), "step = 19"),
        ((6, "run"), "name = 'run'"),
        ((6, "../new"), "name = '../new'"),
        ((6, "new", {"learning_rat": 1.0}), "there are learning_rate.*did you mean 'learning_rate'"),
        ((6, "new", {"learning_rate": -1.0}), "learning_rate"),
        ((6, "new", {"learning_rate": 1e60}), "single precision"),
    ):
        with pytest.raises(SettingError, match=said):
            fork(path, *arguments)
    assert [one.name for one in path.parent.iterdir()] == ["run"]


def test_a_failure_leaves_nothing_behind(run_of, monkeypatch):
    path = run_of("autoencoder")

    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr("jaxgen.proof.fork.write_atomically", fail)
    with pytest.raises(OSError, match="no space"):
        fork(path, 6, "new")
    assert [one.name for one in path.parent.iterdir()] == ["run"]
