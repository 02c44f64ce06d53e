"""A task that waits lends its slot: the slave core, driven."""

from __future__ import annotations

from concurro.execution.lending import LENT_PER_WORKER, REFUSE_AFTER, REST_LIMIT
from tests.unit.execution.slave_driver import MILLISECOND, SlaveDriver, lease


def busy_driver(workers=1):
    """Return a driver whose workers each run one long task, leases 1, 2, ..."""
    driver = SlaveDriver(workers)
    driver.ready()
    driver.give(*(lease(number) for number in range(1, workers + 1)))
    for worker in range(1, workers + 1):
        driver.workers[worker].claim()
    return driver


def wait(driver, worker):
    """Let the task of a worker wait; return whether its slot is lent, None when that is not decided yet."""
    driver.core.lend(worker, driver.core.current_lease(worker))
    driver.step()
    return driver.answers.pop(worker, None)


def waiting_driver(workers=1):
    """Return a driver whose slots are lent as far as may be, all by tasks that began one after the other."""
    driver = busy_driver(workers)
    for worker in range(1, LENT_PER_WORKER * workers + 1):
        assert wait(driver, worker)
        driver.give(lease(workers + worker))
        driver.ready(workers + worker)
        driver.workers[workers + worker].claim()
    return driver


def test_another_worker_runs_what_is_queued_while_a_task_waits():
    driver = busy_driver()

    assert wait(driver, 1)
    assert list(driver.workers) == [1]
    driver.give(lease(2))
    driver.ready(2)

    assert driver.posted(2) == [[2]]


def test_slots_count_what_is_lent():
    driver = busy_driver(2)

    wait(driver, 1)
    lent, slots = driver.core.lent, driver.core.slots
    driver.core.end_loan(1)

    assert (lent, slots) == (1, 3)
    assert (driver.core.lent, driver.core.slots) == (0, 2)


def test_no_worker_is_started_for_a_lent_slot_that_nobody_needs():
    driver = busy_driver(2)

    wait(driver, 1)
    wait(driver, 2)
    driver.tick(1.0)

    assert list(driver.workers) == [1, 2]


def test_as_many_workers_are_started_as_tasks_are_queued():
    driver = busy_driver(4)
    for worker in (1, 2, 3):
        wait(driver, worker)

    driver.give(lease(11), lease(12))

    assert list(driver.workers) == [1, 2, 3, 4, 5, 6]


def test_what_has_not_started_goes_back_for_the_master_knows_what_the_task_waits_for():
    driver = SlaveDriver(1)
    driver.ready()
    driver.measure(duration=MILLISECOND // 10)
    driver.give(*(lease(number) for number in (2, 3, 4)))
    first = driver.workers[1].claim()

    wait(driver, 1)

    assert first == 2
    assert sorted(driver.returned) == [3, 4]
    assert driver.core.inventory() == [2]


def test_what_is_queued_goes_back_too():
    driver = busy_driver()
    driver.give(lease(2), lease(3))

    wait(driver, 1)

    assert sorted(driver.returned) == [2, 3]


def test_nothing_is_posted_behind_a_task_that_waits():
    driver = busy_driver()
    wait(driver, 1)

    driver.give(lease(2), lease(3))

    assert sum(len(chunk) for chunk in driver.posted(1)) == 0


def test_a_task_that_goes_on_leaves_no_more_running_than_slots():
    driver = busy_driver()
    wait(driver, 1)
    driver.give(lease(2))
    driver.ready(2)
    driver.run_one(2)
    driver.core.end_loan(1)
    driver.step()

    driver.give(lease(3))

    assert driver.posted(2) == []
    driver.report(1)
    assert [driver.posted(worker) for worker in (1, 2)].count([[3]]) == 1


def test_an_extra_worker_ends_after_a_while_without_use():
    driver = busy_driver()
    wait(driver, 1)
    driver.give(lease(2))
    driver.ready(2)
    driver.run_one(2)
    driver.core.end_loan(1)
    driver.step()

    driver.tick(REST_LIMIT - 0.1)
    early = list(driver.stopped)
    driver.tick(0.2)

    assert early == []
    assert driver.stopped == [2]


def test_an_extra_worker_stays_while_slots_are_lent():
    driver = busy_driver()
    wait(driver, 1)
    driver.give(lease(2))
    driver.ready(2)
    driver.run_one(2)

    driver.tick(REST_LIMIT + 1)

    assert driver.stopped == []
    driver.give(lease(3))
    assert driver.posted(2) == [[3]]


def test_beyond_the_limit_nothing_is_lent():
    driver = waiting_driver()

    assert wait(driver, LENT_PER_WORKER + 1) is None
    assert driver.core.slots == 1 + LENT_PER_WORKER


def test_what_is_queued_behind_a_task_that_may_not_lend_yet_goes_back_too():
    driver = waiting_driver()
    driver.give(lease(100))

    wait(driver, LENT_PER_WORKER + 1)

    assert driver.returned == [100]


def test_whoever_asked_first_gets_the_slot_that_comes_back():
    driver = waiting_driver(2)
    asking = [2 * LENT_PER_WORKER + 1, 2 * LENT_PER_WORKER + 2]
    assert [wait(driver, worker) for worker in asking] == [None, None]

    driver.core.end_loan(1)
    driver.step()

    assert driver.answers == {asking[0]: True}
    assert driver.core.lent == 2 * LENT_PER_WORKER


def refuse(driver):
    """Say, as the master does, that nothing runs elsewhere."""
    driver.core.refuse_wait()
    driver.step()


def test_the_last_who_asked_is_refused_when_nothing_runs_any_more_here_or_elsewhere():
    driver = waiting_driver(2)
    first, last = 2 * LENT_PER_WORKER + 1, 2 * LENT_PER_WORKER + 2
    wait(driver, first)
    driver.tick(REFUSE_AFTER + 1)
    while_one_runs = driver.stuck
    wait(driver, last)

    driver.tick(REFUSE_AFTER - 0.1)
    early = driver.stuck
    driver.tick(0.2)
    asked = driver.stuck, dict(driver.answers)
    refuse(driver)
    driver.tick(REFUSE_AFTER + 1)  # the refused one runs again

    assert while_one_runs == early == 0
    assert asked == (1, {})
    assert driver.answers == {last: False}
    assert driver.stuck == 1


def test_nobody_is_refused_while_something_runs_elsewhere_and_the_master_is_asked_again():
    driver = waiting_driver()
    wait(driver, LENT_PER_WORKER + 1)

    for _ in range(3):
        driver.tick(REFUSE_AFTER + 0.1)

    assert driver.stuck == 3
    assert driver.answers == {}


def test_a_refusal_that_comes_when_something_runs_again_refuses_nobody():
    driver = waiting_driver()
    wait(driver, LENT_PER_WORKER + 1)
    driver.tick(REFUSE_AFTER + 0.1)

    driver.core.end_loan(1)
    driver.step()
    refuse(driver)

    assert driver.answers == {LENT_PER_WORKER + 1: True}


def test_nobody_is_refused_when_something_runs_again():
    driver = waiting_driver()
    wait(driver, LENT_PER_WORKER + 1)
    driver.tick(REFUSE_AFTER - 0.1)

    driver.core.end_loan(LENT_PER_WORKER)
    driver.step()
    driver.tick(REFUSE_AFTER)

    assert driver.answers == {LENT_PER_WORKER + 1: True}


def test_who_waits_no_more_withdraws_what_it_asked_for():
    driver = waiting_driver()
    wait(driver, LENT_PER_WORKER + 1)

    lent = driver.core.end_loan(LENT_PER_WORKER + 1)
    driver.step()
    driver.core.end_loan(1)
    driver.step()

    assert not lent
    assert driver.answers == {LENT_PER_WORKER + 1: False}
    assert driver.core.lent == LENT_PER_WORKER - 1


def test_a_worker_that_dies_asks_no_more():
    driver = waiting_driver()
    wait(driver, LENT_PER_WORKER + 1)

    driver.die(LENT_PER_WORKER + 1)
    driver.core.end_loan(1)
    driver.step()

    assert driver.answers == {}
    assert driver.core.lent == LENT_PER_WORKER - 1


def test_a_worker_that_has_nothing_lends_nothing():
    driver = SlaveDriver(1)
    driver.ready()

    assert not wait(driver, 1)
    assert not driver.core.end_loan(1)


def test_a_dead_worker_gives_its_slot_back():
    driver = busy_driver()
    wait(driver, 1)

    driver.die(1)

    assert driver.core.lent == 0
    assert list(driver.workers) == [2]


def test_the_timeout_of_a_task_that_waits_runs_on():
    driver = SlaveDriver(1)
    driver.ready()
    driver.core.classes([[1, 0, "Class0", 1.0, {}, b"code", [], "job"]])
    driver.give(lease(1), classes=())
    driver.begin(1)
    wait(driver, 1)

    driver.tick(1.1)

    assert driver.killed == [1]


def test_a_task_behind_another_is_taken_over_when_a_slot_is_lent():
    driver = SlaveDriver(2)
    driver.ready()
    driver.measure(duration=MILLISECOND // 10)
    driver.give(*(lease(number) for number in (2, 3, 4, 5)))
    running = [driver.workers[worker].claim() for worker in (1, 2)]
    wait(driver, 2)

    driver.tick(0.01)
    driver.ready(3)

    assert running == [2, 4]
    assert driver.posted(3) == [[3], [5]]
