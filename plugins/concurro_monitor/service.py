r"""The monitor: a service of the master that knows runtimes and tesserae.

    slaves, workers --joined, left--> MonitorService --> Ledger (states) --> strategy
    homes ---------report-----------^       |-> Directory (where each tessera is)
    creators ------place------------^       |-> Stock (where each value is)
    anybody -------relay------------^       \-> Relays (commands for programs)

Who asks for a worker while there is none waits, and the log says so.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import psutil

from concurro import Component, IMasterService, IMasterServiceHost, Selected, StrOption, implementer
from concurro_monitor.directory import Directory
from concurro_monitor.ledger import Ledger
from concurro_monitor.network import WorkerPlace, indices_of
from concurro_monitor.relays import Relays
from concurro_monitor.stock import Stock
from concurro_monitor.strategies import IMonitorStrategy

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro import IServicePeer
    from concurro_monitor.records import MonitoredNode, MonitoredTask, MonitoredTessera

STAFF_PATIENCE = 5.0
"""How long an array waits for workers that a slave that is here should have [s]."""

STATE_VERSION = 1


@implementer(IMasterService)
class MonitorService(Component):
    """Knows who is in the network, where each tessera lives.

    And chooses workers.

    Attributes:
        workers: Uids of the workers that live, in order.
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
        "report",
        "state",
        "figures",
        "node_pid",
        "pending_tasks",
        "add_task_event",
        "add_task_profile",
        "add_tessera_event",
        "add_tessera_profile",
        "update_node",
        "recv_profile",
        "enrol",
        "relay",
        "relayed",
    )
    strategy = Selected(IMonitorStrategy, "monitor.strategy", default="round-robin")
    uid = StrOption("monitor", "Its name, as `Monitor.init_file` writes it.")

    def __init__(self) -> None:
        super().__init__()
        self.workers: list[str] = []
        self._ledger = Ledger(self._tell_strategy)
        self._relays = Relays()
        self._node_uids: dict[str, str] = {}
        self._next_worker: dict[str, int] = {}
        self._places: dict[str, WorkerPlace] = {}
        self._by_address: dict[str, str] = {}
        self._waiting: list[Callable[[], None]] = []
        self._counting: list[Callable[[], None]] = []
        self._short: set[str] = set()
        self._faulty: set[str] = set()

    def setup(self, host: IMasterServiceHost) -> None:
        """Begin to watch."""
        self._host = host
        self._directory = Directory(self._ledger.tessera_changed, host.after)
        self._stock = Stock(host.after)
        self._process = psutil.Process(os.getpid())
        self._process.cpu_percent(None)
        self.strategy.monitor = self
        host.on_slave_joined(self._slave_joined)
        host.on_slave_left(self._slave_left)
        host.on_worker_joined(self._worker_joined)
        host.on_worker_left(self._worker_left)

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Give up what only that peer could do."""
        self._directory.creator_left(peer, reason)
        self._relays.peer_left(peer, reason)

    # What strategies may look at

    @property
    def nodes(self) -> dict[str, MonitoredNode]:
        """Uid to node, of those that live."""
        return self._ledger.nodes

    @property
    def tasks(self) -> dict[str, MonitoredTask]:
        """Uid to task, of those that are known by name."""
        return self._ledger.tasks

    @property
    def tesserae(self) -> dict[str, MonitoredTessera]:
        """Uid to tessera."""
        return self._ledger.tesserae

    # Who is there

    def hire(self, peer: IServicePeer) -> None:  # noqa: ARG002 - every method is given who calls
        """Have workers for services started."""
        self._host.hire()

    def network(self, peer: IServicePeer) -> list[Any]:  # noqa: ARG002 - as above
        """Return the nodes and the workers that live.

        `[[uid, slave id], ...], [[uid, address, node, pid], ...]`.
        """
        nodes = [[uid, slave_id] for slave_id, uid in self._node_uids.items() if uid in self.nodes]
        return [nodes, [list(self._places[uid]) for uid in self.workers]]

    def select_worker(self, peer: IServicePeer, sender_id: str = "") -> Future[str]:
        """Return the uid of a worker for the next tessera.

        As soon as there is one.
        """
        future: Future[str] = Future()
        sender = sender_id or peer.name
        self._when_staffed(lambda: future.set_result(self._select(sender)), sender)
        return future

    # Tesserae

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
            wanted = runtime
            if wanted.startswith("#"):
                wanted = self.workers[int(wanted[1:]) % len(self.workers)]
            if wanted and wanted not in self._places:
                future.set_exception(LookupError(self._no_worker(wanted)))
                return
            worker = wanted or self._select(peer.name, self._directory.address_of(uid))
            place = self._places[worker]
            future.set_result(self._directory.place(peer, uid, class_name, place, restarts, incarnation))

        if runtime.startswith("#"):
            self._when_staffed(lambda: self._when_all_are_there(choose), class_name)
        elif runtime:
            choose()
        else:
            self._when_staffed(choose, class_name)
        return future

    def locate(self, peer: IServicePeer, uid: str, incarnation: int) -> Future[list[Any]]:  # noqa: ARG002 - as above
        """Return where that incarnation of a tessera, or a later one, lives."""
        return self._directory.locate(uid, incarnation)

    def collected(self, peer: IServicePeer, uid: str, incarnation: int) -> None:  # noqa: ARG002 - as above
        """Forget a tessera."""
        self._directory.collected(uid, incarnation)

    def given_up(self, peer: IServicePeer, uid: str, reason: str) -> None:  # noqa: ARG002 - as above
        """Learn that a creator constructs a tessera no more."""
        self._directory.given_up(uid, reason)

    # Values

    def put_down(self, peer: IServicePeer, uid: str, address: str) -> None:  # noqa: ARG002 - as above
        """Note where a value is kept.

        Raises:
            ValueError: There is one of that uid.
        """
        self._stock.put_down(uid, address)

    def look_up(self, peer: IServicePeer, uid: str) -> str | Future[str]:  # noqa: ARG002 - as above
        """Return where a value is kept; empty for nowhere, after a while."""
        return self._stock.look_up(uid)

    def drop(self, peer: IServicePeer, uid: str) -> str:  # noqa: ARG002 - as above
        """Forget a value; return where it is kept, empty for nowhere."""
        return self._stock.drop(uid)

    # States, as they are told and asked for

    def report(self, peer: IServicePeer, address: str, report: dict[str, Any]) -> None:  # noqa: ARG002 - as above
        """Take the report of a worker; one that left tells nothing."""
        uid = self._by_address.get(address)
        if uid is not None:
            self._ledger.report(self._places[uid], report)

    def state(self, peer: IServicePeer) -> dict[str, Any]:  # noqa: ARG002 - as above
        """Return what is known of nodes, workers, tesserae and tasks."""
        known = self._ledger.describe(self._places[uid] for uid in self.workers)
        return {"version": STATE_VERSION, "strategy": self.strategy.name, **known}

    def figures(self, peer: IServicePeer) -> dict[str, Any]:  # noqa: ARG002 - as above
        """Return load and memory of the master's process [%, B], its pid and url."""
        held = self._process.memory_info().rss
        limit = psutil.virtual_memory().total
        return {
            "pid": os.getpid(),
            "url": self._host.status()["url"],
            "cpu_load": self._process.cpu_percent(None),
            "memory": held,
            "memory_limit": limit,
        }

    def node_pid(self, peer: IServicePeer, uid: str) -> int:  # noqa: ARG002 - as above
        """Return the process id of a node, on its machine; 0 for one that left."""
        pids = {self._node_of(slave["id"]): slave["pid"] for slave in self._host.status()["slaves"]}
        return int(pids.get(uid, 0))

    def pending_tasks(self, peer: IServicePeer) -> int:  # noqa: ARG002 - as above
        """Return how many calls have not ended, as workers told last."""
        return self._ledger.pending_tasks

    def add_task_event(self, peer: IServicePeer, sender_id: str, msgs: Any) -> None:  # noqa: ARG002 - as above
        """Note what happened to tasks: one message, or a list."""
        self._ledger.add_task_event(sender_id, msgs)

    def add_task_profile(self, peer: IServicePeer, sender_id: str, msgs: Any) -> None:  # noqa: ARG002 - as above
        """Note measurements of tasks: one message, or a list."""
        self._ledger.add_task_profile(sender_id, msgs)

    def add_tessera_event(self, peer: IServicePeer, sender_id: str, msgs: Any) -> None:  # noqa: ARG002 - as above
        """Note what happened to tesserae: one message, or a list."""
        self._ledger.add_tessera_event(sender_id, msgs)

    def add_tessera_profile(self, peer: IServicePeer, sender_id: str, msgs: Any) -> None:  # noqa: ARG002 - as above
        """Note measurements of tesserae: one message, or a list."""
        self._ledger.add_tessera_profile(sender_id, msgs)

    def update_node(
        self,
        peer: IServicePeer,  # noqa: ARG002 - as above
        sender_id: str,
        update: dict[str, Any],
        sub_resources: dict[str, Any],
    ) -> None:
        """Note figures of a node, and of its workers."""
        self._ledger.update_node(sender_id, update, sub_resources)

    def recv_profile(self, peer: IServicePeer, sender_id: str, profiler_update: dict[str, Any]) -> None:  # noqa: ARG002 - as above
        """Pass a profiler update on to every monitor that listens."""
        for listener in self._relays.everybody("monitor"):
            listener.tell("command", 0, "monitor", sender_id, "recv_profile", [sender_id, profiler_update], {})

    # Commands for programs

    def enrol(self, peer: IServicePeer, uid: str) -> None:
        """Let a program get the commands for its runtime."""
        self._relays.enrol(peer, uid)

    def relay(  # noqa: PLR0913 - what a command is made of
        self,
        peer: IServicePeer,  # noqa: ARG002 - every method is given who calls
        uid: str,
        sender: str,
        method: str,
        args: list[Any],
        kwargs: dict[str, Any],
    ) -> Future[Any]:
        """Pass a command on to the program that enrolled as a uid."""
        return self._relays.relay(uid, sender, method, args, kwargs)

    def relayed(self, peer: IServicePeer, number: int, fault: list[str] | None, value: Any) -> None:  # noqa: ARG002 - as above
        """Take the answer to a command."""
        self._relays.relayed(number, fault, value)

    # Who comes and goes

    def _slave_joined(self, slave_id: str) -> None:
        self._ledger.node_joined(self._node_of(slave_id))

    def _slave_left(self, slave_id: str, reason: str) -> None:
        self._ledger.node_left(self._node_uids.get(slave_id, ""), reason)

    def _node_of(self, slave_id: str) -> str:
        return self._node_uids.setdefault(slave_id, f"node:{len(self._node_uids)}")

    def _worker_joined(self, worker: Any) -> None:
        node = self._node_of(worker.slave_id)
        number = self._next_worker.get(node, 0)
        self._next_worker[node] = number + 1
        uid = f"worker:{node.partition(':')[2]}:{number}"
        self._places[uid] = WorkerPlace(uid, worker.address, node, worker.pid)
        self._by_address[worker.address] = uid
        self.workers.append(uid)
        self.workers.sort(key=indices_of)
        self._ledger.worker_joined(node, uid)
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
        self._ledger.worker_left(place.node, uid)
        self._stock.address_left(worker.address)
        self._directory.worker_left(place, reason)

    # How

    def _tell_strategy(self, method: str, record: Any) -> None:
        try:
            getattr(self.strategy, method)(record)
        except Exception:
            if method not in self._faulty:  # it is told of many things a second
                self._faulty.add(method)
                self.log.exception(
                    "strategy %r: %s(%s) raised, and maybe again", self.strategy.name, method, record.uid
                )

    def _select(self, sender_id: str, but: str = "") -> str:
        """Return the worker that the strategy chooses.

        Another one than at the address `but` if there is any.

        A wrong choice of a strategy of users is mended.
        """
        chosen: Any = None
        try:
            chosen = self.strategy.select_worker(sender_id)
        except Exception:
            self.log.exception("strategy %r raised; %s is taken", self.strategy.name, self.workers[0])
            chosen = self.workers[0]
        chosen = getattr(chosen, "uid", chosen)
        if chosen not in self._places:
            self.log.error("strategy %r chose %r, which is no worker that lives", self.strategy.name, chosen)
            chosen = self.workers[0]
        if self._places[chosen].address == but:
            chosen = next((uid for uid in self.workers if uid != chosen), chosen)
        return str(chosen)

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
