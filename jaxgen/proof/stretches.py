"""Stretches between checkpoints, and how much of each `verify` makes again."""

import itertools
from collections.abc import Sequence

import numpy as np

from jaxgen.proof.evidence import Evidence

SHARE = 20
"""Without `all`, `verify` makes about one in so many steps again: with loading, compiling and evaluations less than a
tenth of the time of training, if that was minutes."""

Steps = tuple[int, int]
"""First (inclusive) and last (exclusive)."""


def between(beginning: int, found: Evidence) -> list[Steps]:
    """From the beginning to the first checkpoint, between checkpoints, and on to the last row of an unfinished run."""
    steps = [step for step in found.steps if step > beginning]
    ends = [beginning, *steps, *([found.end] if found.end > max(steps, default=beginning) else [])]
    return list(itertools.pairwise(ends))


def chosen(stretches: Sequence[Steps], segments: int, seed: int, steps: int | None = None) -> list[Steps]:
    """That many of them at random, in their order.

    If all have more than their share of `steps`, the first one drawn gives way to one that has not, if there is any:
    one is made whole, and it should leave steps for the others.
    """
    random, count = np.random.default_rng(seed), min(segments, len(stretches))
    places = random.choice(len(stretches), count, replace=False).tolist()
    if steps is not None:
        short = [place for place, (first, last) in enumerate(stretches) if last - first <= steps // count]
        if short and not set(short).intersection(places):
            places[0] = int(random.choice(short))
    return [stretches[place] for place in sorted(places)]


def cut(stretches: Sequence[Steps], steps: int, log_every: int) -> list[Steps]:
    """The stretches, cut where a logging interval ends so that they have about this number of steps in all.

    From short to long, each gets an equal share of the steps that are left: at least an interval, the first all of it.
    """
    ends = {}
    for place, (first, last) in enumerate(sorted(stretches, key=lambda stretch: stretch[1] - stretch[0])):
        intervals = max((first + steps // (len(stretches) - place)) // log_every, first // log_every + 1)
        ends[first] = last if place == 0 else min(last, intervals * log_every)
        steps = max(steps - (ends[first] - first), 0)
    return [(first, ends[first]) for first, _ in stretches]
