"""Figures of autoencoders, VAEs, GANs, DQNs, sweeps and searches.

Each algorithm's module has `draw(snapshot)`, which writes the figures of a run; `figures` turns arrays into pictures,
`cartpole` states into a GIF, `notebook` shows both in Jupyter. The modules are imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxgen.report import autoencoder, cartpole, dqn, figures, gan, notebook, search, sweep, vae

__all__ = ["autoencoder", "cartpole", "dqn", "figures", "gan", "notebook", "search", "sweep", "vae"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f"{__name__}.{name}")
