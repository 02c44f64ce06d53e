"""`async_for`: one item per worker at a time.

The next to the first free one.

items --zip--> free worker --> body(worker, *items) --> results, in the order of items
                  ^------------------/
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from concurro_monitor.awaiting import refuse_in_a_loop
from concurro_monitor.errors import RuntimeDisconnectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable

    from concurro_monitor.remote import RuntimeProxy
    from concurro_monitor.runtime import Runtime


LOOKS = 20
LOOK_AGAIN = 0.1
"""So often, and so long after each other, it is looked whether a worker is gone [s]."""


class Loop:
    """A loop over items, run by `await`, each time anew.

    Args:
        runtime: Where the workers are from.
        body: Called with a worker and items; a coroutine function.
        iterables: Where the items are from.
        safe: Whether an item whose worker is lost runs again.
        timeout: Of the whole [s].
        max_await: Stop after so many results.
    """

    def __init__(  # noqa: PLR0913 - what a loop is made of
        self,
        runtime: Runtime,
        body: Callable[..., Coroutine[Any, Any, Any]],
        iterables: tuple[Iterable[Any], ...],
        *,
        safe: bool,
        timeout: float | None,
        max_await: int | None,
    ) -> None:
        self._runtime = runtime
        self._body = body
        self._iterables = iterables
        self._safe = safe
        self._timeout = timeout
        self._most = max_await

    def __await__(self) -> Generator[Any, None, list[Any]]:
        """Run it; give the results in the order of the items."""
        return self._run().__await__()

    def wait(self, timeout: float | None = None) -> list[Any]:
        """Run it in a loop of its own; return the results.

        Raises:
            WaitInCallbackError: Called in the thread of a running asyncio loop.
        """
        refuse_in_a_loop("async_for(...).wait()")

        async def run() -> list[Any]:
            return await asyncio.wait_for(self._run(), timeout)

        return asyncio.run(run())

    get = wait

    async def _run(self) -> list[Any]:
        if self._timeout is None:
            return await self._loop()
        try:
            return await asyncio.wait_for(self._loop(), self._timeout)
        except TimeoutError as error:
            message = f"the loop did not end within {self._timeout:g} s"
            raise TimeoutError(message) from error

    async def _loop(self) -> list[Any]:
        items = iter(zip(*self._iterables, strict=False)) if self._iterables else iter(())
        again: deque[tuple[int, Any]] = deque()
        results: dict[int, Any] = {}
        running: dict[asyncio.Future[Any], tuple[int, Any, RuntimeProxy]] = {}
        free = deque(await self._workers())
        begun = 0
        more = True
        try:
            while True:
                while free and (again or more) and not self._is_enough(len(results) + len(running)):
                    if again:
                        index, item = again.popleft()
                    else:
                        try:
                            index, item = begun, next(items)
                        except StopIteration:
                            more = False
                            break
                        begun += 1
                    worker = free.popleft()
                    running[asyncio.ensure_future(self._body(worker, *item))] = index, item, worker
                if not running:
                    break
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for ended in done:
                    index, item, worker = running.pop(ended)
                    error = None if ended.cancelled() else ended.exception()
                    if isinstance(error, RuntimeDisconnectedError) and self._safe and await self._is_lost(worker):
                        again.append((index, item))
                        free.extend(await self._newcomers(free, running))
                        continue
                    results[index] = ended.result()
                    free.append(worker)
        finally:
            for left in running:
                left.cancel()
            if running:
                await asyncio.gather(*running, return_exceptions=True)
        return [results[index] for index in sorted(results)]

    def _is_enough(self, count: int) -> bool:
        return self._most is not None and count >= self._most

    async def _workers(self) -> list[RuntimeProxy]:
        """Return the workers that live, once there is one."""
        while True:
            workers = await asyncio.to_thread(lambda: self._runtime.workers)
            if workers:
                return workers
            await asyncio.sleep(0.05)

    async def _is_lost(self, worker: RuntimeProxy) -> bool:
        """Say whether a worker is gone.

        Who was connected to it may know before the master.
        """
        for _ in range(LOOKS):
            if worker not in await asyncio.to_thread(lambda: self._runtime.workers):
                return True
            await asyncio.sleep(LOOK_AGAIN)
        return False

    async def _newcomers(
        self, free: deque[RuntimeProxy], running: dict[Any, tuple[int, Any, RuntimeProxy]]
    ) -> list[Any]:
        """Return workers that are not in use here.

        Waits while there is none at all.
        """
        used = {*free, *(worker for _, _, worker in running.values())}
        return [worker for worker in await self._workers() if worker not in used]
