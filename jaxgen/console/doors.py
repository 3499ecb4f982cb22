"""`jaxgen fit`, `sweep` and `search`: the scripts of `experiments/`, also for those who installed a wheel."""

import importlib.util
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxgen.errors import SettingError, UserError, check_choice

DOORS = ("fit", "sweep", "search")


@dataclass(frozen=True)
class _Door:
    """A script's command line."""

    experiment: tyro.conf.Positional[str] = ""
    """Name of an experiment (jaxgen fit lists them), or a file that defines EXPERIMENT; its own options follow."""

    def run(self) -> None:
        """Say which experiments there are."""
        raise SettingError(f"name an experiment: {', '.join(experiments())}; its --help lists its options")


class Fit(_Door):
    """Train an experiment, or go on with a run: jaxgen fit vae_mnist --preset quick."""


class Sweep(_Door):
    """Sweep settings of an experiment: jaxgen sweep vae_mnist --axis hparams.learning_rate=log:1e-4:1e-2:8."""


class Search(_Door):
    """Search settings with Optuna: jaxgen search vae_mnist --axis hparams.learning_rate=log:1e-4:1e-2."""


def folder() -> Path:
    """The experiments' scripts: part of an installed wheel, beside the package in a clone."""
    spec = importlib.util.find_spec("jaxgen.experiments")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for place in (*places, Path(__file__).parents[2] / "experiments"):
        if (place / "vae_mnist.py").is_file():
            return place
    raise UserError("this installation has no experiments: install jaxgen again, or run it in a clone")


def experiments() -> list[str]:
    """Names of the experiments."""
    return sorted(path.stem for path in folder().glob("*.py") if "\nEXPERIMENT = " in path.read_text(encoding="utf-8"))


def script_of(name: str) -> Path:
    """An experiment's script by its name, or a file."""
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise SettingError(f"{name} is not a file")
        return Path(name)
    check_choice("experiment", name, experiments())
    return folder() / f"{name}.py"


def run(door: str, words: Sequence[str]) -> None:
    """Run a script as if it had been typed."""
    script = script_of(words[0]) if door == "fit" else folder() / f"{door}.py"
    execute(script, words[1:] if door == "fit" else words)


def execute(script: Path, words: Sequence[str]) -> None:
    """Run a Python file as the main program with these arguments."""
    sys.argv = [str(script), *words]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
