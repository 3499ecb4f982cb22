"""A run as the command line makes it, for tests: `train` returns the directory, and leaves as a script would."""

from jaxgen.launch.terminal import Terminal
from jaxgen.runs.fit import Task, execute


def train(experiment, algorithm, settings, draw=None, members=None, on_evaluation=None):
    task = Task(
        experiment,
        algorithm,
        settings,
        members=members,
        draw=draw,
        on_evaluation=on_evaluation,
        watcher=Terminal(bar=False),
    )
    run = execute(task)
    if run.signal is not None:
        raise SystemExit(128 + run.signal)
    return run.directory
