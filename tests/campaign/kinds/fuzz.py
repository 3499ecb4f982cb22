"""Command lines of nonsense and extremes for every field of every experiment: a run, or one line that refuses it."""

import dataclasses
import importlib
import itertools
import math
import random
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .. import server, systems, verdicts
from ..verdicts import RAN, SAID, SILENT, TRACE, Result

LIMIT = 20.0
"""Seconds of silence that are a hang."""
TRAINING = 0.3
"""Seconds of training after which most valid commands have been seen to work; the others run to their figures."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


TEXTS = (
    *_words("|.|..|../x|a/b|\x1b[31mred|\r|é|\udcff\udcfe|😀|\u202egnp|-|--|---|-1|%s%n%d|$(id)|`id`|*|{}|{0}|\\|a b"),
    *_words("../../x|~|~nobody|con|a:b|a=b|a,b|\u2013x|\uff11\uff12|0x10|1_000|true|[]|=|@x|'|\"|None|a\nb|a\tb| "),
    *("x" * 300, "y" * 5000),
)
PATHS = (*TEXTS, *_words("/dev/null|/dev/null/x|/proc|/proc/self/mem|nowhere/at/all|/dev/full|/sys/x"))
INTS = (
    *_words("0|1|2|3|5|7|-1|16|33|100|257|1000|4097|65536|1000000|10000000|100000000|1000000000"),
    *(str(2**power + more) for power in (31, 32, 63) for more in (-1, 0)),
    "9" * 30,
)
FLOATS = (
    *_words("0|-0.0|1e-3|0.1|0.5|0.999999999|1|1.000001|-1|2|100|1e-7|1e-30|1e-37|1e-39|1e-45|1e-46|1e-60|1e-400"),
    *_words("1e9|1e30|3.4e38|3.5e38|1e39|1e60|1e308|1e400|inf|-inf|nan"),
)
NO_NUMBERS = _words("1e3|1.5|1.0||nan|inf|0x10|\uff11\uff12|1_000| 1|None|True|1,5|1e|0x1p3|-|--|+1|-0|" + "9" * 5000)
"""Texts that are no number, or one only to some readers."""
PARTS = ("data", "config", "hparams", "run")
NETWORK = ("data.source", "run.distributed", "run.coordinator", "run.processes", "run.process", "run.heartbeat_timeout")
"""Fields whose ordinary values would download, or wait for other processes: these get other values below."""
SOURCES = (*TEXTS, *_words("digits |Digits|folder|rda|petals|digit|mnist/x|nosuch:1.0.0|emnist/|:|/"))
COORDINATORS = (
    "nohost",
    "nohost:",
    ":1",
    "nohost:x",
    "localhost:-1",
    "localhost:99999999",
    "localhost:0",
    "::1",
    "a:b:c",
)
LOST = "config.image_shape", "config.examples"
"""Fields that the data overwrite: an axis over them changes nothing."""


def fields_of(settings: Any) -> dict[str, Any]:
    """The type of every field of nested settings, by dotted name."""
    found: dict[str, Any] = {}
    for part in PARTS:
        value = getattr(settings, part)
        if value is not None:
            found |= _nested(part, type(value))
    return found


def _nested(prefix: str, kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        dotted = f"{prefix}.{name}"
        found |= _nested(dotted, hint) if dataclasses.is_dataclass(hint) else {dotted: hint}
    return found


def words(hint: Any, rng: random.Random) -> list[str]:
    """Values for a field of this type, mostly wrong ones."""
    if get_origin(hint) in (types.UnionType, Union):
        return words(rng.choice([kind for kind in get_args(hint) if kind is not type(None)]), rng)
    if rng.random() < 0.06:
        return [rng.choice((*TEXTS, *NO_NUMBERS))]
    if get_origin(hint) is Literal:
        choice = str(rng.choice(get_args(hint)))
        return [rng.choice((choice, choice, choice, choice[:-1], choice.upper(), f"{choice} "))]
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return [word for _ in range(rng.choice((0, 1, 1, 2, 3, 3, 4, 40))) for word in words(inner, rng)[:1]]
    return [rng.choice({int: INTS, float: FLOATS, Path: PATHS}.get(hint, TEXTS))]


def option(name: str, hint: Any, rng: random.Random) -> list[str]:
    """A field as command-line words."""
    flag = f"--{name.replace('_', '-')}"
    if hint is bool:
        return rng.choice(([flag], [f"--{'.no-'.join(name.replace('_', '-').rsplit('.', 1))}"], [flag, "True"]))
    if name == "data.source":
        values = [rng.choice(SOURCES)]
    elif name == "run.coordinator":
        values = [rng.choice(COORDINATORS)]
    else:
        values = words(hint, rng)
    return [f"{flag}={values[0]}"] if len(values) == 1 and rng.random() < 0.7 else [flag, *values]


def without(args: Sequence[str], flag: str) -> list[str]:
    """A command line without an option."""
    kept, inside = [], False
    for word in args:
        if word.startswith("--"):
            inside = word.partition("=")[0] == flag
        if not inside:
            kept.append(word)
    return kept


def command(system: str, rng: random.Random) -> tuple[list[str], list[str]]:
    """A small run's command line with one to three fields changed, and the changed words."""
    settings = importlib.import_module(system).EXPERIMENT.settings("quick")
    known = fields_of(settings)
    args = systems.args(system)
    args[args.index("--run.epochs") + 1] = "1"
    changed: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        name = rng.choice(sorted(known.keys() - set(NETWORK) | {"data.source", "run.coordinator"} & known.keys()))
        args = without(args, f"--{name.replace('_', '-')}")
        changed += option(name, known[name], rng)
    if rng.random() < 0.05:
        changed += rng.choice(
            (["junk"], ["--nosuch", "1"], ["--preset", rng.choice(TEXTS)], ["--help"], ["--"], ["--run.epoch", "1"])
        )
    return [*args, *changed], changed


def axis(known: dict[str, Any], rng: random.Random) -> str:
    """An axis of a sweep or a search."""
    name = rng.choice(
        [*known, *[name for name in known if name.startswith("hparams.")] * 2, "seed", *rng.sample(TEXTS, 2)]
    )
    hint = known.get(name, int)
    low, high, count = (words(hint, rng)[:1] for _ in range(3))
    ends = [end[0] if end else "" for end in (low, high, count)]
    kind = rng.choice(
        ("lin:{}:{}:3", "log:{}:{}:2", "{}:{}", "{},{}", "{}", "log:{}:{}", "uniform:{}:{}", "1:{}", "{},{},{}")
    )
    if rng.random() < 0.2:
        kind = rng.choice(
            ("lin:{}:{}:{}", "log:1e-3:1e-2:{}", "1e-3,1e-2", "0:2", "1e-3,1e-3", ",", "", ":", "log:", "lin:1:2")
        )
    return f"{name}={kind.format(*ends)}"


def swept(rng: random.Random) -> tuple[str, list[str], list[str]]:
    """A sweep's or search's command line."""
    system = rng.choice(("ae_mnist", "vae_mnist", "gan_mnist", "dqn_cartpole"))
    known = fields_of(importlib.import_module(system).EXPERIMENT.settings("quick"))
    args = systems.args(system)
    args[args.index("--run.epochs") + 1] = "1"
    axes = [word for _ in range(rng.choice((1, 1, 2))) for word in ("--axis", axis(known, rng))]
    if rng.random() < 0.5:
        return "search", [system, *args, "--trials", "2", "--batch", "2", *axes], axes
    more = rng.choice(
        ([], [], ["--dry-run"], ["--zip"], ["--draws", rng.choice(INTS)], ["--group-size", rng.choice(INTS)])
    )
    return "sweep", [system, *args, *axes, *more], [*axes, *more]


TOOLS: dict[str, dict[str, Any]] = {
    "evaluate_vae": {"samples": int, "images": int, "seed": int, "against": Path},
    "evaluate_gan": {"samples": int, "seed": int, "features": Path, "classifier-updates": int},
    "export_samples": {"count": int, "seed": int, "out": str},
}


def tool(kit: systems.Kit, rng: random.Random) -> tuple[str, list[str], list[str]]:
    """The command line of a script that uses a finished run, often of the wrong kind."""
    script = rng.choice(sorted(TOOLS))
    system = rng.choice(("vae_mnist", "gan_mnist", "ae_mnist"))
    run = str(kit.whole(system).folder / "runs" / "r") if rng.random() < 0.9 else rng.choice(PATHS)
    names = rng.sample(sorted(TOOLS[script]), rng.choice((1, 1, 2)))
    changed = [f"--{name}={rng.choice(words(TOOLS[script][name], rng) or [''])}" for name in names]
    if script == "export_samples" and "out" not in names:
        changed.append("--out=out")
    return script, [run, *changed], [system, *changed]


def _trained(child: server.Child) -> bool:
    """Whether it has begun to train, or to score as many samples as it was asked for, some time ago."""
    if child.trained_at is None:
        if "\n  parameters " in child.out() or child.out().startswith(("scoring ", "writing ")):
            child.trained_at = time.monotonic()
        return False
    return time.monotonic() - child.trained_at > TRAINING


def judge(done: verdicts.Done, changed: Sequence[str], folder: Path, script: str) -> tuple[str, str]:
    """The verdict on a fuzzed command."""
    fault = verdicts.manners(done)
    if fault:
        return fault
    lines = [line for line in done.err.splitlines() if line.strip()]
    if done.code and not lines[-1].startswith("error: "):
        return TRACE, f"more than a line: {verdicts.tail(done.err, 6)}"
    if done.code == 2 and (folder / "runs").exists():
        return (
            SILENT,
            f"refused, but leaves {', '.join(sorted(p.name for p in (folder / 'runs').iterdir()))}: {lines[-1][:200]}",
        )
    if done.code == 0 and "--help" in changed:  # which refuses nothing
        return RAN, ""
    if done.code == 0:
        lost = [
            f"{a}{b}" for a, b in _values(changed) if a.startswith("--hparams.") and _is_lost_in_single_precision(b)
        ]
        if lost:
            return SILENT, f"{', '.join(lost)} is accepted, and is no such number in single precision"
        ignored = [word for word in changed if script != "run" and word.startswith(LOST)]
        if ignored:
            return SILENT, f"axis {ignored[0]} is accepted, and changes nothing"
        return RAN, ""
    return SAID, lines[-1][:300]


def _values(changed: Sequence[str]) -> list[tuple[str, str]]:
    """Options and their values, of either form."""
    joined = [(flag + "=", value) for flag, equal, value in (word.partition("=") for word in changed) if equal]
    apart = [(flag + " ", value) for flag, value in itertools.pairwise(changed) if flag.startswith("--")]
    return joined + [(flag, value) for flag, value in apart if "=" not in flag]


def _is_lost_in_single_precision(text: str) -> bool:
    import numpy as np

    try:
        value = float(text)
    except ValueError:
        return False
    with np.errstate(all="ignore"):
        single = float(np.float32(value))
    return not math.isfinite(single) or (single == 0) != (value == 0)


def case(kit: systems.Kit, number: int, folder: Path) -> Result:
    """One command line."""
    rng = kit.random("fuzz", number)
    kinds = [*systems.SYSTEMS, "swept", "swept", "tool"]
    system = kinds[number % len(kinds)]
    if system == "swept":
        script, args, changed = swept(rng)
    elif system == "tool":
        script, args, changed = tool(kit, rng)
    else:
        script, (args, changed) = system, command(system, rng)
    inner = folder / "a" / "b" / "c"
    inner.mkdir(parents=True)
    early = (
        rng.random() < 0.7
        or system == "tool"
        or any(name in word for word in changed for name in ("run.epochs", "run.seeds"))
    )
    done = server.start(script, args, inner, real=number % 50 == 49).wait(LIMIT, _trained if early else None)
    verdict, why = judge(done, changed, inner, "run" if script == system else script)
    return Result(verdict, f"{script} {changed!r}", why, (script,))
