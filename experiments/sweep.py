"""Many runs of an experiment in one program, one for each combination of the given settings.

    python experiments/sweep.py vae_mnist --preset mlp --run.epochs 3 \\
        --axis hparams.learning_rate=log:1e-4:1e-2:16 --axis seed=0:4
    python experiments/sweep.py ae_mnist --axis config.optimizer=adam,adamax --axis hparams.learning_rate=1e-3,1e-2

An axis is NAME=VALUES: `lin:a:b:n`, `log:a:b:n`, a list `a,b,c`, integers `a:b` (b excluded), or `uniform:a:b` and
`loguniform:a:b` with --draws. NAME is any field of hparams, config or data, or the seed. Axes are crossed, or with
--zip paired value by value; random axes are drawn together. All other options go to the experiment.

Hyperparameters and seeds become members of one program, as many at once as fit into memory; each choice of config and
data is a separate program. The plan is printed first. The directory (--run.root and --run.name, which also resumes a
sweep) gets results.csv, results.parquet, figures, and a run directory for each group of members.

With --ray, groups are tasks on a cluster (pip install -e ".[ray]"); --group-size sets the number of members per task.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page
from jaxgen.errors import SettingError, check_at_least
from jaxgen.launch import command_line, devices


@dataclass(frozen=True)
class Sweep:
    """The sweep: its axes, members and workers."""

    experiment: tyro.conf.Positional[str] = "ae_mnist"
    """Name of the script to run; options not listed here go to it."""
    axis: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=VALUES; repeat for each axis."""
    zip: bool = False
    """Pair the axes value by value instead of crossing them."""
    draws: int = 0
    """Number of points to draw for the random axes."""
    draw_seed: int = 0
    """Seed for the draws."""
    group_size: int = 0
    """Maximum members per program; 0: as many as are estimated to fit into memory."""
    metric: str | None = None
    """Logged metric for comparing members; default: the algorithm's own."""
    maximize: bool = False
    """Larger values of the metric are better."""
    dry_run: bool = False
    """Print the plan and exit."""
    ray: str | None = None
    """Train groups on this Ray cluster: its address, auto for the one this machine belongs to, local for a new one."""
    cpus_per_group: int = 1
    """Ray: cores per group."""
    gpus_per_group: float = 0
    """Ray: GPUs per group."""
    retries: int = 3
    """Ray: maximum restarts of a group whose worker is lost."""

    def __post_init__(self) -> None:
        for name in ("draws", "draw_seed", "group_size"):
            check_at_least(name.replace("_", "-"), getattr(self, name), 0)


def main() -> None:
    """Plan, run and report."""
    settings, args = command_line.parse(Sweep(), __doc__, sys.argv[1:], others=True)
    if not settings.axis:
        raise SettingError("give at least one --axis, as --axis hparams.learning_rate=log:1e-4:1e-2:16")
    from jaxgen.launch.terminal import Terminal
    from jaxgen.sweeps import api, axes, experiment, fields, groups, plan, results, table

    chosen = experiment.load(experiment.find(settings.experiment, Path(__file__).parent), args)
    known = fields.hints(chosen.settings)
    parsed = [axes.parse(text, known, settings.draws, settings.draw_seed) for text in settings.axis]
    count = len(axes.points(parsed, settings.zip))
    devices.place(chosen.settings.run.cpu_devices, min(count, settings.group_size or count))
    planned, wanted = api.prepare(chosen, parsed, settings.zip, settings.metric, settings.maximize, settings.group_size)
    print(plan.describe(parsed, planned))
    if settings.dry_run:
        return
    command = shlex.join(["python", *sys.argv])
    record = {"command": command, "options": table.options(chosen), "axes": list(settings.axis)}
    directory = groups.open_directory(chosen, planned, wanted, record)

    def began(group: plan.Group) -> None:
        print(f"{group.name} of {len(planned)}: {len(group.members)} members", flush=True)

    if settings.ray is None:
        outcomes = groups.run_all(chosen, planned, directory, began, Terminal(chosen.settings.run.progress))
    else:
        from jaxgen.sweeps import cluster

        where = cluster.Cluster(settings.ray, settings.cpus_per_group, settings.gpus_per_group, settings.retries)
        outcomes = cluster.run_groups(chosen, planned, directory, where, print)
    print(*results.report(chosen, parsed, planned, outcomes, wanted, directory), sep="\n")
    if chosen.settings.run.page and page.of_sweep(directory, Terminal(False)):
        print(f"its page is {directory / page.NAME}")


if __name__ == "__main__":
    command_line.reported(main)
