"""Long and short tasks of one class: how far a long one is remembered."""

from __future__ import annotations

from concurro.scheduling.depth import burst_size, decayed_duration, lease_depth

SHORT = 10e-6
LONG = 1.0


def after_short_ones(count):
    """Return the estimate for a class after one long task and some short ones [s]."""
    duration = LONG
    for _ in range(count):
        duration = decayed_duration(duration, SHORT)
    return duration


def test_nothing_is_sent_ahead_behind_a_task_that_was_long():
    assert lease_depth(1, after_short_ones(0)) == 1
    assert lease_depth(1, after_short_ones(3)) == 1


def test_some_short_tasks_after_a_long_one_are_sent_ahead_again():
    duration = after_short_ones(40)

    assert lease_depth(1, duration) > 100
    assert burst_size(duration, workers=1) > 8
