"""What goes wrong in a task system ends it, and says where; a cancel gathers."""

from __future__ import annotations

import pytest

from concurro.errors import InvalidTaskError, TaskError
from concurro.ids import Outcome
from tests.unit.nodes.host_driver import Driver, Job, Number, numbers


def test_a_failed_task_is_an_error_with_the_remote_traceback():
    driver = Driver(Job(numbers(1)))
    driver.pull()

    driver.give([driver.failed(0)])

    (error,) = driver.system.errors
    assert isinstance(error, TaskError)
    assert (error.task_id, error.type_name, error.message) == ("job:0", "ValueError", "wrong")
    assert (error.slave_id, error.attempt, error.traceback) == ("north", 2, "Traceback ...")


def test_a_result_that_cannot_be_rebuilt_is_that_tasks_error():
    driver = Driver(Job(numbers(2), wanted=2))
    driver.pull()
    entry = driver.done(0)
    entry[2] = b"\x80\x05no pickle"

    driver.give([entry, driver.done(1)])

    error, none = driver.system.errors
    assert "the result arrived but could not be rebuilt" in error.message
    assert none is None


def test_a_result_for_a_task_that_is_not_open_is_ignored():
    driver = Driver(Job(numbers(1)))
    driver.pull()
    entry = driver.done(0)
    driver.give([entry])

    driver.give([entry, [99, 0, entry[2], None, "north", 1, 1]])

    assert len(driver.system.results) == 1


def failing(name):
    """Return a system whose callback `name` raises, and what it raises."""

    def fail(*arguments):
        message = f"no {name} today"
        raise RuntimeError(message)

    job = Job(numbers(2), wanted=1)
    setattr(job, name, fail)
    return job


@pytest.mark.parametrize("name", ["init_system", "generate_tasks", "task_finished", "is_complete", "gather_result"])
def test_an_exception_in_a_callback_ends_the_system_and_names_it(name):
    driver = Driver(failing(name))
    out = driver.outputs[0]
    if out[8] is None:
        out = driver.pull()
    if out[8] is None:
        out = driver.finish(0)

    state, (outcome, failure, blobs) = out[8]
    assert (state, outcome, blobs) == ("failed", Outcome.RAISED, None)
    assert failure[:2] == ["RuntimeError", f"no {name} today"]
    assert "Traceback" in failure[2]
    assert failure[4] == f"Job.{name}"
    assert isinstance(driver.packer.loads_whole(failure[3]), RuntimeError)


def test_an_exception_in_finished_of_a_task_names_the_task_class():
    class Broken(Number):
        def finished(self, result, error):
            message = "gone"
            raise LookupError(message)

    driver = Driver(Job([Broken(0)]))
    driver.pull()

    _, (_, failure, _) = driver.finish(0)[8]

    assert failure[0] == "LookupError"
    assert failure[4].endswith("Broken.finished")


def test_an_exit_in_a_callback_is_a_failure():
    job = Job(numbers(1))

    def leave(*arguments):
        raise SystemExit(0)

    job.task_finished = leave
    driver = Driver(job)
    driver.pull()

    assert driver.finish(0)[8][0] == "failed"


def test_an_exception_in_the_middle_of_the_generator_ends_the_system():
    def generate(master):
        yield Number(0)
        message = "no more"
        raise RuntimeError(message)

    job = Job()
    job.generate_tasks = generate
    driver = Driver(job)

    out = driver.pull()

    assert out[8][0] == "failed"
    assert out[4] == []


@pytest.mark.parametrize("wrong", [17, None, Number, "task"])
def test_what_is_no_task_ends_the_system(wrong):
    driver = Driver(Job([Number(0), wrong]))

    _, (_, failure, _) = driver.pull()[8]

    assert failure[0] == InvalidTaskError.__name__
    assert failure[4] == "Job.generate_tasks"


def test_generating_what_is_no_iterable_ends_the_system():
    job = Job()
    job.generate_tasks = lambda master: 17
    driver = Driver(job)

    _, (_, failure, _) = driver.pull()[8]

    assert failure[:2] == [
        InvalidTaskError.__name__,
        "generate_tasks must return an iterable of tasks or None, got int",
    ]


@pytest.mark.parametrize("wrong", [None, 1, "ab", (1,), (1, None, 2), {"result": 1, "error": None}])
def test_gathering_what_is_no_pair_ends_the_system(wrong):
    job = Job(numbers(1), wanted=1)
    job.gather_result = lambda master: wrong
    driver = Driver(job)
    driver.pull()

    state, (_, failure, _) = driver.finish(0)[8]

    assert state == "failed"
    assert failure[0] == "TypeError"
    assert failure[1].startswith("gather_result must return a tuple (result, error), got ")


def test_a_result_that_cannot_travel_ends_the_system_and_names_the_culprit():
    job = Job(numbers(1), wanted=1)
    job.gather_result = lambda master: ({"file": (number for number in ())}, None)
    driver = Driver(job)
    driver.pull()

    state, (_, failure, _) = driver.finish(0)[8]

    assert state == "failed"
    assert failure[0] == "NotPicklableError"
    assert "generator" in failure[1]


# Cancel


def test_a_cancel_gathers_what_there_is():
    driver = Driver(Job(numbers(3), wanted=3))
    driver.pull()
    driver.finish(0)

    out = driver.give(cancel="no longer wanted")

    assert out[8][0] == "cancelled"
    assert driver.result(out[8]) == ([0], None)
    assert driver.core.ended


def test_a_cancel_whose_gathering_fails_is_a_failure():
    driver = Driver(failing("gather_result"))

    assert driver.give(cancel="no longer wanted")[8][0] == "failed"


def test_the_first_failure_of_each_kind_is_told_to_the_application():
    host = Driver(Job(numbers(4)))
    host.pull()

    out = host.give([host.failed(0), host.failed(1), host.failed(2, Outcome.LOST)])

    first, second = out[9]["notices"]
    assert first.startswith("task 'number-0' failed; further failures of this kind are only counted\n")
    assert "ValueError: wrong" in first
    assert "task 'number-2' failed" in second


def test_a_cancelled_task_is_no_news():
    host = Driver(Job(numbers(2)))
    host.pull()

    out = host.give([host.failed(0, Outcome.CANCELLED)])

    assert "notices" not in out[9]


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        ((10**30,), "done must fit into 64 bits, got a number of 100 bits"),
        ((1, -(10**30)), "total must fit into 64 bits"),
        ((1, 2, "half\ud800way"), "the message is no valid text"),
        (("many",), "done must be a number"),
    ],
)
def test_progress_that_cannot_be_sent_is_the_error_of_the_callback_that_reports_it(progress, text):
    job = Job(numbers(1))
    job.task_finished = lambda master, *_: master.report_progress(*progress)
    driver = Driver(job)
    driver.pull()

    out = driver.finish(0)

    state, (_, failure, _) = out[8]
    assert (state, failure[0], failure[4]) == ("failed", "ValueError", "Job.task_finished")
    assert text in failure[1]
    assert "test_host_errors.py" in failure[2]


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), True, 2.9])
def test_progress_may_be_any_number_that_can_be_sent(number):
    job = Job(numbers(1))
    job.task_finished = lambda master, *_: master.report_progress(number, number, "so far")
    driver = Driver(job)
    driver.pull()

    out = driver.finish(0)

    assert out[7] == [int(number), int(number), "so far"]


def test_a_system_whose_output_cannot_be_packed_fails_and_says_so():
    driver = Driver(Job(numbers(3)))
    n = driver.pull()[1]

    out = driver.core.fail(n, OverflowError("Integer value out of range"))

    state, (_, failure, _) = out[8]
    assert (out[1], out[4], state) == (n, [], "failed")
    assert failure[:2] == ["OverflowError", "what the system said cannot be packed: Integer value out of range"]
    assert driver.core.ended
