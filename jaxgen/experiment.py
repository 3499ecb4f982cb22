"""Experiments as values: an algorithm, its presets, and functions that plot and describe a run."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal

from typing_extensions import TypeVar

from jaxgen.contract import Algorithm
from jaxgen.errors import SettingError, check_choice
from jaxgen.files import Json
from jaxgen.runs.run import Run
from jaxgen.runs.session import Draw
from jaxgen.runs.settings import Settings

C = TypeVar("C", default=Any)
H = TypeVar("H", default=Any)

WritePage = Callable[[Run, Json], object]
"""(run, its preset's settings) -> page.html in the run's directory."""
Describe = Callable[[dict[str, Any]], str]
"""A human-readable summary of a finished run's result."""


@dataclass(frozen=True)
class Experiment(Generic[C, H]):
    """Everything a script, sweep, search or notebook needs to run an experiment."""

    name: str
    algorithm: Algorithm
    presets: Mapping[str, Settings[C, H]]
    """Presets by name; the first is the default."""
    figures: Draw | None = None
    """Function that draws a run's figures."""
    page: WritePage | None = None
    """Function that writes a finished run's page."""
    summarize: Callable[..., dict[str, Any]] | None = None
    """(snapshot, result) -> extra entries for a finished run's result."""
    describe: Describe | None = None
    pictures: Sequence[str] = ()
    """File names of the figures to look at first, best first; a run's last line names the first that exists."""
    source: Path | None = None
    """The file that defines it as `EXPERIMENT`, for other processes to import; default: the calling script."""

    def __post_init__(self) -> None:
        if not self.presets:
            raise SettingError(f"experiment {self.name} has no preset")
        if self.source is None:
            caller = sys._getframe(2).f_globals.get("__file__")
            object.__setattr__(self, "source", None if caller is None else Path(caller).absolute())

    def settings(self, preset: str | None = None) -> Settings[C, H]:
        """The settings of a preset, the first by default."""
        name = next(iter(self.presets)) if preset is None else preset
        check_choice("preset", name, self.presets)
        settings = self.presets[name]
        return dataclasses.replace(settings, preset=name if len(self.presets) > 1 else None)

    def parse(self, args: Sequence[str], description: str | None = None) -> Settings[C, H]:
        """Parse settings from command-line arguments; an invalid one raises a one-line `SettingError`."""
        from jaxgen.launch import command_line

        names = list(self.presets)
        settings = self.settings(command_line.preset_of(names, args))
        fields: list[Any] = []
        if len(names) > 1:
            kind = Literal[tuple(names)]  # type: ignore[valid-type]
            fields.append(("preset", kind, dataclasses.field(default=settings.preset)))
        for name in ("data", "config", "hparams", "run"):
            value = getattr(settings, name)
            if value is not None:
                fields.append((name, type(value), dataclasses.field(default=value)))
        flat = dataclasses.make_dataclass("Settings", fields, frozen=True, namespace={"__doc__": "Settings."})
        parsed = command_line.parse(flat(), description, args)
        return dataclasses.replace(settings, **{f.name: getattr(parsed, f.name) for f in dataclasses.fields(parsed)})

    def main(self, description: str | None = None) -> None:
        """Command-line entry point: run, report, and exit with a status code."""
        from jaxgen.launch import experiments

        experiments.main(self, description)
