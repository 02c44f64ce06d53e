r"""What a system publishes, on its way to whoever iterates over it.

loop thread --add, close--> Published --next--> threads, which sleep on a condition
                                      \-await-> asyncio loops, each woken once per wait
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Self

from concurro.nodes.futures import SHORT_WAIT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from concurro.nodes.control import Control


class Published:
    """Values that have come and that nobody took yet. Thread-safe.

    Args:
        control: Refuses waits in the loop's thread, and lends the slot during the others.
        describe: Names what publishes.
    """

    def __init__(self, control: Control, describe: Callable[[], str]) -> None:
        self._control = control
        self._describe = describe
        self._values: deque[Any] = deque()
        self._ended = False
        self._news = threading.Condition()
        self._wakes: list[Callable[[], None]] = []

    def add(self, value: Any) -> None:
        """Take one more."""
        with self._news:
            self._values.append(value)
            self._tell()

    def close(self) -> None:
        """Learn that there are no more."""
        with self._news:
            self._ended = True
            self._tell()

    def take(self) -> list[Any] | None:
        """Return the next value in a list; None at the end.

        The list is empty while there is none.
        """
        with self._news:
            if self._values:
                return [self._values.popleft()]
            return None if self._ended else []

    def untaken(self) -> list[Any]:
        """Return what nobody took yet, and leave it there."""
        with self._news:
            return list(self._values)

    def wait(self) -> None:
        """Wait until there is something to take, or the end.

        Raises:
            WaitInCallbackError: This is a callback.
        """
        self._control.refuse_to_wait("partial_results()")
        lend = self._control.lend
        with self._news:
            if self._news.wait_for(self._has_news, None if lend is None else SHORT_WAIT) or lend is None:
                return
        with lend(self._describe(), self._has_news), self._news:
            self._news.wait_for(self._has_news)

    async def arrival(self) -> None:
        """Wait for the same in the running asyncio loop."""
        import asyncio  # noqa: PLC0415 - only who awaits pays for it

        loop = asyncio.get_running_loop()
        woken = loop.create_future()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # that loop was closed: nobody waits there
                loop.call_soon_threadsafe(_resolve, woken)

        with self._news:
            if self._has_news():
                return
            self._wakes.append(wake)
        try:
            await woken
        finally:
            with self._news, contextlib.suppress(ValueError):
                self._wakes.remove(wake)

    def _has_news(self) -> bool:
        return bool(self._values) or self._ended

    def _tell(self) -> None:
        self._news.notify_all()
        wakes, self._wakes = self._wakes, []
        for wake in wakes:
            wake()


class PartialResults(Iterator[Any], AsyncIterator[Any]):
    """What a system publishes, for `for` and for `async for`.

    Thread-safe. Each value goes to one iterator of a handle.
    """

    def __init__(self, published: Published) -> None:
        self._published = published

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Return the next value; wait for it.

        Raises:
            StopIteration: The system ended.
            WaitInCallbackError: Nothing is there yet, and this is a callback.
        """
        while (taken := self._published.take()) == []:
            self._published.wait()
        if taken is None:
            raise StopIteration
        return taken[0]

    async def __anext__(self) -> Any:
        """Return the next value; wait for it in the running asyncio loop.

        Raises:
            StopAsyncIteration: The system ended.
        """
        while (taken := self._published.take()) == []:
            await self._published.arrival()
        if taken is None:
            raise StopAsyncIteration
        return taken[0]


def _resolve(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
