"""The processor and the JAX settings that a run's last digits depend on."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgen.files import Json

PACKAGES = ("jaxgen", "jax", "jaxlib", "flax", "optax", "distrax", "orbax-checkpoint", "numpy")
_KEYS = ("jax_default_prng_impl", "jax_threefry_partitionable")
"""Options that determine the random numbers themselves."""
_NO_NUMBERS = ("jaxgen", "orbax-checkpoint")
"""Packages that a run's numbers do not depend on; jaxgen's own are pinned by its tests."""


def description(packages: Sequence[str] = ()) -> Json:
    """The machine, libraries (including `packages`) and settings of this process, as JSON values."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in (*PACKAGES, *packages)},
        "devices": [str(device) for device in jax.devices()],
        "device_kind": jax.devices()[0].device_kind,
        "processor": {"model": model(), "instructions": instructions(), "cores": cores()},
        "options": {
            "XLA_FLAGS": " ".join(sorted(os.environ.get("XLA_FLAGS", "").split())),
            **{name: getattr(jax.config, name) for name in (*_KEYS, "jax_enable_x64", "jax_default_matmul_precision")},
        },
    }


def warning(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """A one-line warning if continuing a run under a new description can change its numbers, else None.

    Names every such difference. Entries missing from either description are skipped: older versions recorded fewer.
    The host's processor counts only if it is the device.
    """
    old, new = _numeric(before), _numeric(now)
    changed = [name for name in old if name in new and old[name] != new[name]]
    if not changed:
        return None
    named = "; ".join(f"{name}: {_shown(old[name])} -> {_shown(new[name])}" for name in changed)
    if set(changed) & set(_KEYS):
        return f"other random numbers than an uninterrupted run's ({named})"
    return f"numbers agree with an uninterrupted run's to rounding, no longer bit for bit ({named})"


def _shown(value: Any) -> Any:
    return "none" if value in ("", None) else value


def _numeric(description: Mapping[str, Any]) -> Json:
    """The entries that can change a number, flattened, by their names in a warning."""
    flat: Json = {}
    if "devices" in description:
        flat["devices"] = len(description["devices"])
    if "device_kind" in description:
        flat["device kind"] = description["device_kind"]
    if description.get("device_kind") == "cpu":
        flat |= {f"processor {name}": value for name, value in description.get("processor", {}).items()}
    packages = description.get("packages", {}).items()
    return flat | {k: v for k, v in packages if k not in _NO_NUMBERS} | description.get("options", {})


def cores() -> int:
    """Number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """Folder for files kept between runs; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen"


def model() -> str:
    """The processor's name according to the operating system."""
    name = _cpuinfo("model name")
    if not name and sys.platform == "darwin":
        try:
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            name = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            name = ""
    return name or platform.processor() or platform.machine()


def instructions() -> str:
    """The architecture, and 12 hexadecimal digits that identify the processor's instruction sets."""
    abilities = _cpuinfo("flags", "Features") or platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(abilities.encode()).hexdigest()[:12]}"


def has(instructions: str) -> bool | None:
    """Whether the processor has a set of instructions, by Linux's name of it (`avx2`); None where it is unknown."""
    abilities = _cpuinfo("flags", "Features").split()
    return instructions in abilities if abilities else None


def _cpuinfo(*names: str) -> str:
    """The first of these fields in Linux's description of its processors; the empty string elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() in names), "")
