import itertools
import json
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from forging import CONFIGS, contents, settings_of, trained
from tiny_runs import tiny_dataset

from jaxgen import data
from jaxgen.algorithms import autoencoder
from jaxgen.data.dataset import Split
from jaxgen.engine import loop
from jaxgen.engine.run import train
from jaxgen.errors import SettingError, UserError
from jaxgen.proof.replay import replay
from jaxgen.runs.fit import Task, execute
from jaxgen.runs.guard import NonFiniteError
from jaxgen.runs.load import load

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_is_that_of_the_run(name, tmp_path):
    path = trained(name, tmp_path)
    before, said = contents(path), []
    steps = [replay(path, step, say=said.append) for step in (8, 9, 10, 11)]
    assert contents(path) == before
    assert said == [f"steps 6 to {step} are made again" for step in (8, 9, 10, 11)]
    for one, following in itertools.pairwise(steps):
        jax.tree.map(np.testing.assert_array_equal, one.after, following.before)
    (logged,) = [row for row in load(path).rows if row["step"] == 12 and any(n.startswith("train/") for n in row)]
    for metric in steps[0].metrics:
        mean = np.mean([np.float32(step.metrics[metric]) for step in steps])
        np.testing.assert_allclose(logged[f"train/{metric}"], mean, rtol=1e-5, atol=1e-6)
    algorithm, config = CONFIGS[name]
    images = tiny_dataset().train
    if steps[0].indices is not None:
        np.testing.assert_array_equal(steps[0].batch.images, images.images[steps[0].indices])
        assert len(set(steps[0].indices.tolist())) == config.batch_size
    key = jax.random.wrap_key_data(steps[0].key)
    _, metrics = jax.jit(lambda *args: algorithm.step(*args, config))(
        steps[0].before, steps[0].batch, key, jax.tree.map(jnp.float32, algorithm.HParams())
    )
    for metric, value in metrics.items():
        np.testing.assert_allclose(steps[0].metrics[metric], value, rtol=1e-4, atol=1e-6)
    data = () if not algorithm.Batch._fields else algorithm.Batch(images.images, images.labels)
    state, _ = jax.jit(lambda key: train(algorithm, key, algorithm.HParams(), data, config=config, steps=8))(
        jax.random.key(0)
    )
    if name != "dqn":  # its replay decides by rounding
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), steps[0].before, state)


def test_changes_and_lines_are_those_of_the_states(tmp_path):
    one = replay(trained("autoencoder", tmp_path), 7)
    name = "params.encoder.Dense_0.kernel"
    old, new = (np.asarray(loop.named_leaves(state)[name], np.float64) for state in (one.before, one.after))
    assert one.changes[name] == pytest.approx((np.sqrt((old**2).sum()), np.sqrt(((new - old) ** 2).sum())))
    lines = one.lines()
    assert lines[0].endswith("step 7, from checkpoint 6")
    assert f"loss {one.metrics['loss']:.6g}" in lines[1]
    assert any(line.startswith(name) for line in lines)
    assert one.blame is None
    plain = json.loads(json.dumps(one.to_json()))
    assert plain["indices"] == one.indices.tolist()
    assert plain["changes"][name]["change"] > 0


def test_a_member_is_its_run_alone(tmp_path):
    many = trained("autoencoder", tmp_path, directory="many", seeds=2, seed=4)
    alone = replay(trained("autoencoder", tmp_path, directory="alone", seed=5), 9)
    member = replay(many, 9, member=1)
    jax.tree.map(np.testing.assert_array_equal, member.before, alone.before)
    jax.tree.map(np.testing.assert_array_equal, member.after, alone.after)
    assert member.metrics == alone.metrics
    np.testing.assert_array_equal(member.indices, alone.indices)
    for wrong in (None, 2, -1):
        with pytest.raises(SettingError, match="0 to 1"):
            replay(many, 9, member=wrong)
    with pytest.raises(SettingError, match="single run"):
        replay(tmp_path / "alone", 9, member=0)
    for step in (-1, 18):
        with pytest.raises(SettingError, match="0 to 17"):
            replay(tmp_path / "alone", step)


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    path = trained("autoencoder", tmp_path)
    wanted = replay(path, 9)
    shutil.rmtree(path / "checkpoints" / "6" / "arrays")
    said = []
    again = replay(path, 9, say=said.append)
    assert (again.checkpoint, again.metrics) == (0, wanted.metrics)
    assert "checkpoint 6 is damaged" in said[0]
    jax.tree.map(np.testing.assert_array_equal, again.before, wanted.before)


def diverging(path, algorithm=autoencoder, **hparams):
    settings = settings_of("autoencoder", path, hparams=autoencoder.HParams(**hparams))
    with pytest.raises(NonFiniteError) as error:
        execute(Task("diverging", algorithm, settings))
    return str(error.value)


def test_settings_are_to_blame_for_a_divergence(tmp_path):
    said = diverging(tmp_path, learning_rate=1e38)
    step = int(said.split("at step ")[1].split(":")[0])
    blame = replay(tmp_path / "run", step).blame
    assert (blame.since, blame.before) == (None, None)
    assert blame.after in said.replace("first in ", "")
    assert "DenseEncoder" in blame.operation
    assert "not at the data" in blame.lines()[-1]
    later = replay(tmp_path / "run", step + 1)
    assert later.blame.since == step
    assert f"step {step} was the first" in "\n".join(later.lines())
    assert json.loads(json.dumps(later.to_json(), allow_nan=False))["metrics"]["loss"] is None


def test_an_image_is_to_blame(tmp_path, monkeypatch):
    black, images = 23, np.array(tiny_dataset().train.images)
    images[black] = 0
    train = Split(jax.device_put(images), tiny_dataset().train.labels)

    def load(settings, on_device=True):
        made = tiny_dataset()
        return type(made)(made.name, made.version, train, made.test, made.class_names)

    monkeypatch.setattr(data, "load", load)

    def step(state, batch, key, hparams, config):
        state, metrics = autoencoder.step(state, batch, key, hparams, config)
        with jax.named_scope("contrast"):
            light = jnp.log(batch.images.astype(jnp.float32).mean((1, 2, 3))).mean()
        return state, {**metrics, "loss": metrics["loss"] + light}

    odd = types.ModuleType("odd")
    vars(odd).update({k: v for k, v in vars(autoencoder).items() if not k.startswith("__")}, step=step)
    said = diverging(tmp_path, odd)
    assert "first in the metrics" in said
    found = replay(tmp_path / "run", int(said.split("at step ")[1].split(":")[0]), algorithm=odd)
    assert black in found.indices
    assert found.blame.images == (black,)
    assert found.blame.operation == "log in contrast"
    assert found.blame.after is None
    assert f"training image {black} alone makes it so" in "\n".join(found.lines())


def test_a_run_that_is_not_one_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run directory"):
        replay(tmp_path, 0)
