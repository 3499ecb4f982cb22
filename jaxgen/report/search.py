"""Optuna's own figures of a study."""

import warnings
from pathlib import Path
from typing import Any

from jaxgen.files import replacing

PLOTS = {
    "history": "plot_optimization_history",
    "importance": "plot_param_importances",
    "parallel_coordinate": "plot_parallel_coordinate",
    "slices": "plot_slice",
    "intermediate_values": "plot_intermediate_values",
}
"""Our file names and Optuna's functions."""


def draw(study: Any, folder: Path, metric: str) -> list[str]:
    """Write the figures that the trials allow; return a line for each that cannot be drawn."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from optuna.visualization import matplotlib as plots

    folder.mkdir(exist_ok=True)
    missing = []
    for name, function in PLOTS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {} if name == "intermediate_values" else {"target_name": metric}
            try:
                drawn = getattr(plots, function)(study, **options)
                axes = drawn.flat[0] if hasattr(drawn, "flat") else drawn
                with replacing(folder / f"{name}.png") as temporary:
                    axes.figure.savefig(temporary, dpi=120, bbox_inches="tight")
            except (ValueError, RuntimeError) as error:  # too few finished trials, or all of one value
                missing.append(f"no figure {name}: {str(error).splitlines()[0]}")
            plt.close("all")
    return missing
