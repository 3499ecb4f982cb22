"""The facts of a run directory that its page shows, as text and JSON values; needs neither data nor model."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from jaxgen.errors import UserError, warn
from jaxgen.files import Json, interpreting, read_json_list
from jaxgen.proof import verdict
from jaxgen.runs import directory, listing, metrics
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.metrics import Row

PRIVATE = ("run.name", "run.root", "data.path", "data.data_dir", "run.coordinator")
"""Settings that name places of the machine: a page may be sent to others."""


class Facts(NamedTuple):
    """A run at a glance."""

    path: Path
    record: Json
    entry: listing.Entry
    sessions: list[Json]
    result: Json
    rows: list[Row]
    values: dict[str, listing.Number]
    """The last value of each metric."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def seeds(self) -> list[int]:
        """The seeds of its members."""
        members = self.record.get("members")
        return list(members["seeds"]) if members else [self.record["settings"]["run"].get("seed", 0)]


def read(path: Path) -> Facts:
    """The facts of the run in the directory `path`."""
    record = directory.read_record(path)
    with interpreting(path / "settings.json"):
        described(record["data"])
        if not isinstance(record["algorithm"], str | None):
            raise TypeError(f"algorithm is {record['algorithm']!r}")
    rows = metrics.read(path / "metrics.jsonl", lambda message: None)
    return Facts(
        path,
        record,
        listing.entry(path),
        _sessions(path / "sessions.json"),
        directory.read_result(path, lambda message: None) or {},
        rows,
        listing.last_values(rows),
    )


def _sessions(path: Path) -> list[Json]:
    """The sessions; none, with a warning, if they cannot be read, for the rest can be shown without."""
    try:
        return read_json_list(path)
    except (UserError, OSError) as error:
        warn(f"the page does not say on which machine it was trained: {error}")
        return []


def of_member(facts: Facts, place: int) -> Facts:
    """The same of one of its members, as if it had been trained alone."""
    members = facts.record["members"]
    hparams = dict(facts.record["settings"]["hparams"])
    for name, values in members["hparams"].items():
        *outer, last = name.split(".")
        inner = hparams
        for part in outer:
            inner[part] = inner = dict(inner[part])
        inner[last] = short(values[place])
    run = {**facts.record["settings"]["run"], "seed": members["seeds"][place]}
    settings = {**facts.record["settings"], "hparams": hparams, "run": run}
    record = {name: value for name, value in facts.record.items() if name != "members"} | {"settings": settings}
    rows = [{k: v[place] if isinstance(v, list) else v for k, v in row.items()} for row in facts.rows]
    values = listing.last_values(rows)
    value = values.get(facts.entry.objective) if facts.entry.objective else None
    return facts._replace(record=record, rows=rows, values=values, entry=facts.entry._replace(value=value))


def head(facts: Facts) -> dict[str, str]:
    """The facts at the top of the page, by name."""
    record, entry, session = facts.record, facts.entry, facts.sessions[-1] if facts.sessions else {}
    epochs = facts.result.get("epochs", record["settings"]["run"].get("epochs"))
    packages = session.get("packages", {})
    versions = [f"{name} {packages[name]}" for name in ("jaxgen", "jax", "jaxlib", "flax", "optax") if name in packages]
    preset = record["settings"].get("preset")
    many = f"{len(facts.seeds)} seeds: {', '.join(map(str, facts.seeds))}" if len(facts.seeds) > 1 else None
    found = {
        "Experiment": f"{record['experiment']}" + (f", preset {preset}" if preset else ""),
        "Algorithm": record["algorithm"] or "one of the user's own",
        "Data": described(record["data"]),
        "Objective": objective(entry),
        "Seed": many or str(facts.seeds[0]),
        "Trained for": f"{entry.step:,} steps" + (f" ({epochs} epoch{'s' * (epochs != 1)})" if facts.result else ""),
        "Time": _time(facts.result),
        "Processor": _processor(session),
        "Versions": ", ".join([*([f"Python {session['python']}"] if "python" in session else []), *versions]),
        "Code": (session.get("git_revision") or "")[:12],
        "Verified": _verified(facts),
        "State": entry.state,
    }
    return {name: text for name, text in found.items() if text}


def described(data: Json | None) -> str:
    """A record's data set in a line."""
    if data is None:
        return "none, the algorithm makes its own"
    shape = "x".join(map(str, data["image_shape"]))
    return f"{data['name']} {data['version']}: {data['train']:,} training and {data['test']:,} test images of {shape}"


def objective(entry: listing.Entry) -> str:
    """The objective's name and last value, with its standard error over members."""
    if entry.objective is None:
        return "none, the losses of two players say little"
    if entry.value is None:
        return f"{entry.objective}, not evaluated yet"
    return f"{entry.objective} {number(entry.value)}"


def number(value: listing.Number | None) -> str:
    """A metric's value, over several members with its standard error."""
    if value is None:
        return "-"
    if value.error is None:
        return f"{value.value:.4g}"
    return f"{value.value:.4g} ± {value.error:.2g} (mean and standard error of {value.members} members)"


def _verified(facts: Facts) -> str:
    """The finding of the last `jaxgen verify`."""
    found = verdict.recorded(facts.path)
    if found is None:
        return "not yet; jaxgen verify RUN makes parts of it again and compares them"
    how = "bit for bit" if found.exact else "to rounding"
    arrays = "" if found.checkpoints is None else " and the arrays of {} of {} checkpoints".format(*found.checkpoints)
    made = f"{found.made:,} of {found.steps:,} steps{arrays} made again"
    if not found.passed:
        return f"NOT passed on {found.at[:10]}: {made}, and something differs (a record of jaxgen verify)"
    since = f"; {facts.entry.step - found.steps:,} steps were trained since" if facts.entry.step > found.steps else ""
    return f"passed on {found.at[:10]}: {made} and equal {how}{since} (a record of jaxgen verify, not a proof)"


def _time(result: Json) -> str:
    if not result:
        return ""
    return f"{result['train_seconds']:,.1f} s of training, {result['compile_seconds']:,.1f} s of compilation"


def _processor(session: Json) -> str:
    processor = session.get("processor") or {}
    cores = f", {processor['cores']} cores" if "cores" in processor else ""
    kind, devices = session.get("device_kind"), len(session.get("devices", ()))
    if kind in (None, "cpu"):
        return f"{processor.get('model', '')}{cores}"
    return f"{devices} x {kind}" if devices > 1 else str(kind)


def command(facts: Facts) -> str:
    """The first session's command."""
    return (facts.sessions[0].get("command") or "") if facts.sessions else ""


def public(command: str) -> str:
    """A command without the places of its machine."""
    try:
        return shlex.join(_public(shlex.split(command)))
    except ValueError:
        return ""


def _public(words: Sequence[str]) -> list[str]:
    private = {f"--{name.replace('_', '-')}" for name in PRIVATE if name not in ("run.name", "data.path")}
    kept: list[str] = []
    skip = False
    for word in words:
        name, equals, _ = word.replace("_", "-").partition("=")
        if skip:
            skip = False
        elif name in private:
            skip = not equals
        elif name == "--data.path":
            kept.append("--data.path=PATH")
            skip = not equals
        else:
            kept.append(_relative(word))
    return kept


def _relative(word: str) -> str:
    """An absolute path of a script as a path of the repository, or its name."""
    path = PurePath(word)
    if not path.is_absolute():
        return word
    return "/".join(path.parts[-2:]) if path.parent.name == "experiments" else path.name


def settings(record: Json, preset: Json | None = None) -> list[tuple[str, str, str | None]]:
    """(name, value, the preset's value where it differs), without places of this machine."""
    flat = settings_lib.flat(record["settings"])
    wanted = None if preset is None else settings_lib.flat(preset)
    rows = []
    for name, value in flat.items():
        if name in PRIVATE or name == "preset":
            continue
        before = None if wanted is None or wanted.get(name) == value else str(wanted.get(name))
        rows.append((name, str(value), before))
    return rows


def series(facts: Facts) -> dict[str, Json]:
    """By metric: steps, values and, over several members, standard errors; None where not finite."""
    found: dict[str, Json] = {}
    for row in facts.rows:
        if row.get("partial"):
            continue
        for name, value in row.items():
            if "/" not in name:
                continue
            one = listing.number_of(value)
            line = found.setdefault(name, {"steps": [], "values": [], "errors": [], "members": 1})
            line["steps"].append(row["step"])
            line["values"].append(None if one is None else short(one.value))
            line["errors"].append(None if one is None or one.error is None else short(one.error))
            line["members"] = max(line["members"], 1 if one is None else one.members)
    for line in found.values():
        if not any(line["errors"]):
            del line["errors"]
    return found


def short(value: float | None) -> float | None:
    """A number with the digits that a page needs."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def charts(found: Mapping[str, Any], first: str | None) -> list[tuple[str, list[str]]]:
    """Charts and their metrics: train and test of one quantity together, that of `first` at the top."""
    groups: dict[str, list[str]] = {}
    for name in sorted(found, key=lambda name: not name.startswith("test/")):
        groups.setdefault(name.partition("/")[2], []).append(name)
    leading = None if first is None else first.partition("/")[2]
    return sorted(groups.items(), key=lambda item: item[0] != leading)


def units(facts: Facts, steps_per_epoch: int | None) -> dict[str, float]:
    """A training step in each unit of the curves' axis; seconds at the run's mean speed."""
    found = {"steps": 1.0}
    epochs, step = facts.result.get("epochs"), facts.result.get("step")
    if steps_per_epoch:
        found["epochs"] = 1 / steps_per_epoch
    elif epochs and step:
        found["epochs"] = epochs / step
    if facts.result.get("train_seconds") and step:
        found["seconds"] = facts.result["train_seconds"] / step
    return found
