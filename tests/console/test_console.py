"""The command `jaxgen`: tables, samples and episodes of runs; every error is one line."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgen import console
from jaxgen.algorithms import dqn, gan, vae
from jaxgen.console import doors
from jaxgen.data.dataset import Dataset, Split
from jaxgen.export import weights
from jaxgen.runs import listing, metrics
from jaxgen.runs import lock as lock_lib
from jaxgen.runs.fit import fit
from jaxgen.runs.load import load

ROOT = Path(__file__).parents[2]


def pictures():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    labels = (np.arange(60) % 3).astype(np.int32)
    return Dataset("toy", "1", Split(images[:40], labels[:40]), Split(images[40:], labels[40:]), ("a", "b", "c"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a VAE, the same with another rate and two seeds, a conditional GAN and a DQN."""
    root = tmp_path_factory.mktemp("runs")
    small = {"data": pictures(), "epochs": 2, "progress": False, "log_every": 2}
    config = vae.Config(image_shape=(8, 8, 1), widths=(8,), latent_size=2, batch_size=8)
    fit(vae, config=config, directory=root / "one", **small)
    fit(vae, config=config, hparams=vae.HParams(learning_rate=0.01), seed=[0, 1], directory=root / "two", **small)
    players = gan.Config(
        image_shape=(8, 8, 1), noise_size=4, generator_widths=(8,), discriminator_widths=(8,), classes=3, batch_size=8
    )
    fit(gan, config=players, directory=root / "gan", **small)
    sizes = {"batch_size": 4, "replay_size": 64, "learning_starts": 8, "evaluation_episodes": 2, "steps_per_epoch": 20}
    played = dqn.Config(envs=2, widths=(8,), **sizes)
    fit(dqn, config=played, epochs=1, progress=False, directory=root / "dqn")
    return root


@pytest.fixture
def jaxgen(capsys, monkeypatch, tmp_path):
    """Run a command; return its exit code, its output and its errors."""

    def run(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("jaxgen.launch.command_line.use_compilation_cache", lambda: None)
        code = 0
        try:
            console.main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_table_of_runs(runs, jaxgen):
    code, out, _ = jaxgen("runs", runs)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["run", "state", "experiment", "data", "objective", "steps", "seconds"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["dqn", "finished", "dqn", "-"],
        ["gan", "finished", "gan", "toy"],
        ["one", "finished", "vae", "toy"],
        ["two", "finished", "vae", "toy"],
    ]
    value = load(runs / "one").metrics["test/negative_elbo"].values[-1]
    assert f"test/negative_elbo {value:.4f}" in lines[3]
    values = load(runs / "two").metrics["test/negative_elbo"].values[-1]
    error = values.std(ddof=1) / 2**0.5
    assert f"test/negative_elbo {values.mean():.4f} +- {error:.4f} (2)" in lines[4]
    code, out, _ = jaxgen("runs", runs, "--json")
    assert [one["step"] for one in json.loads(out)] == [20, 10, 10, 10]


def test_states_of_runs(runs, jaxgen, tmp_path):
    for name in ("stopped", "damaged", "running"):
        shutil.copytree(runs / "one", tmp_path / "r" / name)
        (tmp_path / "r" / name / "result.json").unlink()
    (tmp_path / "r" / "damaged" / "settings.json").write_text("{}")
    held = lock_lib.attempt(tmp_path / "r" / "running" / ".lock")
    code, out, _ = jaxgen("runs", tmp_path / "r")
    held.release()
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[1:4]] == ["damaged", "running", "stopped"]
    assert [line.split()[-4:] for line in out.splitlines()[2:4]] == [["10", "of", "10", "-"]] * 2
    assert "settings.json is damaged: it is not a run record" in out
    assert listing.entry(tmp_path / "r" / "running").state == "stopped"
    code, out, _ = jaxgen("runs", tmp_path)
    assert "r/stopped" in out


def test_one_run(runs, jaxgen):
    code, out, _ = jaxgen("show", runs / "one")
    assert code == 0
    for part in ("vae, finished at step 10", "toy 1, 40 and 20 images of 8x8x1", "hparams.learning_rate", "test/rate"):
        assert part in out
    code, out, _ = jaxgen("show", runs / "one", "--json")
    shown = json.loads(out)
    assert shown["record"]["settings"]["config"]["latent_size"] == 2
    assert shown["metrics"]["test/loss"]["value"] == pytest.approx(load(runs / "one").metrics["test/loss"].values[-1])


def test_runs_side_by_side(runs, jaxgen, tmp_path):
    code, out, _ = jaxgen("compare", runs / "one", runs / "two")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["hparams.learning_rate", "0.001", "0.01"] in lines
    assert not [line for line in lines if line[:1] == ["hparams.b1"]]
    assert Image.open(tmp_path / "comparison.png").width > 300
    code, out, _ = jaxgen("compare", runs / "one", runs / "two", "--json", "--metric", "train/rate", "--out", "a/b.png")
    assert set(json.loads(out)["metrics"]) == {"one", "two"}
    assert (tmp_path / "a" / "b.png").exists()


def test_samples_as_a_sheet_and_as_files(runs, jaxgen, tmp_path):
    assert jaxgen("sample", runs / "one", "--count", 7, "--columns", 4)[0] == 0
    assert Image.open(tmp_path / "samples.png").size == (2 * 35, 2 * 17)
    code, out, _ = jaxgen("sample", runs / "one", "--count", 3, "--out", "files")
    assert (code, out) == (0, f"3 images of {runs / 'one'} (step 10) in files\n")
    files = sorted((tmp_path / "files").iterdir())
    assert [file.name for file in files] == ["00000.png", "00001.png", "00002.png"]
    images = np.round(255 * np.asarray(load(runs / "one").sample(jax.random.key(0), 3))).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(files[2])), images[2, ..., 0])
    code, _, err = jaxgen("sample", runs / "one", "--out", "files")
    assert (code, err) == (2, "error: out = 'files' is not allowed: a .png file, or an empty or new folder\n")


def drawn(tmp_path, jaxgen, *words):
    folder = f"s{len(list(tmp_path.iterdir()))}"
    code, _, err = jaxgen("sample", *words, "--out", folder)
    assert code == 0, err
    return [np.asarray(Image.open(file)) for file in sorted((tmp_path / folder).iterdir())]


def test_samples_of_classes_truncated_and_interpolated(runs, jaxgen, tmp_path):
    one = drawn(tmp_path, jaxgen, runs / "gan", "--count", 4, "--truncation", 0, "--interpolate", "--classes", 1)
    assert len({image.tobytes() for image in one}) == 1
    same = drawn(tmp_path, jaxgen, runs / "gan", "--count", 4, "--truncation", 0)
    assert len({image.tobytes() for image in drawn(tmp_path, jaxgen, runs / "gan", "--count", 4)}) == 4
    classes = drawn(tmp_path, jaxgen, runs / "gan", "--count", 4, "--truncation", 0, "--classes", 2, 1)
    assert len({image.tobytes() for image in classes}) == 2
    np.testing.assert_array_equal(classes[0], classes[2])
    assert {image.tobytes() for image in classes} <= {image.tobytes() for image in same} | {classes[0].tobytes()}
    for name in ("gan", "one"):
        words = (runs / name, "--count", 8, "--columns", 4, "--interpolate")
        path = drawn(tmp_path, jaxgen, *words)
        steps = [np.abs(path[i + 1].astype(int) - path[i]).mean() for i in range(3)]
        assert max(steps) < np.abs(path[3].astype(int) - path[0]).mean() + 1


def test_an_earlier_checkpoint(runs):
    run = load(runs / "one")
    kept = sorted(int(path.name) for path in (runs / "one" / "checkpoints").iterdir() if path.name.isdigit())
    assert run.at(kept[0]).step == kept[0]
    assert run.at(10).metrics["test/loss"].steps[-1] == 10


def test_a_model_for_others(runs, jaxgen, tmp_path):
    code, out, err = jaxgen("export", runs / "one", "--to", "out", "--precision", "float16")
    assert code == 0, err
    files = ["README.md", "samples.png", "settings.json", "weights.safetensors"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files
    assert all(name in out for name in files)
    model = weights.load(tmp_path / "out")
    images = np.asarray(model.sample(jax.random.key(0), 5))
    np.testing.assert_allclose(images, np.asarray(load(runs / "one").sample(jax.random.key(0), 5)), atol=2e-3)
    code, _, err = jaxgen("export", runs / "one", "--to", "out")
    assert (code, err.count("\n")) == (1, 1)
    assert "is not an empty directory" in err
    assert jaxgen("export", runs / "two", "--to", "second", "--member", 1)[0] == 0


def test_a_run_is_proved_replayed_and_forked(runs, jaxgen, tmp_path):
    code, out, err = jaxgen("verify", runs / "dqn", "--all")
    assert (code, err) == (0, "")
    assert "is proved: " in out
    assert json.loads((runs / "dqn" / "verification-record.json").read_text())["passed"]
    shutil.copytree(runs / "dqn", tmp_path / "forged")
    rows = metrics.read(tmp_path / "forged" / "metrics.jsonl")
    rows[-1]["train/loss"] = rows[-1].get("train/loss", 0.0) + 1.0
    (tmp_path / "forged" / "metrics.jsonl").write_text("".join(metrics.to_line(row) + "\n" for row in rows))
    code, out, _ = jaxgen("verify", "forged", "--all", "--json")
    assert code == 1
    assert not json.loads(out)["passed"]
    code, out, _ = jaxgen("replay", runs / "dqn", "--step", 3)
    assert code == 0
    assert "metrics: " in out
    code, out, err = jaxgen(
        "fork", "forged", "--step", 20, "--name", "new", "--epochs", 2, "--set", "learning_rate=0.5"
    )
    assert code == 0, err
    assert load(tmp_path / "new").hparams.learning_rate == 0.5
    code, _, err = jaxgen("fork", "forged", "--step", 5, "--name", "newer", "--set", "learning_rate")
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = jaxgen("verify", runs / "one")
    assert (code, err.count("\n")) == (1, 1)  # its data were arrays


def test_pages(runs, jaxgen, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "one")
    code, out, err = jaxgen("report", tmp_path / "one")
    assert code == 0, err
    assert "one/page.html" in out
    assert 'id="model"' in (tmp_path / "one" / "page.html").read_text()
    code, out, err = jaxgen("report", runs / "two", "--to", "a/two.html", "--member", 1, "--compact")
    assert code == 0, err
    assert "one with seed 1" in (tmp_path / "a" / "two.html").read_text()
    code, out, err = jaxgen("report", runs / "one", runs / "two")
    assert code == 0, err
    assert "one against two" in (tmp_path / "page.html").read_text()


def test_marks_of_a_page_need_the_experiment(runs, tmp_path):
    from jaxgen.console import page
    from jaxgen.files import read_json, write_json

    shutil.copytree(runs / "one", tmp_path / "one")
    assert page._preset(tmp_path / "one") is None
    record = {name: value for name, value in read_json(tmp_path / "one" / "settings.json").items() if name != "sha256"}
    script = tmp_path / "evil.py"
    script.write_text("raise RuntimeError('code named in a file was run')")
    write_json(tmp_path / "one" / "settings.json", {**record, "experiment": str(script)})
    assert page._preset(tmp_path / "one") is None
    settings = {**record["settings"], "preset": "quick"}
    write_json(tmp_path / "one" / "settings.json", {**record, "experiment": "vae_mnist", "settings": settings})
    assert page._preset(tmp_path / "one")["config"]["schedule"] == "cosine"


def test_an_episode(runs, jaxgen, tmp_path):
    code, out, _ = jaxgen("play", runs / "dqn")
    assert code == 0
    steps = int(out.split("balanced for ")[1].split(" ")[0])
    assert Image.open(tmp_path / "episode.gif").n_frames == -(-steps // 2)


def test_a_policy_in_fresh_episodes(runs, jaxgen):
    code, out, err = jaxgen("evaluate", runs / "dqn", "--episodes", 8)
    assert code == 0, err
    assert 8 < float(out.split("return ")[1].split(" ")[0].rstrip()) < 501


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shw"], "command = 'shw' is not allowed: one of fit, sweep.*did you mean 'show'"),
        (["show"], "Missing from jaxgen show"),
        (["show", "nowhere"], "nowhere is not a run directory"),
        (["runs", "nowhere"], "nowhere is not a folder"),
        (["compare", "ONE"], "name two or more run directories"),
        (
            ["compare", "ONE", "ONE", "--metric", "test/los"],
            "metric = 'test/los' is not allowed.*did you mean 'test/loss'",
        ),
        (["report"], "name the directory of a run, a sweep or a search"),
        (["report", "nowhere"], "nowhere is not a run directory"),
        (["report", "ONE", "ONE"], "compares 2 to 6 different runs, not 1"),
        (["report", "ONE", "--to", "."], "to = '.' is not allowed: a file such as page.html"),
        (["report", "TWO", "--member", "2"], "member = 2 is not allowed: 0 to 1"),
        (["sample", "DQN"], "has no sample"),
        (["sample", "ONE", "--count", "0"], "count = 0 is not allowed"),
        (["sample", "ONE", "--classes", "1"], "a VAE has no classes"),
        (["sample", "ONE", "--step", "3"], "has no checkpoint of step 3; there are"),
        (["sample", "TWO"], "choose one by"),
        (["play", "ONE"], "is not a run on CartPole"),
        (["play", "DQN", "--sed", "1"], "--sed.*did you mean --seed"),
        (["fit"], "name an experiment: ae_mnist, "),
        (["fit", "vae_mist"], "experiment = 'vae_mist' is not allowed.*did you mean 'vae_mnist'"),
        (["fit", "nowhere.py"], "nowhere.py is not a file"),
    ],
)
def test_wrong_words_are_one_line(runs, jaxgen, words, said):
    code, out, err = jaxgen(*[runs / word.lower() if word.isupper() else word for word in words])
    assert code in (1, 2)
    assert not out
    assert err.count("\n") == 1
    assert re.search(said, err), err


def test_the_experiments_have_doors():
    known = ["ae_mnist", "conv_ae_mnist", "dqn_cartpole", "gan_flowers", "gan_mnist", "iwae_mnist"]
    assert doors.experiments() == [*known, "vae_flowers", "vae_mnist"]
    assert doors.script_of("vae_mnist") == ROOT / "experiments" / "vae_mnist.py"


def test_the_wheel_holds_every_package_and_the_experiments():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "jaxgen").rglob("__init__.py")}
    assert sorted(packages) == sorted({*there, "jaxgen.experiments"})
