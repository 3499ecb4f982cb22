"""The benchmark's command line, its arithmetic, and small measurements without peers."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import benchmark
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks import conv, layers, measuring, reporting, train, versions

from jaxgen.errors import SettingError, UserError
from jaxgen.launch import command_line

EXPERIMENTS = Path(benchmark.__file__).parent
FIELDS = {"name", "ours_ms", "peer", "peer_ms", "ratio", "rounds"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "missing: one of conv, train, bfloat16, startup, dqn, sweep, scaling, .*, accelerator, results, versions"),
        (["trian"], "command = 'trian' is not allowed: one of conv, train, bfloat16, .*did you mean 'train'"),
        (["conv", "--round", "1"], r"--round\b.*did you mean --rounds"),
        (["train", "--rounds", "0"], "rounds = 0 is not allowed: at least 1"),
        (["train", "--steps", "-1"], "steps = -1"),
        (["train", "--models", "dense_a"], "models = 'dense_a'.*did you mean 'dense_ae'"),
        (["conv", "--layers", "encoder 9"], "layers = 'encoder 9' is in no layer's name"),
        (["versions", "--pythons", "python3"], r"pythons = \('python3',\) is not allowed: two or more interpreters"),
        (["startup", "--experiments", "ae_mnis"], "experiments = 'ae_mnis'.*did you mean 'ae_mnist'"),
    ],
)
def test_a_wrong_command_line_is_one_line(args, said):
    with pytest.raises(SettingError, match=said) as error:
        command_line.parse(benchmark.COMMANDS, None, args)
    assert "\n" not in str(error.value)


def test_a_subcommand_is_its_settings():
    parsed = command_line.parse(
        benchmark.COMMANDS, None, ["train", "--models", "conv_ae", "--no-compiled", "--rounds", "2"]
    )
    assert parsed == train.Train(rounds=2, models=("conv_ae",), compiled=False)


@pytest.fixture(scope="module")
def without_peers(tmp_path_factory):
    """The environment of a process that finds no PyTorch and no Keras, installed or not."""
    folder = tmp_path_factory.mktemp("absent")
    for package in ("torch", "keras", "tensorflow"):
        (folder / f"{package}.py").write_text(f"raise ImportError('no {package} here')\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(EXPERIMENTS.parent)])}


def script(*args, **kwargs):
    command = [sys.executable, str(EXPERIMENTS / "benchmark.py"), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **kwargs)


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_train_without_peers_says_so_and_measures_ours(without_peers, tmp_path):
    args = ("train", "--models", "dense_ae", "--rounds", "1", "--steps", "3")
    done = script(*args, cwd=tmp_path, env=without_peers)
    assert done.returncode == 0, done.stderr
    assert "PyTorch is left out: ImportError: no torch here" in done.stdout
    assert "Keras is left out: ImportError: no keras here" in done.stdout
    assert "dense_ae: no peer" in done.stdout
    (row,) = rows_of(tmp_path / "benchmark.jsonl")
    assert row.keys() >= FIELDS
    assert (row["name"], row["peer"], row["rounds"]) == ("dense_ae", "our step in a Python loop", 1)
    assert row["ratio"] == pytest.approx(row["peer_ms"] / row["ours_ms"], rel=0.05)


def test_conv_without_peers_measures_one_layer(without_peers, tmp_path):
    args = ("conv", "--layers", "28x28 decoder 1", "--rounds", "2", "--seconds", "0.01", "--out", "rows.jsonl")
    done = script(*args, cwd=tmp_path, env=without_peers)
    assert done.returncode == 0, done.stderr
    peak, row = rows_of(tmp_path / "rows.jsonl")
    assert peak["name"] == "matrix product 2048"
    assert row["name"] == "28x28 decoder 1: 8->8 k3 s1"
    assert (row["peer"], row["peer_ms"], row["ratio"], row["rounds"]) == (None, None, None, 2)
    assert row["gflops"] == pytest.approx(3 * 2 * 64 * 16 * 8 * 8 * 9 / min(row["ours_ms"], row["loop_ms"]) / 1e6, 0.1)
    assert row["name"] in done.stdout


def test_sides_take_turns_and_each_has_its_own_number_of_steps():
    calls = []

    def run(name, seconds):
        return lambda steps: calls.append((name, steps)) or seconds * steps

    times = measuring.interleave({"ours": run("ours", 0.1), "slow": run("slow", 0.4)}, 0, 2.0, 3, "x")
    assert calls[-6:] == [("ours", 20), ("slow", 5)] * 3
    assert times == {"ours": pytest.approx([100] * 3), "slow": pytest.approx([400] * 3)}


def test_steps_fill_the_seconds_whatever_the_first_one_took():
    taken = iter([60.0])
    assert measuring.steps_for(lambda steps: next(taken, 0.001 * steps), 2.0) == 2000
    assert measuring.steps_for(lambda steps: 9.0 * steps, 2.0) == 1
    assert measuring.steps_for(lambda steps: 1.0 + 0.1 * steps, 10.0) == pytest.approx(90, rel=0.1)


def test_a_peer_that_fails_ends_its_row_and_ours_ends_the_run(capsys):
    def broken(steps):
        raise RuntimeError("no compiler\nand a long story")

    assert measuring.interleave({"ours": lambda steps: 1.0, "peer": broken}, 1, 1.0, 1, "x") == {"ours": [1000.0]}
    assert "peer is left out: RuntimeError: no compiler\n" in capsys.readouterr().out
    with pytest.raises(RuntimeError):
        measuring.interleave({"ours": broken}, 1, 1.0, 1, "x")


def test_a_row_compares_medians_and_keeps_the_ratio_of_each_round():
    row = measuring.compare("x", [1.0, 2.0, 4.0], "peer", [4.0, 3.0, 2.0])
    assert row == {
        **{"name": "x", "ours_ms": 2.0, "peer": "peer", "peer_ms": 3.0, "ratio": 1.5, "rounds": 3},
        "ratios": [4.0, 1.5, 0.5],
    }
    assert measuring.geometric_mean([0.5, 8.0]) == pytest.approx(2.0)
    lines = reporting.table([row, measuring.compare("alone", [1.0], None, [])]).splitlines()
    assert lines[0].split() == ["name", "ours", "ms", "peer", "peer", "ms", "ratio", "spread"]
    assert lines[1].split() == ["x", "2.000", "peer", "3.000", "1.50", "0.50", "to", "4.00"]
    assert lines[2].split() == ["alone", "1.000"]


def test_the_best_peer_is_the_fastest_that_is_not_ours():
    rows = [measuring.compare("m", [1.0], peer, [ms]) for peer, ms in ((train.STEP, 0.5), ("A", 3.0), ("B", 2.0))]
    assert train.best_peer(rows) == "best peer: B, ratio 2.00"


@pytest.mark.parametrize("layer", [*layers.FLOWERS, *layers.SMALL], ids=lambda layer: layer.name)
def test_a_layer_has_the_size_our_convolution_gives_it(layer):
    convolution = conv.conv.conv_transpose2d if layer.transposed else conv.conv.conv2d
    x = jnp.zeros((layer.batch, layer.size, layer.size, layer.channels))
    w = jnp.zeros((layer.kernel, layer.kernel, layer.channels, layer.kernels))
    y = jax.eval_shape(lambda x, w: convolution(x, w, strides=layer.stride, padding=layer.padding), x, w)
    assert y.shape == (layer.batch, layer.out, layer.out, layer.kernels)


def test_a_turn_of_the_loop_depends_on_all_of_the_one_before():
    @jax.jit
    def passes(x, w, g):
        y, pull = jax.vjp(lambda x, w: conv.conv.conv2d(x, w, padding="VALID"), x, w)
        return (y, *pull(g))

    rng = np.random.default_rng(0)
    shapes = ((2, 5, 5, 3), (3, 3, 3, 4), (2, 3, 3, 4))
    x, w, g = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    (x2, w2, g2), results = jax.jit(lambda *operands: conv.in_loop(passes, operands, 2))(x, w, g)
    for _ in range(2):
        expected = [np.asarray(result) for result in passes(x, w, g)]
        nudge = 1e-6 * sum(result[0, 0, 0, 0] for result in expected)
        w = w + 1e-6 * expected[2]
        x[0, 0, 0, 0] += nudge
        g[0, 0, 0, 0] += nudge
    for got, want in zip((*results, x2, w2, g2), (*expected, x, w, g), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_versions_are_measured_in_processes_of_their_own(monkeypatch, tmp_path):
    other = tmp_path / "other"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    monkeypatch.setattr(versions, "label", lambda python: f"the one called {python.name}")
    pythons = Path(sys.executable), other
    (row,) = versions.Versions(models=("dense_ae",), steps=2, rounds=2, pythons=pythons).measure()
    assert row.keys() >= FIELDS
    assert (row["name"], row["peer"], row["rounds"]) == ("dense_ae", "the one called other", 2)


def test_environments_are_told_apart_by_their_versions(tmp_path):
    assert versions.label(sys.executable) == f"jax {jax.__version__}, Python {platform.python_version()}"
    with pytest.raises(UserError, match=f"{tmp_path}/none has no JAX, or is no interpreter"):
        versions.label(tmp_path / "none")
    with pytest.raises(SettingError, match="environments that differ"):
        next(versions.Versions(pythons=(Path(sys.executable),) * 2).measure())


@pytest.mark.slow
def test_sweep_measures_members_and_lone_runs_in_turn(tmp_path):
    args = ("sweep", "--models", "dense_ae", "--members", "1", "2", "--rounds", "2", "--seconds", "0.01")
    done = script(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "benchmark.jsonl")
    assert [row["name"] for row in rows] == ["dense_ae, 1 members", "dense_ae, 2 members"]
    for row in rows:
        assert row.keys() >= FIELDS
        assert (row["peer"], row["rounds"], len(row["ratios"])) == ("one after the other", 2, 2)
        assert row["member_steps_per_second"] == pytest.approx(1e3 / row["ours_ms"], abs=1)
