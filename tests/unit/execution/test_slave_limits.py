"""The slave core and what tasks may take: memory, and traces of their end."""

from __future__ import annotations

from concurro.ids import Outcome
from tests.unit.execution.slave_driver import MICROSECOND, lease


def test_f18_a_task_beyond_the_memory_limit_ends_with_an_error_of_its_own(one):
    one.give(lease(1))
    one.workers[1].claim()

    one.core.worker_exceeds(1, "its worker held 3 GiB, more than the memory limit of 2 GiB per worker")
    one.step()
    one.die(1, "killed by SIGKILL")

    assert one.killed == [1]
    _, outcome, failure, _, _ = one.results[1]
    assert outcome == Outcome.MEMORY
    assert failure[:2] == [
        "TaskMemoryExceeded",
        "its worker held 3 GiB, more than the memory limit of 2 GiB per worker",
    ]


def test_f18_the_other_tasks_of_its_chunk_are_not_charged(one):
    one.measure(duration=100 * MICROSECOND)
    one.give(lease(10), lease(11), lease(12))
    one.workers[1].claim()
    one.workers[1].claim()

    one.core.worker_exceeds(1, "too much")
    one.die(1, "killed by SIGKILL")
    one.ready()

    assert one.results[10][1] == Outcome.SLAVE_LOST
    assert one.results[11][1] == Outcome.MEMORY
    assert one.posted(2) == [[12]]


def test_f18_a_result_that_arrives_before_the_kill_counts(one):
    one.give(lease(1))
    one.workers[1].claim()

    one.core.worker_exceeds(1, "too much")
    one.report(1)
    one.die(1, "killed by SIGKILL")

    assert one.results[1][1] == Outcome.DONE


def test_f18_an_idle_worker_beyond_the_limit_is_replaced_quietly(one):
    one.measure()

    one.core.worker_exceeds(1, "too much")
    one.step()

    assert one.stopped == [1]
    assert one.killed == []
    assert list(one.workers) == [1, 2]
    assert one.results.keys() == {1}


def test_f09_a_native_trace_is_the_traceback_of_the_failure(one):
    one.give(lease(1))
    one.workers[1].claim()

    one.core.worker_ended(1, "killed by SIGSEGV", 0, one.now, "", "Fatal Python error: Segmentation fault")
    one.step()

    assert one.results[1][2][2] == "Fatal Python error: Segmentation fault"
