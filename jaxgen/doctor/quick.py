"""A second's worth of checks, run once for each jaxlib, processor and set of flags and then remembered.

Only right answers are remembered. An unwritable folder or a damaged file costs that second again.
"""

import hashlib
import json
import os
import sys

import jax
import jaxlib
import numpy as np

from jaxgen import files
from jaxgen.doctor import checks, known
from jaxgen.doctor.results import Result
from jaxgen.errors import UserError
from jaxgen.runs import machine


def gradient_rows() -> float:
    """Mean loss of 32,769 rows and its gradient, of a net without hidden layers."""
    random = np.random.default_rng(0)
    x, weights = random.normal(size=(32_769, 4)).astype(np.float32), random.normal(size=(4, 2)).astype(np.float32)
    loss, gradient = jax.jit(jax.value_and_grad(lambda weights: jax.numpy.square(x @ weights).mean()))(weights)
    outputs = x.astype(np.float64) @ weights
    return checks.difference(
        (loss, gradient), (np.mean(outputs**2), 2 * x.T.astype(np.float64) @ outputs / outputs.size)
    )


CHECKS = (
    checks.Check("matrix rows", "jax 39103", known.matrix_rows, known.ROUNDING),
    checks.Check("sum of a broadcast", "tensorflow 126812", lambda: known.sum_of_broadcast(10)),
    checks.Check("shift", "jax 7461", lambda: known.shift(reshape=False)),
    checks.Check("gradient of rows", "NumPy in float64", gradient_rows, known.ROUNDING),
)


def once() -> None:
    """Check the installation unless it is known to be right; refuse one that computes wrong numbers, in one line."""
    memory = machine.cache_folder() / "doctor" / f"{_installation()}.json"
    try:
        if json.loads(memory.read_text(encoding="utf-8"))["right"] is True:
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass
    results = [checks.run(check) for check in CHECKS]
    wrong = [result for result in results if result.status == "WRONG"]
    if wrong:
        raise UserError(
            f"jaxlib {jaxlib.__version__} computes wrong numbers here ({', '.join(map(_said, wrong))}): install "
            'another release, such as pip install "jax!=0.10.2,!=0.11.*"; `jaxgen doctor` says more'
        )
    if failed := [result for result in results if result.status == "failed"]:
        print(f"warning: could not test jaxlib: {failed[0].name}: {failed[0].note}", file=sys.stderr, flush=True)
        return
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(memory, {"right": True, "jaxlib": jaxlib.__version__, "checks": [r.name for r in results]})
    except OSError:
        pass


def _installation() -> str:
    flags = hashlib.sha256(os.environ.get("XLA_FLAGS", "").encode()).hexdigest()[:8]
    return f"{jaxlib.__version__}-{machine.instructions()}-{flags}"


def _said(result: Result) -> str:
    return f"{result.name}, {result.compares}, off by {result.error:.1e}"
