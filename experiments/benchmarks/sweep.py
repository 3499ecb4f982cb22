"""Speed of a sweep against the same runs one after the other: when members in one program pay off.

The number of virtual devices is fixed for a process, so each side is a process, and they are timed in turn.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.measuring import Measurement, Row, compare, say, steps_for
from jaxgen.errors import UserError, check_at_least, check_choices

MODELS = ("dense_ae", "mlp_vae", "dense_gan", "dqn")
LONE = "one after the other"


@dataclass(frozen=True)
class Sweep(Measurement):
    """Member-steps per second: members in one program, on one device per core, against one run after the other."""

    rounds: int = 3
    """Number of times each side is measured, in turn."""
    models: tuple[str, ...] = MODELS
    """Models to measure."""
    members: tuple[int, ...] = (1, 4, 16, 64)
    """Numbers of members per program."""
    seconds: float = 2.0
    """Approximate length of a measurement."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("seconds", self.seconds, 0.001)
        check_choices("models", self.models, MODELS)
        for count in self.members:
            check_at_least("members", count, 1)

    def measure(self) -> Iterator[Row]:
        """One row per model and number of members; the peer is a single run with JAX's own threads."""
        for model in self.models:
            counts = list(dict.fromkeys(self.members))
            with _Side(model, 0, self.seconds) as single, _Side(model, max(counts), self.seconds) as many:
                alone: dict[int, list[float]] = {}
                together: dict[int, list[float]] = {}
                for count in tqdm(counts, desc=model, unit="size", leave=False):
                    for _ in range(self.rounds):
                        alone.setdefault(count, []).append(single.time(1))
                        together.setdefault(count, []).append(many.time(count))
            for count in counts:
                row = compare(f"{model}, {count} members", together[count], LONE, alone[count])
                row["member_steps_per_second"] = round(1e3 / row["ours_ms"])
                say(
                    f"{row['name']}: {row['member_steps_per_second']:,} member-steps/s, {row['ratio']:.2f} times {LONE}"
                )
                yield row

    def conclude(self, rows: list[Row]) -> Iterator[str]:
        """Definition of a member-step."""
        yield "ms of a member-step: one member's training step (dqn: one step in each of 10 environments and an update)"


class _Side:
    """A process that trains the requested number of members of a model on demand."""

    def __init__(self, model: str, most: int, seconds: float) -> None:
        code = f"from benchmarks import sweep; sweep.serve({model!r}, {most}, {seconds})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "_Side":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def time(self, members: int) -> float:
        """Milliseconds per member-step."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(members, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("ms "):
                return float(line.split()[1])
        _, said = self._process.communicate()
        raise UserError(f"a side of the measurement ended: {(said.strip().splitlines() or ['no message'])[-1]}")


def serve(model: str, most: int, seconds: float) -> None:
    """Loop of a side: reads a number of members per line, prints `ms` and the time; `most` 0 is a single run."""
    from benchmarks import work
    from jaxgen.launch import command_line, devices
    from jaxgen.runs import machine
    from jaxgen.runs.progress import chunk_seconds

    command_line.keep_freed_memory()
    command_line.use_compilation_cache()
    devices.place(machine.cores() if most else None, most)
    trainers: dict[int, Any] = {}
    for line in sys.stdin:
        count = int(line)
        if count not in trainers:
            run = work.trainer(work.programs(work.of(model), count if most else 0), learning=model != "dqn")
            trainers[count] = (run, min(steps_for(run, max(seconds, chunk_seconds(count))), work.CHUNK))
        run, steps = trainers[count]
        print("ms", run(steps) / steps / count * 1e3, flush=True)
