"""What a system publishes, for threads and for asyncio loops."""

from __future__ import annotations

import asyncio
import threading

import pytest

from concurro.nodes.control import Control
from concurro.nodes.partial_results import PartialResults, Published


@pytest.fixture
def published():
    return Published(Control(), lambda: "system job")


def test_values_are_iterated_in_a_loop_as_they_come(published):
    async def collect():
        return [value async for value in PartialResults(published)]

    async def main():
        collecting = asyncio.create_task(collect())
        await asyncio.sleep(0)  # it waits now
        threading.Timer(0.01, lambda: [published.add("first"), published.add("second"), published.close()]).start()
        return await collecting

    assert asyncio.run(main()) == ["first", "second"]


def test_a_value_goes_to_one_of_several_iterators(published):
    async def collect():
        return [value async for value in PartialResults(published)]

    async def main():
        both = asyncio.gather(collect(), collect())
        await asyncio.sleep(0)
        for value in range(100):
            published.add(value)
            await asyncio.sleep(0)
        published.close()
        return await both

    first, second = asyncio.run(main())

    assert sorted(first + second) == list(range(100))


def test_who_is_cancelled_while_it_waits_takes_no_value_with_it(published):
    async def main():
        waiting = asyncio.create_task(anext(PartialResults(published)))
        await asyncio.sleep(0)
        waiting.cancel()
        published.add("kept")
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(main())

    assert next(PartialResults(published)) == "kept"
    assert published._wakes == []


def test_a_loop_that_was_closed_while_somebody_waited_is_not_woken(published):
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(anext(PartialResults(published)))
    loop.call_soon(loop.stop)
    loop.run_forever()
    wakes = list(published._wakes)
    waiting.cancel()
    loop.run_until_complete(asyncio.gather(waiting, return_exceptions=True))
    published._wakes += wakes
    loop.close()

    published.add("kept")

    assert next(PartialResults(published)) == "kept"


def test_the_end_ends_every_iterator(published):
    published.add("last")
    published.close()

    assert list(PartialResults(published)) == ["last"]
    assert list(PartialResults(published)) == []
