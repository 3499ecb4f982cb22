"""Verdicts on the outcome of a case: pure functions of what a process said and what its directory holds."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

EQUAL, RAN, SAID, LOST, SILENT, TRACE, HANG = "bit-equal", "ran", "said", "lost", "silent", "trace", "hang"
VERDICTS = (EQUAL, RAN, SAID, LOST, SILENT, TRACE, HANG)
FAILURES = (LOST, SILENT, TRACE, HANG)
"""lost: refused, though it should have gone on; silent: something is wrong or missing, and nothing said so."""
LINES = 6
"""More lines than this on stderr are as bad as a trace."""
_TRACE = re.compile(
    r"Traceback \(most recent call last\)|^Fatal Python error|^Segmentation fault|terminate called|"
    r"^Exception (in thread|ignored)|core dumped|^[EF]\d{4} \d\d:\d\d:",
    re.MULTILINE,
)


class Done(NamedTuple):
    """A process that has ended."""

    code: int
    """As the shell's, but negative for a signal that killed it."""
    out: str
    err: str
    seconds: float
    hang: str = ""
    """The limit that it passed (time, memory), if any; it was then killed."""
    command: str = ""


class Result(NamedTuple):
    """The verdict on a case."""

    verdict: str
    what: str
    """The case in a few words."""
    why: str = ""
    tags: tuple[str, ...] = ()
    """Further rows of the table that it counts in, such as its system."""
    tried: int = 1


def tail(text: str, lines: int = 3) -> str:
    """The last lines of a text, in one."""
    return " | ".join(line.strip()[:300] for line in text.strip().splitlines()[-lines:])


def manners(done: Done, codes: Sequence[int] = (0, 1, 2)) -> tuple[str, str] | None:
    """The fault in how a process ended, whatever it did: a hang, a trace, a page of text, an exit code not in `codes`.

    Warnings of JAX's about a machine are not ours and do not count as lines.
    """
    if done.hang:
        return HANG, f"{done.hang}; {tail(done.err or done.out)}"
    if _TRACE.search(done.err):
        return TRACE, f"exit {done.code}: {tail(done.err)}"
    lines = [line for line in done.err.splitlines() if line.strip()]
    if len(lines) > LINES:
        return TRACE, f"{len(lines)} lines on stderr: {lines[0][:200]} ... {lines[-1][:200]}"
    if done.code not in codes:
        return (SILENT if done.code < 0 and not lines else TRACE), f"exit {done.code}: {tail(done.err)}"
    if done.code in (1, 2) and not any(line.startswith("error: ") for line in lines):
        return SILENT, f"exit {done.code} without an error: {tail(done.err or done.out)}"
    return None


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Names of the entries in which two looks differ, nested ones with dots."""
    names: list[str] = []
    for name in sorted(found.keys() | wanted.keys(), key=str):
        one, other = found.get(name), wanted.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            names += differences(one, other, f"{prefix}{name}.")
        elif one != other and not (one is None and other is None):
            names.append(f"{prefix}{name}")
    return names


def shown(names: Sequence[str]) -> str:
    """The first few of these names."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def finished(
    done: Done,
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    spoken: str = "",
    history: Mapping[str, Any] | None = None,
) -> tuple[str, str]:
    """The verdict on a command that should have finished a run: equal to the undisturbed one, or said to be otherwise.

    `spoken` is what earlier commands of the case said on stderr; with `done`'s own it may excuse a difference, but not
    one in an array: those must be the undisturbed run's of the same step, found in `history`.
    """
    fault = manners(done)
    if fault:
        return fault
    if done.code != 0:
        return LOST, tail(done.err)
    names = differences(found, wanted)
    if not names:
        return EQUAL, ""
    said = done.err + spoken
    sound = found.get("arrays") in (wanted.get("arrays"), (history or {}).get(str(found.get("step"))))
    if said.strip() and sound:
        return SAID, f"{shown(names)}: {tail(said)}"
    return SILENT, f"differ: {shown(names)}; said: {tail(said) or 'nothing'}"


def worst(*found: tuple[str, str] | None) -> tuple[str, str]:
    """The gravest of several verdicts."""
    return max((one for one in found if one is not None), key=lambda one: VERDICTS.index(one[0]))
