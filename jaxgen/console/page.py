"""`jaxgen report`: a run, a sweep or a search as one HTML file in which the model is alive, or runs side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from jaxgen.errors import SettingError, UserError
from jaxgen.files import write_atomically
from jaxgen.page import NAME


@dataclass(frozen=True)
class Report:
    """A page of a run, with its model at work in it, of a sweep or of a search; of several runs, a comparison."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """The directory of a run, a sweep or a search, or several runs to compare."""
    to: Path | None = None
    """The file to write; default: page.html in the run directory, or here for a comparison."""
    compact: bool = False
    """Store the model's weights in at most 12 bits; otherwise only where they are many and the change is not seen."""
    member: int = 0
    """With several seeds in the run: whose model."""

    def run(self) -> None:
        """Write the page."""
        if not self.paths:
            raise SettingError("name the directory of a run, a sweep or a search, or several runs to compare")
        to = self.to or (self.paths[0] / NAME if len(self.paths) == 1 else Path(NAME))
        if to.is_dir():
            raise SettingError(f"to = {str(to)!r} is not allowed: a file such as page.html")
        text = _text(self.paths, self.compact, self.member)
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(to, text)
        except OSError as error:
            raise UserError(f"{to} cannot be written ({error.strerror or error})") from error
        print(f"{', '.join(map(str, self.paths))} in {to} ({to.stat().st_size / 1e6:.2f} MB)")


def _text(paths: tuple[Path, ...], compact: bool, member: int) -> str:
    from jaxgen.page import several, single, sweep
    from jaxgen.sweeps import record

    if len(paths) > 1:
        from jaxgen.console.runs import short_names

        for path in paths:
            if record.is_one(path):
                raise SettingError(f"{path} is a sweep or a search, which has a page of its own: compare runs")
        return several.text(dict(zip(short_names(paths), paths, strict=True)))
    (path,) = paths
    if record.is_one(path):
        first = next(iter(sorted(path.glob("**/settings.json"))), None)
        return sweep.text(path, preset=None if first is None else _preset(first.parent), compact=compact)
    return single.text(path, preset=_preset(path), compact=compact, member=member)


def _preset(path: Path) -> dict[str, Any] | None:
    """The settings of the run's preset; None if its experiment is not here."""
    from jaxgen.console import doors
    from jaxgen.runs.directory import read_record
    from jaxgen.runs.settings import of_run
    from jaxgen.sweeps import experiment

    record = read_record(path)
    try:
        if record["experiment"] not in doors.experiments():  # a record names no code to run
            return None
        script = doors.script_of(record["experiment"])
        chosen = record["settings"].get("preset")
        return of_run(experiment.load(script, ["--preset", chosen] if chosen else []).settings)
    except UserError:
        return None
