"""Searches: the space, what workers share, pruning, and what a kill leaves."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import search as script
from optuna import distributions
from optuna.trial import TrialState
from PIL import Image

from jaxgen.errors import SettingError, UserError
from jaxgen.report.sweep import Objective
from jaxgen.runs import checkpoint
from jaxgen.runs.subset import subset
from jaxgen.sweeps import space, trials
from jaxgen.sweeps.study import BATCH, LOST, Study

KNOWN = {"seed": int, "hparams.learning_rate": float, "config.latent_size": int, "config.optimizer": str}
SCRIPT = Path(script.__file__)
SMALL = ["ae_mnist", "--data.source", "digits", "--config.widths", "8", "--run.epochs", "3"]
AXES = ["--axis", "hparams.learning_rate=log:1e-4:1e-1", "--axis", "hparams.b1=0.5:0.99"]


def test_the_space():
    texts = ["hparams.learning-rate=log:1e-4:1e-2", "config.latent_size=1:9", "config.optimizer=adam,sgd", "seed=1,2"]
    assert space.parse(texts, KNOWN) == {
        "hparams.learning_rate": distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "config.latent_size": distributions.IntDistribution(1, 8),
        "config.optimizer": distributions.CategoricalDistribution(["adam", "sgd"]),
        "seed": distributions.CategoricalDistribution(["1", "2"]),
    }
    assert space.point({"seed": "2"}, space.parse(texts, KNOWN), KNOWN) == {"seed": 2}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["hparams.learning_rate=log:0:1"], "bounds above 0"),
        (["hparams.learning_rate=1:1"], "a first bound below the second"),
        (["hparams.lerning_rate=0:1"], "did you mean 'hparams.learning_rate'"),
        (["config.latent_size=1:2.5"], "integers as bounds"),
        (["hparams.learning_rate=log:1e-4:1e-2:4"], "log:a:b"),
        (["seed=1,2", "seed=3,4"], "given twice"),
    ],
)
def test_what_is_no_space_is_one_line(texts, said):
    with pytest.raises(SettingError, match=said) as error:
        space.parse(texts, KNOWN)
    assert "\n" not in str(error.value)


def a_study(directory, **options):
    return Study(
        directory,
        "s",
        space.parse(["hparams.learning_rate=0:1", "config.optimizer=adam,sgd"], KNOWN),
        **{"maximize": False, "pruner": "none", **options},
    )


def test_no_more_trials_are_asked_for_than_wanted_and_a_batch_shares_its_static_settings(tmp_path):
    with a_study(tmp_path) as one, a_study(tmp_path) as other:
        assert (one.worker, other.worker) == (0, 1)
        batches = [*one.ask(4, 9, "tpe", 0), *other.ask(4, 9, "tpe", 0), *one.ask(4, 9, "random", 0)]
        assert one.ask(4, 9, "tpe", 0) == []
    assert [len(batch) for batch in batches] == [4, 4, 1]
    assert [trial.number for batch in batches for trial in batch] == list(range(9))
    assert all(len({trial.params["config.optimizer"] for trial in batch}) == 1 for batch in batches)
    rates = [trial.params["hparams.learning_rate"] for batch in batches for trial in batch]
    assert len(set(rates)) == 9


def test_what_a_dead_worker_had_is_taken_over_once(tmp_path):
    with a_study(tmp_path) as alive, a_study(tmp_path) as next_to_it:
        with a_study(tmp_path) as dead:
            (batch,) = dead.ask(3, 10, "random", 0)
            dead.optuna.tell(batch[1].number, 1.0)
            assert alive.claim() == []  # it lives
            half_asked = dead.optuna.ask(dead.space)  # killed before it knew its batch
        taken = alive.claim()
        assert [trial.number for trial in taken] == [0, 1, 2]
        assert [trial.state for trial in taken] == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.RUNNING]
        assert next_to_it.claim() == alive.claim() == []
        lost = alive.optuna.trials[half_asked.number]
        assert (lost.state, lost.user_attrs[LOST]) == (TrialState.FAIL, True)
        (again,) = alive.ask(1, 10, "random", 0)
        assert again[0].params == half_asked.params
        assert len(alive.trials()) == 4  # the lost one is not counted
    with a_study(tmp_path) as later:  # both have died since
        assert [trial.number for trial in later.claim()] == [0, 1, 2]
        assert [trial.number for trial in later.claim()] == [again[0].number]


def change_a_value(text):
    return text.replace('"op_code": 4', '"op_code": 5').replace('"op_code":4', '"op_code":5')


@pytest.mark.parametrize(
    "damage",
    [
        change_a_value,
        lambda text: "x" + text,
        lambda text: text[: len(text) // 2] + text[len(text) // 2 + 9 :],
        lambda text: "{}\n" + text,
        lambda text: text.replace("\n", "\nnull\n", 1),
    ],
)
def test_a_damaged_journal_is_named_in_one_line(tmp_path, damage):
    with a_study(tmp_path) as study:
        study.ask(2, 2, "random", 0)
    text = (tmp_path / "journal.log").read_text()
    assert damage(text) != text
    (tmp_path / "journal.log").write_text(damage(text))
    with pytest.raises(UserError, match=r"journal\.log is damaged") as error:
        a_study(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("left", [b'{"op_code": 4, "wor', bytes(40)])
def test_half_a_line_at_the_journals_end_is_cut_off(tmp_path, left):
    with a_study(tmp_path) as study:
        study.ask(2, 4, "random", 0)
    with open(tmp_path / "journal.log", "ab") as file:
        file.write(left)
    with a_study(tmp_path) as study:
        assert len(study.claim()) == 2
        assert len(study.ask(2, 4, "random", 0)[0]) >= 1
    with a_study(tmp_path) as study:
        assert len(study.trials()) == 4


def test_a_journal_that_has_lost_trials_is_reported(tmp_path, capsys):
    with a_study(tmp_path) as study:
        study.ask(2, 4, "random", 0)
    for name in ("trial-0000", "trial-0002", "trial-of-something-else"):
        (tmp_path / name).mkdir()
    a_study(tmp_path).__exit__()
    said = capsys.readouterr().err
    assert said == f"jaxgen: {tmp_path / 'journal.log'} has lost its end: trial-0002 will be searched again\n"


def judged(tmp_path, values, pruned=(), maximize=False):
    """A judge of len(values) trials told one epoch's values, with an own rule of pruning."""
    study = a_study(tmp_path, maximize=maximize)
    (batch,) = study.ask(len(values), len(values), "random", 0)
    numbers = [trial.number for trial in batch]
    handle = study.handle

    class Handle:
        def __init__(self, trial):
            self.trial, self.report = trial, handle(trial).report

        def should_prune(self):
            return self.trial.number in pruned

    study.handle = Handle
    judge = trials._Judge(study, numbers, Objective("m", maximize))
    many = SimpleNamespace(rows=[{"step": 5, "m": values}])
    return study, judge, judge(SimpleNamespace(step=5, steps_per_epoch=5, many=many))


def test_a_batch_that_lost_half_goes_on_with_the_others(tmp_path):
    study, judge, ends = judged(tmp_path, [1.0, 2.0, None, 4.0, 5.0, 6.0], pruned=(3, 5))
    assert ends
    assert judge.half() == [0, 1, 4]
    assert Counter(t.state.name for t in study.trials()) == {"RUNNING": 3, "PRUNED": 2, "FAIL": 1}
    judge.finish([{"m": [0.5, None, 9, 9, 0.7, 9]}])
    assert [t.value for t in study.trials() if t.state == TrialState.COMPLETE] == [0.5, 0.7]
    assert study.trials()[1].state == TrialState.FAIL


def test_a_batch_with_more_than_half_left_goes_on_as_it_is_and_one_with_none_ends(tmp_path):
    for name, pruned, ends in (("a", (0, 1, 2), False), ("b", range(8), True)):
        (tmp_path / name).mkdir()
        _, judge, ended = judged(tmp_path / name, [1.0] * 8, pruned=pruned)
        assert ended == ends
        assert judge.half() is None
    (tmp_path / "c").mkdir()
    _, judge, _ = judged(tmp_path / "c", [1.0] * 8, pruned=range(1, 8))
    assert judge.half() == [0, 1, 2, 3]  # filled up to a size that has been compiled


@pytest.fixture
def go(monkeypatch, tmp_path):
    def run(*args, name="s"):
        monkeypatch.setattr("sys.argv", ["search.py", *SMALL, "--run.root", str(tmp_path), "--run.name", name, *args])
        script.main()
        return tmp_path / name

    return run


def results(directory):
    with open(directory / "results.csv") as file:
        return list(csv.DictReader(file))


def test_members_go_on_alone_to_the_numbers_they_would_have_had(go, tmp_path):
    """Two of four members, cut out after epoch 1 or 2, end where the four would have taken them."""
    from jaxgen.sweeps import experiment, groups, plan

    chosen = experiment.load(SCRIPT.parent / "ae_mnist.py", [*SMALL[1:], "--run.epochs", "3"])
    points = [{"seed": seed, "hparams.learning_rate": 0.01 * (1 + seed)} for seed in range(4)]
    group = plan.groups(points, lambda static: 4)[0]
    whole = groups.run(chosen, group, tmp_path / "whole")
    cut = groups.run(chosen, group, tmp_path / "cut", lambda snapshot: snapshot.step == 2 * snapshot.steps_per_epoch)
    assert cut.rows[-1]["step"] < whole.rows[-1]["step"]
    two = plan.Group(1, {}, (group.members[3], group.members[1]))
    subset(tmp_path / "cut" / group.name, tmp_path / "cut" / two.name, [3, 1])
    first = checkpoint.steps(tmp_path / "cut" / two.name / "checkpoints")
    assert len(first) == 1
    rest = groups.run(chosen, two, tmp_path / "cut")
    assert [row["step"] for row in rest.rows] == [row["step"] for row in whole.rows]
    for row, all_four in zip(rest.rows, whole.rows, strict=True):
        for name in row.keys() - {"step", "partial"}:
            assert row[name] == pytest.approx([all_four[name][3], all_four[name][1]], rel=1e-5)


def test_a_search_from_start_to_figures_and_on(go, capsys):
    directory = go(*AXES, "--trials", "8", "--batch", "4", "--pruner", "halving")
    said = capsys.readouterr().out
    rows = results(directory)
    assert [int(row["trial"]) for row in rows] == list(range(8))
    assert {row["state"] for row in rows} == {"COMPLETE", "PRUNED"}
    assert "pruned" in said
    complete = [row for row in rows if row["state"] == "COMPLETE"]
    best = min(complete, key=lambda row: float(row["value"]))
    assert f"best: test/loss {float(best['value']):.4f} of trial {best['trial']}" in said
    assert f"--hparams.learning-rate {best['hparams.learning_rate']}" in said
    figures = {path.stem: Image.open(path) for path in (directory / "figures").iterdir()}
    assert {"history", "importance", "parallel_coordinate"} <= figures.keys()
    assert all(np.asarray(image.convert("L")).std() > 5 for image in figures.values())

    again = results(go(*AXES, "--trials", "12", "--batch", "4", "--pruner", "halving"))
    assert again[:8] == rows
    assert len(again) == 12
    with pytest.raises(SettingError, match=r"is another search.*axes"):
        go(*AXES[:2])
    (directory.parent / "other").mkdir()
    (directory.parent / "other" / "file").write_text("")
    with pytest.raises(UserError, match="is not a search"):
        go(*AXES, name="other")


@pytest.mark.parametrize(
    ("axis", "said"),
    [("hparams.b1=0:1.5", r"hparams\.b1 = 1\.5"), ("config.optimizer=adam,sdg", r"'sdg'.*did you mean 'sgd'")],
)
def test_a_space_the_experiment_does_not_allow_is_one_line(go, tmp_path, axis, said):
    with pytest.raises(SettingError, match=said):
        go("--axis", axis)
    assert not list(tmp_path.iterdir())


def test_without_optuna_one_line(tmp_path):
    (tmp_path / "optuna.py").write_text("raise ImportError('no optuna here')\n")
    path = os.pathsep.join([str(tmp_path), str(SCRIPT.parents[1])])
    command = [sys.executable, str(SCRIPT), "ae_mnist", "--axis", "seed=1,2"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=60)
    assert done.returncode == 1
    assert done.stderr == 'error: a search needs Optuna, which is not installed: pip install -e ".[search]"\n'


@pytest.mark.slow
def test_two_workers_one_killed_lose_and_repeat_nothing(tmp_path):
    options = [*AXES, "--trials", "20", "--batch", "4", "--run.epochs", "40", "--pruner", "none"]
    command = [sys.executable, str(SCRIPT), *SMALL, *options, "--run.root", str(tmp_path), "--run.name", "s"]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}

    def start():
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def saved():
        return any(checkpoint.steps(path) for path in tmp_path.glob("s/trial-*/*/checkpoints"))

    first = start()
    while not saved():
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with a_view(tmp_path / "s") as view:
        running = [t.number for t in view.trials() if t.state == TrialState.RUNNING]
    assert running
    workers = [start(), start()]
    said = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert sum(f"a batch of 4 trials from {running[0]} goes on" in out for out in said) == 1
    assert sum("continuing from step" in out for out in said) == 1
    with a_view(tmp_path / "s") as view:
        found = view.trials()
        assert [t.state for t in found] == [TrialState.COMPLETE] * 20
        assert len({tuple(t.params.values()) for t in found}) == 20
        assert {t.user_attrs[BATCH] for t in found} == {0, 4, 8, 12, 16}
    begun = [line for out in said for line in out.splitlines() if line.endswith(("begins", "goes on"))]
    assert len(begun) == len(set(begun)) == 5


def a_view(directory):
    axes = space.parse([AXES[1], AXES[3]], {"hparams.learning_rate": float, "hparams.b1": float})
    return Study(directory, "ae_mnist", axes, False, "none")
