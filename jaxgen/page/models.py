"""The live part of a page: the model's script and the numbers that its controls start from."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen import contract
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.export import functions, javascript, plain
from jaxgen.export.functions import Function
from jaxgen.page import document
from jaxgen.runs.run import Run

LARGE = 1_000_000
"""Bytes of weights above which they are stored in 10 to 16 bits each, if that changes nothing that the page shows."""
GRAY_LEVEL = 1 / 255
SMALL_IMAGE = 32 * 32
"""Pixels up to which a model runs in the page's own thread."""


class Model(NamedTuple):
    """A live model."""

    source: str | None
    """The translated functions; None if images were computed in their place."""
    weights: bytes
    data: dict[str, Any]
    scripts: tuple[str, ...]
    lead: str
    """A sentence or two on what one can do here."""
    notes: tuple[str, ...] = ()
    """How it is computed."""


def of(run: Run, dataset: Any, compact: bool) -> Model | None:
    """The live part of a run's page; None for an algorithm that has none."""
    from jaxgen.page import codes, noise, poles

    known: dict[str, Callable[[Run, Any, bool], Model | None]] = {
        autoencoder.__name__: codes.of,
        vae.__name__: codes.of,
        gan.__name__: noise.of,
        dqn.__name__: poles.of,
    }
    write = known.get(contract.name_of(run.algorithm))
    return None if write is None else write(run, dataset, compact)


def functions_of(run: Run, batch: int = 1) -> dict[str, Function]:
    """The model's functions by name."""
    return functions.functions(run.algorithm, run.state, run._hparams_of_record(), run.config, batch)


def traced(found: Mapping[str, Function]) -> list[plain.Program]:
    """The functions as plain programs."""
    return [plain.trace(name, one.call, one.weights, one.inputs) for name, one in found.items()]


class Script(NamedTuple):
    """Translated functions."""

    source: str
    weights: bytes
    stored: str
    """How the weights are stored."""

    @property
    def size(self) -> int:
        """Characters that this takes in a page."""
        return len(self.source) + len(document.deflated(self.weights))


def script(
    found: Mapping[str, Function], limits: Mapping[str, float], compact: bool, images: np.ndarray | None = None
) -> Script:
    """The functions as a script; weights are stored in 10 to 16 bits each if they are many or with `compact`.

    Not without `compact`, however, where an output would change by more than its function's limit: half of the last
    digit that the page prints, or a gray level. Functions of images are judged by `images`, those of a page's test set.
    """
    programs = traced(found)
    source, weights = javascript.parts(programs)
    if not compact and len(weights) <= LARGE:
        return Script(source, weights, SINGLE)
    for precision, bits in SMALLER.items():
        changes = {name: rounding_error(found[name], precision, images) for name in limits if name in found}
        seen = {name: change for name, change in changes.items() if change is not None}
        if all(change <= limits[name] for name, change in seen.items()):
            said = ", ".join(f"of {name} by at most {change:.1e}" for name, change in seen.items())
            stored = f"Weights are stored in {bits} bits each, which changes outputs {said} over {DRAWS} inputs."
            return Script(*javascript.parts(programs, precision=precision), stored)
    if compact:
        return Script(*javascript.parts(programs, precision="int12"), "Weights are stored in 12 bits each.")
    return Script(source, weights, f"{SINGLE[:-1]}: 16 bits would be seen.")


SINGLE = "Weights are stored in single precision."
SMALLER: dict[javascript.Precision, int] = {"int10": 10, "int11": 11, "int12": 12, "float16": 16}
DRAWS = 32


def rounding_error(
    function: Function, precision: javascript.Precision, images: np.ndarray | None = None
) -> float | None:
    """The largest change of an output by the precision of stored weights; None where there are no images for it.

    Classes are taken in turn, other inputs are standard normal.
    """
    if "images" in function.inputs and images is None:
        return None
    call, rounded = jax.jit(function.call), javascript.rounded(function.weights, precision)
    rng, worst = np.random.default_rng(0), 0.0
    for number in range(DRAWS):
        inputs: list[np.ndarray] = []
        for name, one in function.inputs.items():
            if name == "images" and images is not None:
                inputs.append(np.asarray(images[number % len(images)], np.float32)[None] / 255)
            elif name == "classes":
                inputs.append(np.eye(one.shape[1], dtype=np.float32)[None, number % one.shape[1]])
            else:
                inputs.append(rng.normal(size=one.shape).astype(np.float32))
        exact, other = (jax.tree.leaves(call(weights, *inputs)) for weights in (function.weights, rounded))
        worst = max([worst, *(float(np.abs(a - b).max()) for a, b in zip(exact, other, strict=True))])
    return worst


def where(worker: bool, what: str) -> str:
    """How the model runs in the page."""
    place = "in a Web Worker, so that the page does not wait for it" if worker else "in this page"
    return f"{what} is computed {place}, by JavaScript translated from the trained model: nothing is sent anywhere."
