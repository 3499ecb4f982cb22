"""`jaxgen runs`, `show` and `compare`: run directories as tables."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from jaxgen.errors import SettingError


@dataclass(frozen=True)
class Runs:
    """A table of the runs below a folder: experiment, data, objective, steps, seconds, state."""

    root: tyro.conf.Positional[Path] = Path("runs")
    """The folder that holds them."""
    json: bool = False
    """Print a JSON list instead of a table."""

    def run(self) -> None:
        """Print the table."""
        from jaxgen.runs import listing

        found = listing.entries(self.root)
        if self.json:
            print(json.dumps([one.to_json() for one in found], indent=2))
            return
        rows = [
            (
                str(one.path.relative_to(self.root)),
                one.state + (" !" if one.note else ""),
                one.experiment or "-",
                one.data or "-",
                "-" if one.value is None else f"{one.objective} {one.value}",
                one.progress(),
                f"{one.seconds:.1f}" if one.seconds else "-",
            )
            for one in found
        ]
        if not rows:
            print(f"{self.root} holds no runs yet")
            return
        print(table([("run", "state", "experiment", "data", "objective", "steps", "seconds"), *rows]))
        for one in found:
            if one.note:
                print(f"! {one.path}: {one.note}")


@dataclass(frozen=True)
class Show:
    """One run: its settings, data, sessions, and the last value of each metric."""

    path: tyro.conf.Positional[Path]
    """The run directory."""
    json: bool = False
    """Print a JSON object instead of lines."""

    def run(self) -> None:
        """Print the run."""
        from jaxgen.files import read_json_list
        from jaxgen.runs import directory, listing, metrics
        from jaxgen.runs import settings as settings_lib

        record = directory.read_record(self.path)
        one, sessions = listing.entry(self.path), read_json_list(self.path / "sessions.json")
        values = listing.last_values(metrics.read(self.path / "metrics.jsonl"))
        if self.json:
            numbers = {name: number._asdict() for name, number in values.items()}
            print(json.dumps({**one.to_json(), "record": record, "sessions": sessions, "metrics": numbers}, indent=2))
            return
        print(f"{self.path}: {one.experiment}, {one.state} at step {one.progress()}{_alarm(one.note)}")
        print(f"  data: {described(record['data'])}")
        for session in sessions:
            packages = session.get("packages", {})
            versions = ", ".join(f"{name} {packages[name]}" for name in ("jax", "jaxgen") if name in packages)
            print(f"  {session.get('started')}: {session.get('command')}  ({session.get('device_kind')}, {versions})")
        print("settings")
        print(table([(f"  {name}", str(value)) for name, value in settings_lib.flat(record["settings"]).items()]))
        print("metrics, last values")
        print(table([(f"  {name}", str(number)) for name, number in values.items()]))


@dataclass(frozen=True)
class Compare:
    """Runs side by side: the settings that differ, the last metrics, and the learning curves as a figure."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Two or more run directories; one of many seeds shows its mean and standard error."""
    out: Path = Path("comparison.png")
    """File for the curves."""
    metric: str | None = None
    """Metric of the curves; default: the algorithm's objective, else the first that all runs have."""
    json: bool = False
    """Print a JSON object instead of tables."""

    def run(self) -> None:
        """Print the comparison and draw the curves."""
        from jaxgen.report import comparison
        from jaxgen.runs import directory, listing, metrics

        if len(self.paths) < 2:
            raise SettingError("name two or more run directories to compare")
        names = short_names(self.paths)
        records = {name: directory.read_record(path) for name, path in zip(names, self.paths, strict=True)}
        rows = {n: metrics.read(path / "metrics.jsonl") for n, path in zip(names, self.paths, strict=True)}
        changed = listing.differences(records)
        values = {name: listing.last_values(one) for name, one in rows.items()}
        metric = self.metric or comparison.metric_of(records, values)
        comparison.draw(self.out, rows, metric)
        if self.json:
            numbers = {name: {m: n._asdict() for m, n in one.items()} for name, one in values.items()}
            print(json.dumps({"settings": changed, "metrics": numbers, "figure": str(self.out)}, indent=2))
            return
        print("settings that differ" if changed else "the settings are the same")
        fields = [(f"  {field}", *(str(of[name]) for name in names)) for field, of in changed.items()]
        print(table([("", *names), *fields]) if fields else "", end="\n" if fields else "")
        print("metrics, last values")
        every = dict.fromkeys(name for one in values.values() for name in one)
        print(table([("", *names), *((f"  {m}", *(str(values[n].get(m, "-")) for n in names)) for m in every)]))
        print(f"curves of {metric} in {self.out}")


def _alarm(note: str | None) -> str:
    return f"; {note}" if note else ""


def described(data: dict[str, Any] | None) -> str:
    """A record's data set in a line."""
    if data is None:
        return "none, the algorithm makes its own"
    shape = "x".join(map(str, data["image_shape"]))
    return f"{data['name']} {data['version']}, {data['train']:,} and {data['test']:,} images of {shape}"


def short_names(paths: Sequence[Path]) -> list[str]:
    """The folders' own names if they differ, else the paths."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
