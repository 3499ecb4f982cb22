import pytest

from jaxgen.runs import progress
from jaxgen.runs.progress import Clock, evenly_kept


def test_small_states_are_kept_more_often_than_large_ones():
    assert [evenly_kept(size) for size in (0, 2**20, 2**23, 2**24, 2**30)] == [75, 75, 32, 20, 20]


@pytest.mark.parametrize(
    ("total", "save_seconds", "wait"),
    [
        (100_000, 0.01, 10.0),  # long: every ten seconds
        (1_500, 0.01, 0.2),  # fifteen seconds of training: 75 checkpoints
        (1_500, 0.1, 1.0),  # of which saving may take a tenth
        (0, 0.0, 0.0),
    ],
)
def test_a_checkpoint_is_due_after_a_share_of_a_short_run(total, save_seconds, wait, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    clock = Clock(0, 0.0, total=total)
    clock.took(100, 1.0)
    clock.saved(save_seconds)
    now[0] += wait - 0.01
    assert not clock.save_is_due() or wait == 0
    now[0] += 0.02
    assert clock.save_is_due()
