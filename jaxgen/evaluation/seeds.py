"""Numbers of a run's seeds, side by side."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev


def table(numbers: Mapping[str, Sequence[float]]) -> str:
    """A line for each number: its mean and its standard deviation over the seeds, two at least, and its extremes."""
    count = len(next(iter(numbers.values())))
    lines = [f"  {f'over {count} seeds':<32} {'mean +- standard deviation':>27} {'least':>10} {'most':>10}"]
    for name, values in numbers.items():
        spread = f"{fmean(values):.4f} +- {stdev(values):.4f}"
        lines.append(f"  {name:<32} {spread:>27} {min(values):>10.4f} {max(values):>10.4f}")
    return "\n".join(lines)
