"""A process that runs checks by name; if a check crashes it, nothing else is lost.

Reads one name per line and answers each with a line of JSON, after a first line about the installation.
"""

import json
import os
import sys


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keep whatever libraries print out of the answers

    from jaxgen.doctor import catalogue, checks, head

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    known = {check.name: check for check in catalogue.CHECKS}
    answer({"head": head.describe(), "checks": [[check.name, check.slow] for check in known.values()]})
    for line in sys.stdin:
        answer(checks.run(known[line.strip()])._asdict())


if __name__ == "__main__":
    main()
