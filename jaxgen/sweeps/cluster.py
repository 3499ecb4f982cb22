"""Groups and search workers as tasks on a Ray cluster; a task whose worker or node is lost is restarted.

Every node needs the same checkout and the data. With a shared disk a restarted task continues from its checkpoint, else
from the beginning; either way the result is the same.
"""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgen.errors import SettingError, UserError, check_at_least
from jaxgen.files import write_atomically
from jaxgen.launch import command_line, devices
from jaxgen.sweeps import experiment as experiment_lib
from jaxgen.sweeps import groups
from jaxgen.sweeps.experiment import Chosen
from jaxgen.sweeps.plan import Group

FILES = ("settings.json", "sessions.json", "metrics.jsonl", "result.json", groups.DIVERGED)
"""Files of a group's directory that the caller needs."""


class Cluster(NamedTuple):
    """Where tasks run, and the resources of each."""

    address: str
    cpus: int
    gpus: float
    retries: int


def connect(cluster: Cluster) -> Any:
    """Ray's module, connected to the cluster."""
    check_at_least("cpus-per-group", cluster.cpus, 1)
    check_at_least("gpus-per-group", cluster.gpus, 0)
    check_at_least("retries", cluster.retries, 0)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # keep the environment of a task without GPUs
    try:
        import ray
    except ImportError:
        raise UserError('--ray needs Ray, which is not installed: pip install -e ".[ray]"') from None
    if ray.is_initialized():
        return ray
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise SettingError(
                f"ray = {cluster.address!r} is not a cluster that answers ({(str(error).splitlines() or [''])[0][:120]}"
                "): an address, auto for the one this machine belongs to (ray start --head makes one), or local for a "
                "new one"
            ) from None
    return ray


def run_groups(
    experiment: Chosen,
    planned: Sequence[Group],
    directory: Path,
    cluster: Cluster,
    say: Callable[[str], None] = lambda line: None,
) -> list[groups.Outcome]:
    """Train all groups, as many at once as the cluster has room for; `say` is called with a line for each."""
    ray = connect(cluster)
    task = _remote(ray, _train_group, cluster)
    absolute = directory.absolute()
    open_groups = {
        task.remote(experiment.experiment.source, experiment.args, group, absolute, cluster.cpus): group
        for group in planned
        if not _is_done(directory / group.name)
    }
    say(f"{len(open_groups)} of {len(planned)} groups to train, on {len(ray.nodes())} nodes")
    while open_groups:
        (done,), _ = ray.wait(list(open_groups))
        group = open_groups.pop(done)
        files = _result(ray, done, group.name, cluster)
        _keep(directory / group.name, files)
        say(f"{group.name} is finished, {len(open_groups)} to go")
    return [groups.read(directory / group.name) for group in planned]


def run_workers(work: Callable[..., None], arguments: tuple[Any, ...], count: int, cluster: Cluster) -> None:
    """`work(*arguments)` in `count` tasks at once; returns when all have ended."""
    ray = connect(cluster)
    task = _remote(ray, work, cluster)
    running = {task.remote(*arguments): number for number in range(count)}
    while running:
        (done,), _ = ray.wait(list(running))
        _result(ray, done, f"worker {running.pop(done)}", cluster)


def _remote(ray: Any, function: Callable[..., Any], cluster: Cluster) -> Any:
    """A fresh process for each task: JAX's devices and a GPU's memory belong to a process."""
    options = {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus, "max_retries": cluster.retries, "max_calls": 1}
    return ray.remote(**options)(function)


def _result(ray: Any, reference: Any, name: str, cluster: Cluster) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(f"{name}: {error.cause}") from None
        raise
    except ray.exceptions.RayError as error:
        raise UserError(
            f"{name} was lost {cluster.retries + 1} times ({type(error).__name__}); the same command goes on with it"
        ) from None


def prepare(members: int, cpus: int) -> None:
    """Set up a task's process as the command line does its own, with the cores assigned to the task."""
    command_line.keep_freed_memory()
    command_line.use_compilation_cache()
    devices.use_single_threads(min(members, cpus))


def _train_group(script: Path, args: Sequence[str], group: Group, directory: Path, cpus: int) -> dict[str, str]:
    prepare(len(group.members), cpus)
    directory.mkdir(parents=True, exist_ok=True)
    groups.run(experiment_lib.load(script, args), group, directory)
    path = directory / group.name
    return {name: (path / name).read_text(encoding="utf-8") for name in FILES if (path / name).exists()}


def _is_done(path: Path) -> bool:
    return (path / "result.json").exists() or (path / groups.DIVERGED).exists()


def _keep(path: Path, files: dict[str, str]) -> None:
    """Write files from another machine's disk; on a shared one they already exist."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if not (path / name).exists():
            write_atomically(path / name, text)
