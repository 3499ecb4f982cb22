"""Checks that stop a run, or a member, at infinities and NaN before they are saved."""

from collections.abc import Callable

import numpy as np

from jaxgen.engine import loop
from jaxgen.engine.members import Members
from jaxgen.errors import UserError


class NonFiniteError(UserError):
    """Training produced an infinity or NaN."""


class Guard:
    """Detector of infinities and NaN, which end a single run, or one of several members."""

    def __init__(self, members: Members | None, warn: Callable[[str], None]) -> None:
        self._members, self._warn = members, warn
        self._lost: set[int] = set()

    def check(self, carry: loop.Carry, chunk: loop.Chunk, first: int, last: int) -> None:
        """Raise `NonFiniteError` if no member is left; warn about newly lost ones."""
        first_bad, finite = np.atleast_1d(carry.first_bad), np.atleast_2d(chunk.finite)
        names = list(loop.named_leaves(carry.state))
        bad = np.flatnonzero((first_bad >= 0) | ~finite.all(axis=1))
        for i in bad:
            leaf = next((name for name, fine in zip(names, finite[i], strict=True) if not fine), None)
            where = f"step {first_bad[i]}" if first_bad[i] >= 0 else f"a step from {first} to {last - 1}"
            what = f"became non-finite at {where}: first {f'in {leaf}' if leaf else 'in the metrics'}"
            if len(bad) == len(first_bad):
                whose = "training" if self._members is None else "training of every member"
                raise NonFiniteError(
                    f"{whose} {what}. No checkpoint after it was kept; try a lower hparams.learning_rate"
                )
            if i not in self._lost:
                self._warn(f"member {i} {what}; the others go on")
        self._lost.update(bad.tolist())

    def check_evaluation(self, metrics: dict[str, np.ndarray], step: int) -> None:
        """Raise `NonFiniteError` if a metric is finite for no member."""
        for name, value in metrics.items():
            if not np.isfinite(value).any():
                raise NonFiniteError(f"the test {name} is {value} at step {step}; this state was not saved")
