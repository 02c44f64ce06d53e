"""The loop: sources, timers, posted calls, the way out."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from concurro.transport.loop import Loop
from tests.support.waiting import wait_until


def test_calls_in_order_what_was_posted(turner):
    calls = []
    for number in range(3):
        turner.loop.post(lambda number=number: calls.append(number))

    turner.loop.turn(None)

    assert calls == [0, 1, 2]


def test_a_call_posted_from_another_thread_wakes_the_loop(turner):
    calls = []
    thread = threading.Thread(target=lambda: turner.loop.post(lambda: calls.append(1)))
    thread.start()

    turner.until(lambda: calls)
    thread.join()

    assert calls == [1]


def test_timers_run_in_the_order_of_their_times(turner):
    calls = []
    now = turner.loop.now()
    turner.loop.at(now + 0.002, lambda: calls.append("second"))
    turner.loop.at(now + 0.001, lambda: calls.append("first"))
    turner.loop.at(now - 1.0, lambda: calls.append("past"))

    turner.until(lambda: len(calls) == 3)

    assert calls == ["past", "first", "second"]


def test_a_timer_does_not_run_before_its_time(turner):
    when = turner.loop.now() + 0.02
    ran_at = []
    turner.loop.at(when, lambda: ran_at.append(turner.loop.now()))

    turner.until(lambda: ran_at)

    assert ran_at[0] >= when


def test_a_cancelled_timer_does_not_run(turner):
    calls = []
    timer = turner.loop.after(0.0, lambda: calls.append("cancelled"))
    turner.loop.after(0.001, lambda: calls.append("other"))

    timer.cancel()
    timer.cancel()
    turner.until(lambda: calls)

    assert calls == ["other"]


def test_a_timer_that_sets_itself_again_does_not_keep_the_turn(turner):
    calls = []

    def again():
        calls.append(1)
        turner.loop.after(0.0, again)

    again()
    turner.loop.turn(0.0)

    assert len(calls) <= 2


def test_flushes_after_every_batch_in_order(turner):
    calls = []
    turner.loop.on_flush(lambda: calls.append("first"))
    turner.loop.on_flush(lambda: calls.append("second"))
    turner.loop.request_flush(lambda: calls.append("requested"))
    turner.loop.post(lambda: calls.append("event"))

    turner.loop.turn(None)

    assert calls == ["event", "first", "second", "requested"]


def test_a_flush_hook_that_was_taken_away_is_not_called(turner):
    calls = []

    def hook():
        calls.append(1)

    turner.loop.on_flush(hook)
    turner.loop.off_flush(hook)
    turner.loop.off_flush(hook)
    turner.loop.turn(0.0)

    assert calls == []


def test_a_flush_requested_by_a_flush_comes_with_the_next_turn(turner):
    calls = []
    turner.loop.request_flush(lambda: turner.loop.request_flush(lambda: calls.append(1)))
    turner.loop.turn(None)
    assert calls == []

    turner.loop.turn(None)

    assert calls == [1]


def test_tells_when_a_source_can_be_read(turner):
    reader, writer = os.pipe()
    heard = []
    turner.loop.watch(reader, lambda: heard.append(os.read(reader, 10)))

    os.write(writer, b"news")
    turner.until(lambda: heard)
    turner.loop.unwatch(reader)
    turner.loop.unwatch(reader)
    os.write(writer, b"more")
    turner.settle()

    assert heard == [b"news"]
    os.close(reader)
    os.close(writer)


def test_a_source_that_is_paused_is_not_read(turner):
    reader, writer = os.pipe()
    heard = []
    turner.loop.watch(reader, lambda: heard.append(os.read(reader, 10)))
    turner.loop.pause_read(reader, paused=True)

    os.write(writer, b"news")
    turner.settle()
    assert heard == []

    turner.loop.pause_read(reader, paused=False)
    turner.until(lambda: heard)
    turner.loop.unwatch(reader)
    os.close(reader)
    os.close(writer)


def run_in_thread(loop):
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    return thread


def test_stop_ends_run_from_another_thread(turner):
    started = threading.Event()
    turner.loop.post(started.set)
    thread = run_in_thread(turner.loop)
    started.wait(30)

    turner.loop.stop()
    thread.join(30)

    assert not thread.is_alive()


def test_a_stop_that_comes_before_run_is_not_lost(turner):
    turner.loop.stop()

    thread = run_in_thread(turner.loop)
    thread.join(30)

    assert not thread.is_alive()


def test_what_was_posted_before_a_stop_is_still_called(turner):
    calls = []
    turner.loop.post(lambda: calls.append(1))
    turner.loop.stop()

    turner.loop.run()

    assert calls == [1]


def test_an_exception_of_a_call_leaves_run(turner):
    def fail():
        message = "broken"
        raise LookupError(message)

    turner.loop.post(fail)

    with pytest.raises(LookupError, match="broken"):
        turner.loop.run()


def test_a_closed_loop_writes_to_nobody():
    loop = Loop()
    loop.close()
    loop.close()
    reader, writer = os.pipe2(os.O_NONBLOCK)  # takes the numbers of the descriptors that were closed

    loop.post(lambda: None)
    loop.wake()
    loop.stop()

    with pytest.raises(BlockingIOError):
        os.read(reader, 10)
    os.close(reader)
    os.close(writer)


def test_a_paused_source_is_not_read_and_keeps_the_loop_asleep(turner):
    read, write = os.pipe()
    calls = []
    turner.loop.watch(read, lambda: calls.append(os.read(read, 10)))
    turner.loop.pause_read(read, paused=True)
    os.write(write, b"waits")

    turner.loop.turn(0.0)
    paused = list(calls)
    turner.loop.pause_read(read, paused=False)
    turner.until(lambda: calls)

    turner.loop.unwatch(read)
    os.close(read)
    os.close(write)
    assert paused == []
    assert calls == [b"waits"]


def test_a_paused_source_can_be_written_to(turner):
    ours, theirs = socket.socketpair()
    calls = []
    turner.loop.watch(ours.fileno(), lambda: calls.append("read"), lambda: calls.append("write"))
    theirs.send(b"waits")

    turner.loop.pause_read(ours.fileno(), paused=True)
    turner.loop.want_write(ours.fileno(), wanted=True)
    turner.loop.turn(0.0)
    while_paused = list(calls)
    turner.loop.want_write(ours.fileno(), wanted=False)
    turner.loop.turn(0.0)
    turner.loop.pause_read(ours.fileno(), paused=False)
    turner.loop.turn(0.0)

    turner.loop.unwatch(ours.fileno())
    ours.close()
    theirs.close()
    assert while_paused == ["write"]
    assert calls == ["write", "read"]


def test_a_stand_in_acts_and_flushes_in_its_own_thread(turner):
    calls = []

    def act():
        calls.append("call")
        turner.loop.request_flush(lambda: calls.append("flush"))

    assert turner.loop.stand_in(act)

    assert calls == ["call", "flush"]


def test_what_a_stand_in_posts_is_the_loops(turner):
    calls = []

    turner.loop.stand_in(lambda: turner.loop.soon(lambda: calls.append(1)))
    assert calls == []

    turner.loop.turn(None)
    assert calls == [1]


def test_a_timer_of_a_stand_in_wakes_a_loop_that_waits_longer(turner):
    calls = []
    thread = threading.Thread(target=turner.loop.run)
    thread.start()

    def act():
        turner.loop.after(0.001, lambda: (calls.append(1), turner.loop.stop()))

    wait_until(lambda: turner.loop.stand_in(act), 30, "the loop to wait")
    thread.join(30)

    assert calls == [1]


def test_a_stand_in_that_fails_leaves_the_loop_to_others(turner):
    with pytest.raises(KeyboardInterrupt):
        turner.loop.stand_in(_interrupt)

    assert turner.loop.stand_in(lambda: None)
    assert not turner.loop.lent


def _interrupt():
    raise KeyboardInterrupt
