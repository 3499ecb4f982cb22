"""Known-answer tests and how to run them: anything that goes wrong in one becomes its result."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.doctor.results import Result, Status


class Check(NamedTuple):
    """A computation with a known answer."""

    name: str
    compares: str
    """The computation, and the number of a published report, if any."""
    measure: Callable[[], float]
    """Compute and return the error."""
    tolerance: float = 0.0
    """Largest acceptable error."""
    excuse: str = ""
    """Reason why a wrong answer does not affect anything jaxgen computes; it is then reported but passes."""
    slow: bool = False
    """Run only with the full set."""


def run(check: Check) -> Result:
    """The check's result; an exception becomes one, too."""
    began, error, note = time.perf_counter(), None, ""
    status: Status
    try:
        error = float(check.measure())
        right = error <= check.tolerance  # false for NaN
        status = "ok" if right else "known" if check.excuse else "WRONG"
        note = "" if right else check.excuse
    except Exception as problem:
        status, note = "failed", f"{type(problem).__name__}: {(str(problem).splitlines() or [''])[0][:160]}"
    return Result(
        check.name, status, check.compares, error, check.tolerance, round(time.perf_counter() - began, 2), note
    )


def difference(computed: Any, true: Any) -> float:
    """Largest difference in any array of two pytrees, relative to its largest entry; inf if one is not finite.

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
