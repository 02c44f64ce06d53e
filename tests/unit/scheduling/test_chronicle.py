"""What a master keeps of the course of a system."""

from __future__ import annotations

import tracemalloc

import pytest

from concurro.ids import Outcome, SystemState
from concurro.records import SlaveRecord, SystemRecord, TaskClass, TaskRecord
from concurro.scheduling.chronicle import (
    KEPT_BYTES,
    MOST_ARRIVALS,
    MOST_FAILURES,
    MOST_SAMPLES,
    ROW,
    Chronicle,
    Chronicles,
)
from concurro.scheduling.core import SchedulerCore
from concurro.scheduling.systems import SystemTable
from tests.unit.scheduling.system_driver import DONE, Master

CLASSES = [[0, "Square", 0, None, None, {}, b"code", []]]


@pytest.fixture
def system():
    return SystemRecord(1, "job", "Job")


@pytest.fixture
def north():
    return SlaveRecord("north", "north.example", 2)


def tasks_of(system, numbers, leased_at=1.0):
    """Return leased tasks."""
    square = TaskClass(0, "Square")
    tasks = [TaskRecord(system, number, square, b"12345") for number in numbers]
    for task in tasks:
        task.attempt, task.leased_at, task.slave_id = 1, leased_at, "north"
    return tasks


def chronicle_of(slave, limit=100):
    return Chronicle({slave.id: slave}, limit, 0.0, 1e9)


def end_tasks(chronicle, system, slave, numbers, now=2.0, results=None):
    tasks = tasks_of(system, numbers)
    results = [[0, 0, b"123", None, 0]] * len(tasks) if results is None else results
    chronicle.done(tasks, [0.5] * len(tasks), slave, now, results, 0)


def rows_of(told):
    return list(ROW.iter_unpack(told["rows"]))


def test_an_attempt_is_kept_with_when_and_where_it_was(system, north):
    chronicle = chronicle_of(north)

    end_tasks(chronicle, system, north, [7])

    told = chronicle.describe(system, 3.0)
    assert rows_of(told) == [(7, 1.0, 2.0, 0.5, 1, 0, 0, 5, 3)]
    assert told["classes"] == ["Square"]
    assert told["slaves"] == [["north", "north.example", 2, 1, 0.5]]


def test_large_parts_count_among_the_bytes(system, north):
    chronicle = chronicle_of(north)

    end_tasks(chronicle, system, north, [7], results=[[0, 0, b"123", [[0, b"digest", 1000]], 0]])

    assert rows_of(chronicle.describe(system, 3.0))[0][-1] == 1003


def test_bytes_that_are_not_known_are_none(system, north):
    chronicle = chronicle_of(north)

    end_tasks(chronicle, system, north, [7], results=[])

    assert rows_of(chronicle.describe(system, 3.0))[0][-1] == -1


def test_of_many_tasks_every_so_many_is_kept_and_all_are_counted(system, north):
    chronicle = chronicle_of(north, limit=100)

    for first in range(0, 10_000, 70):
        end_tasks(chronicle, system, north, range(first, min(first + 70, 10_000)))

    told = chronicle.describe(system, 3.0)
    numbers = [row[0] for row in rows_of(told)]
    assert told["stride"] == 128
    assert numbers == list(range(0, 10_000, 128))
    assert told["slaves"][0][3:] == [10_000, 5000.0]


def test_the_longest_of_many_attempts_is_told_though_it_is_not_kept(system, north):
    chronicle = chronicle_of(north, limit=4)
    end_tasks(chronicle, system, north, range(20))

    chronicle.done(tasks_of(system, [20, 21]), [0.25, 60.0], north, 3.0, [], 0)

    told = chronicle.describe(system, 4.0)
    assert (told["longest"], max(row[3] for row in rows_of(told))) == (60.0, 0.5)


def test_everything_that_it_keeps_is_bounded(system, north):
    chronicle = chronicle_of(north)

    for number in range(3000):
        now = number * 1000.0
        chronicle.emitted(number, now)
        end_tasks(chronicle, system, north, [number], now=now)
        chronicle.failed(tasks_of(system, [number])[0], Outcome.RAISED, None, north, now)

    told = chronicle.describe(system, 3.0)
    assert len(told["arrivals"]) <= MOST_ARRIVALS
    assert len(told["samples"]) <= MOST_SAMPLES
    assert (len(told["failures"]), told["failed"]) == (MOST_FAILURES, 3000)


def test_its_size_is_about_what_it_takes(system):
    slaves = {f"slave-{number}": SlaveRecord(f"slave-{number}", "host", 4) for number in range(64)}
    tracemalloc.start()
    try:
        chronicle = Chronicle(slaves, 100, 0.0, 1e9)
        for number in range(MOST_SAMPLES):
            for slave in slaves.values():
                slave.rating = number + 0.5
            end_tasks(chronicle, system, slaves["slave-1"], [number], now=number * 1e3)
            chronicle.failed(tasks_of(system, [number])[0], Outcome.RAISED, None, slaves["slave-1"], number * 1e3)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert taken / 2 < chronicle.size < taken * 2


def test_arrivals_that_are_kept_are_spread_over_the_whole_course(system, north):
    chronicle = chronicle_of(north)

    for number in range(10 * MOST_ARRIVALS):
        chronicle.emitted(number, float(number))

    kept = [number for number, _ in chronicle.describe(system, 3.0)["arrivals"]]
    assert kept[:-1] == list(range(0, 10 * MOST_ARRIVALS, kept[1]))
    assert kept[-1] == 10 * MOST_ARRIVALS - 1  # of the last tasks it is known, too


def test_slaves_are_looked_at_now_and_then(system, north):
    chronicle = chronicle_of(north)
    north.rating = 1.5

    for now in (1.0, 1.1, 2.0):
        end_tasks(chronicle, system, north, [1], now=now)

    samples = chronicle.describe(system, 3.0)["samples"]
    assert samples == [[1.0, 2, 0, [["north", 1.5]]], [2.0, 2, 0, [["north", 1.5]]]]


@pytest.fixture
def master():
    def table(core, grace):
        return SystemTable(core, grace=grace, kept_tasks=100)

    return Master(table=table)


def told_of(master, system_id="job"):
    return master.table.chronicles.describe(system_id, master.now)


def run_three(master):
    master.join()
    master.start()
    master.core.begin(master.now)
    master.out(1, classes=CLASSES, tasks=[[0, b"a"], [0, b"b"], [0, b"c"]])
    master.pass_time(1.0)


def test_a_master_keeps_when_tasks_came_were_leased_and_ended(master):
    run_three(master)
    master.now += 2.0
    master.core.begin(master.now)

    master.finish_all()

    told = told_of(master)
    first = rows_of(told)[0]
    assert told["arrivals"] == [(0, 100.0)]
    assert first[:3] == (0, 101.0, 103.0)
    assert first[7:] == (1, 6)


def test_a_master_keeps_why_an_attempt_failed(master):
    run_three(master)
    lease = next(iter(master.core.slaves["north"].leases))

    master.core.results("north", [[lease, int(Outcome.RAISED), ["ValueError", "no", "", None], None, 1000]])

    assert [one[-1] for one in told_of(master)["failures"]] == ["ValueError: no"]


def test_a_master_keeps_which_attempts_were_lost_with_a_slave(master):
    run_three(master)

    master.core.slave_left("north", "unplugged")

    failures = told_of(master)["failures"]
    assert failures
    assert all("unplugged" in one[-1] for one in failures)


def test_a_system_is_found_by_the_beginning_of_its_id_after_its_end(master):
    run_three(master)

    master.out(2, end=["complete", DONE])
    master.pass_time(1.0)
    master.now += 100.0

    told = told_of(master)
    assert (told["state"], told["ended"] < master.now) == (SystemState.COMPLETE.value, True)


def test_a_system_that_ended_is_recorded_no_more(master):
    run_three(master)
    record = master.table.find("job").record

    master.out(2, end=["complete", DONE])

    assert record.chronicle is None


def test_a_master_that_keeps_nothing_says_so():
    master = Master()
    master.start()

    with pytest.raises(LookupError, match="report_tasks is 0"):
        told_of(master)


def test_an_unknown_system_is_named(master):
    with pytest.raises(LookupError, match="nowhere"):
        told_of(master, "nowhere")


def test_the_oldest_of_the_ended_systems_go_when_it_is_too_much(north):
    chronicles = Chronicles({north.id: north}, 100_000)
    count = KEPT_BYTES // 100 // 50_000 + 2

    for number in range(count):
        record = SystemRecord(number, f"job-{number}", "Job")
        chronicles.begin(record, 0.0, 0.0, 1e9)
        end_tasks(record.chronicle, record, north, range(50_000))
        chronicles.end(record, 3.0)

    with pytest.raises(LookupError):
        chronicles.describe("job-0", 4.0)
    assert chronicles.describe(f"job-{count - 1}", 4.0)["state"] == "starting"


def test_a_system_that_comes_again_is_told_of_anew(north):
    chronicles = Chronicles({north.id: north}, 100)

    for _ in range(2):
        record = SystemRecord(1, "job", "Job")
        chronicles.begin(record, 0.0, 0.0, 1e9)
        end_tasks(record.chronicle, record, north, range(10))
        chronicles.end(record, 3.0)

    assert chronicles._size == sum(chronicles._kept.values())
    assert len(rows_of(chronicles.describe("job", 4.0))) == 10


def test_pushed_tasks_are_not_recorded(master):
    master.table.open(("application", 1), 1, "plain", "Plain", master.now)

    assert master.table.find("plain").record.chronicle is None
    assert isinstance(master.core, SchedulerCore)
