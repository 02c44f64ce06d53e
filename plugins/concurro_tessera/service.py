"""The service in workers in which tesserae live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro import Component, IWorkerService, IWorkerServiceHost, PathOption, SizeOption, implementer
from concurro_tessera.home import Home
from concurro_tessera.shelf import Shelf
from concurro_tessera.ways import SERVICE

if TYPE_CHECKING:
    from concurro import IServicePeer


@implementer(IWorkerService)
class TesseraService(Component):
    """Keeps tesserae and runs their methods.

    See `concurro_tessera.ways` for what is said.
    """

    name = SERVICE
    inline = SizeOption("1 KiB", "Results over this stay in their worker until they are asked for.", minimum=0)
    budget = SizeOption("1 GiB", "What results kept in a worker may hold in memory; the rest is in a file.", minimum=1)
    folder = PathOption("", "Where that file is, without a name; empty for the system's folder.")
    methods = ("take", "hold", "watch", "fetch", "ended", "barrier", "kept")

    def setup(self, host: IWorkerServiceHost) -> None:
        """Make the home."""
        shelf = Shelf(self.budget or 0, str(self.folder or ""))
        self._home = Home(host, self.config, self.inline or 0, shelf)

    def peer_left(self, peer: IServicePeer, reason: str) -> None:  # noqa: ARG002 - the contract's signature
        """Let go what a caller held."""
        self._home.peer_left(peer)

    def take(self, peer: IServicePeer, number: int, entries: list[tuple[Any, ...]]) -> None:
        """Take a batch of entries."""
        self._home.take(peer, number, entries)

    def hold(self, peer: IServicePeer, uid: str, incarnation: int) -> bool:
        """Note a proxy more."""
        return self._home.hold(peer, uid, incarnation)

    def watch(self, peer: IServicePeer, uid: str) -> None:
        """Note a task more of a call."""
        self._home.watch(peer, uid)

    def ended(self, peer: IServicePeer, uid: str) -> Any:  # noqa: ARG002 - every method is given who calls
        """Return a future of the end of a call."""
        return self._home.end_of(uid)

    def fetch(self, peer: IServicePeer, uid: str) -> Any:  # noqa: ARG002 - every method is given who calls
        """Return the parts of a result."""
        return self._home.fetch(uid)

    def barrier(self, peer: IServicePeer, run: str, prefix: str, mark: int) -> Any:  # noqa: ARG002 - as above
        """Return how many calls of a run had not ended, once they have."""
        return self._home.barrier(run, prefix, mark)

    def kept(self, peer: IServicePeer) -> list[int]:  # noqa: ARG002 - as above
        """Return what the results kept here hold in memory, and in the file [B]."""
        return self._home.kept
