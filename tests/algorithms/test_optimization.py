"""XLA's own optimization level, which users run, against level 0, which most tests run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, metrics_of

NAMES = ("ae conv", "vae elbo", "gan small", "dqn plain")
pytestmark = pytest.mark.slow
TOLERANCE = 1e-5
"""Of each metric of three steps, relative and absolute; the largest difference measured was 6e-7."""


@pytest.fixture(scope="module")
def optimized():
    """The metrics of each case by a process of its own at the default level."""
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "optimization_level" not in flag]
    environment = {**os.environ, "XLA_FLAGS": " ".join(flags)}
    script = Path(__file__).with_name("cases.py")
    done = subprocess.run([sys.executable, script, *NAMES], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_steps_are_the_same_at_both_levels(name, optimized):
    plain = metrics_of(CASES[name])
    assert plain.keys() == optimized[name].keys()
    for metric, values in plain.items():
        np.testing.assert_allclose(values, optimized[name][metric], rtol=TOLERANCE, atol=TOLERANCE, err_msg=metric)
