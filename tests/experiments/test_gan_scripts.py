"""The GANs' scripts, as a person runs them, small."""

import json
import os
import subprocess
import sys
from pathlib import Path

import evaluate_gan
import numpy as np
import pytest
from PIL import Image

from jaxgen import fit
from jaxgen.algorithms import gan
from jaxgen.runs import metrics

ROOT = Path(__file__).parents[2]
FIGURES = {"samples.png", "training.gif", "interpolation.png", "nearest.png", "losses.png", "discriminator.png"}


def script(name, *args, cwd):
    command = [sys.executable, str(ROOT / "experiments" / f"{name}.py"), *args]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cwd / "cache")}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A run of the chapter's preset on embedded digits, 3 epochs, with figures after each."""
    folder = tmp_path_factory.mktemp("gan")
    done = script("gan_mnist", "--data.source", "digits", "--run.epochs", "3", "--run.name", "r", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_the_chapters_gan_from_start_to_figures(digits_run):
    folder, done = digits_run
    for said in ("217,984", "177,201", "finished: test/discriminator_loss", "mean losses since the start"):
        assert said in done.stdout
    run = folder / "runs" / "r"
    assert {path.name for path in (run / "figures").iterdir() if path.is_file()} == FIGURES
    animation = Image.open(run / "figures" / "training.gif")
    assert animation.n_frames == 3  # after epochs 1 and 2, and at the end
    frames = [np.asarray(Image.open(run / "figures" / f / "samples.png")) for f in ("epoch-0001", ".")]
    assert frames[0].shape == frames[1].shape == (578, 578)
    assert np.any(frames[0] != frames[1])
    rows = metrics.read(run / "metrics.jsonl")
    table = json.loads((run / "result.json").read_text())["running_losses"]
    assert [row["epoch"] for row in table] == [1, 2, 3]
    steps = [row for row in rows if "train/generator_loss" in row]  # digits: one row a step
    for player in ("generator", "discriminator"):
        mean = np.mean([row[f"train/{player}_loss"] for row in steps])
        np.testing.assert_allclose(table[-1][player], mean, rtol=1e-6)


@pytest.mark.slow
def test_its_samples_are_evaluated_the_same_each_time_and_exported(digits_run):
    folder, _ = digits_run
    args = ["runs/r", "--samples", "200", "--classifier-updates", "30"]
    done = script("evaluate_gan", *args, cwd=folder)
    assert done.returncode == 0, done.stderr
    first = json.loads((folder / "runs" / "r" / "evaluation.json").read_text())
    assert (first["samples"]["n_real"], first["samples"]["n_fake"]) == (359, 200)
    assert first["samples"]["frechet_distance"] > first["floor_train_against_test"]["frechet_distance"]
    assert f"{first['samples']['frechet_distance']:.4f}" in done.stdout
    assert "not Inception" in done.stdout
    assert script("evaluate_gan", *args, cwd=folder).returncode == 0
    assert json.loads((folder / "runs" / "r" / "evaluation.json").read_text()) == first
    other = script("evaluate_gan", *args, "--seed", "1", cwd=folder)
    assert other.returncode == 0, other.stderr
    second = json.loads((folder / "runs" / "r" / "evaluation-seed-1.json").read_text())
    assert second["samples"]["frechet_distance"] != first["samples"]["frechet_distance"]
    assert second["classifier"] == first["classifier"]

    done = script("evaluate_gan", "runs/r", "--samples", str(10**11), cwd=folder)
    assert done.returncode == 2
    assert "count = 100000000000 is not allowed: at most" in done.stderr

    done = script("export_samples", "runs/r", "--count", "12", cwd=folder)
    assert done.returncode == 0, done.stderr
    files = sorted((folder / "runs" / "r" / "samples").iterdir())
    assert [files[0].name, files[-1].name, len(files)] == ["00000.png", "00011.png", 12]
    pictures = [np.asarray(Image.open(file)) for file in files]
    assert {picture.shape for picture in pictures} == {(28, 28)}
    assert len({picture.tobytes() for picture in pictures}) == 12
    again = script("export_samples", "runs/r", "--count", "12", cwd=folder)
    assert again.returncode == 2
    assert "a folder that is empty" in again.stderr


TINY = ["--config.generator-widths", "4", "6", "4", "2", "--config.discriminator-widths", "2", "4", "6"]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["chapter", "better"])
def test_flowers(preset, tmp_path):
    args = ["--preset", preset, "--data.count", "40", "--data.size", "16", "--config.batch-size", "8", *TINY]
    done = script("gan_flowers", *args, "--run.epochs", "2", "--run.name", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "40 training" in done.stdout  # the test images too
    assert {path.name for path in (tmp_path / "runs" / "r" / "figures").iterdir() if path.is_file()} == FIGURES
    saved = json.loads((tmp_path / "runs" / "r" / "settings.json").read_text())["settings"]
    assert saved["preset"] == preset
    assert saved["config"]["penalty"] == {"chapter": "none", "better": "r1"}[preset]


@pytest.mark.slow
def test_the_better_preset_for_mnist(tmp_path):
    args = ["--data.source", "petals", "--data.count", "50", "--data.size", "16", "--config.batch-size", "8"]
    args += ["--config.classes", "5", "--config.generator-widths", "4", "2"]
    args += ["--config.discriminator-widths", "2", "4", "--run.epochs", "1", "--run.name", "r"]
    done = script("gan_mnist", "--preset", "better", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = metrics.read(tmp_path / "runs" / "r" / "metrics.jsonl")
    assert any("train/penalty" in row for row in rows)


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        (
            "gan_mnist",
            ["--preset", "bettr"],
            "one of chapter, better, quick (did you mean",
        ),
        ("gan_mnist", ["--hparams.generator.learning-rate", "0"], "hparams.generator.learning_rate = 0.0"),
        (
            "gan_mnist",
            ["--config.classes", "7", "--data.source", "digits"],
            "config.classes = 7 is not allowed: 0, or 10",
        ),
        ("gan_flowers", ["--config.image-shape", "30", "30", "3"], "30x30"),
        ("gan_mnist", ["--run.devices", "65536"], "on 65536 devices"),
        ("gan_mnist", ["--run.coordinator", "nohost:x"], "run.coordinator = 'nohost:x' is not allowed"),
        ("evaluate_gan", ["nowhere"], "nowhere is not a run directory"),
        ("export_samples", ["nowhere", "--count", "0"], "count = 0"),
    ],
)
def test_wrong_settings_are_one_line(name, args, said, tmp_path):
    done = script(name, *args, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_only_models_that_draw_samples_are_evaluated(tmp_path):
    done = script("ae_mnist", "--data.source", "digits", "--run.epochs", "1", "--run.name", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = script("evaluate_gan", "runs/r", cwd=tmp_path)
    assert done.stderr == "error: runs/r is a run of jaxgen.algorithms.autoencoder, which draws no samples\n"
    (tmp_path / "runs" / "r" / "settings.json").write_text(json.dumps({"experiment": "gan_mnist"}))
    assert "settings.json is damaged: it is not a run record" in script("evaluate_gan", "runs/r", cwd=tmp_path).stderr


@pytest.mark.slow
def test_several_seeds_are_evaluated_one_by_one_and_over_all(tmp_path, capsys):
    path = tmp_path / "two"
    fit(gan, "digits", config=gan.Config(batch_size=512), epochs=1, seed=[3, 4], directory=path, progress=False)
    evaluate_gan.main(evaluate_gan.Settings(path, samples=100))
    found = [json.loads((path / f"evaluation-member-{i}.json").read_text()) for i in range(2)]
    assert [one["trained_with_seed"] for one in found] == [3, 4]
    distances = [one["samples"]["frechet_distance"] for one in found]
    assert distances[0] != distances[1]
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[-7:]}
    mean, sd = np.mean(distances), np.std(distances, ddof=1)
    assert lines["frechet_distance"] == [f"{x:.4f}" if x != "+-" else x for x in (mean, "+-", sd, *sorted(distances))]
    assert lines["over"][:2] == ["2", "seeds"]
