"""Several processes of several virtual devices each, for real, over loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxgen.errors import SettingError
from jaxgen.runs import checkpoint, metrics
from jaxgen.runs.settings import RunSettings, validate

SCRIPT = Path(__file__).parents[2] / "experiments" / "ae_mnist.py"
PATIENCE = 10


def free_port():
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


def start(root, *options, devices=2, port=None, process=0, processes=2):
    """A process of a run with tiny data; it starts as a person would start it."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    environment["PYTHONPATH"] = str(SCRIPT.parents[1])
    command = [
        *(sys.executable, str(SCRIPT), "--data.source", "digits", "--data.size", "8", "--config.widths", "4"),
        *("--config.batch-size", "64", "--run.root", str(root), "--run.cpu-devices", str(devices), "--run.name", "run"),
        *options,
    ]
    if port is not None:
        command += ["--run.coordinator", f"localhost:{port}", "--run.processes", str(processes)]
        command += ["--run.process", str(process), "--run.heartbeat-timeout", str(PATIENCE)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def both(root, *options):
    port = free_port()
    return [start(root, *options, port=port, process=process) for process in (0, 1)]


def finish(*running):
    """Exit codes and what was said, of all of them."""
    try:
        said = [process.communicate(timeout=100) for process in running]
        outs = ["".join(line for line in out.splitlines(True) if not line.startswith("[Gloo]")) for out, _ in said]
        return [(out, error, process.returncode) for out, (_, error), process in zip(outs, said, running, strict=True)]
    finally:
        for process in running:
            process.kill()


def wait_until(there, running):
    """Until the run has come as far as `there()` asks."""
    deadline = time.monotonic() + 100
    while not there():
        if any(process.poll() is not None for process in running) or time.monotonic() > deadline:
            for process in running:
                process.kill()
            pytest.fail(f"the run did not come so far: {finish(*running)}")
        time.sleep(0.05)


def newest(root):
    """Step of the newest checkpoint, 0 without."""
    return max(checkpoint.steps(root / "run" / "checkpoints"), default=0)


def rows(root):
    return metrics.read(root / "run" / "metrics.jsonl")


def assert_same_curve(one, other):
    assert [row["step"] for row in one] == [row["step"] for row in other]
    for got, wanted in zip(one, other, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The rows of one process with four devices."""
    root = tmp_path_factory.mktemp("alone")
    ((_, said, code),) = finish(start(root, "--run.epochs", "3", "--run.devices", "4", devices=4))
    assert code == 0, said
    return rows(root)


@pytest.mark.slow
def test_two_processes_are_one_run_and_only_the_first_writes(alone, tmp_path):
    (out, error, code), (other_out, other_error, other_code) = finish(*both(tmp_path, "--run.epochs", "3"))
    assert (code, other_code) == (0, 0), error + other_error
    assert_same_curve(rows(tmp_path), alone)
    assert "finished: test/loss" in out
    assert other_out == ""
    path = tmp_path / "run"
    assert len(json.loads((path / "sessions.json").read_text())) == 1
    assert len(json.loads((path / "sessions.json").read_text())[0]["devices"]) == 4
    assert (path / "result.json").exists()
    assert (path / "figures").exists()
    assert [folder.name for folder in tmp_path.iterdir()] == ["run"]
    verified = subprocess.run(
        [sys.executable, "-m", "jaxgen", "verify", str(path), "--all"], capture_output=True, text=True, timeout=200
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "compared to rounding" in verified.stdout
    assert verified.stdout.count("its training was done elsewhere") == 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_and_the_run_resumes(alone, tmp_path, victim):
    endless = ("--run.epochs", "100000", "--run.chunk-steps", "22")
    running = both(tmp_path, *endless)
    wait_until(lambda: newest(tmp_path) > 0, running)
    running[victim].kill()
    began = time.monotonic()
    results = finish(*running)
    assert time.monotonic() - began < PATIENCE + 15
    _, error, code = results[1 - victim]
    assert code == 1, error
    assert error.splitlines()[-1].startswith("error: lost another process of this run"), error
    saved = newest(tmp_path)
    running = both(tmp_path, *endless)
    wait_until(lambda: newest(tmp_path) > saved, running)
    for process in running:
        process.send_signal(signal.SIGTERM)
    results = finish(*running)
    assert [code for _, _, code in results] == [143, 143], results
    assert f"continuing from step {saved}" in results[0][0]
    assert_same_curve(rows(tmp_path)[: len(alone) - 1], alone[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("told", [0, 1])
def test_sigterm_to_one_saves_and_stops_all(alone, tmp_path, told):
    running = both(tmp_path, "--run.epochs", "3", "--run.chunk-steps", "1", "--run.save-every", "2")
    wait_until(lambda: (tmp_path / "run").exists() and rows(tmp_path), running)
    running[told].send_signal(signal.SIGTERM)
    (out, error, code), (_, other_error, other_code) = finish(*running)
    assert (code, other_code) == (143, 143), error + other_error
    assert "stopped and saved at step" in out
    (_, error, code), (_, other_error, other_code) = finish(*both(tmp_path, "--run.epochs", "3"))
    assert (code, other_code) == (0, 0), error + other_error
    assert_same_curve(rows(tmp_path), alone)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"processes": 2}, "run.coordinator = None is not allowed: host:port where run.processes"),
        ({"coordinator": "node", "processes": 2}, "run.coordinator = 'node' is not allowed: host:port"),
        ({"coordinator": "node:1", "processes": 2, "process": 2}, "run.process = 2 is not allowed: 0 to 1"),
        ({"distributed": True, "seeds": 2}, "run.seeds = 2 is not allowed: 1 with several processes"),
        ({"distributed": True, "heartbeat_timeout": 0}, "run.heartbeat_timeout = 0 is not allowed: at least 1"),
    ],
)
def test_wrong_settings_are_one_line(run, said):
    with pytest.raises(SettingError, match=said) as error:
        validate(RunSettings(**run))
    assert "\n" not in str(error.value)
