"""The services of the master.

Found by name, built at first use, hosted in its loop.

    line --> HallLine -- waits while the service is imported, in a thread --> HostedLine
                      -- refused: no such service, or it cannot be used

What a plugin raises is told to its caller, or in the log; the master goes on.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from concurro.errors import ConcurroError
from concurro.execution.hosted_service import HostedLine, HostedService
from concurro.interfaces import IMasterService, IMasterServiceHost, implementer
from concurro.scheduling.rows import ServiceKept
from concurro.wire.lines import LineEnd
from concurro.wire.messages import LineCode
from concurro.wire.parcels import PlainValues

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.ids import ServiceWorker
    from concurro.kernel import Environment
    from concurro.nodes.keeper import Keeper
    from concurro.transport.loop import Loop, Timer

log = logging.getLogger("concurro.master")

BUILD_LIMIT = 120.0
"""So long importing and building a service may take [s]."""

MOST_WAITING = 1024
"""Messages of one line that wait while its service is imported."""


class HallLine:
    """A line to a service of the master, which may not be built yet.

    Loop thread only.

    Attributes:
        on_opened: Called once when the service is there.
    """

    def __init__(self, who: str, send: Callable[[list[Any]], None], hang_up: Callable[[LineCode, str], None]) -> None:
        self.on_opened: Callable[[], object] = lambda: None
        self._who = who
        self._send = send
        self._hang_up = hang_up
        self._line: HostedLine | None = None
        self._service: HostedService | None = None
        self._waiting: deque[list[Any]] = deque()
        self._over = False
        self._begun = False

    def take(self, frames: list[Any]) -> None:
        """Take a message of the caller."""
        if self._line is not None:
            self._line.take(frames)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append(frames)
        else:
            self.refuse(LineCode.BUSY, "too much was said while the service is built")

    def ended(self, reason: str) -> None:
        """Notice that the caller is gone."""
        self._over = True
        if self._line is not None:
            self._line.ended(reason)

    def refuse(self, code: LineCode, text: str) -> None:
        """End it: there is no service."""
        if not self._over:
            self._over = True
            self._hang_up(code, text)

    def begin(self) -> None:
        """Go on as soon as the service is there."""
        self._begun = True
        self._open()

    def found(self, service: HostedService) -> None:
        """Learn that the service is there."""
        self._service = service
        self._open()

    def _open(self) -> None:
        if self._over or not self._begun or self._service is None or self._line is not None:
            return
        self._line = self._service.open(LineEnd(self._send), self._who, self._hang_up)
        self.on_opened()
        while self._waiting and not self._over:
            self._line.take(self._waiting.popleft())


class ServiceHall:
    """Finds and hosts services. Loop thread only.

    Args:
        env: The environment of the master.
        loop: Its loop.
        status: Returns the state of the master.

    Attributes:
        hire: Lets slaves keep workers for services.
        workers: Those that live, by address.
        slaves: Returns the ids of the slaves that are here.
        keeper: The journal; None without one.
        closed: Whether the master ends.
    """

    def __init__(self, env: Environment, loop: Loop, status: Callable[[], dict[str, Any]]) -> None:
        self.env = env
        self.loop = loop
        self.status = status
        self.hire: Callable[[], None] = lambda: None
        self.workers: dict[str, ServiceWorker] = {}
        self.slaves: Callable[[], list[str]] = list
        self.keeper: Keeper | None = None
        self.hosts: list[MasterServiceHost] = []
        self._services: dict[str, HostedService] = {}
        self._sought: dict[str, list[HallLine]] = {}
        self.closed = False

    def open(
        self, name: str, who: str, send: Callable[[list[Any]], None], hang_up: Callable[[LineCode, str], None]
    ) -> HallLine:
        """Return a new line to a service; `hang_up` is called when there is none."""
        line = HallLine(who, send, hang_up)
        service = self._services.get(name)
        if service is not None:
            line.found(service)
        else:
            self._seek(name, line)
        return line

    def prepare(self, name: str) -> None:
        """Build a service now; one that cannot be used is told in the log."""
        if name not in self._services:
            self._seek(name, None)

    def close(self, reason: str) -> None:
        """End every line."""
        self.closed = True
        for service in self._services.values():
            service.close(reason)

    def tell(self, event: str, *facts: Any) -> None:
        """Call what services gave for an event: `worker_joined`, `worker_left` ..."""
        for host in self.hosts:
            for callback in host.callbacks.get(event, ()):
                host.guarded(callback, *facts)

    def _seek(self, name: str, line: HallLine | None) -> None:
        """Import and build a service in a thread: that may take long."""
        waiting = self._sought.get(name)
        if waiting is None:
            waiting = self._sought[name] = []
            threading.Thread(target=self._find, args=(name,), name=f"concurro-service-{name}", daemon=True).start()
            self.loop.after(BUILD_LIMIT, lambda: self._too_late(name, waiting))
        if line is not None:
            waiting.append(line)

    def _too_late(self, name: str, waiting: list[HallLine]) -> None:
        """Keep nobody waiting for ever for what is imported."""
        if self._sought.get(name) is waiting:
            self._not_found(name, TimeoutError(f"it was not built within {BUILD_LIMIT:g} s"))

    def _find(self, name: str) -> None:
        try:
            component: Any = self.env.get(IMasterService, name)
        except BaseException as error:  # noqa: BLE001 - importing and building run code of a plugin
            fault = error
            self.loop.post(lambda: self._not_found(name, fault))
            return
        self.loop.post(lambda: self._remember(name, component))

    def _remember(self, name: str, component: Any) -> None:
        """Read what the service wrote to the journal, maybe in masters before."""
        if self.keeper is None:
            self._found(name, component, {})
        elif not self.closed:
            self.keeper.read_for_service(name, lambda kept: self._found(name, component, kept))

    def _found(self, name: str, component: Any, kept: dict[str, Any]) -> None:
        if self.closed or name not in self._sought:
            return
        host = MasterServiceHost(name, self, kept)
        try:
            service = HostedService(name, component, PlainValues(), self.loop)
            component.setup(host)
        except Exception as error:  # noqa: BLE001 - code of a plugin
            self._not_found(name, error)
            return
        self.hosts.append(host)
        self._services[name] = service
        for line in self._sought.pop(name):
            line.found(service)

    def _not_found(self, name: str, error: BaseException) -> None:
        if name not in self._sought:
            return
        log.warning(
            "service %r cannot be used: %s", name, error, exc_info=None if isinstance(error, ConcurroError) else error
        )
        text = str(error) if isinstance(error, ConcurroError) else f"{type(error).__name__}: {error}"
        for line in self._sought.pop(name):
            line.refuse(LineCode.UNKNOWN, f"service {name!r} of the master: {text}")


@implementer(IMasterServiceHost)
class MasterServiceHost:
    """What a service sees of the master."""

    def __init__(self, name: str, hall: ServiceHall, kept: dict[str, Any]) -> None:
        self.kept = kept
        self.durable = hall.keeper is not None
        self._name = name
        self.log = logging.getLogger(f"concurro.{name}")
        self.callbacks: dict[str, list[Callable[..., object]]] = {}
        self._hall = hall

    @property
    def ending(self) -> bool:
        """Whether the master ends, and every line with it."""
        return self._hall.closed

    @property
    def workers(self) -> dict[str, ServiceWorker]:
        """Workers for services that live, by address."""
        return dict(self._hall.workers)

    def now(self) -> float:
        """Return the monotonic time [s]."""
        return self._hall.loop.now()

    def post(self, callback: Callable[[], object]) -> None:
        """Call once in the master's loop. Thread-safe."""
        self._hall.loop.post(lambda: self.guarded(callback))

    def after(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call once after `delay` seconds [s]; the answer has `cancel()`."""
        return self._hall.loop.after(delay, lambda: self.guarded(callback))

    def keep(self, key: str, value: Any, done: Callable[[], object] | None = None) -> None:
        """Write a plain value to the journal; None removes it.

        Raises:
            NotPicklableError: It is not plain, or too large.
        """
        self.keep_all({key: value}, done)

    def keep_all(self, values: dict[str, Any], done: Callable[[], object] | None = None) -> None:
        """Write plain values to the journal, all or none; None removes one.

        Raises:
            NotPicklableError: One is not plain, or too large; nothing is written.
        """
        packed = {key: PlainValues.pack([key, value], None)[0] for key, value in values.items()}
        call = None if done is None else lambda: self.guarded(done)
        if self._hall.keeper is not None:
            rows = [
                ServiceKept(self._name, key, None if values[key] is None else entry) for key, entry in packed.items()
            ]
            self._hall.keeper.keep_for_service(rows, sum(map(len, packed.values())), call)
        elif call is not None:
            self._hall.loop.soon(call)

    def hire(self) -> None:
        """Let every slave, now and later, keep workers for services."""
        self._hall.hire()

    def status(self) -> dict[str, Any]:
        """Return the state of the master."""
        return self._hall.status()

    def on_worker_joined(self, callback: Callable[[ServiceWorker], object]) -> None:
        """Call with each worker for services, those that live first."""
        self.callbacks.setdefault("worker_joined", []).append(callback)
        for worker in self.workers.values():
            self.guarded(callback, worker)

    def on_worker_left(self, callback: Callable[[ServiceWorker, str], object]) -> None:
        """Call with each worker for services that is gone from now on, and why."""
        self.callbacks.setdefault("worker_left", []).append(callback)

    def on_slave_joined(self, callback: Callable[[str], object]) -> None:
        """Call with the id of each slave from now on, and of those that are here."""
        self.callbacks.setdefault("slave_joined", []).append(callback)
        for slave_id in self._hall.slaves():
            self.guarded(callback, slave_id)

    def on_slave_left(self, callback: Callable[[str, str], object]) -> None:
        """Call with the id of each slave that leaves from now on, and why."""
        self.callbacks.setdefault("slave_left", []).append(callback)

    def guarded(self, callback: Callable[..., object], *facts: Any) -> None:
        """Call what the service wants called; log what it raises."""
        try:
            callback(*facts)
        except Exception:
            self.log.exception("a callback of a service raised")
