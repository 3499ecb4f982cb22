"""The command `jaxgen`, also `python -m jaxgen`: training, and everything one does with a run.

doctor   the installed JAX                    runs     `runs`, `show`, `compare`: tables of runs
model    `sample`, `play`, `evaluate`: a trained model at work
doors    `fit`, `sweep`, `search`: the experiments, also without a clone
share    `export`: a run's model as a directory for others
proof    `verify`, `replay`, `fork`: a run made again
page     `report`: a run as one HTML file
"""

import sys
from collections.abc import Sequence
from typing import Any

import tyro

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen.console import doors, model, page, proof, runs, share
from jaxgen.console.doctor import Doctor

COMMANDS: dict[str, Any] = {
    "fit": doors.Fit,
    "sweep": doors.Sweep,
    "search": doors.Search,
    "runs": runs.Runs,
    "show": runs.Show,
    "compare": runs.Compare,
    "sample": model.Sample,
    "play": model.Play,
    "evaluate": model.Evaluate,
    "export": share.Export,
    "verify": proof.Verify,
    "replay": proof.Replay,
    "fork": proof.Fork,
    "report": page.Report,
    "doctor": Doctor,
}
PROSE = """Generative models and reinforcement learning in JAX: train, look at, compare and use runs.

Words complete with Tab after `source <(jaxgen --tyro-print-completion bash)`, or zsh."""


def main(args: Sequence[str] | None = None) -> None:
    """Read the command, run it and exit with its code."""
    words = list(sys.argv[1:] if args is None else args)
    if words[:1] == ["doctor"] or not words or words[0].startswith("-"):  # works without JAX
        command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="jaxgen", description=PROSE, args=words)
        sys.exit(command.run())
    from jaxgen.launch import command_line

    command_line.reported(lambda: _run(words))


def _run(words: list[str]) -> None:
    """Hand the words over to a script of the experiments, or parse and run a command of our own."""
    from jaxgen.errors import check_choice
    from jaxgen.launch import command_line

    check_choice("command", words[0], COMMANDS)
    kind = COMMANDS[words[0]]
    if words[0] in doors.DOORS and words[1:2] not in ([], ["-h"], ["--help"]):
        doors.run(words[0], words[1:])
    else:
        command_line.parse_kind(kind, f"jaxgen {words[0]}", words[1:]).run()
