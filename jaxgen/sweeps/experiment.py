"""An experiment's script as a sweep sees it: what its `main` would hand to `train`, without training."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgen.engine.loop import Algorithm
from jaxgen.errors import SettingError, nearest, refuse
from jaxgen.launch import command_line
from jaxgen.runs import settings as settings_lib
from jaxgen.sweeps import fields


class Experiment(NamedTuple):
    """An experiment with its settings as its command line gives them."""

    script: Path
    args: tuple[str, ...]
    """The command line behind the script's name."""
    name: str
    algorithm: Algorithm
    settings: Any
    main: Callable[..., None]
    parsed: Any
    """The settings before `main` has seen them, which may complete them."""

    def settings_with(self, static: Mapping[str, Any]) -> Any:
        """The settings with these fields changed."""
        if not static:
            return self.settings
        return _handed_over(self.main, fields.replace(self.parsed, static))[2]


def load(script: Path, args: Sequence[str]) -> Experiment:
    """The experiment in `script` with the options `args`; both are refused in one line if they are none of it."""
    module = _import(script)
    default = getattr(module, "PRESETS", None) or module.Settings()
    parsed = command_line.parse_chosen(default, module.__doc__, args)
    name, algorithm, settings = _handed_over(module.main, parsed)
    settings_lib.validate(settings.run)
    if settings.run.seeds > 1:
        refuse("run.seeds", settings.run.seeds, "1 here; seeds are an axis, as --axis seed=0:4")
    algorithm.validate(settings.hparams, settings.config)
    return Experiment(script, tuple(args), name, algorithm, settings, module.main, parsed)


class _Handed(BaseException):
    """Ends an experiment's `main` where it would train."""


def _handed_over(main: Callable[..., None], settings: Any) -> tuple[str, Algorithm, Any]:
    """Name, algorithm and settings, as `main` hands them to `train`."""

    def instead_of_training(name: str, algorithm: Algorithm, settings: Any, draw: Any) -> None:
        raise _Handed(name, algorithm, settings)

    try:
        main(settings, train=instead_of_training)
    except _Handed as handed:
        return handed.args[0], handed.args[1], handed.args[2]
    raise SettingError("this experiment trains nothing")


def find(name: str, folder: Path) -> Path:
    """The script of the experiment `name` in `folder`; refuses what trains nothing."""
    path = folder / f"{name.removesuffix('.py')}.py"
    known = sorted(
        script.stem for script in folder.glob("*.py") if "train: Train = train" in script.read_text(encoding="utf-8")
    )
    if path.stem not in known:
        raise SettingError(f"{name!r} is no experiment that trains: one of {', '.join(known)}{nearest(name, known)}")
    return path


def _import(script: Path) -> Any:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        refuse("experiment", str(script), "a Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module  # where dataclasses look for their types and docstrings
    spec.loader.exec_module(module)
    if "train" not in inspect.signature(module.main).parameters:
        refuse("experiment", script.stem, "a script whose main takes `train`")
    return module
