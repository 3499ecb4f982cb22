"""Generative models and reinforcement learning in JAX: a training run is a pure function of a key, numbers and data.

    import jax, jaxgen as jg
    from jaxgen.algorithms import vae

    digits = jg.data.load("digits")
    run = jg.fit(vae, digits, config=vae.Config(latent_size=2), epochs=100)
    run.sample(jax.random.key(0), 16)

Public names, each imported on first use:

    data         load, from_arrays        train    a run as a pure function
    fit          train and return a Run   load     a Run from its directory
    sweep        many runs of an Experiment over `log`, `linear` or any values
    Experiment   an experiment as a value stack    hyperparameters for vmap
    pretrained   a small trained model by name
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxgen import installed

if TYPE_CHECKING:
    from jaxgen import data as data
    from jaxgen import launch as launch
    from jaxgen.engine.run import stack as stack
    from jaxgen.engine.run import train as train
    from jaxgen.experiment import Experiment as Experiment
    from jaxgen.export.pretrained import pretrained as pretrained
    from jaxgen.runs.fit import fit as fit
    from jaxgen.runs.load import load as load
    from jaxgen.runs.run import Run as Run
    from jaxgen.runs.settings import RunSettings as RunSettings
    from jaxgen.runs.settings import Settings as Settings
    from jaxgen.sweeps.api import linear as linear
    from jaxgen.sweeps.api import log as log
    from jaxgen.sweeps.api import sweep as sweep

installed.quiet()
installed.mend()
_PLACES = {
    "Experiment": "jaxgen.experiment",
    "Run": "jaxgen.runs.run",
    "RunSettings": "jaxgen.runs.settings",
    "Settings": "jaxgen.runs.settings",
    "data": None,
    "fit": "jaxgen.runs.fit",
    "launch": None,
    "linear": "jaxgen.sweeps.api",
    "load": "jaxgen.runs.load",
    "log": "jaxgen.sweeps.api",
    "pretrained": "jaxgen.export.pretrained",
    "stack": "jaxgen.engine.run",
    "sweep": "jaxgen.sweeps.api",
    "train": "jaxgen.engine.run",
}
__all__ = list(_PLACES)


def __dir__() -> list[str]:
    return sorted(_PLACES)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module 'jaxgen' has no attribute {name!r}")
        place = _PLACES[name]
        return (
            importlib.import_module(f"jaxgen.{name}")
            if place is None
            else getattr(importlib.import_module(place), name)
        )
