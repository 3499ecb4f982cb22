"""Sweeps on a Ray cluster: a real one of two nodes, and what is said without one."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sweep

from jaxgen.errors import SettingError
from jaxgen.runs import checkpoint
from jaxgen.sweeps import cluster

SCRIPT = Path(sweep.__file__)
AXES = ["--axis", "hparams.learning_rate=1e-3,1e-2", "--axis", "seed=0:4", "--group-size", "2"]
SMALL = [
    "ae_mnist",
    "--data.source",
    "digits",
    "--config.widths",
    "8",
    "--run.epochs",
    "60",
    "--run.save-every",
    "3",
    "--run.evaluate-every",
    "20",
]


def run(*args, **options):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *SMALL, *AXES, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def results(directory):
    with open(directory / "results.csv") as file:
        return list(csv.DictReader(file))


def test_without_ray_one_line(tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError('no ray here')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(SCRIPT.parents[1])])}
    process = run("--ray", "auto", "--run.root", str(tmp_path / "runs"), env=environment)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert said.splitlines()[-1] == 'error: --ray needs Ray, which is not installed: pip install -e ".[ray]"'


@pytest.mark.parametrize(("options", "said"), [({"cpus": 0}, "cpus-per-group = 0"), ({"retries": -1}, "retries = -1")])
def test_wrong_resources_are_one_line(options, said):
    with pytest.raises(SettingError, match=said):
        cluster.connect(cluster.Cluster(**{"address": "auto", "cpus": 1, "gpus": 0, "retries": 1, **options}))


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster of two nodes of one core each, the second of which can be killed."""
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parents[1]))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = nodes.add_node(num_cpus=1)
    yield nodes, second
    nodes.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_group_whose_node_dies_is_trained_elsewhere_to_the_same_numbers(two_nodes, tmp_path):
    nodes, second = two_nodes
    process = run("--ray", nodes.address, "--run.root", str(tmp_path), "--run.name", "far")
    begun = [tmp_path / "far" / f"group-{number:03d}" for number in range(2)]
    while not all(checkpoint.steps(path / "checkpoints") for path in begun):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    assert not all((path / "result.json").exists() for path in begun)
    nodes.remove_node(second, allow_graceful=False)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert "4 of 4 groups to train, on 2 nodes" in said
    sessions = [(path / "sessions.json").read_text().count('"started"') for path in begun]
    assert sorted(sessions) == [1, 2]  # the one on the lost node was begun twice

    here = run("--run.root", str(tmp_path), "--run.name", "here", "--run.cpu-devices", "1")
    assert here.wait(timeout=300) == 0, here.communicate()[0]
    for far, near in zip(results(tmp_path / "far"), results(tmp_path / "here"), strict=True):
        assert far.keys() == near.keys()
        assert all(far[name] == near[name] for name in far if "/" not in name)
        assert [float(far[n]) for n in far if "/" in n] == pytest.approx([float(near[n]) for n in far if "/" in n])
