"""The DQN benchmark: its command line, its arithmetic, and a small measurement without peers."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import benchmark
import jax
import jax.numpy as jnp
import pytest
from benchmarks import dqn, dqn_ours
from benchmarks.worker import Worker

from jaxgen.algorithms import dqn as algorithm
from jaxgen.errors import SettingError, UserError
from jaxgen.launch import command_line

EXPERIMENTS = Path(benchmark.__file__).parent


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--seeds", "1", "0"], "seeds = 0 is not allowed: at least 1"),
        (["--seconds", "0"], "seconds = 0.0"),
        (["--rejax", "/nowhere"], "rejax = '/nowhere' is not allowed: a folder with a checkout"),
    ],
)
def test_a_wrong_setting_is_one_line(args, said):
    with pytest.raises(SettingError, match=said) as error:
        command_line.parse(benchmark.COMMANDS, None, ["dqn", *args])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("peer", dqn.BATCH)
def test_our_side_does_the_work_the_row_says(peer):
    config, hparams = dqn_ours.CONFIGS[peer], dqn_ours.HPARAMS[peer]
    algorithm.validate(hparams, config)
    assert config.batch_size == dqn.BATCH[peer]
    assert config.transitions / config.updates == dqn.UPDATE_EVERY[peer]
    assert (4, *config.widths, 2 + config.dueling) == dqn.NETS[peer]
    assert config.double == (peer in dqn.DOUBLE)


def test_the_arithmetic_is_that_of_the_compiled_dots():
    config = dqn_ours.CONFIGS["purejaxrl"]
    net = algorithm.net(config)
    x = jnp.zeros((config.batch_size, 4))
    params = net.init(jax.random.key(0), x)

    def update(params, target, x, following):
        return jax.grad(lambda p: ((net.apply(p, x) - net.apply(target, following)) ** 2).sum())(params)

    cost = jax.jit(update).lower(params, params, x, x).compile().cost_analysis()
    assert dqn.update_flop("purejaxrl") == pytest.approx(cost["flops"], rel=0.03)  # the rest is element by element


@pytest.mark.slow
def test_a_measurement_without_peers_says_so(tmp_path):
    command = [sys.executable, str(EXPERIMENTS / "benchmark.py"), "dqn", "--seeds", "2", "--rounds", "1"]
    environment = {**os.environ, "PYTHONPATH": str(EXPERIMENTS.parent)}
    done = subprocess.run(
        [*command, "--seconds", "0.01"], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "purejaxrl is left out: no folder given with --purejaxrl" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "benchmark.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["dqn as purejaxrl, 2 seeds", "dqn as rejax, 2 seeds"]
    for row in rows:
        assert row["ours_steps_per_s"] == pytest.approx(2 * 100 / row["ours_ms"] * 1e3, rel=0.01)
        assert 0 < row["share"] < 1


def test_a_process_that_fails_says_why():
    worker = Worker("benchmarks.peers.dqn_source.read", ["/nowhere", {}])
    try:
        with pytest.raises(UserError, match="'str' object has no attribute 'read_text'"):
            worker.ready()
    finally:
        worker.close()


def test_a_script_that_has_changed_is_not_patched(tmp_path):
    source = importlib.import_module("benchmarks.peers.dqn_source")
    (tmp_path / "a.py").write_text("x = old(1)\n")
    assert source.read(tmp_path / "a.py", {"old(": "new("}) == "x = new(1)\n"
    with pytest.raises(ValueError, match="0 times: not the version"):
        source.read(tmp_path / "a.py", {"other(": "new("})
