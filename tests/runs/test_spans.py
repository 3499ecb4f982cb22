from hypothesis import given
from hypothesis import strategies as st

from jaxgen.runs.spans import Plan, next_span

COUNTS = st.integers(1, 40)


@st.composite
def plans(draw):
    return Plan(
        total=draw(st.integers(1, 300)),
        per_epoch=draw(COUNTS),
        log_every=draw(COUNTS),
        evaluate_every=draw(COUNTS),
        save_every=draw(st.integers(0, 40)),
        draw_every=draw(st.integers(0, 40)),
        intervals=draw(st.integers(1, 10)),
        epochs_at_once=draw(st.integers(1, 10)),
        block=draw(st.integers(0, 12)),
    )


def spans(plan, wanted, step=0):
    found = []
    while step < plan.total:
        found.append(next_span(step, wanted[len(found) % len(wanted)], plan))
        step = found[-1].last
    return found


@given(plans(), st.lists(st.integers(1, 100), min_size=1, max_size=5))
def test_spans_tile_the_run_and_every_event_is_at_its_multiples(plan, wanted):
    found = spans(plan, wanted)
    assert [span.first for span in found] == [0, *(span.last for span in found[:-1])]
    assert all(span.first < span.last for span in found)
    assert found[-1].last == plan.total
    ends = range(1, plan.total + 1)
    due = {
        "evaluate": {t for t in ends if t % plan.evaluate_every == 0 or t == plan.total},
        "save": {t for t in ends if (plan.save_every and t % plan.save_every == 0) or t == plan.total},
        "draw": {t for t in ends if plan.draw_every and t % plan.draw_every == 0 and t < plan.total},
        "final": {plan.total},
    }
    for event, steps in due.items():
        assert {span.last for span in found if getattr(span, event)} == steps


@given(plans(), st.integers(1, 1000))
def test_a_span_stays_within_what_one_chunk_can_do(plan, wanted):
    for span in spans(plan, [wanted]):
        assert span.last - span.first <= wanted
        assert span.last // plan.log_every - span.first // plan.log_every <= plan.intervals
        assert (span.last - 1) // plan.per_epoch - span.first // plan.per_epoch < plan.epochs_at_once
        if plan.block:
            assert (span.last - 1) % plan.per_epoch // plan.block == span.first % plan.per_epoch // plan.block
            assert (span.last - 1) // plan.per_epoch == span.first // plan.per_epoch


@given(plans(), st.integers(1, 100), st.data())
def test_what_is_due_does_not_depend_on_where_a_run_was_resumed(plan, wanted, data):
    step = data.draw(st.integers(0, plan.total - 1))
    resumed = {(s.last, s.evaluate, s.draw) for s in spans(plan, [wanted], step) if s.evaluate or s.draw}
    whole = {(s.last, s.evaluate, s.draw) for s in spans(plan, [1]) if (s.evaluate or s.draw) and s.last > step}
    assert resumed == whole
