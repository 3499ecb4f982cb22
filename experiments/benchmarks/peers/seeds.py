"""Pure training functions of other projects, vmapped over seeds and called piece by piece with the state donated."""

import time
from collections.abc import Callable
from typing import Any

import jax


def trainer(
    start: Callable[[jax.Array], Any],
    proceed: Callable[[Any], Any],
    keys: jax.Array,
    shared: tuple[str, ...],
    learning: Callable[[Any], bool],
) -> Callable[[int], float]:
    """A function that calls `proceed` n times for all seeds and returns the seconds taken.

    State leaves named in `shared` are the same for all seeds and stay unbatched, which vmap checks: with batched
    counters, a `lax.cond` on them would run both branches. Calls before `learning` are not counted.
    """
    paths, tree = jax.tree_util.tree_flatten_with_path(jax.eval_shape(start, keys[0]))
    axes = [None if jax.tree_util.keystr(path[-1:], simple=True) in shared else 0 for path, _ in paths]

    def leaves(keys: jax.Array) -> list[jax.Array]:
        return jax.tree.leaves(start(keys))

    def next_leaves(leaves: list[jax.Array]) -> list[jax.Array]:
        return jax.tree.leaves(proceed(jax.tree.unflatten(tree, leaves)))

    chunk = jax.jit(jax.vmap(next_leaves, in_axes=(axes,), out_axes=axes), donate_argnums=0)
    state = jax.jit(jax.vmap(leaves, out_axes=axes))(keys)
    while not learning(jax.tree.unflatten(tree, state)):
        state = chunk(state)

    def run(count: int) -> float:
        nonlocal state
        began = time.perf_counter()
        for _ in range(count):
            state = chunk(state)
        jax.block_until_ready(state)
        return time.perf_counter() - began

    return run
