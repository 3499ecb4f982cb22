"""Runs that revision 5cec9fb saved (format 0) are read and go on; there is one of each kind beside this file."""

import json
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.errors import UserError
from jaxgen.proof.verify import verify
from jaxgen.runs import checkpoint

SAVED = Path(__file__).parent / "format0"
EXPERIMENTS = {
    "autoencoder": "ae_mnist",
    "conv_autoencoder": "conv_ae_mnist",
    "vae": "vae_mnist",
    "gan": "gan_mnist",
    "dqn": "dqn_cartpole",
    "members": "vae_mnist",
}


@pytest.fixture
def unpacked(tmp_path):
    def unpack(name):
        with tarfile.open(SAVED / f"{name}.tar.gz") as archive:
            archive.extractall(tmp_path, filter="data")
        return tmp_path / name

    return unpack


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_run_of_format_0_is_read(name, unpacked):
    run = jg.load(unpacked(name))
    assert (run.status, run.experiment) == ("finished", EXPERIMENTS[name])
    assert run.step == run.steps_per_epoch
    if name == "members":
        assert run.members.seeds == (0, 1)
        run = run.member(1)
    if name == "dqn":
        assert run.act(np.zeros((3, 4), np.float32)).shape == (3,)
    elif name == "gan":
        assert run.sample(jax.random.key(0), 2).shape == (2, 12, 12, 1)
    else:
        images = run.data().test.images[:5] if name == "vae" else np.zeros((5, 12, 12, 1), np.uint8)
        assert run.reconstruct(images).shape == (5, 12, 12, 1)


@pytest.mark.parametrize("name", ["autoencoder", "vae", "gan", "members", "dqn"])
def test_a_run_of_format_0_goes_on_to_a_format_1_checkpoint(name, unpacked):
    path = unpacked(name)
    before = jg.load(path)
    run = before.fit(epochs=2)
    assert (run.status, run.step) == ("finished", 2 * before.step)
    checkpoints = checkpoint.Reader(path / "checkpoints")
    try:
        step, arrays, _ = checkpoints.newest()
    finally:
        checkpoints.close()
    assert step == run.step
    assert any(array.startswith("sums.") for array in arrays)
    assert "sums" not in arrays


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_run_of_format_0_is_proved_as_far_as_that_goes(name, unpacked):
    """It does not say on which processor it was trained, and its numbers are those of today's code."""
    found = verify(unpacked(name), all=True)
    assert found.passed, found.lines()
    assert not found.exact
    assert found.notes[0].startswith("format 0 does not say on which processor")
    assert sum(stretch.numbers for stretch in found.stretches) > 0


def test_sums_in_one_array_are_found_again_by_their_names(tmp_path):
    old = checkpoint.Checkpoints(tmp_path / "c", 3)
    try:
        old.save(1, {"sums": np.arange(6, dtype=np.float32).reshape(2, 3)}, {})
        old.wait()
        like = {"sums": {name: np.zeros(2, np.float32) for name in ("loss", "bits", "rate")}}
        _, tree, _ = old.restore(like)
    finally:
        old.close()
    np.testing.assert_array_equal(tree["sums"]["bits"], [0, 3])
    np.testing.assert_array_equal(tree["sums"]["rate"], [2, 5])


def test_the_sum_of_a_metric_that_is_no_more_is_left_out_and_others_do_not_fit(tmp_path):
    old = checkpoint.Checkpoints(tmp_path / "c", 3)
    try:
        old.save(1, {"sums": np.arange(3, dtype=np.float32)}, {})
        old.wait()
        _, tree, _ = old.restore({"sums": {"distortion": np.zeros((), np.float32), "rate": np.zeros((), np.float32)}})
        assert (tree["sums"]["distortion"], tree["sums"]["rate"]) == (1, 2)  # bits_per_dimension was the first
        with pytest.raises(UserError, match="does not fit this version"):
            old.restore({"sums": {"distortion": np.zeros((), np.float32)}})
    finally:
        old.close()


@pytest.mark.parametrize("likelihood", ["gaussian", "logistic"])
def test_a_vae_of_format_0_whose_mean_began_elsewhere_is_refused_in_a_line(likelihood, unpacked):
    path = unpacked("vae")
    record = json.loads((path / "settings.json").read_text())
    record["settings"]["config"]["likelihood"] = likelihood
    (path / "settings.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=f"format 0 and has a {likelihood} likelihood.*train it again") as error:
        jg.load(path)
    assert "\n" not in str(error.value)
