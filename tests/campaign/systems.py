"""Small command lines of every experiment, and their undisturbed runs, made once."""

import random
from pathlib import Path
from typing import Any, NamedTuple

from . import looks, server, strikes

_RUN = "--run.save-every 1 --run.chunk-steps 4 --run.no-progress"
_DIGITS = "--preset quick --data.size 8 --config.batch-size 128"
_FLOWERS = "--preset quick --data.source folder --data.path PICTURES --data.size 16 --config.batch-size 16"
SYSTEMS = {
    "ae_mnist": f"{_DIGITS} --config.widths 4 --run.epochs 5 --run.evaluate-every 2",
    "conv_ae_mnist": "--preset quick --config.batch-size 256 --config.channels 2 2 2 --run.epochs 6",
    "vae_mnist": f"{_DIGITS} --config.widths 8 --run.epochs 5 --run.evaluate-every 2",
    "iwae_mnist": f"{_DIGITS} --config.widths 8 8 --config.latent-size 3 --config.samples 2 --run.epochs 5",
    "vae_flowers": f"{_FLOWERS} --config.widths 8 --config.latent-size 3 --run.epochs 5 --run.evaluate-every 2",
    "gan_mnist": f"{_DIGITS} --config.generator-widths 8 --config.discriminator-widths 8 --config.noise-size 4 "
    "--run.epochs 5 --run.draw-every 2 --run.evaluate-every 2",
    "gan_flowers": f"{_FLOWERS} --config.generator-widths 4 4 --config.discriminator-widths 4 4 --config.noise-size 4 "
    "--run.epochs 4 --run.draw-every 1",
    "dqn_cartpole": "--preset quick --config.envs 4 --config.batch-size 8 --config.replay-size 64 "
    "--config.learning-starts 32 --config.steps-per-epoch 20 --config.evaluation-episodes 4 --config.widths 8 "
    "--run.epochs 4",
}
"""Options of each experiment: seconds of work, several checkpoints, several figures where there are some.

PICTURES is a folder that the kit makes: to draw the embedded flowers takes longer than to train on them.
"""
_pictures = Path("pictures")


def args(system: str, name: str = "r", *more: str) -> list[str]:
    """The command line of a system's small run."""
    words = [str(_pictures) if word == "PICTURES" else word for word in SYSTEMS[system].split()]
    return [*words, *_RUN.split(), "--run.name", name, *more]


class Whole(NamedTuple):
    """An undisturbed run."""

    folder: Path
    """Its working directory; the run is `runs/r` in it."""
    look: looks.Look
    operations: list[strikes.Operation]
    """Its file operations and steps, in order."""
    seconds: float

    @property
    def wanted(self) -> looks.Look:
        """The look of the run once a command has finished it."""
        return {name: value for name, value in self.look.items() if name != "history"}


class Kit:
    """The cases' common ground: a working folder, and undisturbed runs made on first use."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.seed = work, seed
        (work / "looks").mkdir(exist_ok=True)
        global _pictures
        _pictures = work / "pictures"
        from .kinds import folders

        folders.good(_pictures, random.Random(0), classes=5, images=20)
        self._wholes: dict[str, Whole] = {}
        self._numbers = iter(range(10**9))
        self._loaded: dict[Path, dict[str, Any]] = {}
        self._seconds: dict[str, list[float]] = {}

    def random(self, kind: str, number: int) -> random.Random:
        """The random numbers of a case."""
        return random.Random(f"{self.seed}:{kind}:{number}")

    def took(self, system: str, seconds: float) -> None:
        """Note the seconds of a command, for aiming at a moment."""
        self._seconds.setdefault(system, []).append(seconds)

    def seconds(self, system: str) -> float:
        """Seconds that a system's small run takes, about."""
        known = [seconds for seconds in self._seconds.get(system, ()) if seconds > 1]
        return min(sorted(known)[len(known) // 2], 10) if known else 5.0

    def look(self, run: Path, every: bool = False) -> looks.Look:
        """A look at a run directory, in a process of its own; raises if it cannot be read."""
        done, value = server.call(lambda: looks.look(run, every), self.work / "looks")
        if value is None:
            raise RuntimeError(f"{run} cannot be looked at: {done.err[-500:]}")
        return value

    def loaded(self, system: str, folder: Path) -> dict[str, Any]:
        """An undamaged run as `jaxgen.load` reads it."""
        if folder not in self._loaded:
            from .kinds.damage import loaded

            done, value = server.call(lambda: loaded(folder / "runs" / "r"), self.work / "looks")
            if value is None:
                raise RuntimeError(f"{folder} cannot be loaded: {done.err[-500:]}")
            self._loaded[folder] = value
        return self._loaded[folder]

    def whole(self, system: str, *more: str) -> Whole:
        """The undisturbed run of a system."""
        key = " ".join([system, *more])
        if key not in self._wholes:
            folder = self.work / f"whole-{next(self._numbers)}"
            folder.mkdir()
            command = args(system, "r", *more)
            listing = folder.with_name(f"{folder.name}.operations")
            done = server.start(system, command, folder, listing=listing).wait(300)
            if done.code != 0:
                raise RuntimeError(f"the undisturbed run failed: {done.command}: {done.err[-2000:]}")
            look = self.look(folder / "runs" / "r", every=True)
            self._wholes[key] = Whole(folder, look, strikes.read(listing), done.seconds)
        return self._wholes[key]
