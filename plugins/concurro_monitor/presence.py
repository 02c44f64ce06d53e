"""The runtime of this process.

application: made by `run`, or Runtime(application)        uid head
worker:      made by the first service that needs it       uid worker:i:j
task, callback: made at first use of `here`                uid head
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, ClassVar

from concurro import NoApplicationError, current_application
from concurro_monitor.reporting import Reporter
from concurro_monitor.runtime import Runtime

if TYPE_CHECKING:
    from concurro import Config, IWorkerServiceHost


NO_RUNTIME = (
    "no runtime is open here: use this inside `concurro_tessera.run(main)` or `with concurro_tessera.opened():`, or in"
    " a task or a callback of a task system (a LocalCluster or an ApplicationNode alone is no runtime)"
)


class _ThisProcess:
    """The runtimes of this process.

    Attributes:
        own: Of a worker or an application.
        before: Those that are open as well, and were opened earlier.
        nested: Of the task or callback that runs.
    """

    own: Runtime | None = None
    before: ClassVar[list[Runtime]] = []
    nested: Runtime | None = None
    lock = threading.Lock()


def use(runtime: Runtime | None) -> None:
    """Make it the runtime of this process; None: it has none of its own."""
    with _ThisProcess.lock:
        _ThisProcess.own = runtime
        _ThisProcess.before.clear()


def enter(runtime: Runtime) -> None:
    """Make it the runtime of this process until `leave`."""
    with _ThisProcess.lock:
        if _ThisProcess.own is not None:
            _ThisProcess.before.append(_ThisProcess.own)
        _ThisProcess.own = runtime


def leave(runtime: Runtime) -> None:
    """Let the one be that of this process that was before, if it is open."""
    with _ThisProcess.lock:
        if _ThisProcess.own is runtime:
            _ThisProcess.own = _ThisProcess.before.pop() if _ThisProcess.before else None
        elif runtime in _ThisProcess.before:
            _ThisProcess.before.remove(runtime)


def worker_runtime(host: IWorkerServiceHost, config: Config) -> Runtime:
    """Return the runtime of this worker.

    The same for every service that lives here.

    It tells the monitor of its load and of what it runs.
    """
    with _ThisProcess.lock:
        own = _ThisProcess.own
        if own is None or own.pid != os.getpid():
            own = _ThisProcess.own = Runtime(host=host, memory_limit=config["slave.memory_limit"])
            own.part(Reporter).start()
        return own


def here() -> Runtime:
    """Return the runtime of this process.

    Raises:
        NoApplicationError: It has none, and runs neither a task nor a callback.
    """
    own = _ThisProcess.own
    if own is not None and own.pid == os.getpid():
        return own
    try:
        application = current_application()
    except NoApplicationError:
        raise NoApplicationError(NO_RUNTIME) from None
    with _ThisProcess.lock:
        nested = _ThisProcess.nested
        if nested is None or nested.application is not application:
            if nested is not None:
                nested.close()
            nested = _ThisProcess.nested = Runtime(application)
            nested.is_nested = True
        return nested
