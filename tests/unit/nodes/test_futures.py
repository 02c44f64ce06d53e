"""Light futures behave as those of the standard library."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import weakref
from concurrent.futures import ALL_COMPLETED, CancelledError, Future, InvalidStateError, as_completed, wait
from concurrent.futures import TimeoutError as FutureTimeoutError

import pytest

from concurro.errors import WaitInCallbackError
from concurro.nodes.control import Control
from concurro.nodes.futures import LoopFuture, TaskFuture

DEADLINE = 20.0


class Lending(Control):
    """An application inside a task."""

    def __init__(self):
        self.lent = []

    @contextlib.contextmanager
    def lend(self, what, over):
        self.lent.append(what)
        yield


class Asked(Control):
    """Notes what it is asked to cancel."""

    def __init__(self):
        self.cancelled = []

    def cancel_task(self, system_id, number, *, started=True):
        self.cancelled.append((system_id, number) if started else (system_id, number, "unless it has started"))


@pytest.fixture
def future():
    return TaskFuture(Asked(), "job", 3)


def waiting(*calls):
    """Start threads that wait; return what joins them and gives what each got."""
    got = [None] * len(calls)

    def run(place, call):
        try:
            got[place] = call()
        except BaseException as error:  # noqa: BLE001 - what came is looked at
            got[place] = error

    threads = [threading.Thread(target=run, args=(place, call)) for place, call in enumerate(calls)]
    for thread in threads:
        thread.start()

    def join():
        for thread in threads:
            thread.join(DEADLINE)
        return got

    return join


def wait_for_waiters(future, count):
    deadline = threading.Event()
    for _ in range(2000):
        if len(future._waiters) >= count:
            return
        deadline.wait(0.001)
    pytest.fail("nobody waits")


def test_everybody_who_waits_gets_the_result(future):
    join = waiting(future.result, lambda: future.result(DEADLINE), future.exception, lambda: wait([future], DEADLINE))
    wait_for_waiters(future, 4)

    future.set_result(7)

    assert join()[:3] == [7, 7, None]
    assert join()[3].done == {future}
    assert future._waiters == []


def test_everybody_who_waits_gets_the_error(future):
    join = waiting(future.result, future.exception)
    wait_for_waiters(future, 2)
    error = KeyError("colour")

    future.set_exception(error)

    assert join() == [error, error]


@pytest.mark.parametrize("light", [LoopFuture(Control()), TaskFuture(Asked(), "job", 3)], ids=["loop", "task"])
def test_a_cancel_wakes_whoever_waits(light):
    join = waiting(light.result, light.exception, lambda: wait([light], DEADLINE))
    wait_for_waiters(light, 3)

    assert light.cancel()
    assert light.cancel()

    result, error, waited = join()
    assert isinstance(result, CancelledError)
    assert isinstance(error, CancelledError)
    assert waited.done == {light}
    assert (light.cancelled(), light.done(), light.running()) == (True, True, False)


def test_a_cancel_is_asked_for_once(future):
    future.cancel()
    future.cancel()

    assert future._control.cancelled == [("job", 3)]


def test_what_is_final_cannot_be_cancelled_or_ended_again(future):
    future.set_result(1)

    assert not future.cancel()
    assert future._control.cancelled == []
    with pytest.raises(InvalidStateError, match=r"FINISHED: <TaskFuture at .* state=finished returned int>"):
        future.set_result(2)
    with pytest.raises(InvalidStateError):
        future.set_exception(ValueError())
    assert future.result() == 1


def test_callbacks_run_in_order_and_one_that_raises_stops_none(future):
    seen = []
    future.add_done_callback(lambda done: seen.append(("first", done.result())))
    future.add_done_callback(lambda done: 1 / 0)
    future.add_done_callback(lambda done: seen.append(("last", done.result())))

    future.set_result(7)
    future.add_done_callback(lambda done: seen.append(("late", done.result())))

    assert seen == [("first", 7), ("last", 7), ("late", 7)]


def test_waits_together_with_futures_of_the_standard_library(future):
    other, slow = Future(), TaskFuture(Asked(), "job", 4)
    other.set_result(1)
    future.set_exception(ValueError())

    assert set(as_completed([future, other], DEADLINE)) == {future, other}
    done = wait([future, other, slow], 0.001, ALL_COMPLETED)

    assert (done.done, done.not_done) == ({future, other}, {slow})
    with pytest.raises(FutureTimeoutError):
        slow.result(0.001)
    assert slow._waiters == []


def test_is_awaited_in_an_event_loop(future):
    async def get():
        wrapped = asyncio.wrap_future(future)
        threading.Timer(0.001, future.set_result, [7]).start()
        return await asyncio.wait_for(wrapped, DEADLINE)

    assert asyncio.run(get()) == 7


def test_a_longer_wait_lends_the_slot_and_a_short_one_does_not():
    control = Lending()
    quick, slow = TaskFuture(control, "job", 1), TaskFuture(control, "job", 2)
    quick.set_result(1)

    assert quick.result() == 1
    with pytest.raises(FutureTimeoutError):
        slow.result(0.01)
    with pytest.raises(FutureTimeoutError):
        next(as_completed([slow], 0.1))

    assert control.lent == ["task job:2", "several futures"]


def test_refuses_to_wait_where_nobody_could_bring_the_result():
    class Refusing(Control):
        def refuse_to_wait(self, call):
            raise WaitInCallbackError(call)

    future = LoopFuture(Refusing())

    for call in (future.result, future.exception):
        with pytest.raises(WaitInCallbackError, match=call.__name__):
            call()
    with pytest.raises(FutureTimeoutError):
        future.result(0)
    future.set_result(7)
    assert future.result(5) == 7


def test_an_error_that_was_raised_keeps_its_future_in_no_circle():
    future = TaskFuture(Asked(), "job", 3)
    future.set_exception(ValueError())
    gone = weakref.ref(future)
    gc.disable()

    try:
        with contextlib.suppress(ValueError):
            future.result()
        del future

        assert gone() is None
    finally:
        gc.enable()


def test_a_callback_that_exits_ends_neither_the_thread_that_brings_news_nor_the_callbacks_after_it(caplog):
    class Here(Control):
        def brings_news(self):
            return True

    seen = []
    future = TaskFuture(Here(), "job", 3)
    future.add_done_callback(lambda done: sys.exit("enough"))
    future.add_done_callback(lambda done: seen.append(done.result()))

    future.set_result(7)

    assert seen == [7]
    assert "SystemExit: enough" in caplog.text


def test_a_callback_may_exit_in_a_thread_of_its_user(future):
    future.add_done_callback(lambda done: sys.exit("enough"))

    with pytest.raises(SystemExit, match="enough"):
        future.cancel()


def test_a_withdrawn_task_is_cancelled_when_the_master_says_so(future):
    future.withdraw()

    assert future._control.cancelled == [("job", 3, "unless it has started")]
    assert not future.done()
    assert future.end_withdrawn()
    assert future.cancelled()


def test_a_withdrawn_task_that_had_started_has_its_result(future):
    future.withdraw()

    future.set_result(42)

    assert future.result(0) == 42
    assert not future.end_withdrawn()


def test_the_end_of_a_task_that_others_cancelled_is_an_error(future):
    assert not future.end_withdrawn()
    assert not future.done()


def test_a_future_is_awaited_in_a_loop_and_cancelled_there(future):
    other = TaskFuture(Asked(), "job", 4)

    async def main():
        threading.Timer(0.01, future.set_result, [42]).start()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other, 0.01)
        return await future

    assert asyncio.run(main()) == 42
    assert other.cancelled()
    assert other._control.cancelled == [("job", 4)]
