"""The guard against slower steps: a step made twice fails it, an unchanged one never does."""

import json
import types

import jax
import pytest
from benchmarks import guard, work

from jaxgen.errors import SettingError, UserError


def doubled(name):
    """The work of that name, with a step that makes two."""
    algorithm, config, hparams = work.of(name)

    def step(state, batch, key, hparams, config):
        state, _ = algorithm.step(state, batch, jax.random.fold_in(key, 1), hparams, config)
        return algorithm.step(state, batch, key, hparams, config)

    return work.Work(types.SimpleNamespace(**{**vars(algorithm), "step": step}), config, hparams)


def judged(settings):
    rows = list(settings.measure())
    settings.table(rows)
    return rows, list(settings.conclude(rows))


@pytest.fixture
def reference(tmp_path):
    """A reference of the dense autoencoder's step, written today."""
    path = tmp_path / "guard.json"
    judged(guard.Guard(models=("dense_ae",), reference=path, write=True))
    return path


def test_a_step_made_twice_fails_and_the_same_step_passes(reference, monkeypatch):
    settings = guard.Guard(models=("dense_ae",), reference=reference)
    (row,), said = judged(settings)
    assert (row["ratio"], said) == (1.0, [])
    double = doubled("dense_ae")
    monkeypatch.setattr(work, "of", lambda name: double)
    rows = list(settings.measure())
    assert 1.9 < rows[0]["ratio"] < 2.3
    assert rows[0]["flops"] == pytest.approx(2 * row["flops"], rel=0.02)
    with pytest.raises(UserError, match=r"dense_ae \(\w+ (1\.9|2\.)\d+ times\)") as error:
        list(settings.conclude(rows))
    assert "\n" not in str(error.value)


def test_another_version_of_jax_is_only_reported(reference, monkeypatch, capsys):
    monkeypatch.setattr(guard, "here", lambda: "jax 9.9, cpu, x86_64")
    (row,), said = judged(guard.Guard(models=("dense_ae",), reference=reference))
    assert (row["ratio"], row["against"], said) == (None, None, [])
    assert f"no reference for jax 9.9, cpu, x86_64 (it has jax {jax.__version__}" in capsys.readouterr().out


def test_growth_of_five_percent_warns_and_of_fifteen_fails():
    before = {"flops": 999, "fusions": 99, "transcendentals": 0}
    row = guard.compared("x", {"flops": 900, "fusions": 114, "transcendentals": 0}, before)
    assert (row["ratio"], row["cost"]) == (1.15, "fusions")
    assert guard.compared("x", {"flops": 1, "fusions": 1, "transcendentals": 0}, before)["cost"] == "transcendentals"
    settings = guard.Guard()

    def conclude(ratio, least=1.0):
        return list(settings.conclude([{"name": "x", "ratio": ratio, "cost": "flops", "least": least}]))

    assert conclude(None) == conclude(1.049) == []
    assert conclude(1.0, 0.9) == ["x costs less than its reference: guard --write keeps it"]
    assert conclude(1.1, 0.9) == conclude(1.1)
    assert conclude(1.1) == ["warning: x: flops 1.100 times"]
    with pytest.raises(UserError, match=r"x \(flops 1\.150 times\)"):
        conclude(1.15)


def test_a_new_reference_keeps_those_of_other_versions(reference):
    known = json.loads(reference.read_text())
    reference.write_text(json.dumps({**known, "jax 1.0, cpu, x86_64": {"dqn": {"flops": 1}}}))
    judged(guard.Guard(models=("dense_ae",), reference=reference, write=True))
    assert json.loads(reference.read_text()) == {**known, "jax 1.0, cpu, x86_64": {"dqn": {"flops": 1}}}


def test_the_stored_reference_has_every_step_and_cost():
    for versions in json.loads(guard.REFERENCE.read_text()).values():
        assert set(versions) == set(work.NAMES)
        for costs in versions.values():
            assert set(costs) == set(guard.COSTS)
            assert min(costs.values()) > 0


def test_a_wrong_step_is_refused():
    with pytest.raises(SettingError, match=r"models = 'dqm'.*did you mean 'dqn'"):
        guard.Guard(models=("dqm",))
