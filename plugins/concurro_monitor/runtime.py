"""A process's end of the network: `Runtime`.

    application: made by `run`, or Runtime(application)        uid head
    worker:      made by the service that lives there          uid worker:i:j
    task, callback: made at first use of `runtime()`           uid head

All of them reach others through the application of their process; what a plugin needs in each
process is a part of its runtime (`part`).
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from concurro import ApplicationNode, current_application
from concurro_monitor.awaiting import Answer, BackgroundLoop, Pending, refuse_in_a_loop
from concurro_monitor.errors import RuntimeDisconnectedError
from concurro_monitor.looping import Loop
from concurro_monitor.network import WorkerPlace, join_uid, split_uid
from concurro_monitor.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from concurro import IWorkerServiceHost, LocalCluster

    P = TypeVar("P")

NETWORK_LIMIT = 15.0
"""How long a look at the network may take [s]."""


class Runtime:
    """The runtime of this process. Thread-safe.

    Args:
        application: Its way to the master; None in a worker, whose own is found when it is needed.
        uid: Its name; empty for one that is asked for.
        host: What a service sees of this worker; None elsewhere.

    Attributes:
        is_worker: Whether it is a worker's.
        is_head: Whether it is an application's.
        is_nested: Whether that application is a task's or a callback's.
    """

    is_head = False
    is_monitor = False
    is_node = False
    is_warehouse = False
    is_worker = False

    def __init__(
        self, application: Any = None, *, uid: str = "head", host: IWorkerServiceHost | None = None, cluster: Any = None
    ) -> None:
        self.host = host
        self.is_worker = host is not None
        self.is_head = not self.is_worker
        self.is_nested = False
        self.pid = os.getpid()
        self.loop = BackgroundLoop("concurro-runtime")
        self._uid = uid if host is None else ""
        self._application = application
        self._cluster: LocalCluster | None = cluster
        self._lock = threading.RLock()
        self._parts: dict[Any, Any] = {}
        self._places: dict[str, WorkerPlace] = {}
        self._pending = 0
        self._running = 0
        self._committed = 0

    def __repr__(self) -> str:
        """Return its name."""
        return f"<Runtime {self._uid or 'of a worker'}>"

    # What it is made of

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

    def part(self, factory: Callable[[Runtime], P]) -> P:
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

    # The network

    @property
    def address(self) -> str:
        """The address at which it is reached.

        The master's, since it does not listen itself.
        """
        return self.application.master_url

    @property
    def port(self) -> int:
        """The master's port; 0 for a path."""
        _, _, number = self.address.rpartition(":")
        return int(number) if number.isdigit() else 0

    @property
    def pubsub_port(self) -> int:
        """The same."""
        return self.port

    def _look(self) -> list[WorkerPlace]:
        _, workers = self.ask("network").result(NETWORK_LIMIT)
        places = [WorkerPlace(*entry) for entry in workers]
        self._places = {place.uid: place for place in places}
        return places

    def place_of(self, uid: str) -> WorkerPlace:
        """Return where a worker is.

        Raises:
            RuntimeDisconnectedError: It left, or never was.
        """
        place = self._places.get(uid)
        if place is None:
            self._look()
            place = self._places.get(uid)
        if place is None:
            message = f"no worker {uid!r} lives"
            raise RuntimeDisconnectedError(message)
        return place

    @property
    def workers(self) -> list[RuntimeProxy]:
        """Proxies of the workers that live, in order."""
        return [RuntimeProxy(uid=place.uid, runtime=self) for place in self._look()]

    @property
    def num_workers(self) -> int:
        """How many workers live."""
        return len(self._look())

    @property
    def nodes(self) -> list[RuntimeProxy]:
        """Proxies of the nodes."""
        nodes, _ = self.ask("network").result(NETWORK_LIMIT)
        return [RuntimeProxy(uid=uid, runtime=self) for uid, _ in nodes]

    @property
    def num_nodes(self) -> int:
        """How many nodes there are."""
        return len(self.nodes)

    def get_workers(self) -> list[RuntimeProxy]:
        """Return proxies of the workers."""
        return self.workers

    def get_worker(self, uid: str | None = None) -> RuntimeProxy:
        """Return the proxy of a worker; of the first without a uid.

        Raises:
            KeyError: There is none.
        """
        return _one_of(self.workers, uid, "worker")

    def get_nodes(self) -> list[RuntimeProxy]:
        """Return proxies of the nodes."""
        return self.nodes

    def get_node(self, uid: str | None = None) -> RuntimeProxy:
        """Return the proxy of a node; of the first without a uid.

        Raises:
            KeyError: There is none.
        """
        return _one_of(self.nodes, uid, "node")

    def get_head(self) -> RuntimeProxy:
        """Return the proxy of the application's runtime."""
        return RuntimeProxy("head", runtime=self)

    def get_monitor(self) -> RuntimeProxy:
        """Return the proxy of the monitor."""
        return RuntimeProxy("monitor", runtime=self)

    def get_warehouse(self) -> RuntimeProxy:
        """Return the proxy of the warehouse."""
        return RuntimeProxy("warehouse", runtime=self)

    def get_local_warehouse(self) -> RuntimeProxy:
        """Return the proxy of the warehouse of this machine."""
        return self.get_warehouse()

    @staticmethod
    def proxy(name: str | None = None, indices: tuple[int, ...] | int = (), uid: str | None = None) -> RuntimeProxy:
        """Return a proxy from a name and indices, or from a uid."""
        return RuntimeProxy(name, indices, uid)

    # Values

    @property
    def warehouse(self) -> Warehouse:
        """The way to values that are kept."""
        return self.part(Warehouse)

    def put(self, obj: Any, publish: bool = False, reply: bool = False, uid: str | None = None) -> Answer[Any]:  # noqa: FBT001, FBT002 - the fixed public signature
        """Put a value into the warehouse; the awaitable gives its reference.

        Args:
            obj: The value; it does not change there.
            publish: Whether every machine gets a copy at once.
            reply: Whether to wait until it is stored.
            uid: Its name; made when there is none.

        Raises:
            NotPicklableError: It cannot travel; at once.
        """
        return self.warehouse.put(obj, publish=publish, reply=reply, uid=uid)

    def get(self, uid: Any, cache: bool = True) -> Answer[Any]:  # noqa: FBT001, FBT002 - the fixed public signature
        """Return an awaitable of a value: a view that nobody writes to.

        Args:
            uid: Its reference or name.
            cache: Whether it is kept here for the next time.

        The awaitable raises KeyError when there is none.
        """
        return self.warehouse.get(uid, cache=cache)

    def drop(self, uid: Any) -> Answer[None]:
        """Delete a value."""
        return self.warehouse.drop(uid)

    # Work

    def barrier(self, timeout: float | None = None) -> Answer[None]:
        """Return an awaitable of the end of everything submitted before.

        Also by what was submitted.

        It raises TimeoutError when that takes longer than `timeout` [s].
        """
        own: Answer[None] = Answer("the end of what was submitted")
        _count_down([pending for part in self.parts() for pending in getattr(part, "unfinished", list)()], own)
        elsewhere = [part.elsewhere() for part in self.parts() if hasattr(part, "elsewhere")]
        answer = self.loop.start(_one_by_one([own, *elsewhere]), "the end of what was submitted")
        if timeout is not None and not answer.done():
            _end_after(timeout, answer)
        return answer

    def async_for(
        self, *iterables: Iterable[Any], safe: bool = True, timeout: float | None = None, max_await: int | None = None
    ) -> Callable[[Any], Loop]:
        """Decorate `async def body(worker, *items)`.

        Awaited, it runs once for each of the items.

        Args:
            iterables: Where the items are from; the shortest ends it.
            safe: Whether an item whose worker is lost runs again on another.
            timeout: Of the whole [s].
            max_await: Stop after so many results.
        """
        return lambda body: Loop(self, body, iterables, safe=safe, timeout=timeout, max_await=max_await)

    # Counts and loads

    @property
    def ps_process(self) -> psutil.Process:
        """This process."""
        return psutil.Process(self.pid)

    def cpu_load(self) -> float:
        """Return the processor time that this process takes [%]."""
        return float(self.ps_process.cpu_percent(None))

    def memory(self) -> int:
        """Return what this process holds [B]."""
        return int(self.ps_process.memory_info().rss)

    def memory_limit(self) -> float:
        """Return the memory of this machine [B]."""
        return float(psutil.virtual_memory().total)

    def fits_in_memory(self, nbytes: float) -> bool:
        """Say whether so much more fits beside what is committed [B]."""
        return self._committed + nbytes <= self.memory_limit()

    def inc_committed_mem(self, nbytes: int) -> None:
        """Note that so much will be used [B]."""
        with self._lock:
            self._committed += nbytes

    def dec_committed_mem(self, nbytes: int) -> None:
        """Note that so much is used no more [B]."""
        with self._lock:
            self._committed -= nbytes

    def inc_pending_tasks(self) -> None:
        """Count a task that waits."""
        with self._lock:
            self._pending += 1

    def dec_pending_tasks(self) -> None:
        """Count a task that waits no more."""
        with self._lock:
            self._pending -= 1

    def inc_running_tasks(self) -> None:
        """Count a task that runs."""
        with self._lock:
            self._running += 1

    def dec_running_tasks(self) -> None:
        """Count a task that runs no more."""
        with self._lock:
            self._running -= 1

    # Life

    def get_event_loop(self, asyncio_loop: Any = None) -> Any:
        """Return the asyncio loop of this runtime.

        In an application it runs beside the user's own.
        """
        return asyncio_loop if asyncio_loop is not None else self.loop.loop

    def start(self) -> None:
        """Have the workers started, and wait until those of every slave are there."""
        refuse_in_a_loop("Runtime.start()")
        self.ask("hire")  # the monitor is imported while the workers start
        self.application.workers()

    def disconnect(self, sender_id: str = "", uid: str = "") -> None:
        """Do nothing: ways end with the runtime at their other end."""

    def close(self) -> None:
        """End what it started in this process. Idempotent."""
        for part in list(self._parts.values()):
            close = getattr(part, "close", None)
            if close is not None:
                close()
        self.loop.close()

    def stop(self, sender_id: str | None = None) -> Answer[None]:  # noqa: ARG002 - the seed's signature
        """Close; the awaitable is done when it is."""
        self.close()
        return Answer.of(None)


class RuntimeProxy:
    """A runtime elsewhere, by name. Equal when the uid is.

    Args:
        name: Of the kind; with `indices`.
        indices: Numbers of it.
        uid: Both in one.
        runtime: Through which it is reached; None for that of the process.
    """

    __slots__ = ("_indices", "_name", "_runtime")

    def __init__(
        self,
        name: str | None = None,
        indices: tuple[int, ...] | int = (),
        uid: str | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._name, self._indices = split_uid(uid if uid is not None else join_uid(name or "", indices))
        self._runtime = runtime

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by name."""
        return RuntimeProxy, (None, (), self.uid)

    def __repr__(self) -> str:
        """Return its name."""
        return f"<RuntimeProxy {self.uid}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuntimeProxy) and other.uid == self.uid

    def __hash__(self) -> int:
        return hash(self.uid)

    @property
    def uid(self) -> str:
        """Its name, `name[:i[:j]]`."""
        return join_uid(self._name, self._indices)

    @property
    def name(self) -> str:
        """What kind it is."""
        return self._name

    @property
    def indices(self) -> tuple[int, ...]:
        """Its numbers."""
        return self._indices

    @property
    def is_head(self) -> bool:
        """Whether it is an application's."""
        return self._name == "head"

    @property
    def is_monitor(self) -> bool:
        """Whether it is the monitor."""
        return self._name == "monitor"

    @property
    def is_node(self) -> bool:
        """Whether it is a node."""
        return self._name == "node"

    @property
    def is_worker(self) -> bool:
        """Whether it is a worker."""
        return self._name == "worker"

    @property
    def is_warehouse(self) -> bool:
        """Whether it is the warehouse."""
        return self._name == "warehouse"

    @property
    def address(self) -> str:
        """The master's address: nobody else listens."""
        return self._here().address

    @property
    def port(self) -> int:
        """The master's port."""
        return self._here().port

    @property
    def pubsub_port(self) -> int:
        """The same."""
        return self._here().pubsub_port

    @property
    def comms(self) -> Runtime:
        """The runtime through which it is reached."""
        return self._here()

    @property
    def subprocess(self) -> psutil.Process | None:
        """Its process, when it is a worker of this machine; else None."""
        if not self.is_worker:
            return None
        pid = self._here().place_of(self.uid).pid
        return psutil.Process(pid) if psutil.pid_exists(pid) else None

    def _here(self) -> Runtime:
        return self._runtime if self._runtime is not None else here()


class _ThisProcess:
    """The runtimes of this process.

    Attributes:
        own: Of a worker or an application.
        nested: Of the task or callback that runs.
    """

    own: Runtime | None = None
    nested: Runtime | None = None
    lock = threading.Lock()


def use(runtime: Runtime | None) -> None:
    """Make it the runtime of this process; None: it has none of its own."""
    _ThisProcess.own = runtime


def here() -> Runtime:
    """Return the runtime of this process.

    Raises:
        NoApplicationError: It has none, and runs neither a task nor a callback.
    """
    own = _ThisProcess.own
    if own is not None and own.pid == os.getpid():
        return own
    application = current_application()
    with _ThisProcess.lock:
        nested = _ThisProcess.nested
        if nested is None or nested.application is not application:
            if nested is not None:
                nested.close()
            nested = _ThisProcess.nested = Runtime(application)
            nested.is_nested = True
        return nested


def _one_of(proxies: list[RuntimeProxy], uid: str | None, what: str) -> RuntimeProxy:
    for proxy in proxies:
        if uid is None or proxy.uid == uid:
            return proxy
    known = ", ".join(proxy.uid for proxy in proxies) or "none"
    message = f"no {what} {uid or ''} lives; there are: {known}"
    raise KeyError(message)


def _count_down(waits: list[Pending[Any]], answer: Answer[None]) -> None:
    """Settle the answer when nothing is waited for."""
    left = len(waits)
    if not left:
        answer.settle()
        return
    lock = threading.Lock()

    def one_less() -> None:
        nonlocal left
        with lock:
            left -= 1
            over = left == 0
        if over:
            answer.settle()

    for pending in waits:
        pending.then(one_less)


async def _one_by_one(waits: list[Any]) -> None:
    """Wait for each of them; None is nothing."""
    for wait in waits:
        if wait is not None:
            await wait


def _end_after(timeout: float, answer: Answer[None]) -> None:
    until = time.monotonic() + timeout
    message = f"what was submitted did not end within {timeout:g} s"
    timer = threading.Timer(until - time.monotonic(), lambda: answer.settle(None, TimeoutError(message)))
    timer.daemon = True
    answer.then(timer.cancel)
    timer.start()
