"""The slave core and devices: which worker runs on which, and what waits."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome
from tests.unit.execution.slave_driver import MICROSECOND, SlaveDriver, lease, task_class


def driver_with(devices, workers=2, **amounts):
    """Return a driver with ready workers and a class per amount, numbered from 0."""
    driver = SlaveDriver(workers=workers, devices=devices)
    driver.core.classes([task_class(number, gpu=amount) for number, amount in enumerate(amounts.values())])
    driver.ready()
    return driver


def give(driver, *numbered):
    """Lease tasks as (lease, class)."""
    driver.core.leases([lease(number, task_class=kind) for number, kind in numbered])
    driver.step()


def running(driver):
    """Return the devices of each worker that was posted something."""
    return {worker: fake.devices for worker, fake in driver.workers.items() if any(fake.chunks)}


def test_each_attempt_gets_a_device_of_its_own():
    driver = driver_with("01", whole=1)

    give(driver, (1, 0), (2, 0))

    assert running(driver) == {1: ("0",), 2: ("1",)}


def test_short_tasks_with_devices_go_one_by_one():
    driver = driver_with("0", workers=1, whole=1)
    for number in range(1, 5):
        give(driver, (number, 0))
        driver.run_one(1, MICROSECOND)

    give(driver, (10, 0), (11, 0))

    assert driver.posted(1) == [[10]]


def test_an_attempt_waits_until_a_device_is_free_and_nothing_waits_behind_it():
    driver = driver_with("0", whole=1, none=0)

    give(driver, (1, 0), (2, 0), (3, 1))

    assert driver.posted(1) == [[1]]
    assert driver.posted(2) == [[3]]
    driver.run_one(1)
    assert driver.posted(1) == [[2]]


def test_a_device_comes_back_when_its_worker_dies():
    driver = driver_with("0", workers=1, whole=1)
    give(driver, (1, 0), (2, 0))
    driver.workers[1].claim()

    driver.die(1)
    driver.ready()

    assert driver.results[1][1] == Outcome.LOST
    assert running(driver) == {2: ("0",)}


def test_a_device_comes_back_only_when_a_killed_worker_has_ended():
    driver = driver_with("0", whole=1)
    give(driver, (1, 0))
    driver.workers[1].claim()

    driver.core.kill([1], driver.now)
    driver.step()
    give(driver, (2, 0))
    before = running(driver)
    driver.die(1)

    assert driver.killed == [1]
    assert before == {}
    assert running(driver) == {2: ("0",)}


def test_a_worker_bound_to_a_device_serves_it_again():
    driver = driver_with("01", whole=1)
    give(driver, (1, 0), (2, 0))
    driver.run_one(2)

    give(driver, (3, 0))

    assert driver.posted(2) == [[3]]
    assert driver.workers[2].devices == ("1",)


def test_a_worker_bound_to_other_devices_is_replaced():
    driver = driver_with("01", workers=1, whole=1, both=2)
    give(driver, (1, 0))
    driver.run_one(1)

    give(driver, (2, 1))

    assert driver.stopped == [1]
    driver.ready()
    assert running(driver) == {2: ("0", "1")}


def test_only_one_worker_is_replaced_for_one_task():
    driver = driver_with("01", workers=2, whole=1, both=2)
    give(driver, (1, 0), (2, 0))
    driver.run_one(1)
    driver.run_one(2)

    give(driver, (3, 1))
    driver.tick(0.01)

    assert len(driver.stopped) == 1


def test_parts_of_one_device_run_side_by_side():
    driver = driver_with("01", workers=3, half=0.5)

    give(driver, (1, 0), (2, 0), (3, 0))

    assert running(driver) == {1: ("0",), 2: ("0",), 3: ("1",)}


@pytest.mark.parametrize("end", ["recall", "forget", "drain", "kill"])
def test_what_waits_for_a_device_can_be_taken_away(end):
    driver = driver_with("0", whole=1)
    give(driver, (1, 0), (2, 0), (3, 0))
    driver.workers[1].claim()

    {
        "recall": lambda: driver.core.recall([2, 3]),
        "forget": lambda: driver.core.forget(1),
        "drain": driver.core.drain,
        "kill": lambda: driver.core.kill([2, 3], driver.now),
    }[end]()
    driver.step()

    assert driver.core.inventory() == [1]
    assert sorted(driver.returned) == ([2, 3] if end in ("recall", "drain") else [])


def test_a_slave_without_devices_runs_the_task_all_the_same():
    driver = driver_with("", workers=1, whole=1)

    give(driver, (1, 0))

    assert driver.posted(1) == [[1]]
