"""Two services: the best value so far, and large things that workers keep."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from concurro import (
    Component,
    IMasterService,
    IMasterServiceHost,
    IServicePeer,
    IWorkerService,
    IWorkerServiceHost,
    implementer,
)


@implementer(IMasterService)
class Bound(Component):
    """The least value that anybody found, for whoever searches."""

    name = "bound"
    offered_on = ("master",)
    methods = ("improve", "best")

    def __init__(self) -> None:
        self.least: float | None = None

    def setup(self, host: IMasterServiceHost) -> None:
        """Go on where a master before stopped, if it has a journal."""
        self.host = host
        self.least = host.kept.get("least")

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Keep what it found."""

    def improve(self, peer: IServicePeer, value: float) -> float:
        """Take a value; return the least so far."""
        if self.least is None or value < self.least:
            self.least = value
            self.host.keep("least", value)
        return self.least

    def best(self, peer: IServicePeer) -> float | None:
        """Return the least value so far."""
        return self.least


@implementer(IWorkerService)
class Shelf(Component):
    """Keeps values in one worker, and computes with them there."""

    name = "shelf"
    offered_on = ("worker",)
    methods = ("put", "apply")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.threads = ThreadPoolExecutor(1)

    def setup(self, host: IWorkerServiceHost) -> None:
        """Learn where this is."""
        self.host = host

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Keep everything: others may use it."""

    def put(self, peer: IServicePeer, key: str, value: Any) -> str:
        """Keep a value; return the address of this worker."""
        self.values[key] = value
        return self.host.address

    def apply(self, peer: IServicePeer, key: str, function: Any) -> Future[Any]:
        """Call a function with a value, in a thread: the loop goes on meanwhile."""
        return self.threads.submit(function, self.values[key])
