"""The installation under test: versions, processor, cores, caches, devices, flags."""

import os
import platform
from importlib import metadata

import jax

from jaxgen.runs import machine


def describe() -> dict[str, str]:
    """Everything that numbers depend on, by name."""
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    found = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    return {
        "jaxgen": _version(),
        **versions,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": machine.model(),
        "cores": str(machine.cores()),
        "compiled programs": _programs(),
        "other caches": str(machine.cache_folder()),
        "devices": ", ".join(found),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def _version() -> str:
    try:
        return metadata.version("jaxgen")
    except metadata.PackageNotFoundError:  # a source folder on the path
        return "not installed"


def _programs() -> str:
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    return str(machine.cache_folder() / "xla" / machine.instructions()) if chosen is None else chosen or "not kept"
