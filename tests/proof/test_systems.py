"""Every experiment's preset `quick`, shortened: proved with everything that its result holds, and a forgery caught."""

import importlib
from dataclasses import replace

import pytest
from forging import edited, resealed

from jaxgen.proof.fork import fork
from jaxgen.proof.replay import replay
from jaxgen.proof.verify import verify
from jaxgen.runs.fit import Task, execute

EXPERIMENTS = (
    *("ae_mnist", "conv_ae_mnist", "vae_mnist", "vae_flowers"),
    *("iwae_mnist", "gan_mnist", "gan_flowers", "dqn_cartpole"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_proved(name, tmp_path):
    experiment = importlib.import_module(name).EXPERIMENT
    settings = experiment.settings("quick")
    run = replace(
        settings.run, root=tmp_path, name="run", epochs=2, evaluate_every=1, save_every=1, draw_every=0, log_every=0
    )
    data = settings.data
    if data is not None and data.source == "petals":
        data = replace(data, count=150)
    settings = replace(settings, run=run, data=data)
    task = Task(name, experiment.algorithm, settings, summarize=experiment.summarize)
    path = execute(task).directory
    verdict = verify(path, all=True, summarize=experiment.summarize)
    assert verdict.passed, verdict.lines()
    assert verdict.exact
    assert not verdict.notes
    assert len(verdict.stretches) == 2
    middle = verdict.stretches[0].last
    assert all(value == value for value in replay(path, middle).metrics.values())
    assert fork(path, middle, "new").directory.exists()
    if experiment.summarize is not None:
        resealed(path / "result.json", lambda result: result.update(running_losses=[], returns={}))
        assert len(verify(path, all=True, summarize=experiment.summarize).problems) == 2
    metric = next(name for name in sorted(verdict_rows(path, middle)) if name.startswith("train/"))
    edited(path, middle, metric, lambda value: value * (1 + 1e-6) + 1e-6)
    assert not verify(path, all=True).passed


def verdict_rows(path, step):
    """The numbers of the training row at `step`."""
    from jaxgen.runs import metrics

    return next(
        row for row in metrics.read(path / "metrics.jsonl") if row["step"] == step and any("train/" in n for n in row)
    )
