"""What comes later: awaited in any loop, waited for by threads, once settled for good."""

from __future__ import annotations

import asyncio
import threading

import pytest

from concurro import WaitInCallbackError
from concurro_monitor import Answer, Pending


def test_it_is_awaited_any_number_of_times_in_any_loop():
    pending = Pending()
    pending.settle(7)

    async def main():
        return [await pending, await pending]

    assert asyncio.run(main()) == asyncio.run(main()) == [7, 7]


def test_a_thread_settles_what_a_loop_awaits():
    pending = Pending()

    async def main():
        threading.Thread(target=pending.settle, args=("here",)).start()
        return await asyncio.wait_for(pending, 10)

    assert asyncio.run(main()) == "here"


def test_what_is_settled_stays_as_it_is():
    pending = Pending()

    assert pending.settle(None, ValueError("first"))
    assert not pending.settle(2)
    for _ in range(2):
        with pytest.raises(ValueError, match="first"):
            pending.wait(0)


def test_a_wait_ends_at_its_timeout_and_leaves_nobody_waiting():
    answer = Answer("the news")

    with pytest.raises(TimeoutError, match="the news"):
        answer.wait(0.0)

    assert not answer._listeners
    assert answer.settle(1)


def test_an_awaiting_that_is_cancelled_leaves_nobody_waiting():
    pending = Pending()

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pending, 0)

    asyncio.run(main())

    assert not pending._listeners


def test_blocking_the_thread_of_a_loop_is_refused():
    async def main():
        with pytest.raises(WaitInCallbackError, match="await"):
            Pending().wait(1)

    asyncio.run(main())


def test_who_comes_late_is_called_at_once():
    pending, called = Pending(), []
    pending.then(lambda: called.append("before"))
    pending.settle()

    pending.then(lambda: called.append("after"))

    assert called == ["before", "after"]
