"""The installed JAX, fixed or refused if its defaults compute wrong numbers on a CPU.

In jaxlib 0.10.2 to 0.11.2, XLA passes sums and small matrix products on a CPU to YNNPACK in a form that is silently
wrong: 0.10.2 in the last rows of a 3x3 product over more than 32,768 rows (jax issue 39103), all of them occasionally
in the sum of a broadcast array (tensorflow issue 126812). An empty list of YNNPACK fusions fixes both, at some cost in
speed. `jaxgen doctor` tests this and more; nothing here imports jax.
"""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from jaxgen.errors import UserError

WRONG = ("0.10.2", "0.11.0", "0.11.1", "0.11.2")
"""jaxlib releases whose defaults compute wrong numbers on a CPU."""
OPTION = "--xla_cpu_experimental_ynn_fusion_type"
REMEDY = f"{OPTION}="
"""The flag that fixes them; XLA reads XLA_FLAGS once, when a process first uses JAX's devices."""


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


def quiet() -> None:
    """Silence XLA's error log, unless the user has chosen a level; it is read when JAX is imported.

    It reports each program loaded from the compilation cache as compiled for another processor, because it counts
    preferences of its compiler among the instructions (https://github.com/openxla/xla/issues/44565). Errors proper are
    exceptions.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # JAX's own default, which child processes inherit
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def mend() -> None:
    """Add the remedy to XLA_FLAGS if the installed jaxlib needs it; refuse if it is too late.

    Other flags are kept. Child processes inherit the variable.
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
    if flags.strip() and not flags.lstrip().startswith("-"):  # the name of a flags file
        if not ends_empty(_text_of(flags.strip())):
            raise UserError(f"jaxlib {version} computes wrong numbers: add {REMEDY} to XLA_FLAGS' {flags}, {install}")
    elif OPTION not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {REMEDY}".strip()
    elif not ends_empty(flags):
        raise UserError(
            f"XLA_FLAGS = {flags!r}: with jaxlib {version} only {REMEDY} computes right; drop it, {install}"
        )


def _text_of(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def ends_empty(flags: str) -> bool:
    """Whether the option's last value, the one that counts, is empty."""
    values = re.findall(re.escape(OPTION) + r"(?:=(\S*))?(?=\s|$)", flags)
    return bool(values) and values[-1] == ""


def _started() -> bool:
    """Whether JAX has created its devices and thereby read XLA_FLAGS."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bool(bridge.backends_are_initialized())


def _fuses() -> bool:
    """Whether the running CPU backend passes a sum to YNNPACK, by its compiled program: the flags may have changed."""
    jax = sys.modules["jax"]
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        total = jax.jit(lambda row: jax.numpy.broadcast_to(row, (2, 1024, 1024)).sum())
        program = total.lower(jax.ShapeDtypeStruct((1024, 1), "float32")).compile()
    return "ynn" in program.as_text()
