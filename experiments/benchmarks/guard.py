"""Costs of each compiled training step by XLA's own account, against a reference file.

The number must be the same on a busy machine and a quiet one, and on another processor. Times are not: on shared
cores, processor time over that of a matrix product in the same process, each the least of 20 rounds in turn, spread
over 14 % (dense autoencoder) and 21 % (MLP VAE) of itself in ten repetitions, while 15 % must be found. The account
does not move at all: arithmetic, memory traffic, temporary memory, instructions and fusions of the optimized program
are the same for each compilation, with one core or more, and with other instruction sets
(`XLA_FLAGS=--xla_cpu_max_isa=AVX2`). Machine code is generated without optimization, which is fast and which the
account does not depend on.

So it finds a second pass, an operation that is no longer shared or fused, a copy, a larger buffer. It does not find the
same program translated into slower machine code, as by another release of jaxlib: `benchmark.py train` does.

A release of JAX compiles otherwise, so each has its own reference; without one, the guard only reports.
"""

import json
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from benchmarks import reporting, work
from benchmarks.measuring import Measurement, Row, say
from jaxgen.errors import UserError, check_choices
from jaxgen.files import read_json

WARN, FAIL = 1.05, 1.15
"""Ratios to the reference."""
REFERENCE = Path(__file__).with_suffix(".json")
_UNOPTIMIZED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.-]+ = .*? ([a-z][\w-]*)\(", re.MULTILINE)
_NO_WORK = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast"}

Account = Mapping[str, float]
"""Name of a cost -> its amount."""


@dataclass(frozen=True)
class Guard(Measurement):
    """Costs of each compiled training step against a stored reference: warns at 5 %, fails at 15 %."""

    models: tuple[str, ...] = work.NAMES
    """Steps to compile."""
    reference: Path = REFERENCE
    """File with the costs to compare with."""
    write: bool = False
    """Make today's costs the reference for this version of JAX."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices("models", self.models, work.NAMES)

    def measure(self) -> Iterator[Row]:
        """One row per step."""
        references = read_json(self.reference) if self.reference.is_file() else {}
        if here() not in references and not self.write:
            known = ", ".join(references) or "none"
            say(f"{self.reference.name} has no reference for {here()} (it has {known}): costs are only reported")
        for name in tqdm(self.models, desc="compiling", unit="step", leave=False):
            costs = account(work.of(name))
            yield compared(name, costs, None if self.write else references.get(here(), {}).get(name))

    def table(self, rows: list[Row]) -> str:
        """A line per step, with the cost that grew most."""
        heads = ["step", *COSTS, "against the reference"]
        return reporting.aligned(
            heads, [[row["name"], *(f"{row[cost]:,}" for cost in COSTS), _said(row)] for row in rows]
        )

    def conclude(self, rows: list[Row]) -> Iterator[str]:
        """Write the reference, or judge by it; raises `UserError` if a step costs too much."""
        if self.write:
            references = read_json(self.reference) if self.reference.is_file() else {}
            references.setdefault(here(), {}).update({row["name"]: {cost: row[cost] for cost in COSTS} for row in rows})
            self.reference.write_text(json.dumps(references, indent=1) + "\n", encoding="utf-8")
            yield f"{self.reference}: reference for {here()}"
        grown = [row for row in rows if (row["ratio"] or 1) >= WARN]
        failed = [f"{row['name']} ({_said(row)})" for row in grown if row["ratio"] >= FAIL]
        yield from (
            f"{row['name']} costs less than its reference: guard --write keeps it" for row in rows if gained(row)
        )
        yield from (f"warning: {row['name']}: {_said(row)}" for row in grown if row["ratio"] < FAIL)
        if failed:
            raise UserError(f"costs of a step grew by 15 % or more: {', '.join(failed)}; if meant, guard --write")


COSTS = ("flops", "bytes_accessed", "transcendentals", "temporary_bytes", "instructions", "fusions")


def here() -> str:
    """The version of JAX and the kind of machine that a program depends on."""
    return f"jax {jax.__version__}, {jax.default_backend()}, {platform.machine()}"


def account(step: work.Work) -> dict[str, int]:
    """Costs of the engine's loop over a step: those of its body are counted once."""
    with work.compiling_anew():
        program = work.lowered(step, examples=2 * step.config.batch_size).compile(_UNOPTIMIZED)
    costs: Any = program.cost_analysis()
    kinds = _INSTRUCTION.findall(program.as_text() or "")
    found = {
        **{name.replace(" ", "_"): costs.get(name, 0) for name in ("flops", "bytes accessed", "transcendentals")},
        "temporary_bytes": program.memory_analysis().temp_size_in_bytes,
        "instructions": sum(kind not in _NO_WORK for kind in kinds),
        "fusions": kinds.count("fusion"),
    }
    return {name: round(amount) for name, amount in found.items()}


def compared(name: str, costs: Account, reference: Account | None) -> Row:
    """A row: the costs, and of their ratios to the reference the largest and which it is (null without one)."""
    row: Row = {"name": name, **costs, "against": None, "ratio": None, "cost": None, "least": None}
    if reference is None:
        return row
    ratios = {cost: (costs[cost] + 1) / (reference[cost] + 1) for cost in reference}  # 1: a cost may be 0
    cost = max(ratios, key=lambda cost: ratios[cost])
    least = round(min(ratios.values()), 4)
    return {**row, "against": here(), "ratio": round(ratios[cost], 4), "cost": cost, "least": least}


def gained(row: Row) -> bool:
    """Whether a cost fell by 5 % and none grew by as much."""
    return row["ratio"] is not None and row["ratio"] < WARN and row["least"] <= 1 / WARN


def _said(row: Row) -> str:
    return "" if row["ratio"] is None else f"{row['cost']} {row['ratio']:.3f} times"
