"""Damage to one file of a run: never silently wrong, never a trace, and a sound older checkpoint is used."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import looks, server, systems, verdicts
from ..verdicts import EQUAL, LOST, SAID, SILENT, Result

REAL = 10
"""One command in this many is a process of its own."""
STRIDE = 3
"""Cases go through the targets in steps of this, so that a short campaign meets runs as well as caches."""
SHAPES: tuple[Any, ...] = (
    None,
    [],
    {},
    "",
    0,
    -1,
    1.5,
    True,
    [None],
    {"a": {"b": []}},
    "x" * 300,
    10**30,
    [[]],
    float("nan"),
)
"""JSON values of other shapes than any file of ours has."""


def flip(data: bytes, rng: random.Random) -> bytes:
    """One bit."""
    place = rng.randrange(max(len(data), 1))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :] if data else b"\0"


def digit(data: bytes, rng: random.Random) -> bytes:
    """Another digit, which leaves JSON valid; a flip where there is none."""
    places = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    if not places:
        return flip(data, rng)
    place = rng.choice(places)
    other = rng.choice([d for d in b"123456789" if d != data[place]])
    return data[:place] + bytes([other]) + data[place + 1 :]


def cut(data: bytes, rng: random.Random) -> bytes:
    """Truncation."""
    return data[: rng.randrange(max(len(data), 1))]


def empty(data: bytes, rng: random.Random) -> bytes:
    """Nothing is left."""
    return b""


def zeros(data: bytes, rng: random.Random) -> bytes:
    """Zeros from somewhere to the end, as after a crash of the machine."""
    place = rng.randrange(max(len(data), 1))
    return data[:place] + bytes(len(data) - place)


def noise(data: bytes, rng: random.Random) -> bytes:
    """A block of other bytes."""
    place, size = rng.randrange(max(len(data), 1)), rng.choice((1, 8, 64))
    return data[:place] + rng.randbytes(size) + data[place + size :]


def reshaped(data: bytes, rng: random.Random) -> bytes:
    """JSON that parses, with one value, key or the whole replaced; noise for other files."""
    try:
        lines = data.decode().splitlines(keepends=True)
        whole = json.loads(data) if not _is_lines(data) else None
        if whole is None:
            place = rng.randrange(len(lines))
            lines[place] = json.dumps(_reshape(json.loads(lines[place]), rng)) + "\n"
            return "".join(lines).encode()
        return json.dumps(_reshape(whole, rng), indent=2).encode()
    except (ValueError, IndexError):
        return noise(data, rng)


def _is_lines(data: bytes) -> bool:
    lines = data.splitlines()
    return len(lines) > 1 and all(line.startswith(b"{") and line.endswith(b"}") for line in lines)


def _reshape(value: Any, rng: random.Random) -> Any:
    """`value` with one part of it, however deep, of another shape, missing or renamed."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return rng.choice([shape for shape in SHAPES if shape != value])
    changed: Any = value.copy()
    place = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    what = rng.random()
    if what < 0.2:
        changed.pop(place)
    elif what < 0.35 and isinstance(value, dict):
        changed[f"{place}_"] = changed.pop(place)
    else:
        changed[place] = _reshape(value[place], rng)
    return changed


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    damage.__name__: damage for damage in (flip, digit, cut, empty, zeros, noise, reshaped)
}


def hurt(file: Path, rng: random.Random) -> str:
    """Damage a file in one way, or delete it; returns which."""
    how = rng.choice([*DAMAGES, "gone"])
    if how == "gone":
        file.unlink()
        return how
    data = file.read_bytes()
    for _ in range(20):
        damaged = DAMAGES[how](data, rng)
        if damaged != data:
            break
    file.write_bytes(damaged)
    return how


def kind_of(file: Path, run: Path) -> str:
    """The kind of file, for the table."""
    parts = file.relative_to(run).parts
    if parts[0] != "checkpoints":
        return parts[0] if len(parts) == 1 else f"{parts[0]}/"
    return "checkpoint manifest" if "manifest" in parts else "checkpoint data" if "d" in parts else "checkpoint index"


def files(run: Path) -> dict[str, list[Path]]:
    """The files of a run by kind."""
    found: dict[str, list[Path]] = {}
    for file in sorted(run.rglob("*")):
        if file.is_file() and file.name != ".lock":
            found.setdefault(kind_of(file, run), []).append(file)
    return found


def pick(run: Path, rng: random.Random) -> tuple[str, Path]:
    """A file: the kind first, then one of them; of checkpoints mostly the newest's."""
    by_kind = files(run)
    kind = rng.choice(sorted(by_kind))
    chosen = by_kind[kind]
    if kind.startswith("checkpoint") and rng.random() < 0.7:
        newest = run / "checkpoints" / str(looks.steps(run)[-1])
        chosen = [file for file in chosen if file.is_relative_to(newest)] or chosen
    return kind, rng.choice(chosen)


def case(kit: systems.Kit, number: int, folder: Path) -> Result:
    """One damaged file of a finished or an unfinished run, then its command again, more epochs, or `jaxgen.load`."""
    from .. import stores

    rng = kit.random("damage", number)
    targets = [*systems.SYSTEMS, *stores.STORES]
    system = targets[number * STRIDE % len(targets)]
    if system in stores.STORES:
        verdict, what, why = stores.case(kit, system, rng, folder)
        return Result(verdict, what, why, (system,))
    state, act = rng.choice((("finished", "again"), ("finished", "load"), ("stopped", "again"), ("stopped", "load")))
    source = stopped(kit, system) if state == "stopped" else kit.whole(system).folder
    shutil.copytree(source / "runs", folder / "runs")
    run = folder / "runs" / "r"
    kind, file = pick(run, rng)
    how = hurt(file, rng)
    if state == "finished" and kind == "figures/":  # nothing draws it again, and whoever opens it sees
        act = "load"
    what = f"{system}, {state}, {how} {file.relative_to(run)}, {act}"
    verdict, why = (
        _again(kit, system, folder, number % REAL == REAL - 1) if act == "again" else _loaded(kit, system, run, source)
    )
    return Result(verdict, what, why, (system, kind))


def stopped(kit: systems.Kit, system: str) -> Path:
    """A working directory with a run that lacks its result and its last checkpoint."""
    folder = kit.work / f"stopped-{system}"
    if not folder.exists():
        shutil.copytree(kit.whole(system).folder, folder)
        run = folder / "runs" / "r"
        (run / "result.json").unlink()
        shutil.rmtree(run / "checkpoints" / str(looks.steps(run)[-1]))
    return folder


def _again(kit: systems.Kit, system: str, folder: Path, real: bool) -> tuple[str, str]:
    done = server.start(system, systems.args(system), folder, real=real).wait()
    if done.code != 0:
        return verdicts.manners(done) or refused(done)
    whole = kit.whole(system)
    return verdicts.finished(done, kit.look(folder / "runs" / "r"), whole.wanted, history=whole.look["history"])


def refused(done: verdicts.Done) -> tuple[str, str]:
    """A refusal is said, unless it is about a checkpoint, where a sound older one lies beside."""
    about = "checkpoint" in done.err and "settings" not in done.err
    return (LOST if about else SAID), verdicts.tail(done.err)


def _loaded(kit: systems.Kit, system: str, run: Path, source: Path) -> tuple[str, str]:
    done, value = server.call(lambda: loaded(run), run.parent)
    wanted = kit.loaded(system, source)
    if value is None or "error" in value:
        if value is None:
            return verdicts.manners(done) or (SILENT, "nothing came back")
        return refused(done._replace(err=value["error"]))
    fault = verdicts.manners(done)
    if fault:
        return fault
    history = kit.whole(system).look["history"]
    of_step = history.get(str(value["step"]))
    if value["arrays"] and (of_step is None or any(of_step.get(n) != sha for n, sha in value["arrays"].items())):
        return SILENT, f"arrays of step {value['step']} are not that step's; said: {verdicts.tail(done.err)}"
    names = [name for name in verdicts.differences(value, wanted) if not name.startswith("arrays")]
    if not names:
        return EQUAL, ""
    if done.err.strip():
        return SAID, f"{verdicts.shown(names)}: {verdicts.tail(done.err)}"
    return SILENT, f"differ: {verdicts.shown(names)}; said: nothing"


def loaded(run: Path) -> dict[str, Any]:
    """A run as `jaxgen.load` reads it; its one-line error, if it refuses."""
    import numpy as np

    import jaxgen
    from jaxgen.engine.loop import named_leaves
    from jaxgen.errors import UserError
    from jaxgen.launch import command_line

    command_line.use_compilation_cache()
    try:
        found = jaxgen.load(run)
    except UserError as error:
        return {"error": f"error: {error}"}
    arrays = {f"state.{name}": looks.digest(np.asarray(leaf)) for name, leaf in named_leaves(found.state).items()}
    values = {name: getattr(found, name) for name in ("seed", "step", "steps_per_epoch", "status", "warning")}
    texts = {name: repr(getattr(found, name)) for name in ("config", "hparams", "facts", "experiment")}
    rows = [{k: v for k, v in row.items() if k != "crc32"} for row in found.rows]
    return {**values, **texts, "rows": json.loads(json.dumps(rows)), "arrays": arrays}
