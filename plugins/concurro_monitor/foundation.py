"""What every part of a runtime stands on.

Its name, its way to the master, the loop in which it waits.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from concurro import current_application
from concurro_monitor.awaiting import Answer, BackgroundLoop
from concurro_monitor.network import WorkerPlace

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro import ApplicationNode, IWorkerServiceHost

    P = TypeVar("P")

NETWORK_LIMIT = 15.0
"""How long a look at the network may take [s]."""


class Residence(Protocol):
    """What runs calls in a worker, as its runtime sees it."""

    def figures(self) -> dict[str, Any]:
        """Return `running`, `queued`, `done`, `failed` and `tesserae`.

        How many. Thread-safe.
        """

    def states(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """Return the states of tesserae and of calls. Thread-safe.

        `[uid, unfinished calls]` of tesserae, `[uid, tessera, method, state]` of calls: those that are
        here, and some that ended since the last time.
        """

    async def init_tessera(self, sender_id: str, cls: type, uid: str, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Construct a tessera here; return its proxy."""

    async def init_task(self, sender_id: str, task: dict[str, Any], uid: str) -> Any:
        """Call a tessera; return the task."""


class Foundation:
    """What a runtime is made of. Thread-safe.

    Args:
        application: Its way to the master; None in a worker, whose own is found when it is needed.
        uid: Its name; empty for one that is asked for.
        host: What a service sees of this worker; None elsewhere.

    Attributes:
        is_worker: Whether it is a worker's.
        is_head: Whether it is an application's.
        is_nested: Whether that application is a task's or a callback's.
        residence: What runs calls here; None but in workers.
    """

    is_head = False
    is_monitor = False
    is_node = False
    is_warehouse = False
    is_worker = False

    def __init__(
        self, application: Any = None, *, uid: str = "head", host: IWorkerServiceHost | None = None, **settings: Any
    ) -> None:
        self.host = host
        self.is_worker = host is not None
        self.is_head = host is None and uid == "head"
        self.is_nested = False
        self.residence: Residence | None = None
        self.pid = os.getpid()
        self.loop = BackgroundLoop("concurro-runtime")
        self.settings = settings
        self._uid = uid if host is None else ""
        self._application = application
        self._lock = threading.RLock()
        self._parts: dict[Any, Any] = {}
        self._places: dict[str, WorkerPlace] = {}
        self._over: Answer[None] = Answer("the end of the runtime")

    def __repr__(self) -> str:
        """Return its name."""
        return f"<{type(self).__name__} {self._uid or 'of a worker'}>"

    @property
    def application(self) -> ApplicationNode:
        """The application of this process."""
        if self._application is None:
            self._application = current_application()
        found: ApplicationNode = self._application
        return found

    @property
    def uid(self) -> str:
        """Its name, `name[:i[:j]]`."""
        if not self._uid and self.host is not None:
            self._uid = next((place.uid for place in self._look() if place.address == self.host.address), "")
        return self._uid

    def part(self, factory: Callable[[Any], P]) -> P:
        """Return what a plugin has in this process.

        Made at first use by `factory(runtime)`.
        """
        with self._lock:
            if factory not in self._parts:
                self._parts[factory] = factory(self)
            found: P = self._parts[factory]
            return found

    def parts(self, but: Any = None) -> list[Any]:
        """Return what plugins have in this process, but that of one factory."""
        return [part for factory, part in list(self._parts.items()) if factory is not but]

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call the monitor; return the future of the answer."""
        return self.application.service("monitor").call(method, *arguments)

    def answer(self, method: str, *arguments: Any) -> Answer[Any]:
        """Call the monitor; return an awaitable of the answer."""
        return Answer.of_future(self.ask(method, *arguments), name=f"the monitor's {method}()")

    def _look(self) -> list[WorkerPlace]:
        _, workers = self.ask("network").result(NETWORK_LIMIT)
        places = [WorkerPlace(*entry) for entry in workers]
        self._places = {place.uid: place for place in places}
        return places
