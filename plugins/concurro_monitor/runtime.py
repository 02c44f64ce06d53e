"""A process's end of the network: `Runtime`.

Its parts, each a module: `neighbours` (who is there), `counts` (calls, memory, load), `values` (the
warehouse), `registry` (what lives here, and who refers to it), `logs`, `profiles`, `upkeep`; all stand
on `foundation`. All of them reach others through the application of their process; what another
plugin needs in each process is a part of its runtime (`part`).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from concurro import ApplicationNode
from concurro_monitor.awaiting import Answer, Pending, refuse_in_a_loop
from concurro_monitor.counts import Counts
from concurro_monitor.foundation import NETWORK_LIMIT
from concurro_monitor.logs import Logs
from concurro_monitor.looping import Loop
from concurro_monitor.neighbours import Neighbours
from concurro_monitor.network import join_address
from concurro_monitor.profiles import Profiles
from concurro_monitor.registry import Registry
from concurro_monitor.remote import run_command
from concurro_monitor.upkeep import Upkeep
from concurro_monitor.values import Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

LEAVE_AFTER = 0.2
"""A worker that is stopped answers before it ends [s]."""


SETTLED_POLL = 0.01
"""How often `settled` looks [s]."""


class Runtime(Counts, Neighbours, Values, Registry, Logs, Profiles, Upkeep):
    """The runtime of this process. Thread-safe.

    Args:
        application: Its way to the master; None in a worker, whose own is found when it is needed.
        uid: Its name; empty for one that is asked for.
        host: What a service sees of this worker; None elsewhere.
        memory_limit: What the process may hold [B]; None for what the machine has.
        settings: What `init` takes.

    Attributes:
        is_worker: Whether it is a worker's.
        is_head: Whether it is an application's.
        is_nested: Whether that application is a task's or a callback's.
    """

    _own_application: ApplicationNode | None = None

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

    async def settled(self) -> int:
        """Wait until no call runs or waits in this worker.

        Return how many have ended.

        At once in a runtime where no tesserae live.
        """
        while self.residence is not None:
            figures = self.residence.figures()
            if not figures["running"] and not figures["queued"]:
                return int(figures["done"] + figures["failed"])
            await asyncio.sleep(SETTLED_POLL)
        return 0

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

    # Life

    async def init(self, **kwargs: Any) -> Self:
        """Begin: connect, have workers started, answer commands.

        Return the runtime.

        Args:
            kwargs: `address` and `port` of the master, for one that was made without an application;
                `log_level`, see `set_logger`; `profile`, see `set_profiler`.

        Raises:
            TypeError: It takes no such setting.
            MasterUnreachable: No master answered.
        """
        settings = {**self.settings, **kwargs}
        address, port = settings.pop("address", None), settings.pop("port", None)
        level, profile = settings.pop("log_level", None), settings.pop("profile", None)
        if settings:
            message = f"a runtime has no setting {', '.join(settings)}; it has address, port, log_level and profile"
            raise TypeError(message)
        if level is not None:
            self.set_logger(level)
        if profile is not None:
            self.set_profiler(profile)
        if address is not None:
            await self.loop.start(asyncio.to_thread(self.set_comms, address, port), "the connection")
        if not self.is_worker:
            await self.loop.start(asyncio.to_thread(self.start), "the workers")
        return self

    def set_comms(self, address: str | None = None, port: int | None = None) -> ApplicationNode:
        """Connect to the master; return the application that is.

        Args:
            address: Its machine, or its whole address; None for the one that is configured.
            port: Its port.

        Raises:
            RuntimeError: This runtime is connected to another one.
            MasterUnreachable: Nobody answers there.
        """
        url = None if address is None else join_address(address, port)
        with self._lock:
            known = self._application
            if known is None and not self.is_worker:
                node = ApplicationNode(url)
                node.connect()
                self._application = self._own_application = known = node
        found = known if known is not None else self.application
        if url is not None and url != found.master_url:
            message = f"{self!r} is connected to {found.master_url}, not to {url}; make another one for that"
            raise RuntimeError(message)
        return found

    def start(self) -> None:
        """Have the workers started, and wait until those of every slave are there.

        Raises:
            UnknownServiceError: The master has no monitor, or none that can be used.
        """
        refuse_in_a_loop("Runtime.start()", "`await runtime.init()`")
        hired = self.ask("hire")  # the monitor is imported while the workers start
        self.application.workers()
        hired.result(NETWORK_LIMIT)
        self.enrol()

    def enrol(self) -> None:
        """Let others reach this program's runtime by the monitor."""
        if not self.is_worker and not self.is_nested:
            self.application.service("monitor").on_told(self._told)
            self.ask("enrol", self._uid)

    def _told(self, method: str, *facts: Any) -> None:
        """Take a command that the monitor passes on."""
        if method == "command":
            self.loop.start(self._obey(*facts))

    async def _obey(self, number: int, uid: str, sender: str, *command: Any) -> None:
        """Carry out a command: name, arguments, named arguments.

        Nobody waits for number 0.
        """
        fault, value = None, None
        try:
            value = await run_command(self.runtime_named(uid), sender, *command)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            fault = [type(error).__name__, str(error)]
        if number:
            try:
                self.ask("relayed", number, fault, value)
            except Exception as error:  # noqa: BLE001 - it cannot travel: that is the answer
                self.ask("relayed", number, [type(error).__name__, str(error)], None)

    def runtime_named(self, uid: str) -> Runtime:
        """Return the runtime of this process that commands for a uid are for."""
        from concurro_monitor.monitor import Monitor  # noqa: PLC0415 - it is a runtime itself

        return self.part(Monitor.beside) if uid == "monitor" and not self.is_monitor else self

    def get_event_loop(self, asyncio_loop: Any = None) -> Any:
        """Return the asyncio loop of this runtime.

        In an application it runs beside the user's own.
        """
        return asyncio_loop if asyncio_loop is not None else self.loop.loop

    def wait(self, wait: bool = False) -> Answer[None]:  # noqa: FBT001, FBT002 - the seed's signature
        """Return an awaitable of the end of this runtime.

        With `wait`, once that is there.

        Raises:
            WaitInCallbackError: It would block the thread of a running asyncio loop.
        """
        if wait:
            self._over.wait()
        return self._over

    def close(self) -> None:
        """End what it started in this process. Idempotent."""
        for part in list(self._parts.values()):
            close = getattr(part, "close", None)
            if close is not None:
                close()
        self.end_logs()
        self.end_profile()
        own, self._own_application = self._own_application, None
        if own is not None:
            own.close()
        self._over.settle()
        self.loop.close()

    def stop(self, sender_id: str | None = None) -> Answer[None]:  # noqa: ARG002 - the seed's signature
        """End this runtime; the awaitable is done when it has.

        A worker's process ends, and what lives there is lost; its slave starts another one.
        """
        if self.is_worker:
            leave = threading.Timer(LEAVE_AFTER, lambda: os._exit(0))
            leave.daemon = True
            leave.start()
        else:
            self.close()
        return Answer.of(None)


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
