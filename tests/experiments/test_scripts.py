"""The scripts themselves, as a person runs them, small."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from jaxgen.runs import metrics

ROOT = Path(__file__).parents[2]
SMALL = ["--data.source", "digits", "--run.epochs", "2"]


def script(name, *args, cwd, **kwargs):
    command = [sys.executable, str(ROOT / "experiments" / f"{name}.py"), *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, **kwargs)


@pytest.mark.parametrize("name", ["ae_mnist", pytest.param("conv_ae_mnist", marks=pytest.mark.slow)])
def test_a_small_run_from_start_to_figures(name, tmp_path):
    done = script(name, *SMALL, "--run.name", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "finished: test/loss" in done.stdout
    assert {"ae_mnist": "161,906", "conv_ae_mnist": "5,027"}[name] in done.stdout
    run = tmp_path / "runs" / "r"
    figures = {path.name: Image.open(path) for path in (run / "figures").iterdir()}
    assert set(figures) == {"reconstructions.png", "codes.png", "code_plane.png", "chapter_codes.png", "loss.png"}
    assert all(min(image.size) > 100 for image in figures.values())
    again = script(name, *SMALL, "--run.name", "r", cwd=tmp_path)
    assert again.returncode == 0
    assert "is finished" in again.stdout


def test_help_documents_every_setting(tmp_path):
    shown = script("ae_mnist", "--help", cwd=tmp_path).stdout
    for setting in ("--data.source", "--config.code-size", "--hparams.learning-rate", "--run.name"):
        assert setting in shown


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--hparams.learning-rate", "-1"], "error: hparams.learning_rate = -1.0 is not allowed: a number > 0"),
        (["--run.epoch", "3"], "did you mean --run.epochs?"),
        (["--config.code-size", "0"], "config.code_size = 0"),
        (["--config.code-size", "ten"], "error: config.code_size = 'ten' is not allowed: an integer"),
        (["--config.optimizer", "adm"], "error: config.optimizer = 'adm' is not allowed: one of"),
        (["--config.optimizer", "adm"], "(did you mean 'adam'?)"),
    ],
)
def test_wrong_settings_are_one_line(args, said, tmp_path):
    done = script("ae_mnist", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_generative_experiment_imports_nothing_it_does_not_use(tmp_path):
    code = (
        "import sys; sys.argv = ['x', '--help']; sys.path.insert(0, 'experiments'); import ae_mnist; "
        "print([m for m in ('gymnax', 'pandas', 'matplotlib', 'tensorflow', 'tensorflow_datasets', 'sklearn', "
        "'distrax', 'orbax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
def test_killed_at_random_moments_the_run_is_still_the_same_run(tmp_path):
    args = ["--data.source", "digits", "--run.epochs", "60", "--run.evaluate-every", "5", "--run.save-every", "2"]
    assert script("ae_mnist", *args, "--run.name", "whole", cwd=tmp_path).returncode == 0
    command = [sys.executable, str(ROOT / "experiments" / "ae_mnist.py"), *args, "--run.name", "killed"]
    command += ["--run.chunk-steps", "7"]
    rng, kills = random.Random(0), 0
    run = tmp_path / "runs" / "killed"
    while kills < 4:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        steps_before = len(metrics.read(run / "metrics.jsonl"))
        while process.poll() is None and len(metrics.read(run / "metrics.jsonl")) <= steps_before:
            time.sleep(0.02)  # until it has begun to train
        time.sleep(rng.uniform(0, 0.7))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills > 0
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert metrics.read(run / "metrics.jsonl") == metrics.read(tmp_path / "runs" / "whole" / "metrics.jsonl")
    results = [json.loads((tmp_path / "runs" / name / "result.json").read_text()) for name in ("killed", "whole")]
    assert results[0]["test/loss"] == results[1]["test/loss"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_save_and_exit(tmp_path, number, code):
    command = [sys.executable, str(ROOT / "experiments" / "ae_mnist.py"), "--data.source", "digits"]
    command += ["--run.epochs", "5000", "--run.name", "r"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    while not metrics.read(tmp_path / "runs" / "r" / "metrics.jsonl"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "stopped and saved at step" in out
    assert os.listdir(tmp_path / "runs" / "r" / "checkpoints")
