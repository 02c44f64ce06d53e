"""Where much waits, a worker gets several chunks at once and reports them together."""

import pytest

from concurro.errors import ProtocolError
from concurro.execution.slave_records import PostChunk
from concurro.ids import Outcome
from tests.unit.execution.slave_driver import MICROSECOND, MILLISECOND, lease, task_class


def give_many(driver, count=40):
    """Let a driver with one worker have many tasks of a millisecond."""
    driver.measure(duration=MILLISECOND)
    driver.give(*[lease(number) for number in range(10, 10 + count)])


def test_joins_chunks_of_a_millisecond_and_lets_as_many_follow(one):
    give_many(one)

    fake = one.workers[1]
    assert [list(chunk) for chunk in fake.chunks] == [[number] for number in range(10, 18)]
    assert list(fake.joined) == [True, True, True, False] * 2


def test_posts_chunk_by_chunk_where_little_waits(one):
    give_many(one, 7)

    assert list(one.workers[1].joined) == [False, False]


def test_joins_nothing_of_tasks_with_a_time_limit(one):
    one.core.classes([task_class(timeout=1.0)])
    one.core.leases([lease(1)])
    one.step()
    one.begin(1)
    one.report(1, MILLISECOND)
    one.core.leases([lease(number) for number in range(10, 50)])

    posted = [each for each in one.step() if isinstance(each, PostChunk)]

    assert [each.joined for each in posted] == [False]


def test_joins_nothing_of_tasks_that_are_not_run_again(one):
    one.core.classes([[*task_class(), 1, True]])
    one.core.leases([lease(1)])
    one.step()
    one.run_one(1, MILLISECOND)
    one.core.leases([lease(number) for number in range(10, 50)])

    posted = [each for each in one.step() if isinstance(each, PostChunk)]

    assert [each.joined for each in posted] == [False, False]


def test_takes_what_joined_chunks_gave_in_one_message_and_posts_as_many(one):
    give_many(one)

    for _ in range(4):
        one.workers[1].claim()
        one.finish(1, MILLISECOND)
    one.flush(1)

    assert set(one.results) == {1, 10, 11, 12, 13}
    assert one.posted(1) == [[number] for number in range(14, 22)]


def test_measures_tasks_whose_results_come_together(one):
    give_many(one)

    for _ in range(4):
        one.workers[1].claim()
        one.finish(1, 3 * MILLISECOND)
    one.flush(1)

    assert list(one.workers[1].joined) == [True, True, True, False, False]


@pytest.mark.parametrize(("results", "ended"), [(1, 2), (0, 1), (2, 0), (8, 9)])
def test_refuses_ends_of_chunks_that_cannot_be(one, results, ended):
    give_many(one)
    said = [[number, 0, b"value", None, MICROSECOND] for number in range(10, 10 + results)]

    with pytest.raises(ProtocolError, match="not what it has to run next"):
        one.core.worker_results(1, said, ended, one.now)


def test_a_death_costs_the_running_task_only_what_waited_to_be_told_runs_again(one):
    give_many(one)
    for _ in range(2):
        one.workers[1].claim()
        one.finish(1, MILLISECOND)
    one.workers[1].claim()

    one.die(1)

    outcomes = {number: one.results[number][1] for number in (10, 11, 12)}
    assert outcomes == {10: Outcome.SLAVE_LOST, 11: Outcome.SLAVE_LOST, 12: Outcome.LOST}
    assert 13 not in one.results


def test_asks_a_worker_for_what_it_was_to_report_together(one):
    give_many(one)

    one.tick(0.019)
    before = list(one.nudged)
    one.tick(0.002)

    assert (before, one.nudged) == ([], [1])


def test_a_worker_whose_tokens_were_taken_reports_all_chunks_and_goes_on(one):
    give_many(one, 40)
    one.workers[1].claim()
    one.core.recall(range(11, 50))
    one.step()
    one.finish(1, MILLISECOND)

    while one.workers[1].chunks:
        one.workers[1].end_chunk()
    one.flush(1)
    one.give(lease(90))

    assert sorted(one.returned) == list(range(11, 50))
    assert one.posted(1) == [[90]]
