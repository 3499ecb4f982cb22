"""`jaxgen sample`, `play` and `evaluate`: a run's trained model at work."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from jaxgen.errors import SettingError, UserError, check_at_least

if TYPE_CHECKING:
    from jaxgen.runs.run import Run


def loaded(path: Path, step: int | None) -> "Run":
    """The run in a directory, at a kept checkpoint or its newest one."""
    from jaxgen.runs.load import load

    run = load(path)
    return run if step is None else run.at(step)


@dataclass(frozen=True)
class Sample:
    """Images drawn by a run's model, as one sheet or as PNG files; needs no data."""

    path: tyro.conf.Positional[Path]
    """The run directory."""
    out: Path = Path("samples.png")
    """A .png file for a sheet, or a folder for one file an image."""
    count: int = 100
    """Number of images."""
    seed: int = 0
    """Random seed: the same seed gives the same images."""
    columns: int = 10
    """Images in a row of the sheet."""
    classes: tuple[int, ...] = ()
    """Classes to draw, in turn; only of a model conditioned on classes."""
    truncation: float = 1.0
    """Factor on the noise: below 1, images are more typical and less varied."""
    interpolate: bool = False
    """Each row of the sheet goes from one random image to another."""
    step: int | None = None
    """A kept checkpoint; default: the newest."""

    def run(self) -> None:
        """Draw and write."""
        import jax
        import numpy as np

        from jaxgen.report import figures, sampling

        for name in ("count", "columns"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("seed", self.seed, 0)
        sheet = self.out.suffix == ".png"
        if not sheet and self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise SettingError(f"out = {str(self.out)!r} is not allowed: a .png file, or an empty or new folder")
        run = loaded(self.path, self.step)
        line = self.columns if self.interpolate else 0
        images = sampling.draw(run, jax.random.key(self.seed), self.count, self.classes, self.truncation, line)
        if sheet:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            figures.image_sheet(self.out, images, self.columns, 2 if images.shape[1] < 60 else 1)
        else:
            self.out.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(np.round(255 * images).astype(np.uint8)):
                figures.as_picture(image).save(self.out / f"{number:05d}.png")
        print(f"{len(images)} images of {self.path} (step {run.step:,}) in {self.out}")


@dataclass(frozen=True)
class Play:
    """An episode of a run's policy on CartPole, as a GIF."""

    path: tyro.conf.Positional[Path]
    """The run directory."""
    out: Path = Path("episode.gif")
    """The file."""
    seed: int = 0
    """Random seed of the episode's beginning."""
    member: int = 0
    """With several seeds in the run: whose policy."""

    def run(self) -> None:
        """Play and draw."""
        import jax

        from jaxgen.algorithms import dqn
        from jaxgen.report import dqn as report
        from jaxgen.runs.load import load

        run = load(self.path)
        run = run if run.members is None else run.member(self.member)
        if run.algorithm is not dqn or run.config.environment != "CartPole-v1":
            raise UserError(f"{self.path} is not a run on CartPole-v1, the environment that can be drawn")
        steps = report.draw_episode(self.out, run.weights, jax.random.key(self.seed), run.config)
        print(f"{self.path} (step {run.step:,}): balanced for {steps} steps, in {self.out}")


@dataclass(frozen=True)
class Evaluate:
    """A finished run's model on its test split, or in fresh episodes; options of the algorithm's own follow RUN."""

    path: tyro.conf.Positional[Path]
    """The run directory."""
    options: tyro.conf.Positional[tuple[str, ...]] = ()
    """Options of evaluate_vae.py or evaluate_gan.py, after --."""
    episodes: int = 1_000
    """Fresh episodes of a DQN's greedy policy, per seed."""

    def run(self) -> None:
        """Evaluate and print."""
        from jaxgen.console import doors
        from jaxgen.runs.directory import read_record

        module = (read_record(self.path)["algorithm"] or "").rpartition(".")[2]
        script = doors.folder() / f"evaluate_{module}.py"
        if script.is_file():
            doors.execute(script, [str(self.path), *self.options])
            return
        if self.options:
            raise SettingError(f"options = {' '.join(self.options)!r} are not allowed: none for this algorithm")
        print(f"{self.path}: {_evaluated(self.path, self.episodes)}")


FRESH = 2**31
"""Folded into a run's key, so that the episodes are none that training has seen."""


def _evaluated(path: Path, episodes: int) -> str:
    """An evaluation by the algorithm's own function, with fresh keys."""
    import dataclasses
    from functools import partial

    import jax
    import numpy as np

    from jaxgen import contract
    from jaxgen.evaluation import returns
    from jaxgen.runs.load import load

    run = load(path)
    batch: Any = run.algorithm.Batch()
    if contract.takes_data(run.algorithm):
        test = run.data().test
        batch = run.algorithm.Batch(test.images, test.labels)
    config = run.config
    if "evaluation_episodes" in {field.name for field in dataclasses.fields(config)}:
        check_at_least("episodes", episodes, 1)
        config = dataclasses.replace(config, evaluation_episodes=episodes)
    evaluate = jax.jit(partial(run.algorithm.evaluate, config=config))
    runs = list(run.singles().values())
    keys = [jax.random.fold_in(jax.random.key(one.seed), FRESH) for one in runs]
    found = [evaluate(one.state, batch, key, one.hparams) for one, key in zip(runs, keys, strict=True)]
    lines = []
    for name in found[0]:
        values = np.array([float(one[name]) for one in found])
        low, high = returns.interval(values)
        many = f", 95% interval {float(low):.4f} to {float(high):.4f} over {len(values)} seeds"
        lines.append(f"{name} {float(returns.interquartile_mean(values)):.4f}{many if len(values) > 1 else ''}")
    return "  ".join(lines)
