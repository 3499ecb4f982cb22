"""Rejax's DQN from a checkout of its repository, at the settings of its configs/gymnax/cartpole.yaml.

Its code is unchanged; we only use its own options. The environment is gymnax's with `step` returning five values again
(`gymnax_before_1`). The evaluation of 128 episodes that `train` makes every `eval_freq` steps is switched off through
`eval_callback` and `skip_initial_evaluation`, so that only training is timed. Training continues from the state of the
previous call (the `train_state` argument). Counters stay the same for all seeds, as under `jit(vmap(train))`: with
batched counters, its `lax.cond` would run both branches.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnax
import jax
import yaml
from benchmarks.peers import seeds
from benchmarks.peers.gymnax_before_1 import FiveValues

SHARED = ("global_step", "index", "full")
"""Leaves of the training state that all seeds share."""


def trainer(folder: str, count: int, steps: int) -> Callable[[int], float]:
    """A function that makes n * `steps` environment steps with `count` seeds and returns the seconds taken."""
    sys.path.insert(0, str(Path(folder) / "src"))
    from rejax import get_algo

    config = yaml.safe_load((Path(folder) / "configs" / "gymnax" / "cartpole.yaml").read_text())["dqn"]
    env, params = gymnax.make(config.pop("env"))
    config |= {"total_timesteps": steps, "eval_freq": steps, "skip_initial_evaluation": True}
    algo = get_algo("dqn").create(env=FiveValues(env), env_params=params, **config)
    algo = algo.replace(eval_callback=lambda *_: ())

    def proceed(state: Any) -> Any:
        return algo.train(train_state=state)[0]

    def learning(state: Any) -> bool:
        return int(state.global_step) > algo.fill_buffer

    keys = jax.random.split(jax.random.PRNGKey(0), count)
    return seeds.trainer(algo.init_state, proceed, keys, SHARED, learning)
