"""The monitor: a service of the master that knows runtimes and tesserae.

    creator --place(uid, class, runtime)--> strategy --> [address, worker uid, incarnation]
    anybody --locate(uid, incarnation)----> the same, once that incarnation is placed
    home ----collected(uid)---------------> forgotten

Who asks for a worker while there is none waits, and the log says so. A tessera whose worker is gone
is lost, unless its creator, who alone has its constructor's arguments, places it again.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concurro import Component, IMasterService, IMasterServiceHost, Selected, implementer
from concurro_monitor.network import WorkerPlace
from concurro_monitor.records import MonitoredNode, MonitoredTessera
from concurro_monitor.strategies import IMonitorStrategy

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro import IServicePeer

UNKNOWN_PATIENCE = 1.5
"""A uid that nobody placed may still be on its way for so long [s]."""

STAFF_PATIENCE = 5.0
"""How long an array waits for workers that a slave that is here should have [s]."""

GONE_KEPT = 10_000
"""So many tesserae that are no more are remembered, to say so."""


@dataclass(slots=True)
class _Entry:
    """A tessera in the directory."""

    record: MonitoredTessera
    creator: IServicePeer
    address: str
    restarts: int
    lost: str = ""
    curious: list[tuple[int, Future[list[Any]]]] = field(default_factory=list)

    @property
    def place(self) -> list[Any]:
        return [self.address, self.record.worker, self.record.incarnation]


@implementer(IMasterService)
class MonitorService(Component):
    """Knows who is in the network, where each tessera lives.

    And chooses workers.
    """

    name = "monitor"
    methods = (
        "hire",
        "network",
        "place",
        "locate",
        "collected",
        "given_up",
        "select_worker",
        "put_down",
        "look_up",
        "drop",
    )
    strategy = Selected(IMonitorStrategy, "monitor.strategy", default="round-robin")

    def __init__(self) -> None:
        super().__init__()
        self.workers: list[str] = []
        self.nodes: dict[str, MonitoredNode] = {}
        self._node_uids: dict[str, str] = {}
        self._next_worker: dict[str, int] = {}
        self._places: dict[str, WorkerPlace] = {}
        self._by_address: dict[str, str] = {}
        self._entries: dict[str, _Entry] = {}
        self._waiting: list[Callable[[], None]] = []
        self._counting: list[Callable[[], None]] = []
        self._short: set[str] = set()
        self._unknown: dict[str, list[Future[list[Any]]]] = {}
        self._shelves: dict[str, str] = {}
        self._sought: dict[str, list[Future[str]]] = {}

    def setup(self, host: IMasterServiceHost) -> None:
        """Begin to watch."""
        self._host = host
        self.strategy.monitor = self
        host.on_slave_joined(self._slave_joined)
        host.on_slave_left(self._slave_left)
        host.on_worker_joined(self._worker_joined)
        host.on_worker_left(self._worker_left)

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Give up what only that peer could construct again."""
        for entry in self._entries.values():
            if entry.creator is peer:
                entry.restarts = 0
                if entry.lost:
                    self._end_curious(entry, f"{entry.lost}; its creator is gone too: {reason}")

    # For peers

    def hire(self, peer: IServicePeer) -> None:  # noqa: ARG002 - every method is given who calls
        """Have workers for services started."""
        self._host.hire()

    def network(self, peer: IServicePeer) -> list[Any]:  # noqa: ARG002 - as above
        """Return the nodes and the workers that live.

        `[[uid, slave id], ...], [[uid, address, node, pid], ...]`.
        """
        nodes = [[uid, slave_id] for slave_id, uid in self._node_uids.items() if uid in self.nodes]
        return [nodes, [list(self._places[uid]) for uid in self.workers]]

    def select_worker(self, peer: IServicePeer) -> Future[str]:
        """Return the uid of a worker for the next tessera.

        As soon as there is one.
        """
        future: Future[str] = Future()
        self._when_staffed(lambda: future.set_result(self._select(peer.name)), peer.name)
        return future

    def place(  # noqa: PLR0913 - the facts of a tessera, all of them plain
        self, peer: IServicePeer, uid: str, class_name: str, runtime: str, restarts: int, incarnation: int
    ) -> Future[list[Any]]:
        """Choose where a tessera lives.

        Return `[address, worker uid, incarnation]`.

        `runtime` is the uid of a worker, `#i` for the i-th of them modulo their number, or empty.

        Raises:
            LookupError: The runtime that was asked for is none that lives.
        """
        future: Future[list[Any]] = Future()

        def choose() -> None:
            nonlocal runtime
            if runtime.startswith("#"):
                runtime = self.workers[int(runtime[1:]) % len(self.workers)]
            if runtime and runtime not in self._places:
                future.set_exception(LookupError(self._no_worker(runtime)))
                return
            known = self._entries.get(uid)
            worker = runtime or self._select(peer.name, known.address if known is not None else "")
            if known is None:
                record = MonitoredTessera(uid, class_name, worker, incarnation=incarnation)
                known = self._entries[uid] = _Entry(record, peer, self._places[worker].address, restarts)
            else:
                known.record.worker, known.record.incarnation = worker, incarnation
                known.address, known.restarts, known.lost = self._places[worker].address, restarts, ""
            self.strategy.update_tessera(known.record)
            future.set_result(known.place)
            self._tell_curious(known)
            for waiting in self._unknown.pop(uid, ()):
                waiting.set_result(known.place)

        if runtime.startswith("#"):
            self._when_staffed(lambda: self._when_all_are_there(choose), class_name)
        elif runtime:
            choose()
        else:
            self._when_staffed(choose, class_name)
        return future

    def locate(self, peer: IServicePeer, uid: str, incarnation: int) -> Future[list[Any]]:  # noqa: ARG002 - as above
        """Return where that incarnation of a tessera, or a later one, lives.

        Raises:
            KeyError: Nobody placed it.
            ConnectionError: It is lost, and nobody constructs it again.
        """
        future: Future[list[Any]] = Future()
        entry = self._entries.get(uid)
        if entry is None:
            self._unknown.setdefault(uid, []).append(future)
            self._host.after(UNKNOWN_PATIENCE, lambda: self._end_unknown(uid, future))
        elif entry.record.incarnation >= incarnation and not entry.lost:
            future.set_result(entry.place)
        elif entry.lost and entry.restarts <= 0:
            future.set_exception(ConnectionError(entry.lost))
        else:
            entry.curious.append((incarnation, future))
        return future

    def collected(self, peer: IServicePeer, uid: str, incarnation: int) -> None:  # noqa: ARG002 - as above
        """Forget a tessera."""
        entry = self._entries.get(uid)
        if entry is not None and entry.record.incarnation == incarnation:
            del self._entries[uid]
            entry.record.state = "collected"
            self.strategy.update_tessera(entry.record)
            self._end_curious(entry, f"tessera {uid} was collected: nothing referred to it")

    def given_up(self, peer: IServicePeer, uid: str, reason: str) -> None:  # noqa: ARG002 - as above
        """Learn that a creator constructs a tessera no more."""
        entry = self._entries.get(uid)
        if entry is not None:
            entry.restarts, entry.lost = 0, reason
            self._end_curious(entry, reason)

    # Where values are

    def put_down(self, peer: IServicePeer, uid: str, address: str) -> None:  # noqa: ARG002 - as above
        """Note where a value is kept.

        Raises:
            ValueError: There is one of that uid.
        """
        if uid in self._shelves:
            message = f"there is a value {uid!r} in the warehouse, and values there do not change"
            raise ValueError(message)
        self._shelves[uid] = address
        for sought in self._sought.pop(uid, ()):
            if not sought.done():
                sought.set_result(address)

    def look_up(self, peer: IServicePeer, uid: str) -> str | Future[str]:  # noqa: ARG002 - as above
        """Return where a value is kept; empty for nowhere, after a while."""
        if uid in self._shelves:
            return self._shelves[uid]
        future: Future[str] = Future()
        self._sought.setdefault(uid, []).append(future)
        self._host.after(UNKNOWN_PATIENCE, lambda: self._end_search(uid, future))
        return future

    def _end_search(self, uid: str, future: Future[str]) -> None:
        if not future.done():
            self._sought.pop(uid, None)
            future.set_result("")

    def drop(self, peer: IServicePeer, uid: str) -> str:  # noqa: ARG002 - as above
        """Forget a value; return where it is kept, empty for nowhere."""
        return self._shelves.pop(uid, "")

    # Who is there

    def _slave_joined(self, slave_id: str) -> None:
        uid = self._node_uids.setdefault(slave_id, f"node:{len(self._node_uids)}")
        node = self.nodes[uid] = MonitoredNode(uid)
        self.strategy.update_node(node)

    def _slave_left(self, slave_id: str, reason: str) -> None:
        node = self.nodes.pop(self._node_uids.get(slave_id, ""), None)
        if node is not None:
            node.state, node.facts["reason"] = "left", reason
            self.strategy.update_node(node)

    def _worker_joined(self, worker: Any) -> None:
        node = self._node_uids.setdefault(worker.slave_id, f"node:{len(self._node_uids)}")
        number = self._next_worker.get(node, 0)
        self._next_worker[node] = number + 1
        uid = f"worker:{node.partition(':')[2]}:{number}"
        self._places[uid] = WorkerPlace(uid, worker.address, node, worker.pid)
        self._by_address[worker.address] = uid
        self.workers.append(uid)
        self.workers.sort(key=_indices)
        self._update_node(node)
        waiting, self._waiting = self._waiting, []
        for choose in waiting:
            choose()
        if self._counting and not self._short_of_workers():
            self._end_counting()

    def _worker_left(self, worker: Any, reason: str) -> None:
        uid = self._by_address.pop(worker.address, "")
        place = self._places.pop(uid, None)
        if place is None:
            return
        self.workers.remove(uid)
        self._update_node(place.node)
        self._shelves = {value: address for value, address in self._shelves.items() if address != worker.address}
        for entry in self._entries.values():
            if entry.address == worker.address and not entry.lost:
                entry.lost = f"tessera {entry.record.uid} is lost with {uid}: {reason}"
                entry.record.state = "lost"
                self.strategy.update_tessera(entry.record)
                if entry.restarts <= 0:
                    self._end_curious(entry, entry.lost)
        self._forget_the_lost()

    def _update_node(self, uid: str) -> None:
        node = self.nodes.get(uid)
        if node is not None:
            here = [worker for worker in self.workers if self._places[worker].node == uid]
            node.sub_resources = {worker: MonitoredNode(worker) for worker in here}
            self.strategy.update_node(node)

    def _forget_the_lost(self) -> None:
        gone = [uid for uid, entry in self._entries.items() if entry.lost and entry.restarts <= 0]
        for uid in gone[: max(0, len(gone) - GONE_KEPT)]:
            del self._entries[uid]

    # How

    def _select(self, sender_id: str, but: str = "") -> str:
        """Return the worker that the strategy chooses.

        Another one than at the address `but` if there is any.

        A wrong choice of a strategy of users is mended.
        """
        chosen = self.strategy.select_worker(sender_id)
        if chosen not in self._places:
            self.log.error("strategy %r chose %r, which is no worker that lives", self.strategy.name, chosen)
            chosen = self.workers[0]
        if self._places[chosen].address == but:
            chosen = next((uid for uid in self.workers if uid != chosen), chosen)
        return chosen

    def _when_staffed(self, choose: Callable[[], None], what: str) -> None:
        self._host.hire()
        if self.workers:
            choose()
            return
        self._waiting.append(choose)
        self._host.after(1.0, lambda: self._say_waits(choose, what))

    def _when_all_are_there(self, choose: Callable[[], None]) -> None:
        """Choose once every slave that is here has its workers, or after a while."""
        if not self._short_of_workers():
            choose()
            return
        self._counting.append(choose)
        self._host.after(STAFF_PATIENCE, self._give_up_counting)

    def _short_of_workers(self) -> set[str]:
        """Return the slaves that have fewer workers than they should."""
        here = Counter(self._places[uid].node for uid in self.workers)
        slaves = self._host.status()["slaves"]
        short = {slave["id"] for slave in slaves if here[self._node_uids.get(slave["id"], "")] < slave["workers"]}
        return short - self._short

    def _give_up_counting(self) -> None:
        self._short |= self._short_of_workers()
        self._end_counting()

    def _end_counting(self) -> None:
        counting, self._counting = self._counting, []
        for choose in counting:
            self._when_staffed(choose, "an array")

    def _say_waits(self, choose: Callable[[], None], what: str) -> None:
        if choose in self._waiting:
            self.log.warning(
                "%s waits for a worker: %d slaves are connected, and none has a worker for services yet",
                what,
                len(self.nodes),
            )

    def _no_worker(self, uid: str) -> str:
        known = ", ".join(self.workers) or "none"
        return f"no worker {uid!r} lives; there are: {known}"

    def _tell_curious(self, entry: _Entry) -> None:
        curious, entry.curious = entry.curious, []
        for incarnation, future in curious:
            if entry.record.incarnation >= incarnation:
                future.set_result(entry.place)
            else:
                entry.curious.append((incarnation, future))

    def _end_curious(self, entry: _Entry, reason: str) -> None:
        curious, entry.curious = entry.curious, []
        for _, future in curious:
            future.set_exception(ConnectionError(reason))

    def _end_unknown(self, uid: str, future: Future[list[Any]]) -> None:
        waiting = self._unknown.get(uid)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._unknown[uid]
            future.set_exception(KeyError(f"no tessera {uid!r} is known"))


def _indices(uid: str) -> list[int]:
    return [int(number) for number in uid.split(":")[1:]]
