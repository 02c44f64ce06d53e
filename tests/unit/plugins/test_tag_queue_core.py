"""The rules of a task manager: who gets what, in which order, and what comes back."""

from __future__ import annotations

import pytest

from concurro_tagqueue.core import REPEATED_KEPT, TaskManagerCore
from concurro_tagqueue.errors import TakerLostError, TaskManagerTermination, UnknownProcessError, UnknownTaskError
from concurro_tagqueue.lines import ANY, Choice
from concurro_tagqueue.records import State, TagCounts, Waiter


@pytest.fixture
def core():
    """Give a core in which nothing happened."""
    return TaskManagerCore()


def tag(*tags):
    return Choice(frozenset(tags))


def park(core, choice, **facts):
    waiter = Waiter(choice, **facts)
    core.park_taker(waiter)
    return waiter


def ready(core):
    return [(waiter, waiter.task) for waiter in core.take_ready()]


def test_who_waits_longest_is_served_first_whatever_it_waits_for(core):
    waiters = [park(core, choice) for choice in (Choice(None, "a*"), tag("a"), ANY, tag("b", "a"), Choice(None, "?"))]

    tasks = [core.add("a", None) for _ in waiters]

    assert ready(core) == list(zip(waiters, tasks, strict=True))
    assert all(task.state is State.RUNNING for task in tasks)
    assert core.number_of_tasks() == ({}, {"a": 5}, {})


def test_who_waits_for_something_else_is_not_served(core):
    waiters = [park(core, choice) for choice in (tag("b"), Choice(None, "b*"), tag("b", "c"))]

    core.add("a", None)

    assert ready(core) == []
    assert not any(waiter.over for waiter in waiters)
    assert core.waiting.counts() == {"a": 1}


def test_who_is_unparked_gets_nothing(core):
    gone, waiting = park(core, tag("a", "b")), park(core, tag("b"))
    core.unpark(gone)
    core.unpark(gone)

    task = core.add("b", None)

    assert ready(core) == [(waiting, task)]


def test_what_a_waiter_got_and_did_not_live_to_see_goes_to_the_next(core):
    first, second = park(core, ANY), park(core, ANY)
    task = core.add("a", None)
    assert ready(core) == [(first, task)]

    core.undo(first)

    assert ready(core) == [(second, task)]
    assert task.handed_out == 2


def test_a_returned_task_goes_to_who_waits_for_it(core):
    core.add("a", None)
    task = core.take(ANY)
    waiter = park(core, tag("a"))

    core.give_back(task.task_id)

    assert ready(core) == [(waiter, task)]


def test_a_process_is_gone_after_two_periods_without_a_ping(core):
    process_id = core.register(100.0, 10.0, "info")
    assert core.next_deadline() == 120.0

    core.ping(process_id, 115.0)
    assert core.expire(120.0) == []
    assert core.next_deadline() == 135.0
    assert core.expire(134.9) == []
    (gone,) = core.expire(135.0)

    assert gone.process_id == process_id
    assert core.processes == {}
    assert core.next_deadline() is None
    with pytest.raises(UnknownProcessError):
        core.ping(process_id, 136.0)


def test_a_process_that_promised_nothing_stays_for_ever(core):
    core.register(0.0, None, "")

    assert core.next_deadline() is None
    assert core.expire(1e9) == []
    assert list(core.processes) == [0]


def test_tasks_of_a_lost_process_return_once_in_their_order(core):
    process_id = core.register(0.0, 1.0, "")
    tasks = [core.add("a", number) for number in range(4)]
    for _ in range(3):
        core.take(ANY, process_id)
    done = tasks[1]
    core.store(done.task_id, "result")

    core.expire(2.0)
    core.expire(3.0)

    assert [core.take(ANY) for _ in range(3)] == [tasks[0], tasks[2], tasks[3]]
    assert core.take(ANY) is None
    assert core.finished.counts() == {"a": 1}


def test_a_late_result_of_a_lost_process_counts_as_long_as_there_is_no_other(core):
    process_id = core.register(0.0, 1.0, "")
    task = core.add("a", None)
    core.take(ANY, process_id)
    core.expire(2.0)
    with pytest.raises(UnknownTaskError):
        core.store(task.task_id, "while it waits")
    core.take(ANY)

    assert core.store(task.task_id, "late, and welcome")
    assert not core.store(task.task_id, "the other")

    assert core.take_result(ANY).result == "late, and welcome"
    assert core.dropped == 1


def test_of_tasks_that_were_handed_out_again_only_the_last_ones_are_remembered(core, monkeypatch):
    monkeypatch.setattr("concurro_tagqueue.core.REPEATED_KEPT", 2)
    assert REPEATED_KEPT > 2
    tasks = [core.add("a", None) for _ in range(3)]
    for task in tasks:
        core.take(ANY)
        core.give_back(task.task_id)
        core.take(ANY)
        core.store(task.task_id, None)
        core.confirm(core.take_result(ANY))

    assert [core.store(task.task_id, None) for task in tasks[1:]] == [False, False]
    with pytest.raises(UnknownTaskError):
        core.store(tasks[0].task_id, None)


def test_a_result_that_did_not_arrive_is_the_first_again(core):
    for _ in range(2):
        core.add("a", None)
        core.store(core.take(ANY).task_id, None)
    first = core.take_result(ANY)
    assert core.number_of_tasks() == ({}, {}, {"a": 1})

    core.put_back(first)

    assert core.take_result(ANY) is first


def test_the_end_of_a_session_lets_go_all_that_it_held(core):
    process_id = core.register(0.0, None, "", "s")
    core.register(0.0, None, "", "other")
    tasks = [core.add("a", number) for number in range(4)]
    core.take(ANY, process_id, "s")
    core.take(ANY, None, "s")
    core.store(core.take(ANY, None, "other").task_id, "result")
    core.take_result(ANY, "s")
    waiter = park(core, tag("b"), session="s")

    core.end_session("s")

    assert [core.take(ANY) for _ in range(3)] == [tasks[0], tasks[1], tasks[3]]
    assert core.take_result(ANY) is None
    assert list(core.processes) == [1]
    core.end_results("s")
    assert core.take_result(ANY) is tasks[2]
    core.add("b", None)
    assert ready(core) == []
    assert not waiter.over


def test_watchers_hear_of_a_change_once_all_of_a_step_is_done(core):
    watcher = Waiter(tag("a"), seen=TagCounts(0, 0, 0))
    core.watch("a", watcher)
    taker = park(core, ANY)

    core.add("a", None)

    assert [waiter for waiter, _ in ready(core)] == [taker, watcher]
    assert watcher.counts == (0, 1, 0)


def test_a_change_and_its_contrary_are_no_change(core):
    task = core.add("a", None)
    watcher = Waiter(tag("a"), seen=TagCounts(1, 0, 0))
    core.watch("a", watcher)

    core.take(ANY)
    core.give_back(task.task_id)

    assert ready(core) == []


def test_terminate_ends_waits_and_lets_what_runs_end(core):
    task = core.add("a", None)
    core.take(ANY)
    waiters = [park(core, choice) for choice in (ANY, tag("a"), Choice(None, "*"))]

    core.terminate()

    assert [waiter for waiter, _ in ready(core)] == waiters
    assert all(isinstance(waiter.error, TaskManagerTermination) for waiter in waiters)
    assert core.store(task.task_id, 1)
    assert core.take_result(ANY) is task
    with pytest.raises(TaskManagerTermination):
        core.take_result(ANY)


def test_what_changed_is_noted_where_somebody_wants_to_know(core):
    core.changed = set()
    process_id = core.register(0.0, None, "")
    task = core.add("a", None)
    core.store_data({"x": 1})

    assert core.changed == {("process", process_id), ("task", task.task_id), ("data", "x")}


def test_a_line_grows_and_shrinks_with_what_is_in_it(core):
    for number in range(100):
        core.add(f"tag {number}", None, priority=number)
    assert [core.take(ANY).priority for _ in range(100)] == list(range(99, -1, -1))

    assert core.waiting.first(ANY) is None
    assert core.waiting.counts() == {}
    assert len(core.waiting) == 0
    assert core.waiting._by_tag == {}
    assert core.waiting._all._by_priority == {}


def test_a_task_whose_takers_are_lost_too_often_fails_and_is_not_handed_out_again(core):
    task = core.add("a", "parameters")
    for session in "xyz":
        assert core.take(ANY, None, session) is task
        core.end_session(session, "whose connection was lost")

    assert core.number_of_tasks() == ({}, {}, {"a": 1})
    assert core.take_result(ANY) is task
    error, _ = task.result
    assert task.raised
    assert isinstance(error, TakerLostError)
    assert str(error).startswith(f"3 who ran task {task.task_id} with tag 'a' were gone")
    assert core.store(task.task_id, "late") is False


def test_who_did_not_ping_is_a_taker_that_was_lost():
    core = TaskManagerCore(crash_limit=1)
    task = core.add("a", None)
    core.take(ANY, core.register(0.0, 1.0, "slow"))

    core.expire(2.0)

    assert task.state is State.FINISHED
    assert "process 0 (slow), which did not ping" in str(task.result[0])
    assert core.store(task.task_id, "late") is False


@pytest.mark.parametrize("leave", ["give_back", "unregister", "end_session"])
def test_who_leaves_is_no_taker_that_was_lost(leave):
    core = TaskManagerCore(crash_limit=1)
    task = core.add("a", None)
    process_id = core.register(0.0, None, "", "session")
    core.take(ANY, process_id, "session")

    getattr(core, leave)({"give_back": task.task_id, "unregister": process_id, "end_session": "session"}[leave])

    assert (task.state, task.losses) == (State.WAITING, 0)


def test_without_a_limit_a_task_is_handed_out_for_ever():
    core = TaskManagerCore(crash_limit=0)
    task = core.add("a", None)

    for _ in range(10):
        core.take(ANY, None, "session")
        core.end_session("session", "whose connection was lost")

    assert task.state is State.WAITING
