"""Optuna search for the best settings of an experiment, with each batch of trials as one program.

    pip install -e ".[search]"
    python experiments/search.py vae_mnist --preset mlp --run.epochs 3 --run.name s --trials 64 --batch 8 \\
        --axis hparams.learning_rate=log:1e-4:1e-2 --axis hparams.beta=0.1:4

An axis is NAME=VALUES: `log:a:b`, `a:b` (numbers between), or choices `a,b,c`; NAME is any field of hparams, config or
data. All other options go to the experiment. All trials of a batch share the same config and data choices, for which
the batch is compiled.

The study is a journal in the run directory (--run.root and --run.name). Repeat the command to resume the study after a
signal or `kill -9` (running trials continue from their checkpoints). Run it a second time, in another terminal or on
another machine that shares the disk, to add a worker. The search leaves results.csv, results.parquet and Optuna's
figures.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page
from jaxgen.errors import SettingError, UserError, check_at_least
from jaxgen.launch import command_line, devices
from jaxgen.runs import directory as run_directory


@dataclass(frozen=True)
class Search:
    """The search: its axes, trials and workers."""

    experiment: tyro.conf.Positional[str] = "ae_mnist"
    """Name of the script to run; options not listed here go to it."""
    axis: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=VALUES; repeat for each axis."""
    trials: int = 64
    """Total trials over all workers; raise it to continue."""
    batch: int = 8
    """Trials per program."""
    sampler: Literal["tpe", "random"] = "tpe"
    """Sampler that proposes parameters."""
    pruner: Literal["median", "halving", "none"] = "median"
    """Trials to stop early: those worse than the median at the same epoch, those successive halving drops, or none."""
    search_seed: int = 0
    """Seed for the proposals (the run's own is --run.seed)."""
    metric: str | None = None
    """Logged metric to optimize; default: the algorithm's own."""
    maximize: bool = False
    """Larger values of the metric are better."""
    ray: str | None = None
    """Run on this Ray cluster, whose machines share the study's disk: its address, auto, or local for a new one."""
    workers: int = 2
    """Ray: number of workers."""
    cpus_per_worker: int = 1
    """Ray: cores per worker."""
    gpus_per_worker: float = 0
    """Ray: GPUs per worker."""

    def __post_init__(self) -> None:
        check_at_least("trials", self.trials, 1)
        check_at_least("batch", self.batch, 1)
        check_at_least("workers", self.workers, 1)
        check_at_least("search-seed", self.search_seed, 0)


def main() -> None:
    """Work on the study and report."""
    settings, args = command_line.parse(Search(), __doc__, sys.argv[1:], others=True)
    if not settings.axis:
        raise SettingError("give at least one --axis, as --axis hparams.learning_rate=log:1e-4:1e-2")
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError('a search needs Optuna, which is not installed: pip install -e ".[search]"') from None
    from jaxgen.launch.terminal import Terminal
    from jaxgen.sweeps import experiment, fields, objective, plan, probe, search, space
    from jaxgen.sweeps.study import Study

    chosen = experiment.load(experiment.find(settings.experiment, Path(__file__).parent), args)
    known = fields.hints(chosen.settings)
    axes = space.parse(settings.axis, known)
    search.check_space(chosen, axes, known)
    devices.place(chosen.settings.run.cpu_devices, min(settings.batch, settings.trials))
    kinds = [{}, *map(plan.static_of, search.ends(axes, known))]
    config, data = probe.check_axes(chosen, axes, kinds)[()]
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
        search.work(study, chosen, known, wanted, by, print, Terminal(chosen.settings.run.progress))
        print(*search.report(study, chosen, known, by), sep="\n")
    if chosen.settings.run.page and page.of_sweep(directory, Terminal(False)):
        print(f"its page is {directory / page.NAME}")


if __name__ == "__main__":
    command_line.reported(main)
