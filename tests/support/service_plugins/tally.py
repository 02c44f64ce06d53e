"""Services as a stranger writes them: a tally on the master, objects in the workers."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from concurro import (
    Component,
    IMasterService,
    IMasterServiceHost,
    IServicePeer,
    IWorkerService,
    IWorkerServiceHost,
    Parcel,
    current_application,
    implementer,
)


@implementer(IMasterService)
class Tally(Component):
    """Counts, remembers who joined and left, and tells everybody who listens."""

    name = "tally"
    methods = (
        "add",
        "save",
        "later",
        "fail",
        "odd",
        "who",
        "peers",
        "hire",
        "events",
        "listen",
        "shout",
        "status",
        "block",
    )

    def __init__(self) -> None:
        self.total = 0
        self.happened: list[list[str]] = []
        self.listeners: list[IServicePeer] = []

    def setup(self, host: IMasterServiceHost) -> None:
        """Note everybody who comes and goes."""
        self.host = host
        self.total = host.kept.get("total", 0)
        host.on_slave_joined(lambda slave_id: self.happened.append(["slave joined", slave_id]))
        host.on_slave_left(lambda slave_id, reason: self.happened.append(["slave left", slave_id, reason]))
        host.on_worker_joined(lambda worker: self.happened.append(["worker joined", worker.address]))
        host.on_worker_left(lambda worker, reason: self.happened.append(["worker left", worker.address, reason]))

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Note that."""
        self.happened.append(["peer left", peer.name, reason])

    def add(self, peer: IServicePeer, amount: int) -> int:
        """Add to the total."""
        self.total += amount
        return self.total

    def save(self, peer: IServicePeer) -> Future[bool]:
        """Keep the total; answer once it is on disk, with whether it survives a restart."""
        saved: Future[bool] = Future()
        self.host.keep("total", self.total or None, lambda: saved.set_result(self.host.durable))
        return saved

    def later(self, peer: IServicePeer, delay: float, value: Any) -> Future[Any]:
        """Answer after a while."""
        future: Future[Any] = Future()
        self.host.after(delay, lambda: future.set_result(value))
        return future

    def fail(self, peer: IServicePeer, text: str) -> None:
        """Raise."""
        raise ValueError(text)

    def odd(self, peer: IServicePeer) -> object:
        """Return what is not plain."""
        return object()

    def who(self, peer: IServicePeer) -> str:
        """Return who calls."""
        return peer.name

    def hire(self, peer: IServicePeer) -> None:
        """Have workers for services started."""
        self.host.hire()

    def events(self, peer: IServicePeer) -> list[list[str]]:
        """Return what happened."""
        return self.happened

    def peers(self, peer: IServicePeer) -> list[str]:
        """Return the addresses of the workers."""
        return sorted(self.host.workers)

    def listen(self, peer: IServicePeer) -> None:
        """Tell the caller of every shout."""
        self.listeners.append(peer)

    def shout(self, peer: IServicePeer, text: str) -> None:
        """Tell everybody."""
        for listener in self.listeners:
            listener.tell("heard", text, peer.name)

    def status(self, peer: IServicePeer) -> int:
        """Return how many slaves there are."""
        return len(self.host.status()["slaves"])

    def block(self, peer: IServicePeer, seconds: float) -> None:
        """Do what a service must not: keep the loop."""
        time.sleep(seconds)


class TooOddError(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


@implementer(IWorkerService)
class Shelf(Component):
    """Keeps values in a worker, and does things with them."""

    name = "shelf"
    methods = (
        "put",
        "get",
        "fetch",
        "pid",
        "address",
        "echo",
        "wait",
        "fail",
        "leave",
        "open",
        "keep",
        "kept",
        "map_here",
    )
    methods = (
        *methods,
        "count_up",
        "tell_back",
        "submit",
        "call_other",
        "sleep_in_loop",
        "unpicklable",
        "raise_odd",
        "seen",
        "tally",
    )

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.parcels: dict[str, Parcel] = {}
        self.numbers: list[int] = []
        self.left: list[str] = []
        self.threads = ThreadPoolExecutor(4)

    def setup(self, host: IWorkerServiceHost) -> None:
        """Learn the host."""
        self.host = host

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Note that."""
        self.left.append(peer.name)

    def put(self, peer: IServicePeer, key: str, value: Any) -> None:
        """Keep a value."""
        self.values[key] = value

    def get(self, peer: IServicePeer, key: str) -> Any:
        """Return a value."""
        return self.values[key]

    def fetch(self, peer: IServicePeer, key: str, worker: str) -> Future[None]:
        """Get a value from another worker, past the caller."""
        return self.threads.submit(self._fetch, key, worker)

    def _fetch(self, key: str, worker: str) -> None:
        self.values[key] = current_application().service("shelf", worker).get(key).result(20)

    def call_other(self, peer: IServicePeer, worker: str, method: str, *arguments: Any) -> Future[Any]:
        """Call a method of the shelf in another worker."""
        return self.threads.submit(
            lambda: current_application().service("shelf", worker).call(method, *arguments).result(20)
        )

    def tally(self, peer: IServicePeer, amount: int) -> Future[int]:
        """Add to the tally of the master."""
        return self.threads.submit(lambda: current_application().service("tally").add(amount).result(20))

    def submit(self, peer: IServicePeer, task: Any) -> Future[Any]:
        """Push a task from here, and return its result."""
        return self.threads.submit(lambda: current_application().push_task(task).result(20))

    def pid(self, peer: IServicePeer) -> int:
        """Return the process."""
        return os.getpid()

    def address(self, peer: IServicePeer) -> str:
        """Return where this is."""
        return self.host.address

    def seen(self, peer: IServicePeer) -> list[str]:
        """Return who left."""
        return self.left

    def echo(self, peer: IServicePeer, value: Any) -> Any:
        """Return the value."""
        return value

    def wait(self, peer: IServicePeer, seconds: float) -> Future[None]:
        """Answer after a while."""
        return self.threads.submit(time.sleep, seconds)

    def sleep_in_loop(self, peer: IServicePeer, seconds: float) -> None:
        """Keep the loop for a while."""
        time.sleep(seconds)

    def fail(self, peer: IServicePeer, error: BaseException) -> None:
        """Raise."""
        raise error

    def raise_odd(self, peer: IServicePeer) -> None:
        """Raise what cannot be rebuilt elsewhere."""
        one = "one"
        raise TooOddError(one, "two")

    def unpicklable(self, peer: IServicePeer) -> Any:
        """Return what does not travel."""
        return (value for value in ())

    def leave(self, peer: IServicePeer, code: int) -> None:
        """End the process."""
        os._exit(code)

    def keep(self, peer: IServicePeer, key: str, parcel: Parcel) -> int:
        """Keep a parcel, unopened; return its size."""
        self.parcels[key] = parcel
        return parcel.size

    def kept(self, peer: IServicePeer, key: str) -> Parcel:
        """Return a parcel, unopened."""
        return self.parcels[key]

    def open(self, peer: IServicePeer, key: str) -> Any:
        """Return what is in a parcel."""
        return self.parcels[key].open()

    def map_here(self, peer: IServicePeer, value: Any) -> list[str]:
        """Return which mapped files the value's pages are of."""
        address = value.__array_interface__["data"][0]
        with Path("/proc/self/maps").open() as maps:
            for line in maps:
                low, high = (int(part, 16) for part in line.split()[0].split("-"))
                if low <= address < high:
                    return line.split()[5:]
        return []

    def count_up(self, peer: IServicePeer, number: int) -> int:
        """Remember the order of calls."""
        self.numbers.append(number)
        return len(self.numbers)

    def tell_back(self, peer: IServicePeer, count: int) -> None:
        """Tell the caller numbers."""
        for number in range(count):
            peer.tell("number", number)
