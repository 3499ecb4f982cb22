"""Shared by the peers' scripts of `results`: images from a file, greedy play, the closing line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

RETURN, NEGATIVE_ELBO = 475.0, 100.0
"""The numbers to reach, as in `benchmarks.reaching`."""
MEMBERS = [(rate, seed) for rate in np.geomspace(1e-3, 3e-2, 16) for seed in range(4)]
"""Learning rate and seed of each autoencoder of the sweep."""


def images(folder: str, name: str) -> dict[str, np.ndarray]:
    """Splits of bytes (N, H, W, C), `train` and `test`."""
    return dict(np.load(Path(folder, f"{name}.npz")))


def greedy_returns(actions: Callable[[np.ndarray], np.ndarray], seed: int, episodes: int = 100) -> np.ndarray:
    """Returns of fresh episodes of CartPole-v1, played together; observations (episodes, 4) -> actions."""
    envs = gymnasium.make_vec("CartPole-v1", num_envs=episodes, vectorization_mode="vector_entry_point")
    seen, _ = envs.reset(seed=seed)
    playing, returns = np.ones(episodes, bool), np.zeros(episodes)
    while playing.any():
        seen, rewards, terminated, truncated, _ = envs.step(actions(seen))
        returns += rewards * playing
        playing &= ~(terminated | truncated)
    envs.close()
    return returns


def main(tasks: dict[str, Callable[[int, str], dict[str, Any]]]) -> None:
    """`TASK SEED FOLDER` from the command line; prints what the task returns as a line of JSON."""
    task, seed, folder = sys.argv[1:]
    print(json.dumps(tasks[task](int(seed), folder)), flush=True)
