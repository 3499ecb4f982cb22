"""Many runs of an experiment in one program: every combination of some settings.

    python experiments/sweep.py vae_mnist --preset mlp --run.epochs 3 \\
        --axis hparams.learning_rate=log:1e-4:1e-2:16 --axis seed=0:4
    python experiments/sweep.py ae_mnist --axis config.optimizer=adam,adamax --axis hparams.learning_rate=1e-3,1e-2

An axis is NAME=VALUES: `lin:a:b:n`, `log:a:b:n`, a list `a,b,c`, integers `a:b` (without b), or `uniform:a:b` and
`loguniform:a:b` with --draws. NAME is any field of hparams, config or data, or the seed. Axes are crossed, or with
--zip taken value by value; random axes are drawn together. Every other option goes to the experiment.

Hyperparameters and seeds are members of one program, as many at once as fit into memory; each choice of config and data
is a program of its own. The plan is printed first. The directory (--run.root and --run.name, which continues a sweep)
gets results.csv, results.parquet, figures, and a run directory for each group of members.

With --ray the groups are tasks on a cluster (pip install -e ".[ray]"): --group-size says how many members a task has.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxgen.errors import SettingError, check_at_least
from jaxgen.launch import command_line, devices


@dataclass(frozen=True)
class Sweep:
    """The sweep: its axes, members and workers."""

    experiment: tyro.conf.Positional[str] = "ae_mnist"
    """Script to run, by its name; options not listed here are its own."""
    axis: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=VALUES, once for each axis."""
    zip: bool = False
    """Take the axes value by value instead of every combination."""
    draws: int = 0
    """Points drawn of the random axes."""
    draw_seed: int = 0
    """Seed of the draws."""
    group_size: int = 0
    """Most members of one program; 0: as many as are estimated to fit into memory."""
    metric: str | None = None
    """Logged metric that members are compared by; default: the algorithm's own."""
    maximize: bool = False
    """More of the metric is better."""
    dry_run: bool = False
    """Print the plan and end."""
    ray: str | None = None
    """Train groups on this Ray cluster: its address, auto for the one this machine belongs to, local for a new one."""
    cpus_per_group: int = 1
    """Ray: cores of a group."""
    gpus_per_group: float = 0
    """Ray: GPUs of a group."""
    retries: int = 3
    """Ray: times a group whose worker is lost is started again."""

    def __post_init__(self) -> None:
        for name in ("draws", "draw_seed", "group_size"):
            check_at_least(name.replace("_", "-"), getattr(self, name), 0)


def main() -> None:
    """Plans, runs, and reports."""
    settings, args = command_line.parse(Sweep(), __doc__, sys.argv[1:], others=True)
    if not settings.axis:
        raise SettingError("give at least one --axis, as --axis hparams.learning_rate=log:1e-4:1e-2:16")
    from jaxgen.launch.terminal import Terminal
    from jaxgen.sweeps import api, axes, experiment, fields, groups, plan, results

    chosen = experiment.load(experiment.find(settings.experiment, Path(__file__).parent), args)
    known = fields.hints(chosen.settings)
    parsed = [axes.parse(text, known, settings.draws, settings.draw_seed) for text in settings.axis]
    count = len(axes.points(parsed, settings.zip))
    devices.place(chosen.settings.run.cpu_devices, min(count, settings.group_size or count))
    _, _, planned, wanted = api.prepare(
        chosen, parsed, settings.zip, settings.metric, settings.maximize, settings.group_size
    )
    print(plan.describe(parsed, planned))
    if settings.dry_run:
        return
    directory = groups.open_directory(
        chosen, planned, {"command": shlex.join(["python", *sys.argv]), "axes": list(settings.axis)}
    )

    def began(group: plan.Group) -> None:
        print(f"{group.name} of {len(planned)}: {len(group.members)} members", flush=True)

    if settings.ray is None:
        outcomes = groups.run_all(chosen, planned, directory, began, Terminal(chosen.settings.run.progress))
    else:
        from jaxgen.sweeps import cluster

        where = cluster.Cluster(settings.ray, settings.cpus_per_group, settings.gpus_per_group, settings.retries)
        outcomes = cluster.run_groups(chosen, planned, directory, where, print)
    print(*results.report(chosen, parsed, planned, outcomes, wanted, directory), sep="\n")


if __name__ == "__main__":
    command_line.reported(main)
