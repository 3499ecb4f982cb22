"""The best settings of an experiment, found by Optuna in batches of trials that are one program each.

    pip install -e ".[search]"
    python experiments/search.py vae_mnist --preset mlp --run.epochs 3 --run.name s --trials 64 --batch 8 \\
        --axis hparams.learning_rate=log:1e-4:1e-2 --axis hparams.beta=0.1:4

An axis is NAME=VALUES: `log:a:b`, `a:b` (numbers between), or choices `a,b,c`; NAME is any field of hparams, config or
data. Every other option goes to the experiment. A choice of config or data is one for a whole batch, which is compiled
for it.

The study is a journal in the directory (--run.root and --run.name). The same command again goes on with it: after a
signal, after `kill -9` (what was running continues from its checkpoints), or at the same time, in another terminal or
on another machine that shares the disk, as one more worker. It leaves results.csv, results.parquet and
Optuna's figures.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from jaxgen.errors import SettingError, UserError, check_at_least
from jaxgen.launch import command_line, devices
from jaxgen.runs import directory as run_directory


@dataclass(frozen=True)
class Search:
    """The search: its axes, trials and workers."""

    experiment: tyro.conf.Positional[str] = "ae_mnist"
    """Script to run, by its name; options not listed here are its own."""
    axis: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=VALUES, once for each axis."""
    trials: int = 64
    """Trials in all, of all workers; may be raised to go on."""
    batch: int = 8
    """Trials of one program."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How parameters are proposed."""
    pruner: Literal["median", "halving", "none"] = "median"
    """Which trials end early: those worse than the median at the same epoch, successive halving's, or none."""
    search_seed: int = 0
    """Seed of the proposals (the run's own is --run.seed)."""
    metric: str | None = None
    """Logged metric to optimize; default: the algorithm's own."""
    maximize: bool = False
    """More of the metric is better."""
    ray: str | None = None
    """Work on this Ray cluster, whose machines share the study's disk: address, auto, or local for a new one."""
    workers: int = 2
    """Ray: workers at once."""
    cpus_per_worker: int = 1
    """Ray: cores of a worker."""
    gpus_per_worker: float = 0
    """Ray: GPUs of a worker."""

    def __post_init__(self) -> None:
        check_at_least("trials", self.trials, 1)
        check_at_least("batch", self.batch, 1)
        check_at_least("workers", self.workers, 1)
        check_at_least("search-seed", self.search_seed, 0)


def main() -> None:
    """Works on the study and reports."""
    settings, args = command_line.parse(Search(), __doc__, sys.argv[1:], others=True)
    if not settings.axis:
        raise SettingError("give at least one --axis, as --axis hparams.learning_rate=log:1e-4:1e-2")
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError('a search needs Optuna, which is not installed: pip install -e ".[search]"') from None
    from jaxgen.sweeps import experiment, fields, objective, probe, search, space
    from jaxgen.sweeps.study import Study

    chosen = experiment.load(experiment.find(settings.experiment, Path(__file__).parent), args)
    known = fields.hints(chosen.settings)
    axes = space.parse(settings.axis, known)
    search.check_space(chosen, axes, known)
    devices.place(chosen.settings.run.cpu_devices, min(settings.batch, settings.trials))
    config, data = probe.configured(chosen, {})
    by = objective.of(chosen, config, data, settings.metric, settings.maximize)
    directory = run_directory.create(f"search_{chosen.name}", chosen.settings.run)
    search.check_same(directory, chosen, settings.axis, by, shlex.join(["python", *sys.argv]))
    wanted = search.Plan(settings.trials, settings.batch, settings.sampler, settings.pruner, settings.search_seed)
    if settings.ray is not None:
        from jaxgen.sweeps import cluster

        where = cluster.Cluster(settings.ray, settings.cpus_per_worker, settings.gpus_per_worker, retries=3)
        task = (chosen.experiment.source, args, settings.axis, directory.absolute(), wanted, by, where.cpus)
        cluster.run_workers(search.work_as_task, task, settings.workers, where)
    with Study(directory, chosen.name, axes, by.maximize, settings.pruner) as study:
        search.work(study, chosen, known, wanted, by, print)
        print(*search.report(study, chosen, known, by), sep="\n")


if __name__ == "__main__":
    command_line.reported(main)
