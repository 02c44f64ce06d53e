"""The slave core: leases in, exactly one end for each."""

from __future__ import annotations

import pytest

from concurro.execution.crew import STEAL_AFTER
from concurro.execution.slave_core import KILL_GRACE
from concurro.ids import Outcome
from tests.unit.execution.slave_driver import MICROSECOND, MILLISECOND, SlaveDriver, lease, task_class


def test_posts_nothing_to_a_worker_that_is_not_ready():
    driver = SlaveDriver()

    driver.give(lease(1))

    assert driver.posted(1) == []


def test_sends_tasks_of_a_class_never_measured_one_by_one(one):
    one.give(lease(1), lease(2), lease(3))

    assert one.posted(1) == [[1]]


def test_reports_a_result_as_the_worker_sent_it(one):
    one.give(lease(1))

    one.run_one(1, duration=1234)

    assert one.results == {1: [1, 0, b"value", None, 1234]}


def test_sends_short_tasks_in_chunks_of_at_most_a_millisecond(one):
    one.measure(duration=100 * MICROSECOND)

    one.give(*[lease(number) for number in range(10, 40)])

    assert [len(chunk) for chunk in one.posted(1)] == [10, 10]


def test_keeps_at_most_two_chunks_in_a_worker(one):
    one.measure(duration=MICROSECOND)

    one.give(*[lease(number) for number in range(10, 2010)])

    assert [len(chunk) for chunk in one.posted(1)] == [256, 256]


def test_posts_the_next_chunk_when_one_has_ended(one):
    one.measure(duration=500 * MICROSECOND)
    one.give(*[lease(number) for number in range(10, 20)])

    one.run_one(1, 500 * MICROSECOND)
    one.run_one(1, 500 * MICROSECOND)

    assert one.posted(1) == [[12, 13], [14, 15]]


def test_lets_nothing_wait_behind_a_long_task(two):
    two.measure(duration=50 * MILLISECOND)

    two.give(*[lease(number) for number in range(10, 14)])

    assert (two.posted(1), two.posted(2)) == ([[10]], [[11]])


def test_one_long_task_makes_the_next_chunks_small(one):
    one.measure(duration=MICROSECOND)
    one.give(lease(2))

    one.run_one(1, duration=2 * MILLISECOND)
    one.give(*[lease(number) for number in range(10, 13)])

    assert one.posted(1) == [[10], [11]]


def test_chunks_never_span_systems(one):
    one.measure(duration=MICROSECOND)
    one.core.classes([task_class(0, system=2)])

    one.give(lease(10), lease(11, system=2), lease(12, system=2))

    assert one.posted(1) == [[10]]


def test_shares_few_short_tasks_among_the_workers(two):
    two.measure(duration=100 * MICROSECOND)

    two.give(*[lease(number) for number in range(10, 20)])

    assert len(two.posted(1)[0]) == 5
    assert len(two.posted(2)[0]) >= 3


def test_does_not_share_what_is_done_before_another_worker_hears_of_it(two):
    two.measure(duration=MICROSECOND)

    two.give(*[lease(number) for number in range(10, 20)])

    assert two.posted(1) == [list(range(10, 20))]
    assert two.posted(2) == []


def test_one_long_task_among_many_short_ones_does_not_make_chunks_small(one):
    one.measure(duration=MICROSECOND)
    one.give(*[lease(number) for number in range(10, 110)])
    for _ in range(99):
        one.workers[1].claim()
        one.finish(1, duration=MICROSECOND)
    one.workers[1].claim()
    one.finish(1, duration=MILLISECOND)
    one.flush(1)

    one.give(*[lease(number) for number in range(200, 300)])

    assert len(one.posted(1)[0]) > 80


def test_announces_a_class_once_per_worker(one):
    one.core.classes([task_class(0)])
    one.core.leases([lease(1)])

    first = [command for command in one.step() if hasattr(command, "task_classes")]
    one.run_one(1, 20 * MILLISECOND)
    one.core.leases([lease(2)])
    second = [command for command in one.step() if hasattr(command, "task_classes")]

    assert [len(command.task_classes) for command in first + second] == [1, 0]


def test_returns_a_recalled_lease_that_no_worker_has(one):
    one.give(lease(1), lease(2))

    one.core.recall([2])
    one.step()

    assert (one.returned, one.started) == ([2], [])


def test_says_of_a_recalled_lease_that_it_has_started(one):
    one.give(lease(1))
    one.workers[1].claim()

    one.core.recall([1])
    one.step()

    assert (one.returned, one.started) == ([], [1])


def test_takes_tokens_back_to_return_what_waits_in_a_worker(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11), lease(12))
    one.workers[1].claim()

    one.core.recall([12])
    one.step()

    assert one.returned == [12]
    assert one.workers[1].tokens == 0


def test_posts_nothing_to_a_worker_between_taking_back_and_idle(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11), lease(12))
    one.workers[1].claim()
    one.core.recall([12])
    one.step()

    one.give(lease(13))

    assert one.posted(1) == [[11, 12]]


def test_runs_what_was_taken_back_but_not_recalled_when_the_worker_is_idle(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11), lease(12))
    one.workers[1].claim()
    one.core.recall([12])
    one.step()

    one.report(1)

    assert one.posted(1) == [[11]]
    assert one.workers[1].tokens == 1


def test_an_idle_worker_takes_over_what_waits_behind_a_task_that_turned_out_long(two):
    two.measure(duration=100 * MICROSECOND)
    two.give(*[lease(number) for number in range(10, 14)])
    held = [number for chunk in two.posted(1) for number in chunk]
    two.workers[1].claim()
    for _ in range(sum(len(chunk) for chunk in two.posted(2))):
        two.run_one(2)

    two.tick(STEAL_AFTER)

    assert [number for chunk in two.posted(2) for number in chunk] == held[1:]


def test_kills_the_worker_of_a_running_lease_that_is_not_wanted_and_reports_nothing(one):
    one.give(lease(1))
    one.workers[1].claim()

    one.core.kill([1], one.now)
    one.step()
    one.die(1, "killed by SIGKILL")

    assert one.killed == [1]
    assert one.results == {}


def test_a_killed_lease_that_waits_is_dropped_without_a_word(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11), lease(12))

    one.core.kill([11, 12], one.now)
    one.step()
    one.run_one(1) if one.workers[1].tokens else one.skip(1)

    assert 11 not in one.core.inventory()
    assert one.returned == []


def test_lets_a_chunk_of_short_tasks_end_before_it_kills_for_one(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11))
    one.workers[1].claim()
    one.workers[1].claim()

    one.core.kill([11], one.now)
    one.step()
    at_once = list(one.killed)
    one.tick(KILL_GRACE)

    assert (at_once, one.killed) == ([], [1])


def test_kills_for_a_running_lease_although_results_before_it_arrive(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11))
    one.workers[1].claim()
    one.finish(1)
    one.workers[1].claim()
    one.core.kill([11], one.now)
    one.step()

    fake = one.workers[1]
    one.core.worker_results(1, [fake.unreported.pop()], ended=False, now=one.now)
    one.tick(KILL_GRACE)
    one.die(1, "killed by SIGKILL")

    assert one.killed == [1]
    assert one.results.keys() == {1, 10}


def test_a_new_master_may_number_its_systems_and_classes_again(one):
    one.measure()
    one.core.abandon()
    one.step()

    one.core.classes([[1, 0, "Other", None, {}, b"other code", [], "other job"]])
    one.core.leases([lease(2)])
    announced = [command.task_classes for command in one.step() if hasattr(command, "task_classes")]

    assert [code.announcement[3] for codes in announced for code in codes] == [b"other code"]


def test_keeps_a_result_until_it_is_acknowledged(one):
    one.give(lease(1))
    one.run_one(1)

    before = dict(one.core.results)
    one.acknowledge()

    assert before.keys() == {1}
    assert one.core.results == {}


def test_fetches_missing_blobs_before_it_runs_a_task(one):
    one.core.classes([task_class()])
    one.core.leases([lease(1, blobs=[[0, b"digest", 10]])])
    one.step()
    before = one.posted(1)

    one.core.fetched(("lease", 1), None)
    one.step()

    assert before == []
    assert one.posted(1) == [[1]]


def test_releases_the_blobs_of_a_task_when_its_result_is_here(one):
    one.core.classes([task_class()])
    one.core.leases([lease(1, blobs=[[0, b"digest", 10]])])
    one.core.fetched(("lease", 1), None)
    one.step()

    one.run_one(1)

    assert one.released == [("lease", 1)]


def test_a_blob_that_nobody_has_fails_the_task_and_says_so(one):
    one.core.classes([task_class()])
    one.core.leases([lease(1, blobs=[[0, b"digest", 10]])])
    one.step()

    one.core.fetched(("lease", 1), "blob 6469: nobody has it")
    one.step()

    assert one.results[1][1] == Outcome.NOT_LOADED
    assert "nobody has it" in one.results[1][2][1]


def test_tasks_wait_for_the_code_of_their_class(one):
    one.core.classes([task_class(blobs=[[1, b"code", 10]])])
    one.core.leases([lease(1), lease(2)])
    one.step()

    one.core.fetched(("class", 1, 0), None)
    one.step()

    assert one.posted(1) == [[1]]
    assert one.core.inventory() == [1, 2]


@pytest.mark.parametrize(("code", "arguments"), [([[1, b"code", 10]], None), (None, [[0, b"digest", 10]])])
def test_what_follows_a_task_that_waits_for_bytes_runs_as_its_own_class(two, code, arguments):
    two.core.classes([task_class(0), task_class(1, blobs=code)])

    two.core.leases([lease(1), lease(2, 1, blobs=arguments), lease(3, 1)])
    two.step()
    for fetch in two.fetches:
        two.core.fetched(fetch.owner, None)
    two.step()
    two.run_one(1)

    assert two.workers[1].told | two.workers[2].told == {(1, 0), (1, 1)}
    assert sorted(two.core.inventory()) == [2, 3]


def test_draining_returns_what_waits_and_lets_the_rest_end(one):
    one.give(lease(1), lease(2), lease(3))
    one.workers[1].claim()

    one.core.drain()
    one.step()
    during = one.drained
    one.report(1)
    one.acknowledge()

    assert sorted(one.returned) == [2, 3]
    assert (during, one.drained) == (False, True)


def test_draining_waits_until_the_last_result_is_acknowledged(one):
    one.give(lease(1))
    one.core.drain()
    one.step()
    one.skip(1) if one.workers[1].tokens == 0 else one.run_one(1)

    assert one.returned == [1]
    assert one.drained


def test_a_lost_master_ends_everything_that_was_leased(one):
    one.give(lease(1), lease(2))
    one.workers[1].claim()

    one.core.abandon()
    one.step()
    one.die(1, "killed by SIGKILL")

    assert one.core.inventory() == []
    assert one.results == {}


def test_is_quiet_when_everything_was_taken(one):
    one.core.assert_quiet()

    one.core.classes([task_class()])
    one.core.leases([lease(1, task_class=9)])

    with pytest.raises(AssertionError, match="not quiet"):
        one.core.assert_quiet()
