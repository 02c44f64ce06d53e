"""`run`: a coroutine with a runtime.

On a cluster of its own or a running master's.

run(main, workers=2) --> LocalCluster --> Runtime --> asyncio.run(main(runtime)) --> all ended
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from concurro import ApplicationNode, LocalCluster
from concurro_monitor import Runtime, here, use
from concurro_tessera.callers import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


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
    """
    with opened(workers, master=master, config=config) as runtime:
        return asyncio.run(main(runtime))


@contextlib.contextmanager
def opened(workers: int | None = None, *, master: str | None = None, config: Any = None) -> Iterator[Runtime]:
    """Give a runtime for scripts that block; see `run`."""
    with contextlib.ExitStack() as stack:
        if master is None:
            cluster = stack.enter_context(LocalCluster(workers=workers, config=config))
            application = cluster.application
        else:
            application = stack.enter_context(ApplicationNode(master, config=config))
        own = Runtime(application)
        stack.callback(own.close)
        use(own)
        stack.callback(use, None)
        own.start()
        own.part(Caller).warm_up()
        yield own


def runtime() -> Runtime:
    """Return the runtime of this process.

    Of the program, the worker, the task or the callback.

    Raises:
        NoApplicationError: It has none.
    """
    return here()
