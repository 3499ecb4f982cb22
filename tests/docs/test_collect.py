"""Result files are made of finished runs and of benchmarks' rows."""

import json

import collect
import conf
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.algorithms import autoencoder
from jaxgen.errors import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "two"
    digits = jg.data.load("digits")
    config = autoencoder.Config(widths=(8,))
    return jg.fit(autoencoder, digits, config=config, epochs=2, seed=[3, 4], directory=directory, progress=False)


def test_a_run_of_two_seeds(run):
    record = collect.of_runs([run.directory], at=[1, 2])
    assert record["seeds"] == [3, 4]
    assert record["versions"]["jax"]
    losses = np.asarray(run.metrics["test/loss"].values)
    values = record["values"]
    np.testing.assert_allclose(values["test/loss"]["seeds"], losses[-1], rtol=1e-6)
    assert values["test/loss"]["mean"] == pytest.approx(losses[-1].mean())
    assert values["test/loss"]["sd"] == pytest.approx(losses[-1].std(ddof=1), rel=1e-4)
    np.testing.assert_allclose(values["epoch 1"]["test/loss"]["seeds"], losses[0], rtol=1e-6)
    logged = run.metrics["train/loss"]
    weights = np.diff([0, *logged.steps])
    means = (np.asarray(logged.values) * weights[:, None]).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(values["epoch 2"]["train/loss, mean since the start"]["seeds"], means, rtol=1e-6)


def test_evaluations_of_the_members_become_one_with_their_spread(run):
    for i, text in enumerate(('{"score": 1.0, "kind": "x"}', '{"score": 3.0, "kind": "y"}')):
        (run.directory / f"evaluation-member-{i}.json").write_text(f'{{"run": "a", "seed": 0, "of": {text}}}')
    found = collect.of_runs([run.directory], at=[])["values"]["evaluations"]
    assert found == {"seed": 0, "of": {"score": {"seeds": [1, 3], "mean": 2, "sd": 2**0.5}, "kind": ["x", "y"]}}


def test_only_the_seed_may_differ(run, tmp_path):
    other = jg.fit(
        autoencoder, jg.data.load("digits"), config=autoencoder.Config(widths=(8,)), epochs=1,
        directory=tmp_path / "other", progress=False,
    )  # fmt: skip
    with pytest.raises(UserError, match="differ in more than the seed"):
        collect.of_runs([run.directory, other.directory], at=[])
    (other.directory / "result.json").unlink()
    with pytest.raises(UserError, match=r"not a finished run: it has no result\.json"):
        collect.of_runs([other.directory], at=[])


def test_a_command_is_recorded_without_places():
    command = "python experiments/x.py --preset a --run.root /r --run.name=n --data.path /photos --run.no-progress"
    assert collect.public(command) == "python experiments/x.py --preset a --data.path FOLDER"


def test_a_benchmarks_rows(tmp_path):
    file = tmp_path / "b.jsonl"
    file.write_text(json.dumps({"name": "a", "ratio": 1.5, "machine": "m"}) + "\n")
    assert collect.of_benchmark(file, "c") == {
        "origin": "measured", "commands": ["c"], "machines": ["m"], "values": [{"name": "a", "ratio": 1.5}],
    }  # fmt: skip
    with pytest.raises(UserError, match="--command"):
        collect.of_benchmark(file, None)


def test_a_docstring_keeps_its_columns_and_its_code():
    assert conf.as_rst(["`stack`ed *args, `a_b`", "", "x    one", "y    two"]) == [
        "``stack``\\ ed \\*args, ``a_b``", "", ".. code-block:: text", "", "    x    one", "    y    two", "",
    ]  # fmt: skip
