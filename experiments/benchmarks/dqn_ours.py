"""Our DQN at the peers' settings, with its members (seeds) spread evenly over the available devices."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxgen.algorithms import dqn

_CLEANRL = dqn.Config(
    environment="CartPole-v1",
    envs=1,
    collect=10,
    updates=1,
    batch_size=128,
    replay_size=10_000,
    learning_starts=10_000,
    widths=(120, 84),
    double=False,
    target_every=50,
    loss="squared",
    clip_gradients=False,
    optimizer="adam",
)
_REJAX = dqn.Config(
    environment="CartPole-v1",
    envs=10,
    collect=1,
    updates=5,
    batch_size=100,
    replay_size=50_000,
    learning_starts=5_000,
    widths=(64, 64),
    activation="swish",
    dueling=True,
    double=True,
    target_every=5,
    loss="squared",
    clip_gradients=True,
    optimizer="adam",
)
CONFIGS = {
    "cleanrl": _CLEANRL,
    "purejaxrl": replace(_CLEANRL, envs=10, collect=1),
    "rejax": _REJAX,
}
"""The same environments, batch, replay, nets, updates and target update frequency as the peer of that name."""
HPARAMS = {
    "cleanrl": dqn.HParams(learning_rate=2.5e-4, eps=1e-8, epsilon_steps=250_000.0),
    "purejaxrl": dqn.HParams(learning_rate=2.5e-4, eps=1e-8, epsilon_steps=250_000.0),
    "rejax": dqn.HParams(learning_rate=1e-3, eps=1e-8, epsilon_steps=50_000.0, tau=0.02, max_grad_norm=10.0),
}


def trainer(name: str, count: int, steps: int) -> Callable[[int], float]:
    """A function that makes n * `steps` environment steps with `count` seeds and returns the seconds taken."""
    config, hparams = CONFIGS[name], jax.tree.map(jnp.float32, HPARAMS[name])

    def start(key: jax.Array) -> Any:
        return dqn.init(key, hparams, config)

    def proceed(state: Any, key: jax.Array) -> Any:
        def one(_: jax.Array, state: Any) -> Any:
            return dqn.step(state, dqn.Batch(), jax.random.fold_in(key, state.step), hparams, config)[0]

        return lax.fori_loop(0, steps // config.transitions, one, state)

    devices = jax.local_device_count()
    members = jax.make_mesh((devices if count % devices == 0 else 1,), ("members",))
    place = PartitionSpec("members")
    spread = partial(jax.shard_map, mesh=members, in_specs=place, out_specs=place, check_vma=False)
    keys = jax.device_put(jax.random.split(jax.random.key(0), count), NamedSharding(members, place))
    state = jax.jit(spread(jax.vmap(start)))(keys)
    chunk = jax.jit(spread(jax.vmap(proceed)), donate_argnums=0)

    def run(count: int) -> float:
        nonlocal state
        began = time.perf_counter()
        for _ in range(count):
            state = chunk(state, keys)
        jax.block_until_ready(state)
        return time.perf_counter() - began

    return run
