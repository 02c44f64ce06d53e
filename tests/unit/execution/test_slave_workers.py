"""The slave core and its workers: deaths, time limits, size of the pool."""

from __future__ import annotations

import pytest

from concurro.errors import ProtocolError
from concurro.execution.restarts import SICK_DEATHS, SICK_PAUSE, WELL_AFTER
from concurro.execution.slave_core import ENDING_LIMIT
from concurro.execution.slave_records import StartWorker
from concurro.ids import Outcome
from tests.unit.execution.slave_driver import MICROSECOND, SlaveDriver, lease, task_class


def test_starts_as_many_workers_as_it_keeps():
    driver = SlaveDriver(workers=3)

    assert sorted(driver.workers) == [1, 2, 3]


def test_reports_the_running_task_lost_when_its_worker_dies(one):
    one.give(lease(1))
    one.workers[1].claim()

    one.die(1, "killed by SIGSEGV", output="last words")

    _, outcome, failure, _, _ = one.results[1]
    assert outcome == Outcome.LOST
    assert failure[0] == "WorkerLost"
    assert "SIGSEGV" in failure[1]
    assert "last words" in failure[1]


def test_tasks_that_waited_in_a_dead_worker_run_elsewhere_uncharged(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11), lease(12))
    one.workers[1].claim()

    one.die(1)
    one.ready()

    assert one.results.keys() == {1, 10}
    assert one.posted(2) == [[11, 12]]


def test_charges_only_the_last_started_task_of_a_dead_worker(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11), lease(12))
    one.workers[1].claim()
    one.workers[1].claim()

    one.die(1)

    assert one.results[10][1] == Outcome.SLAVE_LOST
    assert one.results[11][1] == Outcome.LOST
    assert 12 not in one.results


def test_replaces_a_worker_that_died_at_work_at_once(one):
    one.give(lease(1))
    one.workers[1].claim()

    one.die(1)

    assert list(one.workers) == [2]


def test_an_idle_worker_that_is_killed_costs_no_task(one):
    one.measure()

    one.die(1, "killed by SIGKILL")

    assert one.results.keys() == {1}
    assert list(one.workers) == [2]


def test_waits_longer_after_each_death_of_a_worker_that_did_nothing():
    driver = SlaveDriver()
    pauses = []

    for worker in range(1, SICK_DEATHS):
        driver.die(worker)
        pauses.append(driver.core.next_time() - driver.now)
        driver.tick(pauses[-1])

    assert pauses == sorted(set(pauses))


def test_is_sick_after_five_workers_that_did_nothing_and_says_why():
    driver = SlaveDriver()
    driver.give(lease(1))

    for worker in range(1, SICK_DEATHS + 1):
        driver.die(worker, "exit code 9", output="no such library")
        driver.tick(5.0)

    assert "exit code 9" in driver.core.sick
    assert "no such library" in driver.core.sick
    assert driver.returned == [1]


def test_f12_workers_that_all_end_for_one_reason_are_no_sickness():
    driver = SlaveDriver(workers=8)
    driver.ready()

    driver.core.workers_vanish()
    for worker in range(1, 9):
        driver.die(worker, "the launcher ended")
    driver.tick(1.0)

    assert driver.core.sick == ""
    assert len(driver.workers) == 8


def test_f12_workers_that_end_together_again_and_again_are_one():
    driver = SlaveDriver(workers=8)

    for _ in range(SICK_DEATHS):
        driver.core.workers_vanish()
        for worker in sorted(driver.workers):
            driver.die(worker, "the launcher ended")
        driver.tick(5.0)

    assert "the launcher ended" in driver.core.sick


def test_a_sick_slave_hands_new_leases_back():
    driver = SlaveDriver()
    for worker in range(1, SICK_DEATHS + 1):
        driver.die(worker)
        driver.tick(5.0)

    driver.give(lease(1))

    assert driver.returned == [1]


def test_a_sick_slave_tries_again_slowly_and_gets_well():
    driver = SlaveDriver(workers=2)
    while not driver.core.sick:
        driver.die(min(driver.workers))
        driver.tick(5.0)
    while driver.workers:
        driver.die(min(driver.workers))

    driver.tick(SICK_PAUSE - 1)
    assert driver.workers == {}
    driver.tick(1)
    assert len(driver.workers) == 1
    driver.ready()
    driver.tick(WELL_AFTER)

    assert driver.core.sick == ""
    assert len(driver.workers) == 2


def test_a_task_with_a_timeout_goes_alone(one):
    one.core.classes([task_class(1, timeout=5.0)])
    one.give(lease(1, task_class=1), lease(2, task_class=1))
    one.run_one(1)

    one.core.leases([lease(3, task_class=1)])
    one.step()

    assert one.posted(1) == [[2]]


def test_kills_the_worker_of_a_task_that_runs_too_long_and_names_the_limit(one):
    one.core.classes([task_class(1, timeout=5.0)])
    one.give(lease(1, task_class=1))
    one.begin(1)

    one.tick(4.9)
    before = list(one.killed)
    one.tick(0.2)
    one.die(1, "killed by SIGKILL")

    assert (before, one.killed) == ([], [1])
    assert one.results[1][1] == Outcome.TIMEOUT
    assert "5 s" in one.results[1][2][1]


def test_a_result_that_arrives_while_its_worker_is_killed_counts(one):
    one.core.classes([task_class(1, timeout=5.0)])
    one.give(lease(1, task_class=1))
    one.begin(1)
    one.tick(5.1)

    one.report(1)
    one.die(1, "killed by SIGKILL")

    assert one.results[1][1] == Outcome.DONE


def test_a_worker_that_recycles_is_replaced_and_its_waiting_tasks_are_not_charged(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11), lease(12), lease(13))

    one.core.worker_recycles(1, one.now)
    one.step()
    one.die(1, "exit code 0")
    one.ready()

    assert one.results.keys() == {1}
    assert [number for chunk in one.posted(2) for number in chunk] == [10, 11, 12, 13]


def test_kills_a_worker_that_said_that_it_ends_and_does_not(one):
    one.measure()
    one.core.worker_recycles(1, one.now)

    one.tick(ENDING_LIMIT)
    one.die(1, "killed by SIGKILL")

    assert one.killed == [1]
    assert one.results.keys() == {1}


def test_a_larger_pool_starts_workers(one):
    one.core.update_pool(3)
    one.step()

    assert sorted(one.workers) == [1, 2, 3]


def test_a_smaller_pool_ends_idle_workers_first(two):
    two.give(lease(1))
    two.workers[1].claim()

    two.core.update_pool(1)
    two.step()

    assert two.stopped == [2]


def test_a_busy_worker_that_is_too_many_ends_after_its_task(two):
    two.give(lease(1), lease(2))
    two.workers[1].claim()
    two.workers[2].claim()

    two.core.update_pool(1)
    two.step()
    before = list(two.stopped)
    two.report(1)
    two.report(2)

    assert before == []
    assert len(two.stopped) == 1
    assert two.results.keys() == {1, 2}


@pytest.mark.parametrize(
    ("leases", "ended"),
    [([99], True), ([11], False), ([10, 11, 12], True), ([10], True), ([], True)],
    ids=["never leased", "not its turn", "too many", "an end before the end", "an end without anything"],
)
def test_refuses_an_answer_to_what_the_worker_was_not_asked_and_takes_nothing_of_it(one, leases, ended):
    one.measure()
    one.give(lease(10), lease(11))
    told = set(one.results)

    with pytest.raises(ProtocolError):
        one.core.worker_results(1, [[number, 0, b"value", None, 1] for number in leases], ended, one.now)
    one.step()

    assert set(one.results) == told
    assert one.core.inventory() == [10, 11]


def test_refuses_the_end_of_a_chunk_that_was_never_posted(one):
    with pytest.raises(ProtocolError):
        one.core.worker_results(1, [], ended=True, now=one.now)


def test_a_worker_that_misbehaves_is_killed_loses_its_task_and_is_replaced(one):
    one.give(lease(1))
    one.workers[1].claim()

    one.core.worker_misbehaves(1)
    one.give(lease(2))
    one.die(1)

    assert one.killed == [1]
    assert [(result[0], result[1]) for result in one.results.values()] == [(1, Outcome.LOST)]
    assert sorted(one.workers) == [2]


def test_a_worker_is_started_even_when_nothing_is_to_do(one):
    one.workers.clear()
    one.core.worker_ended(1, "killed by SIGKILL", 0, one.now)

    one.core.tick(one.now + 1)
    commands = one.core.take_commands(one.now + 1)

    assert [command for command in commands if isinstance(command, StartWorker)] == [StartWorker(2)]
