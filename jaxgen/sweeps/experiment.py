"""An experiment with the settings of a command line, found by its name or file."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgen.contract import Algorithm
from jaxgen.errors import SettingError, one_of, refuse
from jaxgen.experiment import Experiment
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.settings import Settings
from jaxgen.sweeps import fields


class Chosen(NamedTuple):
    """An experiment and the settings that a sweep starts from."""

    experiment: Experiment
    settings: Settings
    args: tuple[str, ...] = ()
    """The command line that the settings came from."""

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.name

    @property
    def algorithm(self) -> Algorithm:
        """The experiment's algorithm."""
        return self.experiment.algorithm

    def settings_with(self, static: Mapping[str, Any]) -> Settings:
        """The settings with these fields changed."""
        return fields.replace(self.settings, static)


def choose(experiment: Experiment, settings: Settings, args: Sequence[str] = ()) -> Chosen:
    """The experiment with these settings; refuses those that a sweep cannot start from."""
    settings_lib.validate(settings.run)
    if settings.run.seeds > 1:
        refuse("run.seeds", settings.run.seeds, "1 here; seeds are an axis, as --axis seed=0:4")
    experiment.algorithm.validate(settings.hparams, settings.config)
    return Chosen(experiment, settings, tuple(args))


def load(script: Path, args: Sequence[str]) -> Chosen:
    """The experiment in `script` with the options `args`; errors in either are refused in one line."""
    module = _import(script)
    experiment = vars(module).get("EXPERIMENT")
    if not isinstance(experiment, Experiment):
        raise SettingError(f"{script} holds no experiment: it must define EXPERIMENT = Experiment(...)")
    return choose(experiment, experiment.parse(args, module.__doc__), args)


def find(name: str, folder: Path) -> Path:
    """The script of an experiment: `name` in `folder`, or a path."""
    given = Path(name)
    if given.suffix == ".py" and given.exists():
        return given
    path = folder / f"{name.removesuffix('.py')}.py"
    if not path.exists():
        known = sorted(script.stem for script in folder.glob("*_*.py"))
        raise SettingError(f"{name!r} is not an experiment: {one_of(name, known)}, or a path")
    return path


def _import(script: Path) -> Any:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        refuse("experiment", str(script), "a Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module  # where dataclasses look for their types and docstrings
    spec.loader.exec_module(module)
    return module
