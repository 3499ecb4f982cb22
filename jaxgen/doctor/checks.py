"""A known-answer test, and how it is run: whatever goes wrong in one is its result."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.doctor.results import Result, Status


class Check(NamedTuple):
    """A computation whose answer is known."""

    name: str
    compares: str
    """The computation, and the number of a published report, if there is one."""
    measure: Callable[[], float]
    """Computes and returns the error."""
    tolerance: float = 0.0
    """Largest error that is right."""
    excuse: str = ""
    """Why a wrong answer does not reach anything that jaxgen computes; such an answer is reported and passes."""
    slow: bool = False
    """Only made when all are."""


def run(check: Check) -> Result:
    """Its result; an exception is one, too."""
    began, error, note = time.perf_counter(), None, ""
    status: Status
    try:
        error = float(check.measure())
        right = error <= check.tolerance  # not so if it is not a number
        status = "ok" if right else "known" if check.excuse else "WRONG"
        note = "" if right else check.excuse
    except Exception as problem:
        status, note = "failed", f"{type(problem).__name__}: {(str(problem).splitlines() or [''])[0][:160]}"
    return Result(
        check.name, status, check.compares, error, check.tolerance, round(time.perf_counter() - began, 2), note
    )


def difference(computed: Any, true: Any) -> float:
    """Largest difference in any array of two pytrees, over the largest number in it; inf where one is not finite.

    A single wrong element counts in full, which a norm over many would hide. Integers and keys must be equal.
    """
    worst = 0.0
    for one, other in zip(jax.tree.leaves(computed), jax.tree.leaves(true), strict=True):
        a, b = _plain(one), _plain(other)
        if a.shape != b.shape:
            return math.inf
        if not np.issubdtype(a.dtype, np.floating):
            worst = max(worst, 0.0 if np.array_equal(a, b) else math.inf)
        elif a.size:
            largest, apart = np.abs(b).max(), np.abs(a.astype(np.float64) - b).max()
            worst = max(worst, float(apart / largest if largest else apart)) if np.isfinite(apart) else math.inf
    return worst


def _plain(leaf: Any) -> np.ndarray:
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)
