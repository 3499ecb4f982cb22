"""SIGKILL in every phase; the same command then finishes the run to the last bit."""

import random
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from .. import server, strikes, systems, verdicts
from ..strikes import Strike
from ..verdicts import EQUAL, LOST, SILENT, Result

REAL = 20
"""One case in this many finishes in a process of its own."""
KILLED = (-signal.SIGKILL, -signal.SIGALRM)
OTHERS = ("sweep", "search", "two processes")
"""Beside the experiments; Ray takes the place of some, for it takes longest."""
PATIENCE = 10
"""Seconds after which a process gives up another."""


def aimed(operations: Sequence[strikes.Operation], rng: random.Random, number: int) -> tuple[str, Strike]:
    """A phase and a strike in it; half of them between checkpoints."""
    phases = strikes.phases(operations)
    phase = "between" if rng.random() < 0.5 and "between" in phases else rng.choice(sorted(phases))
    delay = rng.choice((0.0, 0.0, 0.001, 0.003, 0.01, 0.03)) if number == signal.SIGKILL else 0.0
    return phase, Strike(rng.choice(phases[phase]), number, delay)


def case(kit: systems.Kit, number: int, folder: Path) -> Result:
    """One to three kills of a run, then the command again."""
    rng = kit.random("kills", number)
    place = number % (len(systems.SYSTEMS) + 1)
    if place == len(systems.SYSTEMS):
        turn = number // (len(systems.SYSTEMS) + 1)
        other = "ray" if turn % 8 == 7 else OTHERS[turn % len(OTHERS)]
        return {"two processes": together, "ray": on_ray}.get(other, _store)(kit, rng, other, folder)
    system = list(systems.SYSTEMS)[place]
    whole, command = kit.whole(system), systems.args(system)
    hit, shown, spoken, faults = _killed(kit, rng, system, command, folder, whole.operations, kit.seconds(system))
    done = server.start(system, command, folder, real=number % REAL == 0).wait()
    kit.took(system, done.seconds)
    found = kit.look(folder / "runs" / "r") if done.code == 0 else {}
    verdict, why = verdicts.worst(verdicts.finished(done, found, whole.wanted, spoken), *faults)
    return Result(verdict, f"{system} {' then '.join(shown)}", why, (*[system] * len(hit), *hit), len(hit))


Killed = tuple[list[str], list[str], str, list[tuple[str, str] | None]]


def _killed(
    kit: systems.Kit,
    rng: random.Random,
    script: str,
    command: Sequence[str],
    folder: Path,
    operations: Sequence[strikes.Operation],
    seconds: float,
) -> Killed:
    """Kill a command one to three times: phases hit, a description, what was said, and faults."""
    hit: list[str] = []
    shown, spoken, faults = [], "", []
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.75:
            phase, strike = aimed(operations, rng, signal.SIGKILL)
            done = server.start(script, command, folder, strike=strike).wait()
            shown.append(f"{phase}: {strike.at.kind} {strike.at.path} {strike.at.nth} +{strike.delay}")
        else:
            phase, after = "any moment", rng.uniform(0, seconds)
            done = server.start(script, command, folder, real=rng.random() < 0.1).killed(after)
            shown.append(f"after {after:.2f} s")
        spoken += done.err
        if done.code in KILLED:
            hit.append(phase)
        faults.append(verdicts.manners(done, (0, *KILLED)))
    return hit, shown, spoken, faults


def _store(kit: systems.Kit, rng: random.Random, name: str, folder: Path) -> Result:
    """Kills of a sweep or a search."""
    from .. import stores

    store, operations = stores.STORES[name], stores.operations(kit, name)
    hit, shown, _, faults = _killed(kit, rng, store.script, store.args, folder, operations, kit.seconds(name))
    done = server.start(store.script, store.args, folder).wait(180)
    kit.took(name, done.seconds)
    last = _compared(kit, name, folder, done)
    verdict, why = verdicts.worst(last, *faults)
    return Result(verdict, f"{name} {' then '.join(shown)}", why, (*[name] * len(hit), *hit), len(hit))


def _compared(kit: systems.Kit, name: str, folder: Path, done: verdicts.Done) -> tuple[str, str]:
    """The verdict on a sweep or search that should be as the undisturbed one."""
    from .. import stores

    fault = verdicts.manners(done)
    if fault or done.code:
        return fault or (LOST, verdicts.tail(done.err))
    if name == "search":  # a lost trial is asked again, and later proposals depend on the order of reports
        rows = stores.table(folder / "runs" / "q" / "results.csv")
        states = [row["state"] for row in rows]
        right = len(states) == 4 and set(states) <= {"COMPLETE", "PRUNED"}
        return (EQUAL, "") if right else (SILENT, f"trials: {states}")
    names = verdicts.differences(stores.found_in(kit, folder), stores.found_in(kit, stores.made(kit, name)))
    return (SILENT, f"differ: {verdicts.shown(names)}; said: {verdicts.tail(done.err)}") if names else (EQUAL, "")


def _pair(folder: Path) -> list[server.Child]:
    """A run's two processes."""
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        port = listening.getsockname()[1]
    more = (
        f"--run.cpu-devices 1 --run.coordinator localhost:{port} --run.processes 2 --run.heartbeat-timeout {PATIENCE}"
    )
    return [
        server.start("ae_mnist", systems.args("ae_mnist", "r", *more.split(), "--run.process", str(i)), folder)
        for i in (0, 1)
    ]


def together(kit: systems.Kit, rng: random.Random, name: str, folder: Path) -> Result:
    """One of a run's two processes is killed; the other says so and ends; both again finish the run."""
    whole = kit.work / "whole-pair"
    if not whole.exists():
        whole.mkdir()
        for child in _pair(whole):
            kit.took(name, child.wait(180).seconds)
    victim, after = rng.randrange(2), rng.uniform(0.3, kit.seconds(name))
    pair = _pair(folder)
    killed = pair[victim].killed(after)
    left = pair[1 - victim].wait(90 + PATIENCE)
    faults = [verdicts.manners(without_abort(left), (0, 1))]
    if killed.code in KILLED and left.code == 1 and "error: " not in left.err.splitlines()[-1]:
        faults.append((SILENT, f"the other one said: {verdicts.tail(left.err)}"))
    done = [child.wait(180) for child in _pair(folder)]
    found = kit.look(folder / "runs" / "r") if done[0].code == 0 else {}
    last = [verdicts.finished(done[0], found, kit.look(whole / "runs" / "r")), verdicts.manners(done[1])]
    verdict, why = verdicts.worst(*last, *faults)
    hit = int(killed.code in KILLED)
    return Result(verdict, f"two processes, {victim} after {after:.2f} s", why, (name,) * hit, hit)


def without_abort(done: verdicts.Done) -> verdicts.Done:
    """A process without the stack that JAX prints before it aborts a process that has lost another.

    No code of ours can keep it from that; the line after it is ours.
    """
    if "Terminating process because the JAX distributed service" not in done.err:
        return done
    return done._replace(err=done.err[done.err.find("\nerror: ") + 1 :])


def on_ray(kit: systems.Kit, rng: random.Random, name: str, folder: Path) -> Result:
    """A sweep on a local Ray cluster is killed; the command again finishes it."""
    from .. import stores

    store = stores.STORES["sweep"]
    command = [*store.args, "--ray", "local"]
    after = rng.uniform(5, 25)
    killed = server.start("sweep", command, folder, real=True).killed(after)
    time.sleep(2)  # Ray's own processes notice
    done = server.start("sweep", command, folder, real=True).wait(240)
    fault = verdicts.manners(done) or ((LOST, verdicts.tail(done.err)) if done.code else None)
    tables = [
        stores.table(place / "runs" / "s" / "results.csv") for place in (folder, stores.made(kit, "sweep")) if not fault
    ]
    last = fault or ((EQUAL, "") if tables[0] == tables[1] else (SILENT, "another results.csv"))
    hit = int(killed.code in KILLED)
    return Result(*_named(last, f"Ray after {after:.1f} s"), (name,) * hit, hit)


def _named(verdict: tuple[str, str], what: str) -> tuple[str, str, str]:
    return verdict[0], what, verdict[1]
