"""The CPU as several single-threaded devices, so that sweep members or batch shards get a core each.

XLA gives a single CPU device all cores, which most small models cannot use: dispatching work to threads costs more than
it saves. Virtual devices run concurrently, each in its own thread. They must be created before JAX's CPU backend
starts, and have no effect where JAX runs on another kind of device.
"""

import os

import jax

from jaxgen.errors import check_at_least, refuse
from jaxgen.runs import machine

_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
_COUNT = "xla_force_host_platform_device_count"


def place(cpu_devices: int | None, members: int, shares: int = 1, small_operations: bool = False) -> None:
    """Create the devices for a run's members or batch shards, as set by `RunSettings.cpu_devices`.

    None chooses the fastest: with several members, one single-threaded device per core (at most one per member); for a
    sharded batch, one per shard; for any other run, the whole CPU as one device, or one thread if it consists of
    `small_operations`. Devices chosen otherwise (JAX_NUM_CPU_DEVICES, XLA_FLAGS, an earlier call) are then left as they
    are; an explicit count is an error once JAX has started.
    """
    if cpu_devices is not None:
        check_at_least("run.cpu_devices", cpu_devices, 0)
        if cpu_devices:
            use_single_threads(cpu_devices)
    elif (max(members, shares) > 1 or small_operations) and not _chosen():
        try:
            use_single_threads(shares if shares > 1 else min(members, machine.cores()))
        except ValueError:  # the backend has started: leave it as it is
            return


def use_single_threads(count: int) -> None:
    """Create `count` single-threaded CPU devices; refuse once JAX's backends have started."""
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        refuse("run.cpu_devices", count, "it must be set before JAX's devices are first used in this process")
    flags = os.environ.get("XLA_FLAGS", "")  # read when the backend starts
    if _ONE_THREAD not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_ONE_THREAD}".strip()


def _chosen() -> bool:
    return getattr(jax.config, "jax_num_cpu_devices", -1) >= 0 or _COUNT in os.environ.get("XLA_FLAGS", "")
