"""The runtimes around one: who is there, and the ways to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro_monitor.errors import RuntimeDisconnectedError
from concurro_monitor.foundation import NETWORK_LIMIT, Foundation
from concurro_monitor.network import join_address, split_address, split_uid
from concurro_monitor.remote import RUNTIME_SERVICE, RuntimeProxy

if TYPE_CHECKING:
    from concurro import ApplicationNode
    from concurro_monitor.network import WorkerPlace


class Neighbours(Foundation):
    """The part of a runtime that knows others. Thread-safe."""

    def __init__(self, application: Any = None, **settings: Any) -> None:
        super().__init__(application, **settings)
        self._url = ""
        self._ways: dict[str, Any] = {}
        self._heard_of: dict[str, list[Any]] = {}

    # Where it is

    @property
    def master_url(self) -> str:
        """The whole address of the master."""
        if not self._url:
            url = self.application.master_url
            if "://" not in url:  # by way of a worker's slave, who knows
                url = str(self.ask("figures").result(NETWORK_LIMIT)["url"])
            self._url = url
        return self._url

    @property
    def address(self) -> str:
        """The machine at which it is reached.

        The master's, since it does not listen itself.

        For a master on a path, that.
        """
        return split_address(self.master_url)[0]

    @property
    def port(self) -> int:
        """The master's port; 0 for a path."""
        return split_address(self.master_url)[1]

    @property
    def pubsub_port(self) -> int:
        """The same."""
        return self.port

    def get_comms(self) -> ApplicationNode:
        """Return its way to everybody: the application."""
        return self.application

    def get_zmq_context(self) -> Any:
        """Return the zmq context of its way to the master.

        That of the process where the way is a path and needs none.
        """
        return self.application.zmq_context

    # Who is there

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
        """Return the proxy of the warehouse of this machine: of a worker's node.

        Elsewhere that of all of it.
        """
        _, indices = split_uid(self.uid)
        return RuntimeProxy("warehouse", indices[:1], runtime=self)

    @staticmethod
    def proxy(name: str | None = None, indices: tuple[int, ...] | int = (), uid: str | None = None) -> RuntimeProxy:
        """Return a proxy from a name and indices, or from a uid."""
        return RuntimeProxy(name, indices, uid)

    # Ways to them

    def connect(self, sender_id: str, uid: str, address: str = "", port: int = 0) -> RuntimeProxy:  # noqa: ARG002 - the seed's signature
        """Open the way to a runtime; return its proxy. Idempotent.

        Args:
            sender_id: Who asks for it.
            uid: Of the runtime.
            address: Where it is reached; empty for where everybody is.
            port: The same.

        Raises:
            ConnectionError: It is said to be elsewhere than at our master.
            RuntimeDisconnectedError: It is a worker that left.
        """
        proxy = RuntimeProxy(uid=uid, runtime=self)
        mine = self.master_url
        if address and join_address(address, port) not in {mine, self.address}:
            message = (
                f"runtime {uid} is said to be at {join_address(address, port)}, and this runtime is connected to {mine}"
            )
            raise ConnectionError(message)
        with self._lock:
            if uid not in self._ways:
                if proxy.is_worker:
                    self._ways[uid] = self.application.service(RUNTIME_SERVICE, self.place_of(uid).address)
                else:
                    self._ways[uid] = None  # by way of the monitor, to whom there is one already
        return proxy

    def disconnect(self, sender_id: str, uid: str) -> None:  # noqa: ARG002 - the seed's signature
        """Close the way to a runtime, which commands of it open again. Idempotent.

        Calls of tesserae that live there go on: they have ways of their own.
        """
        with self._lock:
            way = self._ways.pop(uid, None)
            self._places.pop(uid, None)
            self._heard_of.pop(uid, None)
        if way is not None:
            way.close()

    @property
    def connected(self) -> list[str]:
        """Uids of the runtimes to which ways are open, or that shook hands."""
        with self._lock:
            return sorted({*self._ways, *self._heard_of})

    def hand(self, sender_id: str, address: str, port: int) -> dict[str, list[Any]]:
        """Take the hand of a runtime that is new; return what it is to `shake`.

        Uid to address and port, of everybody who is known here.
        """
        with self._lock:
            self._heard_of[sender_id] = [address, port]
            network = dict(self._heard_of)
        here = [self.address, self.port]
        known = ["monitor", self.uid, *(proxy.uid for proxy in [*self.nodes, *self.workers])]
        return {**{uid: here for uid in known if uid}, **network}

    def shake(self, sender_id: str, network: dict[str, Any]) -> list[RuntimeProxy]:
        """Connect to everybody whom the answer to a `hand` lists.

        Return their proxies.

        Whoever left meanwhile is passed over.
        """
        proxies = []
        for uid, (address, port) in network.items():
            if uid == self.uid:
                continue
            try:
                proxies.append(self.connect(sender_id, uid, address, port))
            except RuntimeDisconnectedError:
                continue
        return proxies


def _one_of(proxies: list[RuntimeProxy], uid: str | None, what: str) -> RuntimeProxy:
    for proxy in proxies:
        if uid is None or proxy.uid == uid:
            return proxy
    known = ", ".join(proxy.uid for proxy in proxies) or "none"
    message = f"no {what} {uid or ''} lives; there are: {known}"
    raise KeyError(message)
