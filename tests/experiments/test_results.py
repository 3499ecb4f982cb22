"""The benchmark of whole results: its sides and caches in turn, its rows, and the peers' scripts where installed."""

import importlib
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from benchmarks import reaching, results

from jaxgen.errors import SettingError, UserError
from jaxgen.runs.settings import Settings

PEER = """
import json, sys
task, seed, folder = sys.argv[1:]
print("training")
print(json.dumps({"value": 100.0 + int(seed), "reached": seed != "1"}))
"""


@pytest.fixture
def small(monkeypatch, tmp_path):
    """One task whose sides are scripts that only print."""
    ours = tmp_path / "ours.py"
    ours.write_text(
        "import json, os, pathlib, sys\n"
        "cache = pathlib.Path(os.environ['JAX_COMPILATION_CACHE_DIR'])\n"
        "found = len(list(cache.iterdir()))\n"
        "(cache / sys.argv[1]).touch()\n"
        "print(json.dumps({'value': found, 'reached': True}))\n"
    )
    scripts = tmp_path / "benchmarks" / "peers"
    scripts.mkdir(parents=True)
    for package in (scripts.parent, scripts):
        (package / "__init__.py").touch()
    for name in ("pytorch", "keras"):
        (scripts / f"tasks_{name}.py").write_text(PEER if name == "pytorch" else "raise ImportError('no keras here')")
    task = results.Task("a small result", (str(ours), "{seed}"))
    monkeypatch.setattr(results, "TASKS", {"small": task})
    monkeypatch.setattr(results, "PEERS", {"PyTorch": {"small": "pytorch"}, "Keras": {"small": "keras"}})
    monkeypatch.setattr(results, "ROOT", tmp_path)
    return results.Results(rounds=4, tasks=("small",), peers=("PyTorch", "Keras"))


def test_sides_run_in_processes_with_an_empty_and_a_filled_cache(small, capsys):
    cold, warm = list(small.measure())
    assert "Keras is left out: UserError: ImportError: no keras here" in capsys.readouterr().out
    assert (cold["name"], warm["name"], cold["peer"]) == ("small, cold", "small, warm", "PyTorch")
    assert cold["values"] == [0, 0, 0, 0]  # files in the cache when it began
    assert warm["values"] == [1, 1, 2, 3]  # that of the uncounted first run, with seed 0, and those before it
    assert warm["peer_values"] == [100, 101, 102, 103]
    assert (warm["reached"], warm["peer_reached"], warm["n"]) == (4, 3, 4)
    assert warm["ours_ms"] == pytest.approx(1e3 * np.median(warm["seconds"]), abs=10)
    assert 0 < warm["p"] <= 1
    assert "small, warm" in small.table([cold, warm])
    assert "small: a small result" in list(small.conclude([cold, warm]))


def test_a_failure_of_ours_ends_the_run_with_its_last_line(small, tmp_path):
    (tmp_path / "ours.py").write_text("import sys; sys.exit('it broke')")
    with pytest.raises(UserError, match="it broke"):
        list(small.measure())


def test_a_slow_side_is_given_up():
    with pytest.raises(UserError, match="not ready after 1 s"):
        results._process([sys.executable, "-c", "import time; time.sleep(60)"], ".", "", 1.0)


def ran(*seconds):
    return [results.Ran(one, None, True) for one in seconds]


def test_a_row_compares_each_cache_with_each_peer_and_tests_seeds():
    sides = {
        results.Side("ours", "cold"): ran(4, 5, 6, 7),
        results.Side("ours", "warm"): ran(1, 2, 3, 4),
        results.Side("PyTorch", ""): ran(11, 12, 13, 14),
        results.Side("PureJaxRL", "cold"): ran(8, 8, 8, 8),
    }
    rows = list(results.rows_of("cartpole", sides, results.CACHES))
    assert [(row["name"], row["peer"]) for row in rows] == [
        *(("cartpole, cold", "PyTorch"), ("cartpole, cold", "PureJaxRL"), ("cartpole, warm", "PyTorch"))
    ]
    assert (rows[0]["ratio"], rows[2]["ratio"], rows[2]["p"]) == (2.273, 5.0, 0.029)  # 2 of 70 orders
    alone = list(results.rows_of("gan", {results.Side("ours", "cold"): ran(3)}, ("cold",)))
    assert [(row["peer"], row["p"], row["ours_ms"]) for row in alone] == [(None, None, 3000)]


def test_wrong_settings_are_one_line():
    for settings, said in (
        ({"tasks": ("cartpol",)}, "tasks = 'cartpol'.*did you mean 'cartpole'"),
        ({"peers": ("Torch",)}, "peers = 'Torch'"),
        ({"caches": ("hot",)}, "caches = 'hot'"),
        ({"caches": ()}, r"caches = \(\)"),
        ({"cleanrl": Path("/nowhere")}, "cleanrl = '/nowhere'"),
    ):
        with pytest.raises(SettingError, match=said):
            results.Results(**settings)


def test_every_command_of_ours_is_one_that_its_script_takes():
    for task in results.TASKS.values():
        script, *options = [word.format(seed=3, after=7, root="runs") for word in task.ours]
        if script == "-m":
            assert options[1] in reaching.TASKS
        elif script != "sweep.py":
            experiment = importlib.import_module(script.removesuffix(".py")).EXPERIMENT
            settings = experiment.parse(options)
            assert isinstance(settings, Settings)
            assert settings.run.seed == 3


def test_a_run_ends_when_its_number_is_reached():
    import jaxgen
    from jaxgen import data
    from jaxgen.algorithms import autoencoder

    settings = jaxgen.Settings(autoencoder.Config(), autoencoder.HParams())
    scores = iter([3.0, 2.0, 1.0])
    arguments = (autoencoder, settings, data.load("digits"), 0, 5, lambda now: next(scores))
    assert reaching.reach(*arguments, lambda it: it <= 2) == {"value": 2.0, "reached": True, "steps": 22}


@pytest.mark.slow
def test_our_scripts_judge_what_they_train(monkeypatch):
    vae = reaching.vae_to(0, epochs=1, source="digits")
    assert 100 < vae["value"] < 784
    assert (vae["reached"], vae["steps"]) == (False, 11)
    monkeypatch.setattr(reaching, "FRECHET", 1e9)
    gan = reaching.frechet(0, epochs=2, source="digits")
    assert gan["value"] > 0
    assert (gan["reached"], gan["steps"]) == (True, 22)  # after its first epoch


def test_the_numbers_to_reach_are_the_same_on_every_side():
    tasks = pytest.importorskip("benchmarks.peers.tasks")
    assert {seed for _, seed in tasks.MEMBERS} == set(range(results.SWEPT))
    assert (tasks.RETURN, tasks.NEGATIVE_ELBO) == (reaching.RETURN, reaching.NEGATIVE_ELBO)


@pytest.fixture
def few(tmp_path):
    """Files with few images for the peers' scripts."""
    rng = np.random.default_rng(0)
    for name, shape in (("mnist", (28, 28, 1)), ("petals", (80, 80, 3))):
        splits = {split: rng.integers(0, 256, (n, *shape), np.uint8) for split, n in (("train", 256), ("test", 64))}
        np.savez(tmp_path / f"{name}.npz", **splits)
    return str(tmp_path)


def test_pytorch_does_its_tasks(few, monkeypatch):
    pytest.importorskip("torch")
    from benchmarks.peers import tasks, tasks_pytorch

    assert set(tasks_pytorch.TASKS) == set(results.PEERS["PyTorch"])
    blank = 784 * np.log(2)  # nats of an image at probability 1/2
    assert 0.8 * blank < tasks_pytorch.autoencoder(0, few, epochs=1)["value"] < 1.5 * blank
    vae = tasks_pytorch.vae(0, few, epochs=1)
    assert 0.8 * blank < vae["value"] < 1.5 * blank
    assert vae["reached"] is False
    assert tasks_pytorch.gan(0, few, epochs=1)["reached"]
    assert tasks_pytorch.flowers(0, few)["reached"]
    monkeypatch.setattr(tasks, "MEMBERS", [(1e-3, 0), (1e-2, 1)])
    assert 0.8 * blank < tasks_pytorch.sweep(0, few)["value"] < 1.5 * blank


def test_pytorch_plays_and_a_good_player_reaches_the_return():
    pytest.importorskip("torch")
    from benchmarks.peers import pytorch_dqn, tasks

    played = pytorch_dqn.solve(0, "", steps=500)
    assert played["steps"] == 500
    assert 8 <= played["value"] <= 500
    falling = tasks.greedy_returns(lambda seen: (seen[:, 2] + 0.3 * seen[:, 3] < 0).astype(int), 0)
    balancing = tasks.greedy_returns(lambda seen: (seen[:, 2] + 0.3 * seen[:, 3] > 0).astype(int), 0)
    assert falling.mean() < 20
    assert balancing.mean() > 150
    assert balancing.shape == (100,)


def test_a_return_over_several_steps_is_discounted_and_ends_with_the_episode():
    pytest.importorskip("torch")
    from benchmarks.peers import pytorch_dqn

    replay = pytorch_dqn.Replay(np.random.default_rng(0))
    player = pytorch_dqn.Player(0, replay)
    steps = deque((np.full(4, i), i % 2, 1.0) for i in range(3))
    player._store(steps, np.full(4, 9), terminated=False)
    player._store(steps, np.full(4, 9), terminated=True)
    assert replay.returned[:2] == pytest.approx([1 + 0.99 + 0.99**2, 1 + 0.99])
    assert replay.discount[:2] == pytest.approx([0.99**3, 0.0])
    assert (replay.seen[1, 0], replay.following[1, 0], replay.action[1]) == (1, 9, 1)


def test_keras_does_its_tasks(few, tmp_path, monkeypatch):
    pytest.importorskip("keras")
    from benchmarks.peers import tasks_keras

    assert set(tasks_keras.TASKS) == set(results.PEERS["Keras"])
    blank = 784 * np.log(2)
    assert 0.8 * blank < tasks_keras.autoencoder(0, few, epochs=1)["value"] < 1.5 * blank
    assert 0.8 * blank < tasks_keras.vae(0, few, epochs=1)["value"] < 1.5 * blank
    monkeypatch.chdir(tmp_path)
    assert tasks_keras.gan(0, few, epochs=1)["reached"]
    assert (tmp_path / "samples.png").stat().st_size > 1_000
