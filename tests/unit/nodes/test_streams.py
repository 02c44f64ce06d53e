"""Futures as they end, of streams that never are as a whole."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from concurrent.futures import Future

import pytest

from concurro.errors import ConfigError, WaitInCallbackError
from concurro.nodes.control import Control
from concurro.nodes.futures import LoopFuture, Patience
from concurro.nodes.streams import as_completed, as_they_come, in_order
from tests.support.waiting import wait_until

DEADLINE = 20.0
FOR_EVER = Patience(None)


class Calls:
    """Submits calls that end when they are told to, and counts those that are open."""

    def __init__(self, make=Future):
        self.make = make
        self.futures = []
        self.script = {}

    def when(self, submitted, *ended):
        """End some when a number is submitted, with an error if that is given instead."""
        self.script[submitted] = ended

    def submit_all(self, count=None):
        for _ in itertools.count() if count is None else range(count):
            self.futures.append(self.make())
            for number in self.script.get(len(self.futures) - 1, ()):
                self.end(number)
            yield self.futures[-1]

    def end(self, number):
        if isinstance(number, Exception):
            self.futures[0].set_exception(number)
        else:
            self.futures[number].set_result(number)


class Ended(Calls):
    """Submits calls that end at once, as those of an inline cluster do."""

    def submit_all(self, count=None):
        for future in super().submit_all(count):
            future.set_result(len(self.futures) - 1)
            yield future


class Sharing(Control):
    """An application whose news this thread brings, and whose waits lend a slot."""

    def __init__(self):
        self.lent = []
        self.refused = None
        self.lend = None

    def refuse_to_wait(self, call):
        if self.refused:
            raise self.refused


def light():
    return LoopFuture(Control())


@pytest.fixture(params=[Future, light], ids=["standard", "ours"])
def calls(request):
    return Calls(request.param)


def test_yields_futures_as_they_end(calls):
    futures = list(calls.submit_all(3))
    ending = as_completed(futures)

    calls.end(2)
    first = next(ending)
    calls.end(0)
    calls.end(1)

    assert [first, *ending] == [futures[2], futures[0], futures[1]]


def test_yields_a_future_once_however_often_it_is_given(calls):
    (future,) = calls.submit_all(1)
    calls.end(0)

    assert list(as_completed([future, future])) == [future]
    assert list(as_completed(iter(()))) == []


def test_takes_no_more_of_a_stream_than_it_may(calls):
    calls.when(2, 1)

    first = next(as_completed(calls.submit_all(), buffersize=3))

    assert first is calls.futures[1]
    assert len(calls.futures) == 3


def test_wakes_a_thread_that_waits(calls):
    (future,) = calls.submit_all(1)
    yielded = []
    thread = threading.Thread(target=lambda: yielded.extend(as_completed([future])))
    thread.start()
    wait_until(lambda: future._waiters, DEADLINE, "somebody to wait")

    calls.end(0)

    thread.join(DEADLINE)
    assert yielded == [future]


def test_takes_one_more_of_a_stream_for_each_that_was_taken():
    calls = Ended()
    ending = as_completed(calls.submit_all(), buffersize=5)

    for number in range(2000):
        assert next(ending).result() == number
        assert len(calls.futures) <= number + 5


def test_keeps_nothing_of_what_it_yielded():
    calls = Ended(light)
    ending = as_completed(calls.submit_all(10), buffersize=2)

    yielded = []
    for future in ending:
        yielded.append(weakref.ref(future))
        calls.futures.clear()
        del future

    gc.collect()
    assert [reference() for reference in yielded] == [None] * 10


def test_leaves_no_waiter_behind(calls):
    calls.when(1, 0)
    ending = as_completed(calls.submit_all(), buffersize=2)
    next(ending)

    ending.close()

    assert [list(future._waiters) for future in calls.futures] == [[]] * len(calls.futures)


def test_says_how_many_did_not_end_in_time(calls):
    futures = list(calls.submit_all(2))
    calls.end(0)
    ending = as_completed(futures, timeout=0.0)

    assert next(ending) is futures[0]
    with pytest.raises(TimeoutError, match="1 futures unfinished"):
        next(ending)
    assert not futures[1].cancelled()


def test_refuses_to_wait_in_a_callback():
    control = Sharing()
    control.refused = WaitInCallbackError("in a callback")

    with pytest.raises(WaitInCallbackError):
        next(as_completed([LoopFuture(control)]))


@pytest.mark.parametrize("size", [0, -1, "many", True])
def test_refuses_a_buffer_of_nothing(size):
    with pytest.raises(ConfigError, match="buffersize must be a whole number of 1 or more"):
        as_completed([], buffersize=size)


def test_results_come_in_order_although_others_end_before(calls):
    results = in_order(calls.submit_all(4), 2, FOR_EVER)

    assert len(calls.futures) == 2
    calls.end(1)
    calls.end(0)
    assert next(results) == 0
    assert len(calls.futures) == 3
    calls.end(2)
    assert [next(results), next(results)] == [1, 2]
    calls.end(3)
    assert list(results) == [3]


def test_results_come_as_they_come(calls):
    calls.when(2, 1, 0, 2)

    assert list(as_they_come(calls.submit_all(3), 3, FOR_EVER)) == [1, 0, 2]


@pytest.mark.parametrize("results_of", [in_order, as_they_come])
def test_the_first_error_cancels_the_rest(calls, results_of):
    calls.when(2, KeyError("colour"))
    results = results_of(calls.submit_all(), 3, FOR_EVER)

    with pytest.raises(KeyError, match="colour"):
        next(results)

    assert all(future.cancelled() for future in calls.futures[1:])
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("results_of", [in_order, as_they_come])
def test_who_wants_no_more_cancels_the_rest(calls, results_of):
    calls.when(2, 0)
    results = results_of(calls.submit_all(), 3, FOR_EVER)
    assert next(results) == 0

    results.close()

    assert [future.cancelled() for future in calls.futures] == [False, *[True] * (len(calls.futures) - 1)]


@pytest.mark.parametrize("results_of", [in_order, as_they_come])
def test_the_time_that_is_over_cancels_the_rest(calls, results_of):
    results = results_of(calls.submit_all(), 3, Patience(0.01))

    with pytest.raises(TimeoutError):
        next(results)

    assert all(future.cancelled() for future in calls.futures)


@pytest.mark.parametrize("results_of", [in_order, as_they_come])
def test_an_error_of_the_stream_itself_is_raised_and_cancels_the_rest(results_of):
    calls = Calls()

    def broken():
        yield from calls.submit_all(2)
        message = "the file ended"
        raise OSError(message)

    with pytest.raises(OSError, match="the file ended"):
        list(results_of(broken(), 2 if results_of is in_order else 3, FOR_EVER))

    assert [future.cancelled() for future in calls.futures] == [True, True]


def test_an_error_is_not_kept_by_its_own_traceback():
    calls = Calls(light)
    calls.when(0, KeyError("colour"))
    results = as_they_come(calls.submit_all(1), 1, FOR_EVER)
    gc.disable()
    try:
        with pytest.raises(KeyError):
            next(results)

        reference = weakref.ref(calls.futures.pop())

        assert reference() is None
    finally:
        gc.enable()
