"""The live part of a page: the model's script and the numbers that its controls start from."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen import contract
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.export import functions, javascript, plain
from jaxgen.export.functions import Function
from jaxgen.runs.run import Run

LARGE_SCRIPT = 1_300_000
"""Characters above which weights are stored in two bytes each, if images stay as they are to the eye."""
GRAY_LEVEL = 1 / 255
SMALL_IMAGE = 32 * 32
"""Pixels up to which a model runs in the page's own thread."""


class Model(NamedTuple):
    """A live model."""

    source: str
    """The translated functions."""
    data: dict[str, Any]
    scripts: tuple[str, ...]
    lead: str
    """A sentence or two on what one can do here."""
    notes: tuple[str, ...] = ()
    """How it is computed."""


def of(run: Run, dataset: Any, float16: bool) -> Model | None:
    """The live part of a run's page; None for an algorithm that has none."""
    from jaxgen.page import codes, noise, poles

    known: dict[str, Callable[[Run, Any, bool], Model | None]] = {
        autoencoder.__name__: codes.of,
        vae.__name__: codes.of,
        gan.__name__: noise.of,
        dqn.__name__: poles.of,
    }
    write = known.get(contract.name_of(run.algorithm))
    return None if write is None else write(run, dataset, float16)


def functions_of(run: Run, batch: int = 1) -> dict[str, Function]:
    """The model's functions by name."""
    return functions.functions(run.algorithm, run.state, run._hparams_of_record(), run.config, batch)


def traced(found: Mapping[str, Function]) -> list[plain.Program]:
    """The functions as plain programs."""
    return [plain.trace(name, one.call, one.weights, one.inputs) for name, one in found.items()]


def script(found: Mapping[str, Function], main: str, float16: bool) -> tuple[str, str]:
    """The functions as a script, and how its weights are stored, judged by the outputs of `main`."""
    programs = traced(found)
    source = javascript.write(programs)
    if not float16 and len(source) <= LARGE_SCRIPT:
        return source, "Weights are stored in single precision."
    error = rounding_error(found[main])
    if not float16 and error > GRAY_LEVEL:
        return source, "Weights are stored in single precision: half of it would be seen."
    said = f"Weights are stored in half precision, which changes an output by at most {error:.1e} over {DRAWS} draws."
    return javascript.write(programs, precision="float16"), said


DRAWS = 16


def rounding_error(function: Function) -> float:
    """The largest change of an output when weights are stored in two bytes, over random inputs."""
    call, rounded = jax.jit(function.call), javascript.rounded(function.weights, "float16")
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(DRAWS):
        inputs = [rng.normal(size=one.shape).astype(np.float32) for one in function.inputs.values()]
        exact, other = (jax.tree.leaves(call(weights, *inputs)) for weights in (function.weights, rounded))
        worst = max([worst, *(float(np.abs(a - b).max()) for a, b in zip(exact, other, strict=True))])
    return worst


def where(worker: bool, what: str) -> str:
    """How the model runs in the page."""
    place = "in a Web Worker, so that the page does not wait for it" if worker else "in this page"
    return f"{what} is computed {place}, by JavaScript translated from the trained model: nothing is sent anywhere."
