"""Ten thousand epochs: memory stays as it is once training goes at full speed."""

import statistics
import time
from pathlib import Path

from .. import server, systems, verdicts
from ..verdicts import EQUAL, SILENT, Result

EPOCHS = 10_000
GROWTH = 24 * 2**20
"""Bytes between the second and the last fifth of training that are no leak: the allocator's, the rows'."""
FEW = ["--run.evaluate-every", "500", "--run.save-every", "100", "--run.log-every", "500", "--run.chunk-steps", "500"]


def case(kit: systems.Kit, number: int, folder: Path) -> Result:
    """One long run of a small system."""
    system = ("ae_mnist", "vae_mnist", "gan_mnist", "dqn_cartpole")[number % 4]
    from .fuzz import without

    args = systems.args(system)
    for word in (*FEW[::2], "--run.epochs", "--run.draw-every"):
        args = without(args, word)
    child = server.start(system, [*args, *FEW, "--run.epochs", str(EPOCHS)], folder)
    seen: list[tuple[float, int]] = []

    def look(child: server.Child) -> bool:
        if child.trained_at is None and "\n  parameters " in child.out():
            child.trained_at = time.monotonic()
        elif child.trained_at is not None and (not seen or time.monotonic() - seen[-1][0] > 0.1):
            seen.append((time.monotonic(), child.memory()))
        return False

    done = child.wait(600, look)
    fault = verdicts.manners(done)
    what = f"{system}, {EPOCHS} epochs"
    if fault or done.code or len(seen) < 20:
        verdict, why = fault or (
            SILENT,
            f"exit {done.code}, {len(seen)} looks at its memory: {verdicts.tail(done.err)}",
        )
        return Result(verdict, what, why, (system,))
    early, late = (statistics.median(bytes for _, bytes in part) for part in (fifth(seen, 1), fifth(seen, 4)))
    why = f"{early / 2**20:.0f} MiB in the second fifth, {late / 2**20:.0f} MiB in the last"
    return Result(EQUAL if late - early < GROWTH else SILENT, f"{what}: {why}", why, (system,))


def fifth(seen: list[tuple[float, int]], which: int) -> list[tuple[float, int]]:
    """A fifth of the looks, from 0."""
    return seen[len(seen) * which // 5 : len(seen) * (which + 1) // 5]
