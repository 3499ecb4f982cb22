"""Numbers of the book: finished runs, or a benchmark's rows, as one small JSON file in docs/results.

    python docs/collect.py ae-chapter runs/ae_mnist-001
    python docs/collect.py vae-mlp runs/mlp-0 runs/mlp-1 runs/mlp-2      # equal settings but for the seed
    python docs/collect.py gan-chapter runs/gan_mnist-001 --at 5 10 15 20
    python docs/collect.py train benchmark.jsonl --command "python experiments/benchmark.py train"

A file records where its numbers come from (command, revision, versions, processor, settings and their SHA-256, seeds)
and, under `values`, the numbers: metrics as one value a seed with their mean and standard deviation. A table of the
book names its files in a comment, and tests/docs/test_numbers.py compares each of its numbers with theirs.
"""

import hashlib
import json
import re
import shlex
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen.errors import UserError
from jaxgen.files import Json, read_json, read_json_list
from jaxgen.launch import command_line
from jaxgen.runs import metrics

RESULTS = Path(__file__).with_name("results")
ELSEWHERE = ("--run.root", "--run.name", "--data.data-dir")
"""Options of a command that say where files are."""


@dataclass(frozen=True)
class Settings:
    """The file to write, and where its numbers come from."""

    name: tyro.conf.Positional[str]
    """Name of the file, without .json."""
    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Directories of finished runs with equal settings but for the seed, or a benchmark's file."""
    at: tuple[int, ...] = ()
    """Epochs at which to record test metrics, and means of training metrics since the start."""
    command: str | None = None
    """The benchmark's command line; runs know theirs."""
    to: Path = RESULTS
    """Folder to write."""


def spread(values: Sequence[float]) -> Any:
    """One value as itself, several with their mean and standard deviation."""
    short = [float(f"{value:.7g}") for value in values]
    if len(short) == 1:
        return short[0]
    return {"seeds": short, "mean": statistics.fmean(short), "sd": statistics.stdev(short)}


def merged(records: Sequence[Any]) -> Any:
    """Nested records as one: values that are the same in all, numbers with their spread, others listed."""
    if all(one == records[0] for one in records):
        return records[0]
    if all(isinstance(one, dict) and one.keys() == records[0].keys() for one in records):
        return {name: merged([one[name] for one in records]) for name in records[0]}
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in records)
    return spread(records) if numbers else list(records)


def public(command: str) -> str:
    """A recorded command without the options that say where files are."""
    words, kept = shlex.split(command), []
    while words:
        word = words.pop(0)
        if word.partition("=")[0] in ELSEWHERE:
            words = words if "=" in word else words[1:]
        elif word == "--data.path":
            kept += [word, "FOLDER"]
            words.pop(0)
        elif word != "--run.no-progress":
            kept.append(word)
    return shlex.join(kept)


def of_runs(paths: Sequence[Path], at: Sequence[int]) -> Json:
    """The record of finished runs with equal settings but for the seed."""
    records = [read_json(path / "settings.json") for path in paths]
    sessions = [read_json_list(path / "sessions.json")[-1] for path in paths]
    settings = [_settings(record) for record in records]
    if any(one != settings[0] for one in settings):
        raise UserError(f"{', '.join(map(str, paths))} differ in more than the seed")
    results = [_result(path) for path in paths]
    rows = [metrics.read(path / "metrics.jsonl") for path in paths]
    steps_per_epoch = results[0]["step"] // results[0]["epochs"]
    values: Json = {"epochs": results[0]["epochs"], "steps": results[0]["step"]}
    for name in ("train_seconds", "compile_seconds", "environment_steps"):
        if name in results[0]:
            values[name] = spread([result[name] for result in results])
    values |= {name: spread(_each(results, name)) for name in results[0] if "/" in name}
    for epoch in at:
        values[f"epoch {epoch}"] = _at(rows, epoch * steps_per_epoch)
    for name in ("returns", "collapsed"):
        if name in results[0]:
            values[name] = [_summary(result[name]) for result in results]
    evaluations = [read_json(file) for path in paths for file in _evaluations(path)]
    if evaluations:
        values["evaluations"] = merged([_without_paths(one) for one in evaluations])
    return {
        "origin": "measured",
        "commands": sorted({public(session["command"]) for session in sessions}),
        "revision": sessions[0]["git_revision"],
        "versions": {"python": sessions[0]["python"], **sessions[0]["packages"]},
        "processor": f"{sessions[0]['processor']['model']}, {sessions[0]['processor']['cores']} cores",
        "settings_sha256": hashlib.sha256(json.dumps(settings[0], sort_keys=True).encode()).hexdigest(),
        "seeds": [seed for record in records for seed in _seeds(record)],
        "values": values,
    }


def _settings(record: Json) -> Json:
    """The settings that numbers depend on, without the seed and the places of files."""
    settings = {name: part for name, part in record["settings"].items() if name != "preset"}
    for part, fields in (("run", ("seed", "name", "root", "progress")), ("data", ("path", "data_dir"))):
        if settings.get(part):
            settings[part] = {name: value for name, value in settings[part].items() if name not in fields}
    return settings


def _result(path: Path) -> Json:
    if not (path / "result.json").is_file():
        raise UserError(f"{path} is not a finished run: it has no result.json")
    return read_json(path / "result.json")


def _seeds(record: Json) -> list[int]:
    return record["members"]["seeds"] if record.get("members") else [record["settings"]["run"]["seed"]]


def _each(tables: Iterable[Json], name: str) -> list[float]:
    """A metric's value for every seed: a run's number, or its list of one a member."""
    return [value for table in tables for value in _listed(table[name])]


def _listed(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]


def _at(runs: Sequence[Sequence[Json]], step: int) -> Json:
    """Test metrics at a step, and means of training metrics over all steps until it, for every seed."""
    found: Json = {}
    for rows in runs:
        for name in dict.fromkeys(name for row in rows for name in row if "/" in name):
            if name.startswith("train/"):
                logged = [(row["step"], _listed(row[name])) for row in rows if name in row and row["step"] <= step]
                values = [_mean([(at, each[i]) for at, each in logged]) for i in range(len(logged[0][1]))]
                found.setdefault(f"{name}, mean since the start", []).extend(values)
            else:
                found.setdefault(name, []).extend(
                    v for r in rows if r["step"] == step and name in r for v in _listed(r[name])
                )
    return {name: spread(values) for name, values in found.items() if values}


def _mean(logged: Sequence[tuple[int, float]]) -> float:
    """The mean over steps of values that are means since the previous one's step."""
    starts = [0, *(step for step, _ in logged)]
    return sum(value * (step - start) for start, (step, value) in zip(starts, logged, strict=False)) / starts[-1]


def _summary(value: Any) -> Any:
    """Statistics over seeds, without each seed's own."""
    return {name: one for name, one in value.items() if name != "seeds"} if isinstance(value, dict) else value


def _evaluations(path: Path) -> list[Path]:
    """Evaluations of a run; those of its members in their order, 10 after 2."""
    return sorted(path.glob("evaluation*.json"), key=lambda file: (len(file.name), file.name))


def _without_paths(evaluation: Json) -> Json:
    return {name: value for name, value in evaluation.items() if name not in ("run", "against")}


def of_benchmark(path: Path, command: str | None) -> Json:
    """The record of a benchmark's rows."""
    if command is None:
        raise UserError(f"{path} does not know its command: give --command")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    machines = sorted({row.pop("machine") for row in rows})
    return {"origin": "measured", "commands": [command], "machines": machines, "values": rows}


def text(record: Json) -> str:
    """Indented JSON with each list of numbers on one line."""
    return re.sub(
        r"\[\s+([-\d.,e\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", json.dumps(record, indent=1)
    )


def main(settings: Settings) -> None:
    """Read, and write the file."""
    benchmark = settings.sources[0].is_file()
    record = (
        of_benchmark(settings.sources[0], settings.command) if benchmark else of_runs(settings.sources, settings.at)
    )
    settings.to.mkdir(exist_ok=True)
    path = settings.to / f"{settings.name}.json"
    path.write_text(text(record) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    command_line.reported(lambda: main(command_line.parse_kind(Settings, "collect.py", None)))
