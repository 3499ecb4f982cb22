import dataclasses
import json
import os
import signal
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training import train

from jaxgen.algorithms import autoencoder
from jaxgen.contract import NoBatch, Traits
from jaxgen.engine import loop, members
from jaxgen.engine.members import stack
from jaxgen.errors import SettingError, UserError
from jaxgen.runs import checkpoint, metrics, session
from jaxgen.runs import directory as run_directory
from jaxgen.runs.fit import Task, execute
from jaxgen.runs.guard import NonFiniteError
from jaxgen.runs.load import load
from jaxgen.runs.settings import RunSettings, Settings

pytestmark = pytest.mark.usefixtures("tiny")


def no_figures(snapshot):
    pass


def go(settings, algorithm=autoencoder, draw=no_figures):
    return train("tiny", algorithm, settings, draw)


def final_arrays(path):
    """Every array of the newest checkpoint, by name."""
    import orbax.checkpoint as ocp

    newest = checkpoint.steps(path / "checkpoints")[-1]
    with ocp.StandardCheckpointer() as reader:
        return reader.restore((path / "checkpoints" / str(newest) / "arrays").absolute())


def assert_same_run(one, other):
    assert metrics.read(one / "metrics.jsonl") == metrics.read(other / "metrics.jsonl")
    jax.tree.map(np.testing.assert_array_equal, final_arrays(one), final_arrays(other))


def test_a_run_leaves_a_complete_directory(make_settings, tmp_path):
    drawn = []
    path = go(make_settings(draw_every=2), draw=lambda snapshot: drawn.append(snapshot.directory.name))
    assert path == tmp_path / "runs" / "run"
    rows = metrics.read(path / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/loss" in row] == [4, 8, 12, 16, 18]
    assert [row["step"] for row in rows if "test/loss" in row] == [6, 12, 18]
    assert rows[-1]["partial"]
    assert checkpoint.steps(path / "checkpoints") == [6, 12, 18]
    assert drawn == ["epoch-0002", "figures"]
    saved = json.loads((path / "settings.json").read_text())
    assert saved["settings"]["hparams"]["learning_rate"] == 0.01
    assert saved["data"]["image_shape"] == [12, 12, 1]
    session = json.loads((path / "sessions.json").read_text())[0]
    assert session["packages"]["jax"] == jax.__version__
    assert {"command", "git_revision", "devices", "python"} <= session.keys()
    result = json.loads((path / "result.json").read_text())
    assert result["test/loss"] == rows[-2]["test/loss"]
    assert result["train_seconds"] > 0
    assert result["compile_seconds"] > 0


def interrupt_at(step):
    """A figure function that is a person pressing Ctrl-C, or a scheduler, when `step` is drawn."""

    def draw(snapshot):
        if int(snapshot.state.step) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return draw


@pytest.mark.parametrize("chunk_steps", [0, 1, 5])
def test_resumed_equals_uninterrupted(make_settings, chunk_steps):
    whole = go(make_settings(name="whole"))
    with pytest.raises(SystemExit) as stop:
        go(make_settings(name="cut", chunk_steps=3, save_every=2, draw_every=1), draw=interrupt_at(6))
    assert stop.value.code == 143
    cut = go(make_settings(name="cut", chunk_steps=chunk_steps, save_every=1))
    assert_same_run(whole, cut)


def test_ctrl_c_exits_with_130(make_settings):
    def ctrl_c(snapshot):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as stop:
        go(make_settings(draw_every=1), draw=ctrl_c)
    assert stop.value.code == 130


def test_more_epochs_go_on_with_a_finished_run(make_settings):
    whole = go(make_settings(name="whole", epochs=4))
    go(make_settings(name="longer", epochs=3))
    assert_same_run(whole, go(make_settings(name="longer", epochs=4)))


def test_a_figure_due_when_a_session_ended_is_drawn_by_the_next(make_settings):
    def stops(snapshot):
        os.kill(os.getpid(), signal.SIGTERM)
        return False

    drawn = []
    settings = make_settings(draw_every=1, chunk_steps=6)
    task = Task("tiny", autoencoder, settings, draw=lambda snapshot: drawn.append(snapshot.directory.name))
    assert execute(dataclasses.replace(task, on_evaluation=stops)).status == "stopped"
    assert drawn == ["epoch-0001"]  # the signal ended the session after the second epoch
    execute(task)
    assert drawn == ["epoch-0001", "epoch-0002", "figures"]


def test_a_finished_run_is_read_and_left_alone(make_settings):
    go(make_settings())
    before = (make_settings().run.root / "run" / "sessions.json").read_text()
    path = go(make_settings(), draw=lambda snapshot: pytest.fail("a finished run is drawn again"))
    assert (path / "sessions.json").read_text() == before


def test_a_damaged_newest_checkpoint_costs_only_its_steps(make_settings, capsys):
    whole = go(make_settings(name="whole"))
    path = go(make_settings())
    (path / "result.json").unlink()
    for file in (path / "checkpoints" / "18").rglob("*"):
        if file.is_file():
            os.truncate(file, 0)
    assert_same_run(whole, go(make_settings()))
    assert "checkpoint 18 is damaged" in capsys.readouterr().err


def test_a_finished_run_whose_last_checkpoint_is_damaged_trains_the_missing_steps_again(make_settings):
    whole = go(make_settings(name="whole"))
    path = go(make_settings())
    for file in (path / "checkpoints" / "18").rglob("*"):
        if file.is_file():
            os.truncate(file, 0)
    assert_same_run(whole, go(make_settings()))


def test_a_changed_setting_is_refused_with_the_fields(make_settings):
    go(make_settings())
    with pytest.raises(SettingError, match=r"hparams\.learning_rate: 0\.01 -> 0\.02; run\.seed: 0 -> 1"):
        go(make_settings(learning_rate=0.02, seed=1))
    with pytest.raises(SettingError, match=r"run\.epochs: 3 -> 2"):
        go(make_settings(epochs=2))


def test_a_run_of_another_experiment_is_refused(make_settings):
    go(make_settings())
    with pytest.raises(SettingError, match="is a run of tiny, not of other"):
        train("other", autoencoder, make_settings(), no_figures)


def test_a_folder_that_is_no_run_is_left_alone(make_settings, tmp_path):
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "letters").write_text("mine")
    with pytest.raises(UserError, match="is not a run directory"):
        go(make_settings())
    (tmp_path / "runs" / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file, not a run directory"):
        go(make_settings(name="file"))


def test_a_run_killed_before_its_settings_were_written_can_begin_again(make_settings, tmp_path):
    path = tmp_path / "runs" / "run"
    (path / "figures").mkdir(parents=True)
    for name in (".lock", ".123.settings.json", "sessions.json"):
        (path / name).write_text("[]" if name == "sessions.json" else "")
    assert go(make_settings(epochs=1)) == path
    assert not (path / ".123.settings.json").exists()  # what a killed process leaves is removed


def test_a_run_that_ends_before_it_trains_leaves_no_directory(make_settings, tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "Programs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(make_settings())
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_figure_that_cannot_be_drawn_costs_no_result_and_is_drawn_by_the_next_start(make_settings, capsys):
    def fails(snapshot):
        raise OSError("the ink is dry")

    path = go(make_settings(draw_every=1), draw=fails)
    said = capsys.readouterr().err
    assert f"figures in {path / 'figures' / 'epoch-0001'} are incomplete (OSError: the ink is dry)" in said
    assert (run_directory.read_result(path) or {})["step"] == 18
    drawn = []
    go(make_settings(draw_every=1), draw=lambda snapshot: drawn.append(snapshot.directory.name))
    assert drawn == ["figures"]


@pytest.mark.parametrize("contents", ["", "{}", "[]", '{"epochs": "three"}', '{"epochs": 3, "sha256": "0"}', "null"])
def test_a_damaged_result_is_made_again(make_settings, capsys, contents):
    path = go(make_settings())
    before = json.loads((path / "result.json").read_text())
    (path / "result.json").write_text(contents)
    go(make_settings())
    assert f"{path / 'result.json'} is damaged" in capsys.readouterr().err
    after = json.loads((path / "result.json").read_text())
    assert after["test/loss"] == before["test/loss"]


@pytest.mark.parametrize("contents", ["", "{}", "[1]", '[{"sha256": "0"}]'])
def test_a_damaged_list_of_sessions_is_set_aside(make_settings, capsys, contents):
    path = go(make_settings(epochs=1))
    (path / "sessions.json").write_text(contents)
    with pytest.raises(SettingError, match="with its own: the command that started it"):
        go(make_settings(seed=1))
    go(make_settings(epochs=2))
    assert "set aside as" in capsys.readouterr().err
    assert (path / "damaged-sessions.json").read_text() == contents
    assert len(json.loads((path / "sessions.json").read_text())) == 1


@pytest.mark.parametrize("contents", ["", "{}", "[]", '{"experiment": "tiny", "settings": {"run": {}}}', "1"])
def test_a_damaged_record_is_named_in_one_line(make_settings, contents):
    path = go(make_settings(epochs=1))
    (path / "settings.json").write_text(contents)
    with pytest.raises(UserError, match=r"settings\.json is damaged"):
        go(make_settings(epochs=2))
    with pytest.raises(UserError, match=r"settings\.json is damaged"):
        load(path)


def lose_rows(path, which):
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join(line for i, line in enumerate(lines) if i not in which(len(lines))))


@pytest.mark.parametrize("which", [lambda n: range(n - 2, n), lambda n: [n - 3], lambda n: range(4, n)])
def test_lost_rows_are_made_again_from_the_checkpoint_before(make_settings, capsys, which):
    whole = go(make_settings(name="whole", epochs=4))
    path = go(make_settings(epochs=4))
    (path / "result.json").unlink()
    lose_rows(path, which)
    load(path)
    assert "lacks the row of step" in capsys.readouterr().err
    assert_same_run(whole, go(make_settings(epochs=4)))
    assert "going back to step" in capsys.readouterr().err


def test_rows_before_every_checkpoint_are_lost_and_that_is_said(make_settings, capsys):
    path = go(make_settings())
    (path / "result.json").unlink()
    lose_rows(path, lambda n: [0])
    go(make_settings())
    assert "lacks the row of step 4, and no checkpoint before it is left" in capsys.readouterr().err
    assert len(metrics.read(path / "metrics.jsonl")) == 7


def test_names_are_numbered_when_none_is_given(make_settings):
    assert [go(make_settings(name=None, epochs=1)).name for _ in range(2)] == ["tiny-001", "tiny-002"]


def test_a_run_directory_has_one_owner(make_settings):
    def second(snapshot):
        with pytest.raises(UserError, match="in use by another process"):
            go(make_settings(epochs=4))

    go(make_settings(draw_every=1), draw=second)


class Diverging:
    """The autoencoder, with a loss or a parameter that turns NaN in step 7."""

    Config, HParams, State, Batch = autoencoder.Config, autoencoder.HParams, autoencoder.State, autoencoder.Batch
    TRAITS = autoencoder.TRAITS
    validate, init, evaluate, weights = (
        staticmethod(getattr(autoencoder, name)) for name in ("validate", "init", "evaluate", "weights")
    )

    def __init__(self, what):
        self.what = what

    def step(self, state, batch, key, hparams, config):
        bad = jnp.where(state.step == 7, jnp.nan, 0.0)
        state, metrics = autoencoder.step(state, batch, key, hparams, config)
        if self.what == "metrics":
            return state, {**metrics, "loss": metrics["loss"] + bad}
        params = {**state.params, "decoder": jax.tree.map(lambda x: x + bad, state.params["decoder"])}
        return state._replace(params=params), metrics


@pytest.mark.parametrize(
    ("what", "said"), [("metrics", "step 7: first in the metrics"), ("params", r"in params\.decoder\.Dense_0\.bias")]
)
def test_a_non_finite_run_stops_and_is_not_saved(make_settings, what, said):
    settings = make_settings(chunk_steps=3)
    with pytest.raises(NonFiniteError, match=said):
        go(settings, algorithm=Diverging(what))
    assert checkpoint.steps(settings.run.root / "run" / "checkpoints") == [6]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"epochs": 0}, "run.epochs"),
        ({"keep": 0}, "run.keep"),
        ({"seed": -1}, "run.seed"),
        ({"name": "a/b"}, "run.name"),
        ({"learning_rate": -1.0}, "hparams.learning_rate"),
    ],
)
def test_wrong_settings_fail_before_anything_is_written(make_settings, tmp_path, change, named):
    with pytest.raises(SettingError, match=named):
        go(make_settings(**change))
    assert not (tmp_path / "runs").exists()


def test_a_batch_larger_than_the_data_is_refused(make_settings):
    settings = make_settings()
    settings = dataclasses.replace(settings, config=dataclasses.replace(settings.config, batch_size=51))
    with pytest.raises(SettingError, match=r"config\.batch_size = 51.*at most 50"):
        go(settings)


def test_tensorboard_files_hold_the_rows(make_settings):
    path = go(make_settings(tensorboard=True))
    assert any(b"test/loss" in file.read_bytes() for file in (path / "tensorboard").iterdir())


def test_many_seeds_are_one_program_and_equal_lone_runs(make_settings):
    drawn = []
    many = go(make_settings(name="many", seed=1, seeds=3), draw=drawn.append)
    rows = metrics.read(many / "metrics.jsonl")
    for i in range(3):
        lone = metrics.read(go(make_settings(name=f"lone{i}", seed=1 + i)) / "metrics.jsonl")
        assert [row["step"] for row in rows] == [row["step"] for row in lone]
        for row, alone in zip(rows, lone, strict=True):
            for name in row.keys() - {"step", "partial"}:
                assert row[name][i] == pytest.approx(alone[name], rel=1e-4)
    assert len(json.loads((many / "result.json").read_text())["test/loss"]) == 3
    assert drawn[-1].many.members.seeds == (1, 2, 3)
    assert drawn[-1].rows[-1]["train/loss"] == rows[-1]["train/loss"][0]
    jax.tree.map(np.testing.assert_array_equal, drawn[-1].state, jax.tree.map(lambda x: x[0], drawn[-1].many.state))


def test_members_that_do_not_fill_the_devices_evenly(make_settings):
    """Six on four devices: two each, the last one's places filled up and dropped."""
    assert len(jax.devices()) == 4
    assert members.mesh(6).size == 3
    assert members.mesh(7).size == 4
    whole = go(make_settings(name="seven", epochs=2, seeds=7))
    assert len(json.loads((whole / "result.json").read_text())["test/loss"]) == 7
    part = go(make_settings(name="four", epochs=2, seeds=4))
    rows = [metrics.read(path / "metrics.jsonl") for path in (whole, part)]
    assert [row["train/loss"][:4] for row in rows[0] if "train/loss" in row] == [
        pytest.approx(row["train/loss"], rel=1e-5) for row in rows[1] if "train/loss" in row
    ]
    with pytest.raises(SystemExit):
        go(make_settings(name="cut", epochs=2, seeds=7, draw_every=1), draw=interrupt_at(6))
    assert_same_run(whole, go(make_settings(name="cut", epochs=2, seeds=7)))


def test_stopped_members_go_on_to_the_same_numbers(make_settings):
    whole = go(make_settings(name="whole", seeds=2))
    with pytest.raises(SystemExit):
        go(make_settings(name="cut", seeds=2, draw_every=1), draw=interrupt_at(6))
    assert_same_run(whole, go(make_settings(name="cut", seeds=2)))


def test_a_diverged_member_disturbs_no_other(make_settings, capsys):
    def of(*rates):
        return stack([0] * len(rates), [autoencoder.HParams(learning_rate=rate) for rate in rates])

    settings = make_settings(name="sound")
    sound = metrics.read(train("tiny", autoencoder, settings, no_figures, of(0.01, 0.02)) / "metrics.jsonl")
    settings = make_settings(name="one-diverges")
    mixed = metrics.read(train("tiny", autoencoder, settings, no_figures, of(0.01, float("inf"))) / "metrics.jsonl")
    assert "member 1 became non-finite at step" in capsys.readouterr().err
    assert [row.get("train/loss", [None])[0] for row in mixed] == [row.get("train/loss", [None])[0] for row in sound]
    assert mixed[-1]["train/loss"][1] is None
    with pytest.raises(NonFiniteError, match="every member"):
        train("tiny", autoencoder, make_settings(name="all"), no_figures, of(float("inf"), float("inf")))
    with pytest.raises(SettingError, match="its members"):
        train("tiny", autoencoder, settings, no_figures, of(0.01, 0.02))


def test_training_ends_where_the_caller_says_so(make_settings):
    told = []

    def stop(snapshot):
        told.append((snapshot.step // snapshot.steps_per_epoch, snapshot.rows[-1]["test/loss"]))
        return snapshot.step == 12

    path = train("tiny", autoencoder, make_settings(), no_figures, on_evaluation=stop)
    assert [epoch for epoch, _ in told] == [1, 2]
    assert checkpoint.steps(path / "checkpoints") == [6, 12]
    assert json.loads((path / "result.json").read_text())["test/loss"] == told[-1][1]


class Counting:
    """An algorithm without data: adds a random number in each step."""

    @dataclasses.dataclass(frozen=True)
    class Config:
        steps_per_epoch: int = 5
        batch_size: int = 1

    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class HParams:
        scale: float = 1.0

    Batch = NoBatch
    TRAITS = Traits(steps_per_epoch=lambda config: config.steps_per_epoch)

    class State(NamedTuple):
        params: jax.Array

    @staticmethod
    def validate(hparams, config):
        pass

    @classmethod
    def init(cls, key, hparams, config):
        return cls.State(jnp.zeros(()))

    @classmethod
    def step(cls, state, batch, key, hparams, config, *, axis_name=None):
        return cls.State(state.params + hparams.scale * jax.random.uniform(key)), {"sum": state.params}

    @staticmethod
    def evaluate(state, batch, key, hparams, config):
        return {"sum": state.params}

    @staticmethod
    def weights(state, config):
        return state.params


def test_an_algorithm_without_data(tmp_path):
    run = RunSettings(name="run", root=tmp_path, epochs=2, log_every=2)
    path = train("counting", Counting, Settings(Counting.Config(), Counting.HParams(), run), no_figures)
    rows = metrics.read(path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 4, 5, 6, 8, 10, 10]
    keys = [jax.random.fold_in(loop.keys(0).step, t) for t in range(10)]
    assert rows[-1]["test/sum"] == pytest.approx(float(sum(jax.random.uniform(key) for key in keys)), rel=1e-5)
