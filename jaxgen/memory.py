"""Free memory, and refusals of what would not fit: sizes are estimated before anything is allocated."""

import contextlib
import math
from pathlib import Path

from jaxgen.errors import SettingError

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def free_bytes() -> int:
    """Free memory of all devices together; on a CPU, of the machine."""
    import jax

    limits = [device.memory_stats() for device in jax.local_devices()]
    if all(limits) and all("bytes_limit" in limit for limit in limits):
        return sum(limit["bytes_limit"] - limit["bytes_in_use"] for limit in limits)
    return free_host_bytes()


def free_host_bytes() -> int:
    """Free memory of the machine, or of this process's control group if that is less; 4 GiB where nobody says."""
    free = [4 * 2**30]
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = [next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))]
    with contextlib.suppress(OSError, ValueError):  # "max" is no limit
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free.append(max(limit - used, 0))
    return min(free)


def size(count: float) -> str:
    """A number of bytes for people."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.3g} {_UNITS[unit]}"


def check_count(field: str, count: int, each: int, of: str) -> None:
    """Refuse a `count` of things of `each` bytes that the host's memory does not hold, naming the number that fits."""
    free = free_host_bytes()
    if count * each > free:
        raise SettingError(
            f"{field} = {count} is not allowed: at most {free // each:,}, for a {of} takes {size(each)} and "
            f"{size(free)} are free"
        )


def check_images(field: str, count: int, shape: tuple[int, int, int]) -> None:
    """Refuse a `count` of images in single precision, as computed and as returned, that memory does not hold."""
    check_count(field, count, 2 * 4 * math.prod(shape), "sample")
