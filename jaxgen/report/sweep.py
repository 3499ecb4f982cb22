"""Figures of a sweep: curves colored by an axis, the metric along an axis, a heat map over two."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.contract import Objective
from jaxgen.report.figures import COLORS, _figure, _save

Points = Sequence[tuple[int, float]]


def _is_number(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _colors(values: Sequence[Any], log: bool) -> tuple[list[Any], Any]:
    """A color for each value, and the scale of a color bar if they are many numbers."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    kinds = sorted(set(values), key=lambda v: (str(type(v)), v))
    if _is_number(values) and len(kinds) > 1:
        scale = ScalarMappable((LogNorm if log else Normalize)(min(kinds), max(kinds)), matplotlib.colormaps["viridis"])
        return [scale.to_rgba(value) for value in values], scale
    return [COLORS[kinds.index(value) % len(COLORS)] for value in values], None


def learning_curves(
    path: Path, curves: Mapping[int, Points], values: Mapping[int, Any], axis: str, log: bool, objective: Objective
) -> None:
    """`curves[i]` of member i, colored by `values[i]`, its value on `axis`."""
    figure = _figure(7.5, 4.5)
    axes = figure.subplots()
    members = [i for i in curves if curves[i]]
    colors, scale = _colors([values[i] for i in members], log)
    for i, color in zip(members, colors, strict=True):
        axes.plot(*zip(*curves[i], strict=True), color=color, alpha=0.8, lw=1.2, marker="o", markersize=2.5)
    if scale is not None:
        figure.colorbar(scale, ax=axes, label=axis)
    else:
        for value, color in dict(zip([values[i] for i in members], colors, strict=True)).items():
            axes.plot([], [], color=color, label=str(value))
        axes.legend(title=axis, fontsize=8, frameon=False)
    axes.set(xlabel="step", ylabel=objective.metric)
    _zoom(axes, [value for i in members for _, value in curves[i][len(curves[i]) // 2 :]], objective.maximize)
    axes.grid(alpha=0.3)
    _save(figure, path)


def _zoom(axes: Any, late: Sequence[float], maximize: bool) -> None:
    """Limit the view to the later values of all but the worst tenth."""
    if not late:
        return
    low, high = np.quantile(late, [0.1, 1] if maximize else [0, 0.9])
    room, (bottom, top) = max(high - low, 1e-12), axes.get_ylim()
    below, above = (1.0, 0.1) if maximize else (0.1, 1.0)
    axes.set_ylim(max(bottom, low - below * room), min(top, high + above * room))


def along_axis(path: Path, values: Sequence[Any], scores: Sequence[float], axis: str, log: bool, metric: str) -> None:
    """Each member's final metric against its value on the axis, and the mean at each value."""
    figure = _figure(6.5, 4.5)
    axes = figure.subplots()
    kinds = sorted(set(values), key=lambda v: (str(type(v)), v))
    numeric = _is_number(values)
    places = [value if numeric else kinds.index(value) for value in values]
    axes.scatter(places, scores, s=16, color=COLORS[7], alpha=0.6)
    means = [np.mean([s for v, s in zip(values, scores, strict=True) if v == kind]) for kind in kinds]
    axes.plot([kind if numeric else i for i, kind in enumerate(kinds)], means, color=COLORS[4], label="mean")
    if numeric and log:
        axes.set_xscale("log")
    if not numeric:
        axes.set_xticks(range(len(kinds)), [str(kind) for kind in kinds])
    axes.set(xlabel=axis, ylabel=metric)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    _save(figure, path)


def heat_map(path: Path, cells: Mapping[tuple[Any, Any], float], names: tuple[str, str], objective: Objective) -> None:
    """The metric at each pair of values, averaged over everything else; white: no finite member.

    The color range leaves out the worst tenth.
    """
    down, across = (sorted({pair[k] for pair in cells}, key=lambda v: (str(type(v)), v)) for k in (0, 1))
    table = np.array([[cells.get((a, b), np.nan) for b in across] for a in down])
    figure = _figure(max(5, 0.7 * len(across) + 2.5), max(3.5, 0.45 * len(down) + 1.5))
    axes = figure.subplots()
    sound = table[np.isfinite(table)]
    low, high = np.quantile(sound, (0.1, 1.0) if objective.maximize else (0.0, 0.9))
    image = axes.imshow(table, cmap="viridis", aspect="auto", vmin=low, vmax=high)
    figure.colorbar(image, ax=axes, label=objective.metric, extend="min" if objective.maximize else "max")
    for place, value in np.ndenumerate(table):
        if np.isfinite(value):
            color = "black" if value > (low + high) / 2 else "white"
            axes.text(*place[::-1], f"{value:.4g}", ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(len(across)), [_short(value) for value in across], rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(down)), [_short(value) for value in down], fontsize=8)
    axes.set(xlabel=names[1], ylabel=names[0])
    _save(figure, path)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
