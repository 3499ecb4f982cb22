"""Exported directories: complete, equal to the run, whole or not there."""

import hashlib
import json

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import jaxgen as jg
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.contract import NoBatch, Traits
from jaxgen.errors import UserError
from jaxgen.export import weights
from jaxgen.runs.run import Run

CASES = {
    "vae": (vae, vae.Config(image_shape=(6, 6, 1), widths=(8,), latent_size=2)),
    "gan": (gan, gan.Config(image_shape=(4, 4, 3), generator_widths=(5,), discriminator_widths=(5,), ema=True)),
    "dqn": (dqn, dqn.Config(widths=(8,), learning_starts=200)),
    "autoencoder": (autoencoder, autoencoder.Config(image_shape=(6, 6, 1), widths=(8,))),
}


def run_of(name, **changes):
    algorithm, config = CASES[name]
    state = algorithm.init(jax.random.key(0), algorithm.HParams(), config)
    rows = [{"step": 4, "test/loss": 2.5}, {"step": 8, "test/loss": 1.5}]
    hparams = jax.tree.map(np.float32, algorithm.HParams())
    made = Run(algorithm, config, hparams, 3, 8, 4, "finished", state, rows, experiment="tried")
    return made if not changes else Run(**{**vars(made), **changes})


@pytest.mark.parametrize("name", CASES)
def test_a_directory_holds_the_model(name, tmp_path):
    run = run_of(name)
    to = weights.export(run, tmp_path / "out", reference="1.0 by others")
    arrays = load_file(to / "weights.safetensors")
    leaves = jax.tree.leaves(run.weights)
    stored = [x.tobytes() for x in arrays.values()]
    assert all(np.asarray(leaf).tobytes() in stored for leaf in leaves)
    if name != "gan":
        assert len(arrays) == len(leaves)
    with safe_open(to / "weights.safetensors", "numpy") as file:
        header = file.metadata()
    record = json.loads((to / "settings.json").read_text())
    assert json.loads(header["settings"]) == record
    assert header["settings_sha256"] == weights.settings_hash(record)
    assert json.loads(header["metrics"]) == {"test/loss": 1.5}
    assert (header["experiment"], header["step"], header["seed"]) == ("tried", "8", "3")
    card = (to / "README.md").read_text()
    assert hashlib.sha256((to / "weights.safetensors").read_bytes()).hexdigest() in card
    assert "| test/loss | 1.5 |" in card
    assert "Reference: 1.0 by others" in card
    assert "seed 3" in card
    assert (to / "samples.png").exists() == (name in ("vae", "gan"))
    assert ("samples.png" in card) == (name in ("vae", "gan"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_sheet_shows_the_samples(tmp_path):
    run = run_of("gan")
    to = weights.export(run, tmp_path / "out")
    sheet = np.asarray(Image.open(to / "samples.png"))
    images = np.asarray(run.sample(jax.random.key(0), 64))
    assert sheet.shape == (39, 39, 3)  # a line of pixels between images
    np.testing.assert_array_equal(sheet[5:9, 10:14], np.round(255 * images[10]).astype(np.uint8))


def test_given_images_are_shown(tmp_path):
    images = np.random.default_rng(0).uniform(size=(3, 6, 6, 1))
    to = weights.export(run_of("autoencoder"), tmp_path / "out", images=images)
    sheet = np.asarray(Image.open(to / "samples.png"))
    assert sheet.shape == (6, 55)
    np.testing.assert_array_equal(sheet[:, 7:13], np.round(255 * images[1, ..., 0]).astype(np.uint8))
    assert (sheet[:, 20:] == 255).all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_exported_model_is_loaded_and_used(name, precision, tmp_path):
    run = run_of(name)
    loaded = weights.load(weights.export(run, tmp_path / "out", precision=precision))
    assert (loaded.config, loaded.step, loaded.seed, loaded.experiment) == (run.config, 8, 3, "tried")
    assert loaded.metrics["test/loss"].values.tolist() == [1.5]
    for one, other in zip(jax.tree.leaves(loaded.weights), jax.tree.leaves(run.weights), strict=True):
        np.testing.assert_array_equal(one, np.asarray(other).astype(precision).astype(np.float32))
    inputs = np.random.default_rng(0).normal(size=(5, {"vae": 2, "gan": 100, "dqn": 4, "autoencoder": 2}[name]))
    use = "act" if name == "dqn" else "decode"
    tolerance = 0 if precision == "float32" else 0.01
    np.testing.assert_allclose(getattr(loaded, use)(inputs), getattr(run, use)(inputs), rtol=0, atol=tolerance)


def test_what_is_no_export_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is not an exported run \(it has no weights.safetensors\)"):
        weights.load(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is damaged or not written by jaxgen"):
        weights.load(tmp_path)
    save_file({"a": np.zeros(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="is damaged or not written by jaxgen"):
        weights.load(tmp_path)


def test_weights_that_do_not_fit_are_named(tmp_path):
    to = weights.export(run_of("dqn"), tmp_path / "out")
    with safe_open(to / "weights.safetensors", "numpy") as file:
        header = file.metadata()
    arrays = load_file(to / "weights.safetensors")
    save_file({**arrays, "Dense_0/kernel": np.zeros((4, 9), np.float32)}, to / "weights.safetensors", header)
    with pytest.raises(UserError, match=r"the weights do not fit: Dense_0/kernel is \(4, 9\), expected \(4, 8\)"):
        weights.load(to)


def test_half_precision(tmp_path):
    run = run_of("dqn")
    whole, half = (
        weights.arrays(run),
        load_file(weights.export(run, tmp_path / "a", precision="float16") / "weights.safetensors"),
    )
    assert {str(x.dtype) for x in half.values()} == {"float16"}
    for name, x in whole.items():
        np.testing.assert_array_equal(half[name], x.astype(np.float16))


def test_a_run_from_disk(tiny, make_settings, tmp_path):
    """The record, the command and the revision are those of the run directory, without this machine's folders."""
    settings = make_settings()
    dataset = jg.data.load(settings.data)
    run = jg.fit(autoencoder, dataset, config=settings.config, hparams=settings.hparams, epochs=2)
    saved = run.save(tmp_path / "saved")
    evaluation = {"negative_log_likelihood": {"mean": 98.765, "standard_error": 0.43, "images": 10}}
    (saved / "evaluation.json").write_text(json.dumps(evaluation))
    to = weights.export(jg.load(saved), tmp_path / "out")
    arrays = load_file(to / "weights.safetensors")
    np.testing.assert_array_equal(arrays["decoder/Dense_0/kernel"], run.weights["decoder"]["Dense_0"]["kernel"])
    card = (to / "README.md").read_text()
    assert "| negative log likelihood | 98.77 ± 0.43 |" in card
    assert "* data: tiny 1, images 12x12x1" in card
    for path in to.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    assert json.loads((to / "settings.json").read_text())["fitted"]["config"]["widths"] == [8]


def test_what_is_there_is_never_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(UserError, match="exists and is not an empty directory: give another one"):
        weights.export(run_of("dqn"), tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "x"
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="exists and is not an empty directory"):
        weights.export(run_of("dqn"), tmp_path / "file")


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights.figures, "image_sheet", full)
    with pytest.raises(UserError, match=r"out cannot be written \(No space left on device\); nothing was exported"):
        weights.export(run_of("vae"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    assert (weights.export(run_of("dqn"), tmp_path / "out") / "README.md").exists()


def test_programs_take_the_file_s_weights(tmp_path):
    pytest.importorskip("flatbuffers", reason="programs are serialized by flatbuffers")
    run = run_of("dqn")
    to = weights.export(run, tmp_path / "out", with_programs="apart")
    serve = jax.export.deserialize(bytearray((to / "act.jax").read_bytes()))
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    found = serve.call(load_file(to / "weights.safetensors"), observations)
    np.testing.assert_array_equal(found, run.act(observations))
    assert "`act.jax`, `values.jax`:" in (to / "README.md").read_text()


def test_an_algorithm_of_ones_own(tmp_path):
    class Own:
        __name__ = "own"
        __doc__ = "Something else."
        TRAITS, Batch, HParams, Config = Traits(), NoBatch, dqn.HParams, dqn.Config

        @staticmethod
        def weights(state, config):
            return {"inner": {"a": state}}

    run = run_of("dqn", algorithm=Own(), state=np.arange(3.0))
    arrays = load_file(weights.export(run, tmp_path / "out") / "weights.safetensors")
    assert list(arrays) == ["inner/a"]
