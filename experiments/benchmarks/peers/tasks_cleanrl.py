"""CleanRL's dqn_jax.py of `results`, at its own settings, patched as `dqn_cleanrl` says: `cartpole SEED CHECKOUT`.

Every 5,000 of its steps 100 fresh greedy episodes are played, as for ours, and it ends when they are good enough.
"""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import jax
import numpy as np
from benchmarks.peers import dqn_cleanrl, tasks

EVERY = 5_000


def solve(seed: int, folder: str, steps: int | None = None) -> dict[str, Any]:
    """Train until the mean return is enough, at most for its own 500,000 steps."""
    found: dict[str, Any] = {}

    def step_numbers(total: int) -> Any:
        actions = jax.jit(lambda params, seen: module["q_network"].apply(params, seen).argmax(-1))
        for step in range(min(total, steps or total)):
            if step % EVERY == 0 and step:
                params = module["q_state"].params
                returns = tasks.greedy_returns(lambda seen: np.asarray(actions(params, seen)), seed + step)  # noqa: B023
                found.update(value=float(returns.mean()), steps=step)
                if returns.mean() >= tasks.RETURN:
                    return
            yield step

    code, module = dqn_cleanrl.script(Path(folder), step_numbers, seed)
    with redirect_stdout(sys.stderr):  # what it prints is not the answer
        exec(code, module)
    return {**found, "reached": found.get("value", 0.0) >= tasks.RETURN}


TASKS = {"cartpole": solve}

if __name__ == "__main__":
    tasks.main(TASKS)
