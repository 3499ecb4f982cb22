"""PureJaxRL's DQN from a checkout of its repository, at the settings of its own `main`.

Changes, made in memory, so that it runs here and continues where it stopped:

* `wandb` is replaced by a module whose `init` records the settings and ends `main` there;
* `jax.tree_map`, which newer releases of JAX lack, becomes `jax.tree.map`;
* gymnax's `LogWrapper` returns five values again (`gymnax_before_1`);
* the training loop's `jax.lax.scan` starts from the carry it is given, so that filling the buffer up to
  LEARNING_STARTS can be separated from learning. Counters stay the same for all seeds, as under its own
  `jit(vmap(train))`: with batched counters, its `lax.cond` would run both branches. Its metrics are left out.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
from benchmarks.peers import dqn_source, seeds
from benchmarks.peers.gymnax_before_1 import FiveValues
from gymnax.wrappers import purerl

SHARED = ("timesteps", "n_updates", "current_index", "is_full")
"""Leaves of the carry that all seeds share."""


def trainer(folder: str, count: int, steps: int) -> Callable[[int], float]:
    """A function that makes n * `steps` environment steps with `count` seeds and returns the seconds taken."""
    module, config = load(Path(folder))
    config |= {"NUM_SEEDS": count, "TOTAL_TIMESTEPS": steps}

    def train(key: jax.Array, scan: Callable[..., Any]) -> Any:
        module["scan"] = scan
        return module["make_train"](config)(key)["runner_state"]

    def start(key: jax.Array) -> Any:
        return train(key, lambda body, start, xs, length: (start, None))

    def proceed(carry: Any) -> Any:
        return train(jax.random.PRNGKey(0), lambda body, start, xs, length: jax.lax.scan(body, carry, xs, length))

    def learning(carry: Any) -> bool:
        return int(carry[0].n_updates) > 0

    keys = jax.random.split(jax.random.PRNGKey(config["SEED"]), count)
    return seeds.trainer(start, proceed, keys, SHARED, learning)


class _Settings(Exception):
    pass


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The script's names, and the settings its `main` passes to wandb."""

    def init(config: dict[str, Any], **_: Any) -> None:
        raise _Settings(config)

    wandb = ModuleType("wandb")
    wandb.init = init  # type: ignore[attr-defined]
    sys.modules["wandb"] = wandb
    jax.tree_map = jax.tree.map
    log = purerl.LogWrapper
    purerl.LogWrapper = lambda env: FiveValues(log(env))
    source = dqn_source.read(folder / "purejaxrl" / "dqn.py", {"jax.lax.scan(": "scan("})
    module = dqn_source.execute(source, "purejaxrl_dqn")
    try:
        module["main"]()
    except _Settings as settings:
        return module, settings.args[0]
    raise ValueError("its main no longer starts with wandb.init")
