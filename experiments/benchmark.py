"""jaxgen against other implementations of the same work, interleaved in one run: medians over rounds, and ratios.

    pip install -e ".[bench]"
    python experiments/benchmark.py conv           # forward and gradients of every convolutional layer: 3 minutes
    python experiments/benchmark.py train          # training steps of every model: 10 minutes
    python experiments/benchmark.py bfloat16       # products and training steps in bfloat16 and float32: 10 minutes
    python experiments/benchmark.py startup        # seconds from Enter to the first finished step: 5 minutes
    python experiments/benchmark.py dqn            # DQN steps per second; peers: --purejaxrl FOLDER ...: 8 minutes
    python experiments/benchmark.py sweep          # many members in one program against runs in turn: 5 minutes
    python experiments/benchmark.py scaling        # a batch divided over devices: 5 minutes
    python experiments/benchmark.py streaming      # MNIST from disk while a model trains: 3 minutes
    python experiments/benchmark.py results        # seconds from Enter to a stated result: hours; --tasks, --rounds
    python experiments/benchmark.py accelerator    # what this machine's GPU or TPU does with jaxgen: 10 minutes
    python experiments/benchmark.py versions       # training steps with other versions of JAX: --pythons A B ...
    python experiments/benchmark.py guard          # costs of the compiled steps against a reference file: 2 minutes

A ratio is the peer's time over ours: above 1, we are faster. Each row is appended to --out as a line of JSON; the table
is printed at the end. Missing peers are reported and skipped. `train --help` and so on list a subcommand's options.
"""

import json

import jaxgen.launch.early  # noqa: F401 before JAX, which reads the level of its log as it is imported

# isort: split

from benchmarks import (
    accelerator,
    bfloat16,
    conv,
    dqn,
    guard,
    reporting,
    results,
    scaling,
    startup,
    sweep,
    train,
    versions,
)
from benchmarks.measuring import Measurement

from jaxgen.launch import command_line

COMMANDS = (
    conv.Conv
    | train.Train
    | bfloat16.Bfloat16
    | startup.Startup
    | dqn.Dqn
    | sweep.Sweep
    | scaling.Scaling
    | scaling.Streaming
    | guard.Guard
    | accelerator.Accelerator
    | results.Results
    | versions.Versions
)


def main(settings: Measurement) -> None:
    """Measure, and append each row to the file as soon as it is known."""
    machine, rows = reporting.machine(), []
    with open(settings.out, "a", encoding="utf-8") as file:
        for row in settings.measure():
            rows.append(row)
            file.write(json.dumps({**row, "machine": machine}) + "\n")
            file.flush()
    print(f"\n{machine}\n\n{settings.table(rows)}")
    for line in settings.conclude(rows):
        print(line)


if __name__ == "__main__":
    command_line.main(COMMANDS, main, __doc__)
