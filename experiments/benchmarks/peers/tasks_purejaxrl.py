"""PureJaxRL's DQN of `results`, at its own settings and length, patched as `dqn_purejaxrl` says: `TASK SEED CHECKOUT`.

It trains in one program without evaluations. The greedy play of 100 fresh episodes a seed afterwards is ours.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from benchmarks.peers import dqn_purejaxrl, tasks


def solve(seed: int, folder: str, count: int = 1, steps: float | None = None) -> dict[str, Any]:
    """Train `count` seeds; the mean return of the first."""
    returns = trained(seed, folder, count, steps)
    return {"value": returns[0], "reached": returns[0] >= tasks.RETURN}


def seeds(seed: int, folder: str, count: int = 32, steps: float | None = None) -> dict[str, Any]:
    """Train `count` seeds in one program; the mean of their returns."""
    return {"value": float(np.mean(trained(seed, folder, count, steps))), "reached": True}


def trained(seed: int, folder: str, count: int, steps: float | None) -> list[float]:
    """Each seed's mean return over 100 fresh greedy episodes."""
    module, config = dqn_purejaxrl.load(Path(folder))
    module["scan"] = jax.lax.scan
    config |= {"NUM_SEEDS": count, "SEED": seed} | ({} if steps is None else {"TOTAL_TIMESTEPS": steps})
    keys = jax.random.split(jax.random.PRNGKey(seed), count)
    params = jax.jit(jax.vmap(module["make_train"](config)))(keys)["runner_state"][0].params
    net = module["QNetwork"](action_dim=2)
    actions = jax.jit(lambda params, seen: net.apply(params, seen).argmax(-1))
    each = (jax.tree.map(lambda leaf: leaf[i], params) for i in range(count))  # noqa: B023
    return [
        float(tasks.greedy_returns(lambda seen, one=one: np.asarray(actions(one, seen)), seed).mean()) for one in each
    ]


TASKS = {"cartpole": solve, "seeds": seeds}

if __name__ == "__main__":
    tasks.main(TASKS)
