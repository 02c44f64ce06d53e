"""What an application says of pushed tasks, when, and in which thread, to a master that is played."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from concurro import ApplicationNode, ClosedError, MasterUnreachable
from concurro.transport.loop import Loop
from concurro.transport.stream import StreamLink
from concurro.wire.messages import Kind, unpack_message
from tests.support.jobs import Square
from tests.support.played_master import played_master
from tests.support.waiting import wait_until

CONSUMED, FIRST, TASKS = 1, 2, 4


@pytest.fixture
def master(runtime_folder):
    """Give a master that answers each task with its number."""
    with played_master(runtime_folder) as played:
        yield played


@pytest.fixture
def application(master):
    """Give an application whose first task has ended."""
    with ApplicationNode(master.url) as node:
        assert node.push_task(Square(0)).result(30) == 0
        yield node


@pytest.fixture
def senders(monkeypatch):
    """Give the threads that send tasks from now on."""
    threads = []
    send = StreamLink.send

    def note(link, frames):
        if link.peer.startswith("ipc:") and unpack_message([frames[0]]).kind == Kind.OUT:
            threads.append(threading.current_thread())
        send(link, frames)

    monkeypatch.setattr(StreamLink, "send", note)
    return threads


def wait_until_idle(application, master):
    """Wait until the loop has said everything about the first task, and sleeps."""
    wait_until(lambda: master.outs[-1][CONSUMED] == 1, 30, "the first result to be told as taken")
    wait_until(lambda: not application._loop._awake.locked(), 30, "a loop that waits")


def test_a_task_that_is_pushed_alone_is_sent_by_its_own_thread(application, master, senders):
    wait_until_idle(application, master)
    senders.clear()

    assert application.push_task(Square(1)).result(30) == 1

    assert senders[0] is threading.current_thread()


def test_a_task_that_is_pushed_while_another_is_open_is_sent_by_the_loop(application, master, senders):
    wait_until_idle(application, master)
    senders.clear()
    master.answers = False
    first = application.push_task(Square(1))

    second = application.push_task(Square(2))
    wait_until(lambda: len(senders) > 1, 30, "the second task to be sent")
    master.finish([1, 2])

    assert (first.result(30), second.result(30)) == (1, 2)
    assert senders[0] is threading.current_thread()
    assert senders[1] is not threading.current_thread()


def test_tasks_of_several_threads_are_sent_in_the_order_of_their_numbers(application, master):
    def push_some():
        for _ in range(200):
            application.push_task(Square(1)).result(30)

    threads = [threading.Thread(target=push_some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    sent = [number for out in master.outs for number in range(out[FIRST], out[FIRST] + len(out[TASKS]))]
    assert sent == list(range(601))


def test_what_was_taken_is_told_with_the_next_task(application, master, monkeypatch):
    monkeypatch.setattr("concurro.nodes.departures.ANSWER_DELAY", 1000.0)
    wait_until(lambda: master.outs[-1][CONSUMED] == 1, 30, "the first result to be told as taken")
    before = len(master.outs)

    application.push_task(Square(1)).result(30)
    application.push_task(Square(2)).result(30)

    assert [(out[CONSUMED], len(out[TASKS])) for out in master.wait_for(before + 2)[before:]] == [(1, 1), (2, 1)]


def test_what_was_taken_is_told_alone_when_no_task_follows(application, master):
    application.push_task(Square(1)).result(30)

    wait_until(lambda: master.outs[-1][CONSUMED] == 2, 30, "the last results to be told as taken")
    assert master.outs[-1][TASKS] == []


def test_what_was_taken_is_told_at_once_while_others_are_open(application, master, monkeypatch):
    monkeypatch.setattr("concurro.nodes.departures.ANSWER_DELAY", 1000.0)
    wait_until(lambda: master.outs[-1][CONSUMED] == 1, 30, "the first result to be told as taken")
    master.answers = False
    tasks = [application.push_task(Square(n)) for n in range(2)]
    master.wait_for_task(2)

    master.finish([1])
    tasks[0].result(30)

    wait_until(lambda: master.outs[-1][CONSUMED] == 2, 30, "the results to be told as taken")
    master.finish([2])
    tasks[1].result(30)


def test_an_interrupt_while_a_task_is_sent_costs_that_task_and_nothing_hangs(application, master, monkeypatch):
    send = StreamLink.send

    def interrupt(link, frames):
        if threading.current_thread() is threading.main_thread():
            monkeypatch.setattr(StreamLink, "send", send)
            raise KeyboardInterrupt
        send(link, frames)

    monkeypatch.setattr(StreamLink, "send", interrupt)
    with pytest.raises(KeyboardInterrupt):
        application.push_task(Square(1))
    wait_until(lambda: master.welcomed == 2, 30, "the application to come back")

    assert application.push_task(Square(2)).result(30) == 0


def test_closing_while_another_thread_sends_ends_its_task_with_an_error(application, master, monkeypatch):
    master.answers = False
    sending, go_on = threading.Event(), threading.Event()
    futures = []
    send = StreamLink.send

    def pause(link, frames):
        if threading.current_thread() is pusher:
            sending.set()
            assert go_on.wait(30)
        send(link, frames)

    monkeypatch.setattr(StreamLink, "send", pause)
    pusher = threading.Thread(target=lambda: futures.append(application.push_task(Square(1))))
    closer = threading.Thread(target=application.close)

    pusher.start()
    assert sending.wait(30)
    closer.start()
    go_on.set()
    pusher.join(30)
    closer.join(30)

    with pytest.raises((ClosedError, MasterUnreachable)):
        futures[0].result(30)


def test_a_task_is_sent_by_the_loop_when_that_is_awake(application, senders):
    entered, go_on = threading.Event(), threading.Event()

    def keep_awake():
        entered.set()
        assert go_on.wait(30)

    application._loop.post(keep_awake)
    assert entered.wait(30)
    future = application.push_task(Square(1))
    go_on.set()

    assert future.result(30) == 1
    assert senders[0] is not threading.current_thread()


def test_a_loop_without_a_thread_that_waits_takes_no_stand_in():
    loop = Loop()
    refused = []

    loop.soon(lambda: refused.append(loop.stand_in(lambda: None)))
    loop.turn(0.0)
    loop.close()

    assert refused == [False]


def test_a_forked_process_says_nothing_in_the_session_of_its_parent(application, senders):
    child = os.fork()
    if child == 0:
        before = len(senders)
        try:
            application.push_task(Square(2))
        except ClosedError:
            os._exit(10 + len(senders) - before)
        os._exit(1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 10
    assert application.push_task(Square(1)).result(30) == 1


def test_a_callback_that_exits_ends_no_other_task(application, master, caplog):
    master.answers = False
    exiting, other = application.push_task(Square(1)), application.push_task(Square(2))
    exiting.add_done_callback(lambda done: sys.exit("enough"))
    master.wait_for_task(2)

    master.finish([1, 2])

    assert (exiting.result(30), other.result(30)) == (1, 2)
    wait_until(lambda: "SystemExit: enough" in caplog.text, 30, "the exit to be logged")


def test_an_application_whose_loop_fails_leaves_its_master_and_says_why(application, master, caplog):
    application._loop.post(lambda: 1 / 0)

    wait_until(lambda: master.left, 30, "the end of the session")
    assert "ZeroDivisionError" in master.left[0]
    with pytest.raises(ClosedError, match="ZeroDivisionError"):
        application.push_task(Square(1))
    assert "the application's loop failed" in caplog.text
