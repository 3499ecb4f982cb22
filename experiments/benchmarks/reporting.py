"""Rows as an aligned table, and the machine they were measured on."""

import platform
from importlib import metadata
from typing import Any

from jaxgen.runs.machine import cores, model

Row = dict[str, Any]
"""Of a comparison: `name, ours_ms, peer, peer_ms, ratio, rounds` (null if there is no peer), and any others."""
PACKAGES = ("jax", "torch", "keras", "tensorflow-cpu", "tensorflow")


def machine() -> str:
    """Processor, cores available to this process, and versions of the measured packages."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join([model(), f"{cores()} cores", f"Python {platform.python_version()}", *versions])


def table(rows: list[Row]) -> str:
    """Aligned columns, omitting those empty in all `rows`; the spread is that of the per-round ratios."""
    heads = ["name", "ours ms", "peer", "peer ms", "ratio", "spread", "loop ms", "loop ratio", "GFLOP/s"]
    return aligned(heads, [_cells(row) for row in rows], left=("name", "peer"))


def aligned(heads: list[str], cells: list[list[str]], left: tuple[str, ...] = ()) -> str:
    """Lines of text cells under `heads`, without columns that are empty in all; the first and `left` to the left."""
    used = [i for i in range(len(heads)) if any(line[i] for line in cells)]
    lines = [[line[i] for i in used] for line in [heads, *cells]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(used))]
    marks = ["<" if i == 0 or heads[i] in left else ">" for i in used]
    columns = list(zip(marks, widths, strict=True))
    return "\n".join(
        "  ".join(f"{cell:{mark}{width}}" for cell, (mark, width) in zip(line, columns, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: Row) -> list[str]:
    spread = row.get("ratios")
    return [
        row["name"],
        _number(row["ours_ms"], 3),
        row["peer"] or "",
        _number(row["peer_ms"], 3),
        _number(row["ratio"], 2),
        f"{min(spread):.2f} to {max(spread):.2f}" if spread else "",
        _number(row.get("loop_ms"), 3),
        _number(row.get("loop_ratio"), 2),
        _number(row.get("gflops"), 0),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
