"""Long and short tasks of one class in one slave."""

from __future__ import annotations

from tests.unit.execution.slave_driver import MICROSECOND, MILLISECOND, lease


def test_some_short_tasks_after_a_long_one_go_in_chunks_again(one):
    one.measure(duration=1_000 * MILLISECOND)
    for number in range(2, 42):
        one.give(lease(number))
        one.run_one(1, duration=MICROSECOND)

    one.give(*[lease(number) for number in range(100, 110)])

    assert len(one.posted(1)[0]) > 1
