"""What every task manager of the tag queue promises, in process and at a master."""

from __future__ import annotations

import contextlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from concurro import ConfigError, LocalCluster
from concurro_tagqueue import (
    TagCounts,
    TaskManager,
    TaskManagerTermination,
    TaskRaisedException,
    UnknownProcessError,
    UnknownTaskError,
    WaitTimeoutError,
)
from tests.support.leftovers import watch_leftovers
from tests.support.waiting import wait_until

LIMIT = 30.0
LABELS = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Give a master to all tests of this module."""
    tmp_path_factory.getbasetemp()  # made now, or the folders of the tests would be found below the watched one
    with watch_leftovers(), LocalCluster(workers=1) as cluster:
        yield cluster


@pytest.fixture(params=["in process", "at a master"])
def tasks(request):
    """Give a task manager that nobody used."""
    if request.param == "in process":
        yield TaskManager()
    else:
        with TaskManager.connect(request.getfixturevalue("cluster"), f"label {next(LABELS)}") as proxy:
            yield proxy


@pytest.fixture
def threads():
    """Give threads for calls that wait."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_a_task_goes_from_its_request_to_its_result(tasks):
    task_id = tasks.add_task_request("square", 4)

    taken = tasks.get_any_task()
    tasks.store_result(task_id, 16)

    assert taken == (task_id, "square", 4)
    assert tasks.get_any_result() == (task_id, "square", 16)
    assert tasks.number_of_tasks() == ({}, {}, {})


def test_every_method_of_the_seed_works_under_its_name(tasks):
    process_id = tasks.registerProcess(watchdog_period=60, info="a machine")
    first = tasks.addTaskRequest("a", [1], process_id)
    second = tasks.addTaskRequest("b", [2], process_id=process_id)

    tasks.ping(process_id)
    tasks.storeData(x=1)

    assert tasks.numberOfActiveProcesses() == 1
    assert tasks.activeProcessInfo(process_id) == "a machine"
    assert tasks.activeProcesses() == {process_id: "a machine"}
    assert tasks.numberOfTasks() == ({"a": 1, "b": 1}, {}, {})
    assert tasks.getAnyTask(process_id) == (first, "a", [1])
    tasks.returnTask(first)
    assert tasks.getTaskWithTag("b", process_id=process_id) == (second, [2])
    assert tasks.getAnyTask() == (first, "a", [1])
    tasks.storeResult(first, "one")
    tasks.storeException(second, ValueError("two"), "its traceback")
    assert tasks.getResultWithTag("a") == (first, "one")
    with pytest.raises(TaskRaisedException, match="two"):
        tasks.getAnyResult()
    assert tasks.retrieveData("x") == 1
    tasks.deleteData("x")
    tasks.unregisterProcess(process_id)
    tasks.terminate()
    with pytest.raises(TaskManagerTermination):
        tasks.getAnyTask()


def test_every_other_method_has_a_name_in_the_style_of_the_seed(tasks):
    first, second = tasks.addTaskRequests("a.1", [1, 2], priority=1)

    assert tasks.getTaskWithTags(["a.1", "b"])[0] == first
    assert tasks.getTaskMatching("a.*")[0] == second
    assert tasks.watchTag("a.1") == (0, 2, 0)
    tasks.storeResult(first, 10)
    tasks.storeResult(second, 20)
    assert tasks.getResultWithTags(["a.1"]) == (first, "a.1", 10)
    assert tasks.getResultMatching("?.1") == (second, "a.1", 20)
    assert tasks.waitForTag("a.1") == (0, 0, 0)
    assert tasks.drainTag("a.1") == []
    assert tasks.numberOfDroppedResults() == 0


def test_ids_of_tasks_are_different_texts(tasks):
    task_ids = [tasks.add_task_request("a", None) for _ in range(50)]

    assert all(isinstance(task_id, str) for task_id in task_ids)
    assert len(set(task_ids)) == 50


def test_ids_of_processes_are_different_ints(tasks):
    first = tasks.register_process()
    tasks.unregister_process(first)
    process_ids = [first, tasks.register_process(), tasks.register_process(info="x")]

    assert all(type(process_id) is int for process_id in process_ids)
    assert len(set(process_ids)) == 3


def test_tasks_of_any_tag_leave_in_the_order_in_which_they_came(tasks):
    added = [tasks.add_task_request(tag, None) for tag in "abcab"]

    assert [tasks.get_any_task()[0] for _ in added] == added


def test_tasks_of_a_tag_leave_in_the_order_in_which_they_came(tasks):
    added = [(tag, tasks.add_task_request(tag, None)) for tag in "abcab"]

    assert [tasks.get_task_with_tag("b")[0] for _ in range(2)] == [task_id for tag, task_id in added if tag == "b"]
    assert [tasks.get_any_task()[0] for _ in range(3)] == [task_id for tag, task_id in added if tag != "b"]


def test_a_returned_task_is_the_first_of_its_tag_and_of_all(tasks):
    first, second = (tasks.add_task_request(tag, None) for tag in "ab")
    tasks.get_task_with_tag("b")

    tasks.return_task(second)

    assert tasks.get_any_task()[0] == second
    tasks.return_task(second)
    assert tasks.get_task_with_tag("b")[0] == second
    assert tasks.get_any_task()[0] == first


def test_counts_leave_out_zeros(tasks):
    running, finished = (tasks.add_task_request(tag, None) for tag in "rf")
    tasks.add_task_request("w", None)
    tasks.add_task_request("w", None)
    tasks.get_task_with_tag("r")
    tasks.get_task_with_tag("f")
    tasks.store_result(finished, None)

    assert tasks.number_of_tasks() == ({"w": 2}, {"r": 1}, {"f": 1})
    tasks.store_result(running, None)
    tasks.get_result_with_tag("f")
    assert tasks.number_of_tasks() == ({"w": 2}, {}, {"r": 1})


def test_results_are_taken_by_tag_the_oldest_first(tasks):
    added = [tasks.add_task_request(tag, None) for tag in "aba"]
    for _ in added:
        tasks.store_result(tasks.get_any_task()[0], "result")

    assert tasks.get_result_with_tag("b") == (added[1], "result")
    assert tasks.get_any_result() == (added[0], "a", "result")
    assert tasks.get_result_with_tag("a") == (added[2], "result")


def test_what_a_task_raised_is_raised_where_its_result_is_taken(tasks):
    task_id = tasks.add_task_request("divide", 0)
    tasks.get_any_task()

    tasks.store_exception(task_id, ZeroDivisionError("by zero"), "Traceback: line 3")

    with pytest.raises(TaskRaisedException, match="by zero") as caught:
        tasks.get_result_with_tag("divide")
    raised = caught.value
    assert (raised.task_id, raised.tag, raised.traceback) == (task_id, "divide", "Traceback: line 3")
    assert type(raised.exception) is ZeroDivisionError
    assert raised.__cause__ is raised.exception
    assert "line 3" in str(raised)
    assert tasks.number_of_tasks() == ({}, {}, {})


def test_data_items_are_kept_until_they_are_deleted(tasks):
    tasks.store_data(a=[1, 2], self="it", label=None)
    tasks.store_data(a=[3])

    assert tasks.retrieve_data("a") == [3]
    assert tasks.retrieve_data("self") == "it"
    assert tasks.retrieve_data("label") is None
    tasks.delete_data("a")
    for call in (tasks.retrieve_data, tasks.delete_data):
        with pytest.raises(KeyError, match="no data item 'a' is stored; there are: 'label', 'self'"):
            call("a")


def test_an_unknown_process_is_a_lookup_error_everywhere(tasks):
    tasks.add_task_request("a", None)
    known = tasks.register_process()
    calls = [
        lambda: tasks.unregister_process(known + 1),
        lambda: tasks.ping(known + 1),
        lambda: tasks.active_process_info(known + 1),
        lambda: tasks.add_task_request("a", None, known + 1),
        lambda: tasks.get_any_task(known + 1),
        lambda: tasks.get_task_with_tag("a", process_id=known + 1),
        lambda: tasks.get_task_with_tag("a", process_id="x"),
    ]

    for call in calls:
        with pytest.raises(UnknownProcessError) as caught:
            call()
        assert isinstance(caught.value, LookupError)
        assert caught.value.process_id in (known + 1, "x")
    assert tasks.number_of_tasks() == ({"a": 1}, {}, {})


def test_a_process_without_info_says_nothing(tasks):
    process_id = tasks.register_process()

    assert tasks.active_process_info(process_id) == ""
    assert tasks.number_of_active_processes() == 1


def test_what_an_unregistered_process_ran_returns_to_the_front_in_order(tasks):
    process_id = tasks.register_process()
    added = [tasks.add_task_request(tag, None) for tag in "abc"]
    taken = [tasks.get_any_task(process_id)[0] for _ in range(2)]

    tasks.unregister_process(process_id)

    assert [tasks.get_any_task()[0] for _ in added] == added
    assert taken == added[:2]
    assert tasks.number_of_active_processes() == 0


def test_a_process_that_misses_its_pings_loses_its_registration_and_its_tasks_once(tasks):
    patient = tasks.register_process()
    lost = tasks.add_task_request("a", None)
    tasks.add_task_request("b", None)
    process_id = taker_that_never_pings(tasks)

    wait_until(lambda: list(tasks.active_processes()) == [patient], LIMIT, "the end of the registration")

    with pytest.raises(LookupError):
        tasks.ping(process_id)
    assert tasks.number_of_tasks() == ({"a": 1, "b": 1}, {}, {})
    assert tasks.get_any_task(patient)[0] == lost
    assert tasks.number_of_tasks() == ({"b": 1}, {"a": 1}, {})


def taker_that_never_pings(tasks):
    """Register a process that takes a task, in time."""
    while True:
        process_id = tasks.register_process(watchdog_period=0.1)
        with contextlib.suppress(UnknownProcessError):
            tasks.get_any_task(process_id)
            return process_id


def test_only_a_ping_counts_as_one(tasks):
    process_id = tasks.register_process(watchdog_period=0.3)

    def is_lost():
        """Do anything but ping."""
        try:
            tasks.add_task_request("a", None, process_id)
            tasks.get_any_task(process_id)
            tasks.active_process_info(process_id)
        except LookupError:
            return True
        return False

    wait_until(is_lost, LIMIT, "the end of the registration")


@pytest.mark.slow
def test_a_process_that_pings_stays(tasks):
    period = 2.0
    process_id = tasks.register_process(watchdog_period=period)
    another = tasks.register_process(watchdog_period=period)

    def another_is_lost():
        tasks.ping(process_id)
        return another not in tasks.active_processes()

    wait_until(another_is_lost, LIMIT, "the end of the other registration")
    assert list(tasks.active_processes()) == [process_id]


def test_a_wait_of_a_process_ends_with_its_registration(tasks, threads):
    process_id = tasks.register_process(watchdog_period=0.2)

    waiting = threads.submit(tasks.get_any_task, process_id)

    with pytest.raises(UnknownProcessError):
        waiting.result(LIMIT)


def test_a_task_that_is_not_running_takes_no_result(tasks):
    waiting = tasks.add_task_request("a", None)
    for task_id in (waiting, "no such task"):
        with pytest.raises(UnknownTaskError) as caught:
            tasks.store_result(task_id, 1)
        assert isinstance(caught.value, LookupError)
        assert caught.value.task_id == task_id
        with pytest.raises(LookupError):
            tasks.store_exception(task_id, ValueError(), "")
        with pytest.raises(LookupError):
            tasks.return_task(task_id)
    tasks.get_any_task()
    tasks.store_result(waiting, 1)

    with pytest.raises(LookupError, match="has a result already"):
        tasks.store_result(waiting, 2)

    assert tasks.get_any_result() == (waiting, "a", 1)
    with pytest.raises(LookupError):
        tasks.store_result(waiting, 2)
    assert tasks.number_of_dropped_results() == 0


def test_a_second_result_of_a_task_that_was_handed_out_again_is_dropped_and_counted(tasks):
    task_id = tasks.add_task_request("a", None)
    tasks.get_any_task()
    tasks.return_task(task_id)
    tasks.get_any_task()
    tasks.store_result(task_id, "in time")

    tasks.store_result(task_id, "late")
    assert tasks.get_any_result() == (task_id, "a", "in time")
    tasks.store_exception(task_id, ValueError("late"), "")
    tasks.return_task(task_id)

    assert tasks.number_of_dropped_results() == 2
    assert tasks.number_of_tasks() == ({}, {}, {})


def test_who_returns_a_task_that_another_one_runs_by_now_changes_nothing(tasks):
    slow, quick = tasks.register_process(), tasks.register_process()
    task_id = tasks.add_task_request("a", None)
    tasks.get_any_task(slow)
    tasks.return_task(task_id, slow)
    tasks.get_any_task(quick)

    tasks.return_task(task_id, slow)

    assert tasks.number_of_tasks() == ({}, {"a": 1}, {})
    tasks.return_task(task_id, quick)
    assert tasks.number_of_tasks() == ({"a": 1}, {}, {})


@pytest.mark.parametrize(
    "call",
    [
        lambda tasks: tasks.get_any_task(timeout=0),
        lambda tasks: tasks.get_task_with_tag("a", timeout=0.01),
        lambda tasks: tasks.get_task_with_tags(["a", "b"], timeout=0.01),
        lambda tasks: tasks.get_task_matching("a*", timeout=0.01),
        lambda tasks: tasks.get_any_result(timeout=0.01),
        lambda tasks: tasks.get_result_with_tag("a", timeout=0),
        lambda tasks: tasks.get_result_with_tags(["a"], timeout=0.01),
        lambda tasks: tasks.get_result_matching("a*", timeout=0.01),
        lambda tasks: tasks.watch_tag("a", TagCounts(0, 0, 0), timeout=0.01),
    ],
)
def test_a_call_that_waits_ends_after_its_timeout_and_takes_nothing(tasks, call):
    tasks.add_task_request("other", None)
    tasks.get_any_task()

    with pytest.raises(TimeoutError) as caught:
        call(tasks)

    assert str(caught.value).endswith((" within 0 s", " within 0.01 s"))  # as the call said it
    tasks.add_task_request("a", None)
    assert tasks.number_of_tasks() == ({"a": 1}, {"other": 1}, {})


def test_who_waits_gets_what_comes(tasks, threads):
    calls = [
        threads.submit(tasks.get_task_with_tag, "a"),
        threads.submit(tasks.get_task_with_tags, ["b", "c"]),
        threads.submit(tasks.get_task_matching, "d*"),
        threads.submit(tasks.get_result_with_tag, "r"),
    ]

    added = [tasks.add_task_request(tag, tag) for tag in ("a", "c", "do", "r")]
    assert calls[0].result(LIMIT) == (added[0], "a")
    assert calls[1].result(LIMIT) == (added[1], "c", "c")
    assert calls[2].result(LIMIT) == (added[2], "do", "do")
    tasks.store_result(tasks.get_any_task()[0], "result")

    assert calls[3].result(LIMIT) == (added[3], "result")
    assert tasks.number_of_tasks() == ({}, {"a": 1, "c": 1, "do": 1}, {})


def test_a_waiting_process_runs_what_it_is_given(tasks, threads):
    process_id = tasks.register_process()
    waiting = threads.submit(tasks.get_any_task, process_id)
    task_id = tasks.add_task_request("a", None)
    waiting.result(LIMIT)

    tasks.unregister_process(process_id)

    assert tasks.get_any_task()[0] == task_id


def test_terminate_ends_every_wait(tasks, threads):
    waiting = [
        threads.submit(tasks.get_any_task),
        threads.submit(tasks.get_task_with_tag, "a"),
        threads.submit(tasks.get_task_matching, "a*"),
        threads.submit(tasks.get_any_result),
        threads.submit(tasks.get_result_with_tags, ["a", "b"]),
    ]

    tasks.terminate()

    for call in waiting:
        with pytest.raises(TaskManagerTermination):
            call.result(LIMIT)


def test_after_terminate_stored_results_are_taken_and_nothing_else(tasks):
    stored, running = (tasks.add_task_request(tag, None) for tag in "ab")
    tasks.add_task_request("c", None)
    tasks.get_any_task()
    tasks.get_any_task()
    tasks.store_result(stored, 1)

    tasks.terminate()
    tasks.terminate()

    for call in (tasks.get_any_task, lambda: tasks.get_task_with_tag("c"), lambda: tasks.add_task_request("d", None)):
        with pytest.raises(TaskManagerTermination):
            call()
    with pytest.raises(TaskManagerTermination):
        tasks.get_result_with_tag("b")
    tasks.store_result(running, 2)
    assert tasks.get_result_with_tag("b") == (running, 2)
    assert tasks.get_any_result() == (stored, "a", 1)
    with pytest.raises(TaskManagerTermination):
        tasks.get_any_result()


def test_the_highest_priority_goes_first_then_the_oldest(tasks):
    added = {name: tasks.add_task_request(name[0], None, priority=int(name[1:])) for name in ("a0", "b5", "a5", "b-1")}

    taken = [tasks.get_any_task()[0] for _ in added]

    assert taken == [added[name] for name in ("b5", "a5", "a0", "b-1")]


def test_priorities_hold_within_a_tag_and_among_chosen_tags(tasks):
    added = {name: tasks.add_task_request(name[0], None, priority=int(name[1:])) for name in ("a0", "b1", "a2", "c3")}

    assert tasks.get_task_with_tag("a")[0] == added["a2"]
    assert tasks.get_task_with_tags(["a", "b"])[0] == added["b1"]
    assert tasks.get_task_matching("[ab]")[0] == added["a0"]


def test_a_returned_task_stands_in_front_of_its_priority(tasks):
    tasks.add_task_request("a", None)
    urgent = tasks.add_task_request("a", None, priority=1)
    low, lower = (tasks.add_task_request("b", None) for _ in range(2))
    tasks.get_task_with_tag("b")

    tasks.return_task(low)

    assert [tasks.get_any_task()[0] for _ in range(2)] == [urgent, low]
    assert tasks.get_task_with_tag("b")[0] == lower


def test_among_chosen_tags_the_oldest_task_goes_first(tasks):
    added = [tasks.add_task_request(tag, None) for tag in ("render-1", "load", "render-2", "save")]

    assert tasks.get_task_with_tags({"save", "render-2", "none"}) == (added[2], "render-2", None)
    assert tasks.get_task_matching("render-*") == (added[0], "render-1", None)
    assert tasks.get_task_matching("*a*")[0] == added[1]


def test_a_tag_is_watched_until_its_counts_change(tasks, threads):
    counts = tasks.watch_tag("a")
    assert counts == TagCounts(waiting=0, running=0, finished=0)
    watching = threads.submit(tasks.watch_tag, "a", counts)

    tasks.add_task_request("b", None)
    task_id = tasks.add_task_request("a", None)

    counts = watching.result(LIMIT)
    assert counts == (1, 0, 0)
    tasks.get_task_with_tag("a")
    assert tasks.watch_tag("a", counts) == (0, 1, 0)
    tasks.store_result(task_id, None)
    assert tasks.watch_tag("a", counts).finished == 1


def test_the_end_of_all_tasks_of_a_tag_is_waited_for(tasks, threads):
    added = [tasks.add_task_request("a", None) for _ in range(3)]
    waiting = threads.submit(tasks.wait_for_tag, "a")

    with pytest.raises(WaitTimeoutError, match="3 tasks still wait and 0 run"):
        tasks.wait_for_tag("a", timeout=0.01)
    for task_id in added:
        tasks.get_any_task()
        assert not waiting.done()
        tasks.store_result(task_id, None)

    assert waiting.result(LIMIT) == (0, 0, 3)


def test_nobody_waits_for_counts_that_change_no_more(tasks):
    tasks.add_task_request("a", None)
    tasks.terminate()

    with pytest.raises(TaskManagerTermination):
        tasks.wait_for_tag("a", timeout=LIMIT)


def test_a_time_that_no_clock_can_measure_is_for_ever(tasks, threads):
    waiting = threads.submit(tasks.get_any_task, tasks.register_process(float("inf")), 1e300)
    tasks.add_task_request("a", 1)

    assert waiting.result(LIMIT)[2] == len(tasks.active_processes()) == 1


def test_a_drained_tag_has_no_waiting_tasks(tasks):
    added = [tasks.add_task_request(tag, tag * 2) for tag in "abaa"]
    tasks.get_task_with_tag("a")

    drained = tasks.drain_tag("a")

    assert drained == [(added[2], "aa"), (added[3], "aa")]
    assert tasks.number_of_tasks() == ({"b": 1}, {"a": 1}, {})
    assert tasks.drain_tag("a") == []
    with pytest.raises(LookupError):
        tasks.store_result(added[2], None)


def test_many_tasks_are_added_at_once(tasks):
    added = tasks.add_task_requests("a", range(2500), priority=1)

    assert len(set(added)) == 2500
    assert tasks.get_any_task() == (added[0], "a", 0)
    assert len(tasks.drain_tag("a")) == 2499


@pytest.mark.parametrize(
    "call",
    [
        *(lambda tasks, tag=tag: tasks.add_task_request(tag, None) for tag in (3, "")),
        lambda tasks: tasks.add_task_request("a", None, priority="high"),
        lambda tasks: tasks.get_task_with_tag(None),
        lambda tasks: tasks.get_task_with_tags("ab"),
        lambda tasks: tasks.get_task_with_tags([]),
        lambda tasks: tasks.get_any_task(timeout=-1),
        lambda tasks: tasks.get_any_result(timeout="soon"),
        lambda tasks: tasks.register_process(watchdog_period=0),
        lambda tasks: tasks.register_process(info=7),
    ],
)
def test_arguments_that_mean_nothing_are_refused(tasks, call):
    with pytest.raises(ConfigError):
        call(tasks)

    assert tasks.number_of_tasks() == ({}, {}, {})


def test_threads_share_the_work_and_each_task_is_done_once(tasks):
    count, takers = 400, 6
    done = []

    def take():
        while True:
            try:
                task_id, tag, number = tasks.get_any_task()
            except TaskManagerTermination:
                return
            done.append(number)
            tasks.store_result(task_id, (tag, number))

    crew = [threading.Thread(target=take) for _ in range(takers)]
    for thread in crew:
        thread.start()
    for number in range(count):
        tasks.add_task_request(f"tag-{number % 7}", number)
    results = [tasks.get_any_result(timeout=LIMIT)[2] for _ in range(count)]
    tasks.terminate()
    for thread in crew:
        thread.join(LIMIT)

    assert sorted(done) == list(range(count))
    assert sorted(number for _, number in results) == list(range(count))
    assert not any(thread.is_alive() for thread in crew)
