"""The command `jaxgen`, also `python -m jaxgen`: what one does beside training."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tyro

from jaxgen.doctor import results, series


@dataclass(frozen=True)
class Doctor:
    """Known-answer tests of the installed JAX, about a minute; exit code 1 if one fails."""

    full: bool = False
    """Run the slow checks too, which take another minute."""
    json: bool = False
    """Print one JSON object instead of lines."""

    def run(self) -> int:
        """Print the installation and a line per check; return the exit code."""
        began = time.perf_counter()
        found: dict[str, Any] = {}

        def begin(head: dict[str, str]) -> None:
            found["installation"] = head
            if not self.json:
                print("\n".join(f"{name:18}  {value}" for name, value in head.items()), end="\n\n", flush=True)

        def report(result: results.Result) -> None:
            if not self.json:
                print(results.line(result), flush=True)

        try:
            every = series.run(begin, report, self.full)
        except series.Crashed as crash:
            print(f"error: JAX does not start: {crash}", file=sys.stderr)
            return 1
        seconds = time.perf_counter() - began
        if self.json:
            checks = [result._asdict() for result in every]
            print(
                json.dumps({**found, "passed": results.passed(every), "seconds": round(seconds, 1), "checks": checks})
            )
        else:
            print(f"\n{results.summary(every, seconds)}")
        return 0 if results.passed(every) else 1


COMMANDS: dict[str, Callable[..., Doctor]] = {"doctor": Doctor}


def main(args: Sequence[str] | None = None) -> None:
    """Read the command, run it and exit with its code."""
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="jaxgen", description=__doc__, args=args)
    sys.exit(command.run())
