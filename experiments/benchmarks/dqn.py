"""Environment steps per second of DQNs on CartPole, with one or more seeds: ours, CleanRL's, PureJaxRL's and Rejax's.

Each peer runs at its own settings, beside ours with the same number of environments, batch size, updates, replay and
net. Every side has its own process. Compilation, the steps before learning starts, and evaluations (Rejax's are
switched off) are not counted. Each peer is a folder with a checkout, patched in memory as the docstrings of
`peers/dqn_*.py` describe.

Ours uses one thread per device: one device for a single seed, or one virtual device per core with the seeds spread over
them. PureJaxRL runs with JAX's own threads, as its command does, and also on one thread.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.measuring import Measurement, Row, compare, interleave, say
from benchmarks.worker import Worker, ready
from jaxgen.errors import check_at_least, refuse
from jaxgen.runs.machine import cores

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
BATCH = {"cleanrl": 128, "purejaxrl": 128, "rejax": 100}
"""Transitions per update."""
UPDATE_EVERY = {"cleanrl": 10, "purejaxrl": 10, "rejax": 2}
"""Environment steps per update."""
NETS = {"cleanrl": (4, 120, 84, 2), "purejaxrl": (4, 120, 84, 2), "rejax": (4, 64, 64, 3)}
"""Layer widths from observation to outputs."""
DOUBLE = ("rejax",)
"""Peers with double DQN, whose target also evaluates the online net."""


class Side(NamedTuple):
    """A peer's DQN with one choice of threading."""

    peer: str
    label: str
    flags: str
    many: bool
    """Whether it can train many seeds at once."""


SIDES = (
    Side("cleanrl", "CleanRL", "", False),
    Side("purejaxrl", "PureJaxRL", "", True),
    Side("purejaxrl", "PureJaxRL, one thread", ONE_THREAD, True),
    Side("rejax", "Rejax", "", True),
)


@dataclass(frozen=True)
class Dqn(Measurement):
    """Environment steps per second of a DQN on CartPole: ours, CleanRL's, PureJaxRL's and Rejax's."""

    rounds: int = 3
    """Number of times each side is measured, in turn."""
    seeds: tuple[int, ...] = (1, 8, 32, 128)
    """Numbers of seeds trained at once."""
    seconds: float = 3.0
    """Length of a measurement."""
    cleanrl: Path | None = None
    """Folder with a checkout of CleanRL."""
    purejaxrl: Path | None = None
    """Folder with a checkout of PureJaxRL."""
    rejax: Path | None = None
    """Folder with a checkout of Rejax."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("seconds", self.seconds, 0.01)
        for count in self.seeds:
            check_at_least("seeds", count, 1)
        for peer in BATCH:
            folder = getattr(self, peer)
            if folder is not None and not folder.is_dir():
                refuse(peer, str(folder), "a folder with a checkout of that project")

    def measure(self) -> Iterator[Row]:
        """Report the processor's peak, then yield a row for each peer and number of seeds."""
        limits = {count: peak_gflops(count) for count in (1, cores())}
        say(", ".join(f"matrix products on {count} core(s): {limit:.0f} GFLOP/s" for count, limit in limits.items()))
        for peer in BATCH:
            for count in self.seeds:
                if peer != "cleanrl" or count == 1:
                    yield from self._point(peer, count, limits[1 if count % cores() else cores()])

    def _point(self, peer: str, count: int, limit: float) -> Iterator[Row]:
        steps = 1_000 if count == 1 else 100  # makes call overhead negligible
        folder = getattr(self, peer)
        if folder is None:
            say(f"{peer} is left out: no folder given with --{peer}")
        with ExitStack() as stack:
            runs = {"ours": Worker("benchmarks.dqn_ours.trainer", [peer, count, steps], _our_flags(count))}
            for side in SIDES:
                if side.peer == peer and folder is not None:
                    arguments = [str(folder.resolve()), count, steps]
                    runs[side.label] = Worker(f"benchmarks.peers.dqn_{peer}.trainer", arguments, side.flags)
            for run in runs.values():
                stack.callback(run.close)
            times = interleave(ready(runs), 0, self.seconds, self.rounds, f"{peer}, {count} seeds")
        ours = times.pop("ours")
        rates = {name: count * steps / median(taken) * 1e3 for name, taken in {"ours": ours, **times}.items()}
        share = rates["ours"] / UPDATE_EVERY[peer] * update_flop(peer) / limit / 1e9
        for name, taken in times.items() or [(None, [])]:
            row = compare(f"dqn as {peer}, {count} seeds", ours, name, taken)
            row |= {"steps": steps, "seeds": count, "ours_steps_per_s": round(rates["ours"]), "share": round(share, 3)}
            yield row | {"peer_steps_per_s": round(rates[name]) if name else None, "limit_gflops": round(limit)}
        said = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
        say(f"as {peer}, {count} seeds: steps/s {said}")

    def conclude(self, rows: list[Row]) -> Iterator[str]:
        """Steps per second, and the share of peak arithmetic that the updates reach."""
        for row in rows:
            against = f"; {row['peer']} {row['peer_steps_per_s']:,}: ratio {row['ratio']:.2f}" if row["peer"] else ""
            share = f"{row['share']:.0%} of the {row['limit_gflops']} GFLOP/s of large matrix products"
            yield f"{row['name']}: {row['ours_steps_per_s']:,} environment steps/s, {share}{against}"


def update_flop(peer: str) -> float:
    """FLOP of an update's matrix products: net forward, target forward, and gradients."""
    layers = [a * b for a, b in itertools.pairwise(NETS[peer])]
    passes = 3 if peer in DOUBLE else 2
    backward = 2 * sum(layers) - layers[0]  # the gradient with respect to the observations is not needed
    return 2.0 * BATCH[peer] * (passes * sum(layers) + backward)


def _our_flags(count: int) -> str:
    """XLA flags for one thread; with several seeds, one virtual device per core."""
    devices = cores() if count % cores() == 0 else 1
    return f"{ONE_THREAD} --xla_force_host_platform_device_count={devices}"


def peak_gflops(cores: int) -> float:
    """GFLOP/s of a product of two 1024x1024 matrices on `cores` cores, the best of several."""
    flags = ONE_THREAD if cores == 1 else ""
    worker = Worker("benchmarks.dqn.products", [], flags)
    try:
        worker.ready()
        return 2 * 1024**3 / min(worker(1) for _ in range(100)) / 1e9
    finally:
        worker.close()


def products() -> Any:
    """A `Run` of matrix products."""
    import jax
    import jax.numpy as jnp

    a, product = jnp.ones((1024, 1024)), jax.jit(jnp.dot)

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            product(a, a).block_until_ready()
        return time.perf_counter() - began

    run(1)
    return run
