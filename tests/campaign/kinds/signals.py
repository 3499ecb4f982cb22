"""Ctrl-C and SIGTERM in every phase: exit 130 or 143 with a word, saved where something was trained, then bit-equal."""

import re
import signal
import time
from pathlib import Path

from .. import looks, server, systems, verdicts
from ..verdicts import EQUAL, SILENT, Result
from .kills import aimed

SECONDS = 4.0
"""Seconds that a process of its own needs before it does what a forked one does at once."""


def judge(done: verdicts.Done, number: int, steps: list[int]) -> tuple[str, str]:
    """The verdict on a command that got a signal, given the steps of the checkpoints it left."""
    if done.code == -number and "stopped and saved" in done.out:  # a second one, after all was said: 143 for a shell
        done = done._replace(code=128 + number)
    if done.code in (-signal.SIGTERM, -signal.SIGINT) and not done.err.strip():
        return SILENT, f"ended by signal {-done.code} without a word; before: {verdicts.tail(done.out, 1) or 'nothing'}"
    fault = verdicts.manners(done, (0, 128 + number))
    if fault:
        return fault
    if done.code == 0:
        return EQUAL, ""
    if "stopped" not in done.out + done.err and "interrupted" not in done.out + done.err:
        return SILENT, f"exit {done.code} without a word: {verdicts.tail(done.out + done.err)}"
    saved = re.search(r"saved at step (\d+)", done.out + done.err)
    if saved and int(saved[1]) not in steps:
        return SILENT, f"says that it saved step {saved[1]}, there are {steps}"
    return EQUAL, ""


def case(kit: systems.Kit, number: int, folder: Path) -> Result:
    """A signal, or two in a row, at an operation or at a moment; then the command again."""
    rng = kit.random("signals", number)
    system = list(systems.SYSTEMS)[number % len(systems.SYSTEMS)]
    whole, command, run = kit.whole(system), systems.args(system), folder / "runs" / "r"
    which = (signal.SIGINT, signal.SIGTERM)[number // len(systems.SYSTEMS) % 2]
    name = signal.Signals(which).name
    if rng.random() < 0.6:
        phase, strike = aimed(whole.operations, rng, which)
        child = server.start(system, command, folder, strike=strike)
        what = f"{system} {name} {phase}: {strike.at.kind} {strike.at.path} {strike.at.nth}"
    else:
        real = rng.random() < 0.7
        phase, seconds = "any moment", rng.uniform(0, kit.seconds(system) + SECONDS * real)
        child = server.start(system, command, folder, real=real)
        _sleep(child, seconds)
        child.send(which)
        what = f"{system} {name} after {seconds:.2f} s{' in a process of its own' * real}"
        if rng.random() < 0.2:
            _sleep(child, rng.uniform(0, 0.3), child.began + seconds)
            child.send(which)
            what += ", twice"
    done = child.wait()
    first = judge(done, which, looks.steps(run))
    if "twice" in what and done.code in (130, 1, 143):  # the second one may interrupt at once, without saving
        first = verdicts.manners(done, (0, 1, 130, 143)) or (EQUAL, "")
    trained = phase == "between" and "chunk" in what
    if trained and done.code != 0 and first[0] == EQUAL and "saved at step" not in done.out:
        first = SILENT, f"nothing saved between checkpoints: {verdicts.tail(done.out + done.err)}"
    again = server.start(system, command, folder).wait()
    kit.took(system, again.seconds)
    found = kit.look(run) if again.code == 0 else {}
    verdict, why = verdicts.worst(first, verdicts.finished(again, found, whole.wanted, done.err))
    return Result(verdict, what, why, (system, name, phase if done.code else "after the end"))


def _sleep(child: server.Child, seconds: float, since: float | None = None) -> None:
    until = (child.began if since is None else since) + seconds
    while time.monotonic() < until and not child.poll():
        time.sleep(0.005)
