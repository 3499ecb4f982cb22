"""The scripts of the variational autoencoders, as a person runs them, small."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import evaluate_vae
import numpy as np
import pytest
from PIL import Image

from jaxgen import fit
from jaxgen.algorithms import vae
from jaxgen.errors import SettingError

ROOT = Path(__file__).parents[2]
ALWAYS = {"loss", "terms", "reconstructions", "codes", "samples", "kl_per_latent"}
MORE = {"traversals", "interpolations"}
RUNS = {
    "vae_mnist": (["--preset", "mlp", "--data.source", "digits"], "815,824", ALWAYS | MORE),
    "vae_flowers": (
        ["--data.size", "52", "--data.count", "30", "--config.batch-size", "8"],
        "1,781,474",
        ALWAYS | MORE | {"flowers"},
    ),
    "iwae_mnist": (
        ["--data.source", "digits", "--config.latent-size", "2", "--config.samples", "3", "--config.batch-size", "100"],
        "396,388",
        ALWAYS | {"manifold"},
    ),
}


def script(name, *args, cwd):
    command = [sys.executable, str(ROOT / "experiments" / f"{name}.py"), *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Each script's small run, made once."""
    made, root = {}, tmp_path_factory.mktemp("vae")

    def run(name):
        if name not in made:
            args = [*RUNS[name][0], "--run.epochs", "1", "--run.name", name]
            done = script(name, *args, cwd=root)
            assert done.returncode == 0, done.stderr
            made[name] = (root / "runs" / name, done.stdout)
        return made[name]

    return run


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name != "vae_mnist" else ()) for name in RUNS]
)
def test_a_small_run_from_start_to_figures(name, runs):
    path, said = runs(name)
    assert "finished: test/bits_per_dimension" in said
    assert RUNS[name][1] in said
    figures = {file.stem: Image.open(file) for file in (path / "figures").iterdir()}
    assert set(figures) == RUNS[name][2]
    assert all(min(image.size) > 100 for image in figures.values())
    result = json.loads((path / "result.json").read_text())
    assert result["test/negative_elbo"] == pytest.approx(result["test/distortion"] + result["test/rate"], rel=1e-4)


@pytest.mark.slow
def test_a_finished_run_is_evaluated_the_same_each_time(runs):
    path, _ = runs("vae_mnist")
    first, again = (script("evaluate_vae", str(path), "--samples", "20", cwd=path.parent) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    results = json.loads((path / "evaluation.json").read_text())
    assert results["experiment"] == "vae_mnist"
    assert results["inputs"] == "binarized"
    assert results["negative_log_likelihood"]["samples"] == 20
    assert f"{results['negative_elbo']['mean']:.3f} +- " in first.stdout
    assert f"{results['bits_per_dimension']:.4f}  bits per dimension" in first.stdout
    elbo, likelihood = results["negative_elbo"]["mean"], results["negative_log_likelihood"]["mean"]
    assert 100 < likelihood < elbo < 600
    paired = script("evaluate_vae", str(path), "--samples", "20", "--against", str(path), cwd=path.parent)
    assert "-log p(x) minus the other's      0.000 +- 0.000" in paired.stdout
    done = script("evaluate_vae", str(path), "--samples", "24", "--against", str(path), cwd=path.parent)
    assert done.stderr == f"error: {path} was evaluated with samples = 20, this run with 24\n"


def test_several_seeds_are_evaluated_one_by_one_and_over_all(tmp_path, capsys):
    path, config = tmp_path / "two", vae.Config(latent_size=2, widths=(8,), batch_size=64)
    fit(vae, "digits", config=config, epochs=1, seed=[3, 4], directory=path, progress=False)
    settings = evaluate_vae.Settings(path, samples=4, images=8)
    evaluate_vae.main(settings)
    elbos = [json.loads((path / f"evaluation-member-{i}.json").read_text())["negative_elbo"]["mean"] for i in range(2)]
    assert elbos[0] != elbos[1]
    line = capsys.readouterr().out.splitlines()[-5]
    mean, sd = np.mean(elbos), np.std(elbos, ddof=1)
    expected = f"negative ELBO {mean:.4f} +- {sd:.4f} {min(elbos):.4f} {max(elbos):.4f}"
    assert " ".join(line.split()) == expected
    evaluate_vae.main(replace(settings, member=1, against=path))
    assert "-log p(x) minus the other's      0.000 +- 0.000" in capsys.readouterr().out
    with pytest.raises(SettingError, match="member = 2 is not allowed: 0 to 1"):
        evaluate_vae.main(replace(settings, member=2))


def test_runs_that_cannot_be_evaluated_are_one_line(runs, tmp_path):
    done = script("evaluate_vae", str(tmp_path / "none"), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "is not a run directory" in done.stderr
    unfinished = tmp_path / "unfinished"
    shutil.copytree(runs("vae_mnist")[0], unfinished)
    (unfinished / "result.json").unlink()
    done = script("evaluate_vae", str(unfinished), "--samples", "8", "--images", "4", cwd=tmp_path)
    assert "not finished: this is its state after 11 steps" in done.stdout
    done = script("evaluate_vae", str(unfinished), "--samples", "0", cwd=tmp_path)
    assert done.stderr == "error: samples = 0 is not allowed: a multiple of 4, at least 4\n"


def presets(name, monkeypatch):
    """The experiment of a script."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module.EXPERIMENT


@pytest.mark.parametrize(
    ("script_name", "preset", "beta", "learning_rate", "batch_size", "posterior"),
    [
        ("vae_mnist", "chapter", 1.0, 2e-3, 32, "diagonal"),
        ("vae_mnist", "chapter-effective", 2.0, 2e-3, 32, "diagonal"),
        ("vae_flowers", "chapter", 3 * 0.0002, 3e-4, 20, "full"),
        ("vae_flowers", "chapter-effective", 3 * 0.0004, 3e-4, 20, "full"),
    ],
)
def test_the_chapters_presets_are_its_numbers(
    script_name, preset, beta, learning_rate, batch_size, posterior, monkeypatch
):
    """KL weights in units of a cross-entropy summed over pixels and channels: the flowers' count three times."""
    settings = presets(script_name, monkeypatch).settings(preset)
    config, hparams = settings.config, settings.hparams
    assert hparams.beta == pytest.approx(beta)
    assert (hparams.learning_rate, hparams.b1, hparams.b2, hparams.eps, hparams.warm_up_steps) == (
        learning_rate,
        0.9,
        0.999,
        1e-7,
        0,
    )
    assert (config.objective, config.rate, config.samples, config.likelihood) == ("elbo", "sampled", 1, "bernoulli")
    assert (config.inputs, config.optimizer, config.batch_size, config.posterior) == (
        "gray",
        "adamax",
        batch_size,
        posterior,
    )
    assert (settings.preset, settings.run.epochs) == (preset, 50)


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("vae_mnist", ["--config.latent-size", "0"], "config.latent_size = 0"),
        ("vae_mnist", ["--hparams.beta", "-1"], "hparams.beta = -1.0"),
        ("vae_mnist", ["--hparams.scale", "-1"], "hparams.scale = -1.0"),
        ("iwae_mnist", ["--config.samples", "0"], "config.samples = 0"),
        ("vae_mnist", ["--config.likelihood", "logistic"], "config.likelihood = 'logistic'"),
        ("vae_mnist", ["--preset", "chaptr"], "preset = 'chaptr' is not allowed.*did you mean 'chapter'"),
        ("vae_flowers", ["--data.source", "digits"], "28x28"),
        ("vae_mnist", ["--data.source", "petals", "--data.count", "10"], "80x80"),
    ],
)
def test_wrong_settings_are_one_line_before_a_run_begins(name, args, said, tmp_path):
    done = script(name, *args, cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(said, done.stderr)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_help_names_the_presets_and_takes_their_values(tmp_path):
    shown = script("vae_mnist", "--preset", "chapter-effective", "--help", cwd=tmp_path).stdout
    for part in ("chapter-effective", "--config.latent-size", "--hparams.free-bits"):
        assert part in shown
    assert re.search(r"--hparams\.beta FLOAT[^-]*\(default: 2\.0\)", shown)
