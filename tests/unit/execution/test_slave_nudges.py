"""Results do not wait behind a long task of the same chunk."""

from tests.unit.execution.slave_driver import MICROSECOND, lease


def test_tells_a_worker_that_is_silent_inside_a_chunk_to_report(one):
    one.measure()
    one.give(*[lease(number) for number in range(10, 20)])

    one.tick(0.024)

    assert one.nudged == [1]


def test_tells_it_again_later_and_later_for_it_may_have_been_between_two_tasks(one):
    one.measure()
    one.give(*[lease(number) for number in range(10, 20)])

    told = []
    for step in (0.024, 0.024, 0.036, 0.2, 0.04):
        one.tick(step)
        told.append(len(one.nudged))

    assert told == [1, 1, 2, 2, 3]


def test_tells_it_soon_again_once_it_was_heard(one):
    one.measure()
    one.give(*[lease(number) for number in range(10, 20)])
    one.tick(0.024)
    one.tick(0.024)
    before = list(one.nudged)

    one.run_one(1, MICROSECOND)
    one.tick(0.024)

    assert (before, one.nudged) == ([1], [1, 1])


def test_leaves_a_worker_alone_that_runs_a_single_task(one):
    one.measure()
    one.give(lease(10))

    one.tick(10.0)

    assert one.nudged == []


def test_asks_to_be_called_when_a_nudge_is_due(one):
    one.measure()

    one.give(*[lease(number) for number in range(10, 20)])

    assert 0.0 < one.core.next_time() - one.now <= 0.02
