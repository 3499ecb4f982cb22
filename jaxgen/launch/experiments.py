"""An experiment as a process: settings from its command line, a run, and an exit code."""

import contextlib
import sys
from collections.abc import Sequence

from jaxgen.doctor import quick
from jaxgen.engine import hosts, parallel
from jaxgen.errors import refuse
from jaxgen.experiment import Experiment
from jaxgen.launch import command_line, devices, processes
from jaxgen.launch.terminal import Terminal
from jaxgen.runs import progress
from jaxgen.runs.directory import read_result
from jaxgen.runs.fit import Task, WritePage, execute
from jaxgen.runs.run import Run
from jaxgen.runs.settings import Settings, of_run, validate


def main(experiment: Experiment, description: str | None, args: Sequence[str] | None = None) -> None:
    """Run the experiment from its command line; raises `SystemExit` (130, 143) when a signal stops it."""

    def launch() -> None:
        settings = experiment.parse(sys.argv[1:] if args is None else args, description)
        run = settings.run
        validate(run)  # before processes meet and devices are made
        if run.page and experiment.page is None:
            refuse("run.page", True, f"False, for {experiment.name} has no page of its own: use jaxgen report")
        if run.devices > 1:
            parallel.check_config(experiment.algorithm, settings.config, run.devices)
        processes.start(run)
        devices.place(run.cpu_devices, run.seeds, run.devices, experiment.algorithm.TRAITS.single_thread)
        with processes.together():
            quick.once()  # after the device setup, since this creates the devices
            train(experiment, settings)

    command_line.reported(launch)


def train(experiment: Experiment, settings: Settings) -> Run:
    """Run and report; processes other than the first print nothing and exit at the end."""
    first = hosts.is_first()
    task = Task(
        experiment.name,
        experiment.algorithm,
        settings,
        draw=experiment.figures,
        page=_page(experiment, settings),
        summarize=experiment.summarize,
        watcher=Terminal(settings.run.progress and first),
    )
    with contextlib.nullcontext() if first else processes.silence():
        run = execute(task)
    if not first:
        sys.exit(0 if run.signal is None else 128 + run.signal)
    show(experiment, run)
    if run.signal is not None:
        sys.exit(128 + run.signal)
    return run


def _page(experiment: Experiment, settings: Settings) -> WritePage | None:
    """Writes a run's page, with the settings that differ from its preset marked."""
    write, preset = experiment.page, of_run(experiment.settings(settings.preset))
    return None if write is None else lambda run: write(run, preset)


def show(experiment: Experiment, run: Run) -> None:
    """Print the last lines of a run: its numbers and the location of its figures."""
    assert run.directory is not None
    if run.status == "stopped":
        again = f"run the same command with --run.name {run.directory.name}"
        print(f"stopped and saved at step {run.step}; {again}")
        return
    result = read_result(run.directory)
    assert result is not None
    numbers = progress.describe(result)
    if run._task is None:
        print(f"{run.directory} is finished: {numbers}")
        return
    print(f"finished: {numbers}  trained {run.train_seconds:.1f} s, compiled {run.compile_seconds:.1f} s")
    if experiment.describe is not None:
        print(experiment.describe(result))
    figures = run.directory / "figures"
    drawn = [figures / name for name in experiment.pictures if (figures / name).exists()]
    print(f"figures in {figures}" + (f"; look at {drawn[0]}" if drawn else ""))
    page = run.directory / "page.html"
    if run._task.settings.run.page and page.exists():
        print(f"its page is {page}")
