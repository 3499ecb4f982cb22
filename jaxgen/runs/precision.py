"""Whether a run in bfloat16 is faster than in float32 where it runs; if not, or if nobody knows, a line says so."""

import os
from typing import Any

import jax

from jaxgen import installed
from jaxgen.contract import Algorithm
from jaxgen.runs import machine

UNIT = "amx_bf16"
"""The instructions with which it was measured to be faster."""


def warning(algorithm: Algorithm, config: Any) -> str | None:
    """Why `config.dtype` bfloat16 is no faster on this CPU; None if it is, in float32, and on other devices."""
    if not algorithm.TRAITS.bfloat16(config) or jax.default_backend() != "cpu":
        return None
    reason = _reason(algorithm, config)
    return None if reason is None else f"config.dtype = bfloat16 {reason}; float32 is more exact"


def _reason(algorithm: Algorithm, config: Any) -> str | None:
    if not algorithm.TRAITS.dense(config):
        return "is slower than float32 on a CPU, which convolves in float32 and converts"
    if installed.ends_empty(os.environ.get("XLA_FLAGS", "")):
        return f"is slower than float32 on a CPU with {installed.REMEDY} in XLA_FLAGS"
    if (present := machine.has(UNIT)) is None:
        return f"has been measured to be faster only on processors with {UNIT}, and this one's abilities are unknown"
    return None if present else f"has been measured to be faster only on processors with {UNIT}, which this one lacks"
