"""Sweeps from the command line to the table, in this process, small."""

import csv
import dataclasses
import json
import shlex
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sweep
from PIL import Image
from training import train

from jaxgen import memory
from jaxgen.algorithms import autoencoder
from jaxgen.errors import SettingError
from jaxgen.launch import command_line
from jaxgen.runs import metrics
from jaxgen.sweeps import api, experiment, plan, probe, table

EXPERIMENTS = Path(sweep.__file__).parent
SMALL = ["ae_mnist", "--data.source", "digits", "--config.widths", "8", "--run.epochs", "2", "--run.save-every", "9"]
GRID = ["--axis", "hparams.learning_rate=1e-3,1e-2", "--axis", "config.optimizer=adam,sgd", "--axis", "seed=0:3"]


@pytest.fixture
def go(monkeypatch, tmp_path):
    def run(*args):
        monkeypatch.setattr("sys.argv", ["sweep.py", *SMALL, "--run.root", str(tmp_path), *args])
        sweep.main()
        return tmp_path

    return run


def results(directory):
    with open(directory / "results.csv") as file:
        return list(csv.DictReader(file))


def lone(command, root):
    """Runs the printed command of a member."""
    words = shlex.split(command)
    chosen = experiment.load(Path(words[1]), [*words[2:], "--run.root", str(root), "--run.name", "lone"])
    return train(chosen.name, chosen.algorithm, chosen.settings, lambda snapshot: None)


def test_a_sweep_from_plan_to_figures(go, capsys):
    directory = go(*GRID, "--run.name", "s") / "s"
    said = capsys.readouterr().out
    assert "12 members in 2 groups, 2 compilations, on 4 devices" in said
    assert "group-001: 6 members with config.optimizer=sgd" in said
    rows = results(directory)
    assert [int(row["member"]) for row in rows] == list(range(12))
    points = {(row["hparams.learning_rate"], row["config.optimizer"], row["seed"]) for row in rows}
    assert len(points) == 12
    import pyarrow.parquet

    stored = pyarrow.parquet.read_table(directory / "results.parquet").to_pylist()
    assert [row["test/loss"] for row in stored] == [float(row["test/loss"]) for row in rows]
    assert {type(row["seed"]) for row in stored} == {int}

    best = min(stored, key=lambda row: row["test/loss"])
    assert f"best: test/loss {best['test/loss']:.4f} of member {best['member']}" in said
    command = next(line for line in said.splitlines() if line.startswith("  python "))
    alone = metrics.read(lone(command.strip(), directory.parent) / "metrics.jsonl")
    together = metrics.read(directory / best["group"] / "metrics.jsonl")
    for mine, all_of_them in zip(alone, together, strict=True):
        for name in mine.keys() - {"step", "partial"}:
            assert all_of_them[name][best["place"]] == pytest.approx(mine[name], rel=1e-4)

    figures = {path.stem: Image.open(path) for path in (directory / "figures").glob("*.png")}
    heat = "heat_hparams_learning_rate_config_optimizer"
    assert {heat, "curves_hparams_learning_rate", "along_config_optimizer", "curves_seed"} <= figures.keys()
    assert all(np.asarray(image.convert("L")).std() > 5 for image in figures.values())

    before = (directory / "group-000" / "metrics.jsonl").stat().st_mtime_ns
    go(*GRID, "--run.name", "s")
    capsys.readouterr()
    assert (directory / "group-000" / "metrics.jsonl").stat().st_mtime_ns == before
    assert results(directory) == rows
    with pytest.raises(SettingError, match="is another sweep"):
        go(*GRID[:2], "--run.name", "s")


def test_the_last_evaluation_of_a_finished_group_is_in_its_result_too(go):
    args = ["--axis", "seed=0:2", "--axis", "config.optimizer=adam,sgd", "--run.name", "s"]
    whole = results(go(*args) / "s")
    file = go(*args) / "s" / "group-001" / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    tested = [number for number, line in enumerate(lines) if "test/" in line]
    file.write_text("".join(lines[: tested[0]]) + "\0" * 99)
    again = results(go(*args) / "s")
    assert [row["test/loss"] for row in again] == [row["test/loss"] for row in whole]


def test_a_started_group_continues(go, monkeypatch):
    args = ["--axis", "seed=0:4", "--group-size", "2", "--run.epochs", "3"]
    whole = results(go(*args, "--run.name", "whole") / "whole")

    from jaxgen.sweeps import groups

    seen, execute = [], groups.execute

    def interrupt(snapshot):
        raise KeyboardInterrupt

    def killed(task):
        seen.append(task)
        if len(seen) == 2:  # the second group is cut off after an epoch
            task = dataclasses.replace(task, on_evaluation=interrupt)
        return execute(task)

    monkeypatch.setattr(groups, "execute", killed)
    with pytest.raises(KeyboardInterrupt):
        go(*args, "--run.name", "cut", "--run.save-every", "1")
    assert results(go(*args, "--run.name", "cut", "--run.save-every", "1") / "cut") == whole


def test_diverged_members_and_groups_disturb_no_other(go, capsys, tmp_path):
    axis = ["--axis", "hparams.learning_rate=1e-2,1e30,1e31", "--config.optimizer", "sgd"]
    alone = results(
        go("--axis", "hparams.learning_rate=1e-2,1.1e-2", "--config.optimizer", "sgd", "--run.name", "a") / "a"
    )
    rows = results(go(*axis, "--run.name", "b", "--group-size", "2") / "b")
    assert [row["diverged"] for row in rows] == ["False", "True", "True"]
    assert float(rows[0]["test/loss"]) == pytest.approx(float(alone[0]["test/loss"]), rel=1e-5)
    assert "every member" in json.loads((tmp_path / "b" / "group-001" / "diverged.json").read_text())["reason"]
    assert results(go(*axis, "--run.name", "b", "--group-size", "2") / "b") == rows
    assert "2 of 3 members diverged" in capsys.readouterr().out


def test_the_plan_alone_runs_nothing(go, capsys):
    root = go(*GRID, "--dry-run", "--group-size", "2")
    said = capsys.readouterr().out
    assert "12 members in 6 groups, 2 compilations" in said
    assert not list(root.iterdir())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "at least one --axis"),
        (["--axis", "hparams.lerning_rate=1"], "did you mean 'hparams.learning_rate'"),
        (["--axis", "hparams.learning_rate=-1,1"], r"hparams\.learning_rate = -1\.0"),
        (["--axis", "config.batch_size=8,0"], r"config\.batch_size = 0"),
        (["--axis", "config.batch_size=8,9999"], r"config\.batch_size = 9999.*at most"),
        (["--axis", "seed=0:2", "--run.seeds", "2"], r"run\.seeds = 2"),
        (["--axis", "seed=0:2", "--metric", "test/los"], "metric = 'test/los'.*did you mean 'test/loss'"),
        (["--axis", "seed=0:2", "--run.epoch", "3"], "did you mean --run.epochs"),
    ],
)
def test_wrong_settings_are_one_line_before_anything_is_written(go, tmp_path, args, said):
    with pytest.raises(SettingError, match=said) as error:
        go(*args)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_only_experiments_that_train_are_swept():
    with pytest.raises(SettingError, match=r"'vae_mnis' is not an experiment.*did you mean 'vae_mnist'"):
        experiment.find("vae_mnis", EXPERIMENTS)
    with pytest.raises(SettingError, match="holds no experiment: it must define EXPERIMENT"):
        experiment.load(experiment.find("sweep", EXPERIMENTS), [])


@pytest.mark.parametrize("script", sorted(p.stem for p in EXPERIMENTS.glob("*.py") if "EXPERIMENT = " in p.read_text()))
def test_every_experiment_can_be_loaded_without_training(script):
    found = experiment.load(experiment.find(script, EXPERIMENTS), ["--run.epochs", "1"])
    assert found.name == script
    assert found.settings.run.epochs == 1


def loaded(*args):
    return experiment.load(EXPERIMENTS / "ae_mnist.py", args)


def test_groups_are_as_equal_as_can_be_and_keep_every_point():
    points = [{"config.net": net, "seed": seed} for seed in range(5) for net in ("dense", "conv")]
    planned = plan.groups(points, lambda static: 4 if static["config.net"] == "dense" else 9)
    assert [len(group.members) for group in planned] == [3, 2, 5]
    assert [group.static["config.net"] for group in planned] == ["dense", "dense", "conv"]
    assert sorted(m.number for group in planned for m in group.members) == list(range(10))
    assert plan.compiles(planned) == 3
    for group in planned:
        assert all(points[m.number] == m.point for m in group.members)


def compiled_bytes(config, hparams):
    """Memory of one compiled step by XLA's own account: arguments, results and what lies between."""
    key, count = jax.random.key(0), config.batch_size
    state = jax.eval_shape(partial(autoencoder.init, config=config), key, hparams)
    batch = autoencoder.Batch(jnp.zeros((count, *config.image_shape), jnp.uint8), jnp.zeros(count, jnp.int32))
    used = (
        jax.jit(partial(autoencoder.step, config=config)).lower(state, batch, key, hparams).compile().memory_analysis()
    )
    return used.argument_size_in_bytes + used.output_size_in_bytes + used.temp_size_in_bytes


def test_a_members_memory_is_a_little_more_than_that_of_its_compiled_step():
    chosen = loaded("--data.source", "digits")
    for widths, batch in (((100, 20), 128), ((400, 20), 128), ((100, 20), 512)):
        config, data = probe.configured(chosen, {"config.widths": widths, "config.batch_size": batch})
        estimate = probe.member_bytes(autoencoder, config, chosen.settings.hparams, data)
        assert 1 < estimate / compiled_bytes(config, chosen.settings.hparams) < 1.5  # 1.15 to 1.32 were measured
    assert probe.largest_group(10**18) == 1
    assert 1 < probe.largest_group(2**20) < memory.free_bytes() // 2**20


def test_the_command_of_a_member_gives_its_settings():
    args = ["--run.name", "s", "--run.root=x", "--data.source", "digits", "--hparams.learning-rate", "5"]
    point = {"hparams.learning_rate": 0.125, "seed": 3, "config.widths": (8, 4), "data.skip_broken": True}
    words = shlex.split(table.command(loaded(*args), point))
    again = loaded(*words[2:]).settings
    assert again.hparams.learning_rate == 0.125
    assert (again.run.seed, again.config.widths, again.data.skip_broken, again.run.name) == (3, (8, 4), True, None)
    assert again.data.source == "digits"


def test_the_best_is_never_a_diverged_member():
    rows = [
        {"member": 0, "seed": 0, "a": 1, "diverged": True, "m": None},
        {"member": 1, "seed": 1, "a": 1, "diverged": False, "m": 2.0},
        {"member": 2, "seed": 0, "a": 2, "diverged": False, "m": 1.0},
        {"member": 3, "seed": 1, "a": 2, "diverged": False, "m": 5.0},
    ]
    assert table.best(rows, "m", False)["member"] == 2
    assert table.best(rows, "m", True)["member"] == 3
    means = table.over_seeds(rows, ["seed", "a"], "m")
    assert means == [
        {"a": 1, "mean": 2.0, "error": None, "seeds": 1},
        {"a": 2, "mean": 3.0, "error": pytest.approx(2.0), "seeds": 2},
    ]


def test_the_scripts_own_line_for_a_wrong_option(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["sweep.py", "nothing", "--axis", "seed=0:2"])
    with pytest.raises(SystemExit):
        command_line.reported(sweep.main)
    assert capsys.readouterr().err.startswith("error: 'nothing' is not an experiment")


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("config.image_shape", [(8, 8, 1), (28, 28, 1)], "the data set it to"),
        ("hparams.b2", [0.9, 0.99], "axis hparams.b2 changes nothing"),
    ],
)
def test_an_axis_that_changes_nothing_is_refused(name, values, said, tmp_path):
    chosen = loaded("--data.source", "digits", "--config.optimizer", "sgd")
    with pytest.raises(SettingError, match=said):
        api.sweep(chosen.experiment, {name: values}, settings=chosen.settings, directory=tmp_path / "s")
    assert not (tmp_path / "s").exists()
