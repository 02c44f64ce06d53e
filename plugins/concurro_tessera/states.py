"""What the monitor is told of the tesserae of a worker.

And what it has made there.

tesserae, calls that ended --states--> the worker's reporter --> monitor
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurro_monitor import Runtime
    from concurro_tessera.residents import Tessera

TOLD = 128
"""So many calls that ended since the last report are told by name, the last of them."""

TESSERAE_TOLD = 1000

COUNTED = 1_000_000
"""So many calls may end between two reports and be counted."""


class HomeStates:
    """Counts and lists for the monitor. Thread-safe.

    Args:
        tesserae: Those that live here, by uid; read only.
        runtime: Of this process.

    Attributes:
        ended: `(uid, tessera, method, ok)` of calls that ended since they were counted last.
    """

    def __init__(self, tesserae: dict[str, Tessera], runtime: Runtime) -> None:
        self.ended: deque[tuple[str, str, str, bool]] = deque(maxlen=COUNTED)
        self._tesserae = tesserae
        self._runtime = runtime
        self._lock = threading.Lock()
        self._done = 0
        self._failed = 0
        self._last: deque[tuple[str, str, str, bool]] = deque(maxlen=TOLD)

    def _count(self) -> None:
        with self._lock:
            while self.ended:
                call = self.ended.popleft()
                self._last.append(call)
                if call[3]:
                    self._done += 1
                else:
                    self._failed += 1

    def figures(self) -> dict[str, Any]:
        """Return how many calls and tesserae are here; see `Residence`."""
        self._count()
        tesserae = list(self._tesserae.values())
        running = sum(tessera.running is not None for tessera in tesserae)
        unfinished = sum(tessera.unfinished for tessera in tesserae)
        return {
            "running": running,
            "queued": max(0, unfinished - running),
            "done": self._done,
            "failed": self._failed,
            "tesserae": len(tesserae),
        }

    def states(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """Return the states of tesserae and of calls; see `Residence`."""
        self._count()
        tesserae = list(self._tesserae.values())[-TESSERAE_TOLD:]
        with self._lock:
            last, self._last = self._last, deque(maxlen=TOLD)
        calls: list[list[Any]] = []
        for tessera in tesserae:
            if tessera.unfinished and len(calls) < TOLD:
                calls += [[call.uid, call.tessera, _named(call.method), state] for call, state in tessera.calls()]
        calls += [[uid, tessera, _named(method), "done" if ok else "failed"] for uid, tessera, method, ok in last]
        return [[tessera.uid, tessera.unfinished] for tessera in tesserae], calls

    async def init_tessera(self, sender_id: str, cls: type, uid: str, args: tuple[Any, ...], kwargs: Any) -> Any:  # noqa: ARG002 - the contract's signature
        """Construct a tessera here; return its proxy."""
        from concurro_tessera.decorating import create, settings_of  # noqa: PLC0415 - it uses proxies, they homes

        proxy = create(cls, args, kwargs, settings_of(cls, None), self._runtime.uid, uid)
        return await proxy

    async def init_task(self, sender_id: str, task: dict[str, Any], uid: str) -> Any:  # noqa: ARG002 - as above
        """Call a tessera of which a proxy is here, or which lives here.

        Return the task.
        """
        tessera = task.get("tessera") or task["tessera_id"]
        proxy = self._proxy_of(tessera)
        call = proxy._seat.call(task["method"], tuple(task.get("args") or ()), dict(task.get("kwargs") or {}), uid=uid)  # noqa: SLF001 - of this very family
        return await call

    def _proxy_of(self, uid: str) -> Any:
        """Return the proxy of a tessera that is here, or that lives here.

        Raises:
            KeyError: There is neither.
        """
        from concurro_tessera.proxies import proxy_of  # noqa: PLC0415 - homes are used by proxies

        home = self._tesserae.get(uid)
        if home is None:
            return self._runtime.proxy_from_uid(uid)
        return proxy_of(uid, home.cls, 0, home.restarts, home.address, self._runtime.uid, home.incarnation)


def _named(method: str) -> str:
    """Return a method as people know it."""
    return method.removeprefix("\0")
