"""The installed JAX, mended or refused where its defaults compute wrong numbers on a CPU.

From jaxlib 0.10.2 to 0.11.2 XLA hands sums and small matrix products on a CPU to YNNPACK in a form that is wrong
without a word: 0.10.2 in the last rows of a 3x3 product over more than 32,768 rows (jax issue 39103), all of them, now
and then, in the sum of an array that was broadcast (tensorflow issue 126812). An empty list of fusions for YNNPACK
makes them right, at some cost in speed. `jaxgen doctor` tests this and more; nothing here imports jax.
"""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from jaxgen.errors import UserError

WRONG = ("0.10.2", "0.11.0", "0.11.1", "0.11.2")
"""Releases of jaxlib whose defaults compute wrong numbers on a CPU."""
OPTION = "--xla_cpu_experimental_ynn_fusion_type"
REMEDY = f"{OPTION}="
"""The flag that makes them right; XLA reads XLA_FLAGS once, when JAX's devices are first used in a process."""


def jaxlib_version() -> str | None:
    """Version of the installed jaxlib, read without loading it (and without the 20 ms of importlib.metadata)."""
    if "jaxlib" in sys.modules:
        return str(getattr(sys.modules["jaxlib"], "__version__", None))
    try:
        spec = find_spec("jaxlib")
        text = Path(str(spec.origin)).with_name("version.py").read_text(encoding="utf-8") if spec else ""
    except (OSError, ValueError):
        return None
    found = re.search(r"^_version\s*=\s*[\"']([^\"']+)", text, re.MULTILINE)
    return found.group(1) if found else None


def mend() -> None:
    """Puts the remedy into XLA_FLAGS where the installed jaxlib needs it; refuses where that is too late.

    Other flags stay as they are. Child processes inherit the variable.
    """
    version = jaxlib_version()
    if version not in WRONG:
        return
    install = 'or install another with pip install "jax!=0.10.2,!=0.11.*"'
    if _started():
        if _fuses():
            raise UserError(
                f"jaxlib {version} computes wrong numbers on this CPU and JAX has already started: import jaxgen "
                f"before JAX computes anything, start Python with XLA_FLAGS={REMEDY}, {install}"
            )
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if flags.strip() and not flags.lstrip().startswith("-"):  # the name of a file of flags
        if not _ends_empty(_text_of(flags.strip())):
            raise UserError(f"jaxlib {version} computes wrong numbers: add {REMEDY} to XLA_FLAGS' {flags}, {install}")
    elif OPTION not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {REMEDY}".strip()
    elif not _ends_empty(flags):
        raise UserError(
            f"XLA_FLAGS = {flags!r}: with jaxlib {version} only {REMEDY} computes right; drop it, {install}"
        )


def _text_of(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _ends_empty(flags: str) -> bool:
    """Is the last value given to the option, which counts, the empty one?"""
    values = re.findall(re.escape(OPTION) + r"(?:=(\S*))?(?=\s|$)", flags)
    return bool(values) and values[-1] == ""


def _started() -> bool:
    """Has JAX made its devices, and with that read XLA_FLAGS?"""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bool(bridge.backends_are_initialized())


def _fuses() -> bool:
    """Does the running CPU backend hand a sum to YNNPACK? Its compiled program says so, whatever the flags say now."""
    jax = sys.modules["jax"]
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        total = jax.jit(lambda row: jax.numpy.broadcast_to(row, (2, 1024, 1024)).sum())
        program = total.lower(jax.ShapeDtypeStruct((1024, 1), "float32")).compile()
    return "ynn" in program.as_text()
