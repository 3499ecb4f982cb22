"""`jaxgen verify`, `replay` and `fork`: a run proved, one of its steps looked at, another run from there."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from jaxgen.errors import SettingError, warn


def _say(line: str) -> None:
    """Show progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _show(found: Any, as_json: bool) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(found.lines()))


def _place(path: Path) -> None:
    """Make the devices that the run was trained on."""
    from jaxgen.launch import devices
    from jaxgen.runs import settings as settings_lib
    from jaxgen.runs.directory import read_record
    from jaxgen.runs.load import algorithm_of

    record = read_record(path)
    run = settings_lib.from_dict(settings_lib.RunSettings, record["settings"]["run"])
    members = len((record.get("members") or {}).get("seeds", ())) or 1
    single_thread = algorithm_of(path, record["algorithm"]).TRAITS.single_thread
    devices.place(run.cpu_devices, members, run.devices, single_thread)


def _summarize(path: Path) -> Callable[..., dict[str, Any]] | None:
    """The summary that the run's experiment writes into its result, if it is one of jaxgen's."""
    from jaxgen.console import doors
    from jaxgen.runs.directory import read_record
    from jaxgen.sweeps import experiment

    name = read_record(path)["experiment"]
    if name not in doors.experiments():
        return None
    return experiment.load(doors.script_of(name), []).experiment.summarize


@dataclass(frozen=True)
class Verify:
    """Parts of a run made again and compared with its record, bit for bit; exit code 1 if anything differs.

    What was found is recorded in the run directory, for its page.
    """

    path: tyro.conf.Positional[Path]
    """The run directory."""
    segments: int = 5
    """Random stretches between checkpoints to make again."""
    all: bool = False
    """Make every stretch again, and check everything else in the directory."""
    seed: int | None = None
    """Chooses the stretches; default: a random one, which is printed."""
    json: bool = False
    """Print a JSON object instead of lines."""

    def run(self) -> None:
        """Verify and print."""
        from jaxgen.proof.verify import verify

        _place(self.path)
        summarize = _summarize(self.path) if self.all else None
        found = verify(self.path, self.segments, self.all, self.seed, summarize=summarize, say=_say)
        _show(found, self.json)
        try:
            found.write_record()
        except OSError as error:  # a run may lie where one can only read
            warn(f"{self.path} gets no record of this verification ({error.strerror or error})")
        if not found.passed:
            sys.exit(1)


@dataclass(frozen=True)
class Replay:
    """One step of a run made again: batch, keys, changes of every array, metrics; names the cause of a NaN."""

    path: tyro.conf.Positional[Path]
    """The run directory."""
    step: int
    """Steps done before it, from 0."""
    member: int | None = None
    """With several seeds in the run: whose step."""
    json: bool = False
    """Print a JSON object instead of lines."""

    def run(self) -> None:
        """Replay and print."""
        from jaxgen.proof.replay import replay

        _place(self.path)
        _show(replay(self.path, self.step, member=self.member, say=_say), self.json)


@dataclass(frozen=True)
class Fork:
    """A new run that begins within another, with other hyperparameters; its parent is on record."""

    path: tyro.conf.Positional[Path]
    """The run directory."""
    step: int
    """Steps of the old run that the new one keeps."""
    name: str
    """Folder of the new run, beside the old one."""
    epochs: int | None = None
    """Its length in total; default: the parent's."""
    set: tuple[str, ...] = ()
    """Hyperparameters to change, as learning_rate=1e-4 (nested ones with dots)."""

    def run(self) -> None:
        """Fork and say how to go on."""
        from jaxgen.proof.fork import fork

        _place(self.path)
        changes: dict[str, float] = {}
        for one in self.set:
            field, _, value = one.partition("=")
            try:
                changes[field.removeprefix("hparams.").replace("-", "_")] = float(value)
            except ValueError:
                raise SettingError(f"set = {one!r} is not allowed: a hyperparameter and a number, as b1=0.5") from None
        new = fork(self.path, self.step, self.name, changes, epochs=self.epochs, say=_say)
        _show(new, as_json=False)
        print(f"train it in Python: jaxgen.load({str(new.directory)!r}).fit(epochs=...)")
