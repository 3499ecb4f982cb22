"""A run's next steps, and the actions due after them: pure arithmetic, without JAX."""

from typing import NamedTuple


class Plan(NamedTuple):
    """The numbers that determine a run's spans; all but `epochs_at_once` in steps."""

    total: int
    per_epoch: int
    log_every: int
    evaluate_every: int
    save_every: int
    """0: time-based only."""
    draw_every: int
    """0: only at the end."""
    intervals: int
    """Maximum number of logging intervals a span may complete."""
    epochs_at_once: int
    """Maximum number of epochs a span may touch."""
    block: int = 0
    """Batches per block of streamed images, which a span does not cross; 0: no streaming."""


class Span(NamedTuple):
    """Steps `first` to `last` (exclusive), and what is due at `last`: evaluate, then save, then draw."""

    first: int
    last: int
    evaluate: bool
    save: bool
    draw: bool
    final: bool


def next_span(step: int, wanted: int, plan: Plan) -> Span:
    """The span after `step` steps, of at most `wanted` (at least one).

    It ends where something is due. Evaluations depend on the step only: multiples of `evaluate_every` and the end.
    """
    ends = [step + max(wanted, 1), plan.total]
    ends.append((step // plan.log_every + plan.intervals) * plan.log_every)
    ends.append((step // plan.per_epoch + plan.epochs_at_once) * plan.per_epoch)
    every = [plan.evaluate_every, plan.save_every, plan.draw_every]
    ends += [_next_multiple(step, period) for period in every if period]
    if plan.block:
        ends += [_block_end(step, plan)]
    last = min(ends)
    final = last == plan.total
    evaluate, save, draw = (bool(period) and last % period == 0 for period in every)
    return Span(step, last, evaluate or final, save or final, draw and not final, final)


def _next_multiple(step: int, period: int) -> int:
    return (step // period + 1) * period


def _block_end(step: int, plan: Plan) -> int:
    epoch, place = divmod(step, plan.per_epoch)
    return epoch * plan.per_epoch + min(plan.per_epoch, _next_multiple(place, plan.block))
