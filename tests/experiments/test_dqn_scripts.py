import dataclasses
import importlib.util
import json
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from training import train

from jaxgen.algorithms import dqn
from jaxgen.errors import SettingError
from jaxgen.launch import experiments
from jaxgen.runs import metrics
from jaxgen.runs.load import load

SCRIPT = Path(__file__).parents[2] / "experiments" / "dqn_cartpole.py"
SMALL = [
    *("--config.envs=4", "--config.batch-size=8", "--config.replay-size=64", "--config.learning-starts=32"),
    *("--config.steps-per-epoch=20", "--config.evaluation-episodes=4", "--run.epochs=2"),
]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"])
    spec = importlib.util.spec_from_file_location("dqn_cartpole", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "dqn_cartpole", module)
    spec.loader.exec_module(module)
    return module


def run(script, root, *args):
    arguments = [*args, f"--run.root={root}", "--run.name=it"]
    experiments.train(script.EXPERIMENT, script.EXPERIMENT.parse(arguments))
    return root / "it"


def test_seeds_in_one_program_leave_their_table_and_figures(script, tmp_path, capsys):
    path = run(script, tmp_path, *SMALL, "--run.seeds=3")
    result = json.loads((path / "result.json").read_text())
    assert len(result["returns"]["seeds"]) == 3
    assert result["environment_steps"] == 32 + 40 * 4
    finals = [seed["final"] for seed in result["returns"]["seeds"]]
    assert finals == result["test/return"]
    assert result["returns"]["worst"] == min(finals)
    assert "3 seeds" in capsys.readouterr().out
    for name in ("returns.png", "values.png"):
        assert np.std(np.asarray(Image.open(path / "figures" / name).convert("L"))) > 5
    with Image.open(path / "figures" / "pole.gif") as gif:
        assert gif.n_frames >= 4  # no policy lets the pole fall in less than eight steps


@pytest.mark.slow
def test_chapter_prints_the_scores_of_its_episodes(script, tmp_path, capsys):
    path = run(
        script, tmp_path, "--preset=chapter", "--config.episodes=3", "--config.steps-per-epoch=60", "--run.epochs=2"
    )
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("episode ")]
    assert len(printed) == 3
    assert all(8 <= int(line.split()[-1]) <= 150 for line in printed)
    assert (path / "figures" / "scores.png").exists()


def test_chapter_is_the_chapters(script):
    config, hparams = script.CHAPTER.config, script.CHAPTER.hparams
    numbers = (config.optimizer, config.loss, config.batch_size, config.replay_size, config.episodes)
    assert numbers == ("adamax", "squared", 32, 8_000, 100)
    assert (hparams.learning_rate, hparams.b1, hparams.b2, hparams.eps, hparams.gamma) == (2e-3, 0.9, 0.999, 1e-7, 0.95)
    assert 1 + hparams.termination_reward == -10
    assert script.CHAPTER.run.epochs * config.steps_per_epoch == 100 * 500
    assert sum(a * b + b for a, b in ((4, *config.widths[:1]), config.widths, (config.widths[1], 2))) == 562
    steps = np.arange(0, 1_000, 100)
    expected = np.maximum(0.95 * 0.995**steps, 0.01)
    np.testing.assert_allclose([dqn.epsilon(jnp.int32(step), hparams, config) for step in steps], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ["--config.learning-starts=4000"],
            "config.learning_starts = 4000.*the run's environment steps, 160",
        ),
        (["--config.environment=CartPole"], "config.environment = 'CartPole'.*did you mean 'CartPole-v1'"),
        (["--hparams.epsilon-start=2"], "hparams.epsilon_start = 2"),
        (["--config.replay-size=4"], "config.replay_size = 4"),
    ],
)
def test_wrong_settings_are_one_line_before_anything_compiles(script, tmp_path, arguments, named):
    with pytest.raises(SettingError, match=named):
        run(script, tmp_path, *SMALL, *arguments)
    assert not (tmp_path / "it").exists()


def test_resumed_equals_uninterrupted(script, tmp_path):
    """Replay, environments and key go on bit for bit, whatever the chunks."""

    def go(name, **changes):
        arguments = [*SMALL, f"--run.root={tmp_path}", f"--run.name={name}", "--hparams.schedule-steps=100"]
        settings = script.EXPERIMENT.parse(arguments)
        changed = dataclasses.replace(settings.run, **changes)
        states = []
        settings = dataclasses.replace(settings, run=changed)
        path = train("dqn_cartpole", dqn, settings, lambda snapshot: states.append(snapshot.state))
        jax.tree.map(np.testing.assert_array_equal, load(path, algorithm=dqn).state, states[-1])
        return states[-1], metrics.read(path / "metrics.jsonl")

    whole, rows = go("whole", epochs=2)
    go("cut", epochs=1, chunk_steps=7)
    state, cut_rows = go("cut", epochs=2, chunk_steps=3)
    assert rows == cut_rows
    jax.tree.map(np.testing.assert_array_equal, whole, state)
