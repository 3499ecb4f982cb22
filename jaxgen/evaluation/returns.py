"""Returns over many seeds: robust means with their error, and the seeds' stability.

Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, NeurIPS 2021: the interquartile
mean over seeds, its 95 % interval by the percentile bootstrap.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

LAST = 10
"""Evaluations averaged to show whether a seed's return is stable."""
RESAMPLES = 5_000


def interquartile_mean(values: Float[np.ndarray, "... seeds"]) -> Float[np.ndarray, "..."]:
    """Mean of the middle half, along the last axis.

    The numbers of `scipy.stats.trim_mean(values, 0.25)`, without the second that its import takes.
    """
    seeds = values.shape[-1]
    cut = seeds // 4
    return np.partition(values, (cut, seeds - cut - 1), axis=-1)[..., cut : seeds - cut].mean(axis=-1)


def interval(values: Float[np.ndarray, "... seeds"]) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap interval of the interquartile mean along the last axis; for one seed, the seed itself."""
    if values.shape[-1] < 2:
        return values[..., 0], values[..., 0]
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,),
        lambda sample, axis: interquartile_mean(np.moveaxis(sample, axis, -1)),
        axis=-1,
        n_resamples=RESAMPLES if values.ndim == 1 else 500,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return found.low, found.high


def of_seeds(evaluations: Float[np.ndarray, "times seeds"]) -> dict[str, Any]:
    """The last evaluation over seeds, the mean of each seed's last ten, and its best."""
    final, last, best = evaluations[-1], evaluations[-LAST:].mean(axis=0), evaluations.max(axis=0)
    low, high = interval(final)
    return {
        "iqm": float(interquartile_mean(final)),
        "iqm_95": [float(low), float(high)],
        "mean": float(final.mean()),
        "fifth_percentile": float(np.percentile(final, 5)),
        "worst": float(final.min()),
        "last_ten_iqm": float(interquartile_mean(last)),
        "last_ten_mean": float(last.mean()),
        "last_ten_fifth_percentile": float(np.percentile(last, 5)),
        "best_iqm": float(interquartile_mean(best)),
        "seeds": [
            {"final": float(f), "last_ten": float(m), "best": float(b)}
            for f, m, b in zip(final, last, best, strict=True)
        ],
    }


def described(summary: dict[str, Any]) -> str:
    """The summary in a few lines."""
    low, high = summary["iqm_95"]
    return (
        f"greedy return of {len(summary['seeds'])} seeds: IQM {summary['iqm']:.1f} (95 % {low:.1f} to {high:.1f}), "
        f"mean {summary['mean']:.1f}, 5th percentile {summary['fifth_percentile']:.1f}, worst {summary['worst']:.1f}\n"
        f"mean of the last ten evaluations: IQM {summary['last_ten_iqm']:.1f}, mean {summary['last_ten_mean']:.1f}, "
        f"5th percentile {summary['last_ten_fifth_percentile']:.1f}\n"
        f"best evaluation of each: IQM {summary['best_iqm']:.1f}"
    )
