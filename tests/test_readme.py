"""The README's Python runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_ten_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"## From Python\n\n```python\n(.*?)```", README, re.DOTALL).group(1)
    assert len(code.splitlines()) <= 10
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    run = names["run"]
    assert (run.status, run.step) == ("finished", 100 * run.steps_per_epoch)
    values = run.metrics["test/negative_elbo"].values
    assert len(values) == 100
    assert values[-1] < values[0]
    assert run.sample(names["jax"].random.key(0), 16).shape == (16, 28, 28, 1)
    assert np.ptp(np.asarray(run.sample(names["jax"].random.key(0), 16))) > 0.5
