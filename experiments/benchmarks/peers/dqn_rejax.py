"""Rejax's DQN from a checkout of its repository, at the settings of its configs/gymnax/cartpole.yaml.

Nothing of it is changed. What it lets its callers choose: the environment is gymnax's with `step` returning five
values again (`gymnax_before_1`), and the evaluation that `train` makes every `eval_freq` steps, 128 episodes, is
replaced by nothing through its own settings `eval_callback` and `skip_initial_evaluation`: training is timed. Training
goes on from the state of the call before (its own `train_state` argument). Counters stay the same for all seeds, as
they are under `jit(vmap(train))`: batched ones would turn its `lax.cond` into both branches.
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
"""Leaves of the training state that all seeds have in common."""


def trainer(folder: str, count: int, steps: int) -> Callable[[int], float]:
    """A function that makes n times `steps` environment steps with `count` seeds and returns the seconds they took."""
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
