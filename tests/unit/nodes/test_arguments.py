"""What public calls take, and what they say to whatever else they are given; no process is started."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeoutError
from math import inf, nan

import pytest

from concurro import ClusterExecutor, ConfigError, InvalidTaskError, LocalCluster, Task, TaskSystem
from concurro.nodes.application import ApplicationNode
from concurro.nodes.control import Control
from concurro.nodes.futures import LoopFuture
from concurro.nodes.handle import SystemHandle
from concurro.scheduling.options import fault_of_options


class Number(Task):
    def __init__(self, number, **fields):
        super().__init__(f"number-{number}", **fields)
        self.number = number

    def __call__(self):
        return self.number


class Sum(TaskSystem):
    """Add a few numbers, and note what a call in a callback raises."""

    def __init__(self, call=None):
        super().__init__()
        self.call = call
        self.said = ""

    def generate_tasks(self, master):
        return [Number(1)]

    def task_finished(self, master, task, result, error):
        try:
            if self.call is not None:
                self.call(master)
        except ValueError as fault:
            self.said = str(fault)
        except InvalidTaskError as fault:
            self.said = str(fault)

    def is_complete(self, master):
        return True

    def gather_result(self, master):
        return self.said, None


@pytest.fixture
def inline():
    with LocalCluster(inline=True, config={}) as cluster:
        yield cluster


@pytest.fixture
def application():
    """Give an application that never connects."""
    application = ApplicationNode("tcp://127.0.0.1:1", config={})
    yield application
    application.close()


@pytest.mark.parametrize("value", ["2", 0, -1, 2.5, nan, True, [2]])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("workers", lambda value: LocalCluster(workers=value)),
        ("slaves", lambda value: LocalCluster(workers=1, slaves=value)),
        ("workers", lambda value: LocalCluster(inline=True, config={}).add_slave(value)),
        ("max_workers", ClusterExecutor),
        ("chunksize", lambda value: LocalCluster(inline=True, config={}).executor().map(abs, [1], chunksize=value)),
    ],
)
def test_what_is_counted_is_a_whole_number(name, call, value):
    # An executor says it as those of the standard library do, whose tests look for the words.
    words = "(greater than 0, )?a whole number of 1 or more, got "
    with pytest.raises(ConfigError, match=f"^{name} must be {words}") as caught:
        call(value)

    assert f"{value!r} ({type(value).__name__})" in str(caught.value)


@pytest.mark.parametrize("value", ["5", nan, True, [5]])
@pytest.mark.parametrize("wait", [LoopFuture.result, LoopFuture.exception])
def test_a_future_waits_for_a_number_of_seconds(wait, value):
    future = LoopFuture(Control())

    with pytest.raises(ConfigError, match="timeout must be a number of seconds, or None, got "):
        wait(future, value)


@pytest.mark.parametrize("value", [0, -1, 1e-9])
def test_a_future_does_not_wait_when_no_time_is_left(value):
    future = LoopFuture(Control())

    with pytest.raises(FutureTimeoutError):
        future.result(value)


@pytest.mark.parametrize("value", [inf, 1e12, None])
def test_a_wait_that_is_too_long_for_a_clock_is_one_for_ever(value, monkeypatch):
    control = Control()
    future = LoopFuture(control)
    monkeypatch.setattr(control, "refuse_to_wait", lambda call: future.set_result(7))  # just before the wait

    assert future.result(value) == 7


@pytest.mark.parametrize("value", ["5", nan, -1, True])
def test_a_run_takes_seconds_that_can_pass(inline, application, value):
    for runner in (inline, application):
        with pytest.raises(ConfigError, match="timeout must be a number of seconds, 0 or more, or None, got "):
            runner.run(Sum(), timeout=value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight": True}, "weight must be a number above 0, got True"),
        ({"weight": "2"}, "weight must be a number above 0, got '2'"),
        ({"weight": nan}, "weight must be a number above 0, got nan"),
        ({"ttl": True}, "ttl must be 0 seconds or more, got True"),
        ({"ttl": nan}, "ttl must be 0 seconds or more, got nan"),
    ],
)
def test_options_of_a_submission_are_numbers_that_make_sense(inline, options, said):
    assert fault_of_options(options) == said
    with pytest.raises(ConfigError, match=said):
        inline.submit(Sum(), **options)


def test_what_is_true_or_false_is_no_text(application):
    with pytest.raises(ConfigError, match=r"detach must be True or False, got 'no' \(str\)"):
        application.submit(Sum(), detach="no")


@pytest.mark.parametrize("value", [3, None, b"id", ""])
def test_a_system_is_attached_to_by_its_id(application, value):
    with pytest.raises(ConfigError, match="system_id must be the id of a system, a text"):
        application.attach(value)


@pytest.mark.parametrize("value", [3, None, "", "other:3", "job"])
def test_output_is_asked_for_by_the_id_of_a_task(value):
    handle = SystemHandle("job", "Job", Control())

    with pytest.raises(LookupError, match="output takes the id of one of its tasks") as caught:
        handle.output(value)

    assert f"no task {value!r} in system job" in str(caught.value)


def test_an_address_is_a_text():
    with (
        pytest.raises(ConfigError, match=r"an address is a text, e.g. 'tcp://127.0.0.1:8081', got 3"),
        ApplicationNode(3, config={}),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"config": 3}, r"config must be a path, a mapping, a Config or None, got 3"),
        ({"plugins": "own.py"}, r"plugins must be a list of paths and classes, got 'own.py'; give \['own.py'\]"),
    ],
)
def test_settings_of_a_cluster_are_what_they_should_be(arguments, said):
    with pytest.raises(ConfigError, match=said):
        LocalCluster(**arguments)


@pytest.mark.parametrize(("value", "hint"), [(3, "got 3 (int)"), (Number(1), "for a single task there is push_task")])
def test_tasks_are_pushed_from_an_iterable(inline, value, hint):
    with pytest.raises(InvalidTaskError, match="push_tasks takes an iterable of tasks") as caught:
        inline.push_tasks(value)

    assert hint in str(caught.value)
    assert hint in inline.run(Sum(lambda master: master.push_tasks(value)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda master: master.cancel_task(3), "3 is not a task id; one looks like <system_id>:<number>"),
        (lambda master: master.report_progress("x"), "report_progress: done must be a number, got 'x' (str)"),
        (lambda master: master.report_progress(nan), "report_progress: done must be a number, got nan (float)"),
        (lambda master: master.report_progress(1, "y"), "report_progress: total must be a number, got 'y' (str)"),
    ],
)
def test_a_callback_is_told_what_its_master_takes(inline, call, said):
    assert inline.run(Sum(call)) == said
