"""`run`: a coroutine with a runtime.

On a cluster of its own or a running master's.

run(main, workers=2) --> LocalCluster --> Runtime --> asyncio.run(main(runtime)) --> all ended
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from concurro import ApplicationNode, LocalCluster
from concurro_monitor import Runtime, enter, here, leave, refuse_in_a_loop
from concurro_tessera.callers import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType


def run(
    main: Callable[[Runtime], Coroutine[Any, Any, Any]],
    workers: int | None = None,
    *,
    master: str | None = None,
    config: Any = None,
) -> Any:
    """Run `main(runtime)` in an asyncio loop; return what it returns.

    Args:
        main: A coroutine function.
        workers: Of a cluster on this machine that lives as long as `main` runs; None for one per processor.
        master: Address of a running master instead.
        config: What `Config.load` takes.

    Raises:
        WaitInCallbackError: A loop runs in this thread already, as in a notebook; see `opened`.
        TypeError: `main` is no coroutine function.
        ValueError: `workers` is given together with `master`.
    """
    given: Any = main
    if not callable(given):
        if inspect.iscoroutine(given):
            given.close()
        message = f"run() takes the coroutine function itself, `run(main)`, and no call of it; got {main!r}"
        raise TypeError(message)
    refuse_in_a_loop("run()", "`async with opened(...) as runtime:`, or `await asyncio.to_thread(run, main)`,")
    with opened(workers, master=master, config=config) as runtime:
        coroutine = main(runtime)
        if not inspect.iscoroutine(coroutine):
            message = f"run() takes a coroutine function, declared with `async def`; {main!r} returned {coroutine!r}"
            raise TypeError(message)
        return asyncio.run(coroutine)


def opened(workers: int | None = None, *, master: str | None = None, config: Any = None) -> Opened:
    """Return what opens a runtime.

    For scripts that block: `with opened(...) as runtime:`. Where a loop runs already:
    `async with opened(...) as runtime:`.

    Args:
        workers: As those of `run`.
        master: Address of a running master instead.
        config: What `Config.load` takes.

    Raises:
        ValueError: `workers` is given together with `master`.
    """
    if workers is not None and master is not None:
        message = f"workers is for a cluster of its own; the master at {master} has slaves already"
        raise ValueError(message)
    return Opened(workers, master, config)


class Opened:
    """A runtime, for as long as a block runs; made by `opened`."""

    def __init__(self, workers: int | None, master: str | None, config: Any) -> None:
        self._workers = workers
        self._master = master
        self._config = config
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> Runtime:
        """Open the runtime.

        Raises:
            WaitInCallbackError: A loop runs in this thread, which this would block.
        """
        refuse_in_a_loop("`with opened(...)`", "`async with opened(...)`")
        return self._open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all of it."""
        self._ends.close()

    async def __aenter__(self) -> Runtime:
        """Open the runtime, beside the running loop."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._open))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await opening
            await self._close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all of it, beside the running loop."""
        await self._close()

    def _open(self) -> Runtime:
        with contextlib.ExitStack() as stack:
            if self._master is None:
                cluster = stack.enter_context(LocalCluster(workers=self._workers, config=self._config))
                application = cluster.application
            else:
                application = stack.enter_context(ApplicationNode(self._master, config=self._config))
            own = Runtime(application)
            stack.callback(own.close)
            enter(own)
            stack.callback(leave, own)
            own.start()
            own.part(Caller).warm_up()
            self._ends = stack.pop_all()
        return own

    async def _close(self) -> None:
        """End all of it, to the end: what is left half ended would stay."""
        closing = asyncio.ensure_future(asyncio.to_thread(self._ends.close))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise


def runtime() -> Runtime:
    """Return the runtime of this process.

    Of the program, the worker, the task or the callback.

    Raises:
        NoApplicationError: It has none.
    """
    return here()
