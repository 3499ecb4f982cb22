"""The processor as several devices: one thread each, so that members of a sweep or shards of a batch have a core each.

XLA's CPU code gives one device all cores, and most small models cannot use them: handing work to threads costs more
than it saves. Virtual devices run at the same time, each in its own thread. They can be made only before JAX's CPU
backend starts, and are of no consequence where JAX runs on another kind of device.
"""

import os

import jax

from jaxgen.errors import check_at_least, refuse
from jaxgen.runs import machine

_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
_COUNT = "xla_force_host_platform_device_count"


def place(cpu_devices: int | None, members: int, shares: int = 1, small_operations: bool = False) -> None:
    """Makes the devices of a run of so many members or shares of a batch, as `RunSettings.cpu_devices` has it.

    None means what is fastest: one single-threaded device a core (no more than members) where there are many members,
    one a share where a batch is divided; for any other single run the whole processor as one device, or one thread if
    it is made of `small_operations`. Devices that have been chosen otherwise (JAX_NUM_CPU_DEVICES, XLA_FLAGS, an
    earlier call) are then left as they are; a number of one's own is refused if it comes too late.
    """
    if cpu_devices is not None:
        check_at_least("run.cpu_devices", cpu_devices, 0)
        if cpu_devices:
            use_single_threads(cpu_devices)
    elif (max(members, shares) > 1 or small_operations) and not _chosen():
        try:
            use_single_threads(shares if shares > 1 else min(members, machine.cores()))
        except ValueError:  # the backend has started: then as it is
            return


def use_single_threads(count: int) -> None:
    """`count` CPU devices of one thread each; refuses once JAX's backends have started."""
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        refuse("run.cpu_devices", count, "it must be set before JAX's devices are first used in this process")
    flags = os.environ.get("XLA_FLAGS", "")  # read when the backend starts
    if _ONE_THREAD not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_ONE_THREAD}".strip()


def _chosen() -> bool:
    return getattr(jax.config, "jax_num_cpu_devices", -1) >= 0 or _COUNT in os.environ.get("XLA_FLAGS", "")
