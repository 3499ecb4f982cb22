"""Figures of a DQN: learning curves over seeds, an episode, and its state values."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgen.algorithms import dqn
from jaxgen.engine import executables
from jaxgen.evaluation import returns
from jaxgen.report import cartpole, figures
from jaxgen.runs.metrics import Row
from jaxgen.runs.snapshot import Snapshot

GRID = 101
ANGLES, VELOCITIES = (-12.0, 12.0), (-3.0, 3.0)
"""Ranges of the pictured values, in degrees and radians per second."""


def draw(snapshot: Snapshot) -> None:
    """Write the learning curves and the environment's own figures."""
    rows = snapshot.rows if snapshot.many is None else snapshot.many.rows
    draw_curves(snapshot.directory / "returns.png", rows, snapshot.config)
    if snapshot.config.environment == "CartPole-v1":
        draw_episode(snapshot.directory / "pole.gif", snapshot.state.params, snapshot.key, snapshot.config)
        _draw_values(snapshot)
    if snapshot.config.episodes:
        state = snapshot.state if snapshot.many is None else snapshot.many.state
        _draw_scores(snapshot, np.atleast_2d(state.episodes.scores), np.atleast_1d(state.episodes.finished))


def series(rows: list[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which a number was logged, and its values (times, members), NaN where not finite."""
    logged = [row for row in rows if name in row and not row.get("partial")]
    values = [[np.nan if x is None else x for x in np.atleast_1d(row[name]).tolist()] for row in logged]
    return np.array([row["step"] for row in logged]), np.array(values, np.float64)


def draw_curves(path: Path, rows: list[Row], config: dqn.Config) -> None:
    """Greedy returns over environment steps: IQM over seeds, its 95 % interval, and the 5th to 95th percentile."""
    steps, greedy = series(rows, "test/return")
    low, high = returns.interval(greedy)
    outer = np.percentile(greedy, [5, 95], axis=1)
    around = [(low, high), (outer[0], outer[1])] if greedy.shape[1] > 1 else []
    all_steps, exploring = series(rows, "train/episode_return")
    matched = np.array([exploring[np.searchsorted(all_steps, step)].mean() for step in steps])
    lines = {
        "greedy, interquartile mean": (returns.interquartile_mean(greedy), around),
        "exploring, mean": (matched, []),
    }
    seeds = f"{greedy.shape[1]} seeds (bands: 95 % of the mean, 5th to 95th percentile)"
    title = f"{config.environment}, {seeds if greedy.shape[1] > 1 else 'one seed'}"
    names = "environment steps", "return of an episode"
    figures.bands(path, environment_steps(steps, config), lines, names, title)


def environment_steps(steps: Any, config: dqn.Config) -> Any:
    """Environment steps in this many training steps."""
    return config.learning_starts + steps * config.transitions


def draw_episode(path: Path, params: Any, key: jax.Array, config: dqn.Config) -> int:
    """Animate an episode of the greedy policy; return its length."""
    gained, seen = executables.call(partial(dqn.greedy_returns, episodes=1), config, params, key)
    cartpole.animate(path, np.asarray(seen)[: int(gained[0]), 0])
    return int(gained[0])


def _draw_values(snapshot: Snapshot) -> None:
    """max_a Q and Q(right) - Q(left) for a cart at rest in the middle."""
    angles, velocities = np.meshgrid(np.linspace(*ANGLES, GRID), np.linspace(*VELOCITIES, GRID))
    still = np.zeros(GRID * GRID)
    grid = np.stack([still, still, np.deg2rad(angles).ravel(), velocities.ravel()], axis=1)
    values = executables.call(dqn.values, snapshot.config, snapshot.state.params, np.float32(grid))
    q = np.asarray(values).reshape(GRID, GRID, -1)
    maps = {"value of the better action": q.max(axis=-1), "value of right minus value of left": q[..., 1] - q[..., 0]}
    names = "angle of the pole, degrees", "angular velocity, radians per second"
    figures.surfaces(
        snapshot.directory / "values.png",
        maps,
        (*ANGLES, *VELOCITIES),
        names,
        "Action values, cart at rest in the middle",
    )


def _draw_scores(snapshot: Snapshot, scores: np.ndarray, finished: np.ndarray) -> None:
    """Training scores (seeds, episodes) as a picture, and the first seed's as the chapter prints them."""
    played = int(min(finished.min(), scores.shape[1]))
    if played == 0:
        return
    scores = scores[:, :played]
    low, high = np.percentile(scores, [5, 95], axis=0)
    lines = {"mean": (scores.mean(axis=0), [(low, high)]), "first seed": (scores[0], [])}
    title = f"Episodes of training, {len(scores)} seed{'s' * (len(scores) > 1)} (band: 5th to 95th percentile)"
    figures.bands(snapshot.directory / "scores.png", np.arange(1, played + 1), lines, ("episode", "score"), title)


def summarize(snapshot: Snapshot, result: dict[str, Any]) -> dict[str, Any]:
    """Returns over seeds, environment steps, and the scores of the first seed's counted episodes."""
    rows = snapshot.rows if snapshot.many is None else snapshot.many.rows
    _, evaluations = series(rows, "test/return")
    found = {
        "environment_steps": environment_steps(snapshot.step, snapshot.config),
        "returns": returns.of_seeds(evaluations),
    }
    if snapshot.config.episodes:
        episodes = snapshot.state.episodes
        found["scores"] = np.asarray(episodes.scores)[: int(episodes.finished)].tolist()
    return found


def describe(result: dict[str, Any]) -> str:
    """A finished run's returns, its scores as the chapter prints them, and its speed, as human-readable lines."""
    taken, count = result["environment_steps"], len(result["returns"]["seeds"])
    scores = [f"episode {number} score: {score:.0f}" for number, score in enumerate(result.get("scores", ()), 1)]
    speed = count * taken / max(result["train_seconds"], 1e-9)
    lines = [*scores, returns.described(result["returns"])]
    return "\n".join([*lines, f"{taken:,} environment steps a seed, {speed:,.0f} a second in all"])
