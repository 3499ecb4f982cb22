"""`jaxgen doctor`: known-answer tests of the installed JAX."""

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

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
