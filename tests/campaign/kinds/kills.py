"""SIGKILL in every phase; the same command then finishes the run to the last bit."""

import random
import signal
from pathlib import Path

from .. import server, strikes, systems, verdicts
from ..strikes import Strike
from ..verdicts import Result

REAL = 20
"""One case in this many finishes in a process of its own."""


def aimed(whole: systems.Whole, rng: random.Random, number: int) -> tuple[str, Strike]:
    """A phase and a strike in it; half of them between checkpoints."""
    phases = strikes.phases(whole.operations)
    phase = "between" if rng.random() < 0.5 and "between" in phases else rng.choice(sorted(phases))
    delay = rng.choice((0.0, 0.0, 0.001, 0.003, 0.01, 0.03)) if number == signal.SIGKILL else 0.0
    return phase, Strike(rng.choice(phases[phase]), number, delay)


def case(kit: systems.Kit, number: int, folder: Path) -> Result:
    """One to three kills of a run, then the command again."""
    rng = kit.random("kills", number)
    system = list(systems.SYSTEMS)[number % len(systems.SYSTEMS)]
    whole, command = kit.whole(system), systems.args(system)
    hit: list[str] = []
    spoken, faults, shown = "", [], []
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.75:
            phase, strike = aimed(whole, rng, signal.SIGKILL)
            done = server.start(system, command, folder, strike=strike).wait()
            shown.append(f"{phase}: {strike.at.kind} {strike.at.path} {strike.at.nth} +{strike.delay}")
        else:
            phase, seconds = "any moment", rng.uniform(0, kit.seconds(system))
            done = server.start(system, command, folder, real=rng.random() < 0.1).killed(seconds)
            shown.append(f"after {seconds:.2f} s")
        spoken += done.err
        if done.code in (-signal.SIGKILL, -signal.SIGALRM):
            hit.append(phase)
        faults.append(verdicts.manners(done, (0, -signal.SIGKILL, -signal.SIGALRM)))
    done = server.start(system, command, folder, real=number % REAL == 0).wait()
    kit.took(system, done.seconds)
    found = kit.look(folder / "runs" / "r") if done.code == 0 else {}
    verdict, why = verdicts.worst(verdicts.finished(done, found, whole.wanted, spoken), *faults)
    what = f"{system} {' then '.join(shown)}"
    return Result(verdict, what, why, (*[system] * len(hit), *hit), len(hit))
