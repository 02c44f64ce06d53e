"""Which application a peer is, and which systems its leaving concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.records import SystemRecord
    from concurro.scheduling.life import SystemLife


class Attendance:
    """The applications that are connected. Loop thread only."""

    def __init__(self) -> None:
        self._clients: dict[Hashable, str] = {}
        self._inside: dict[Hashable, SystemRecord] = {}  # the systems of applications inside tasks and callbacks
        self._concerned: dict[Hashable, set[int]] = {}  # systems that a peer follows or owns, or did

    def joined(self, peer: Hashable, client: str, inside: SystemRecord | None) -> None:
        """Note the id of an application, and the system that it serves."""
        self._clients[peer] = client
        if inside is not None:
            self._inside[peer] = inside

    def left(self, peer: Hashable) -> list[int]:
        """Forget a peer; return the numbers of the systems that it leaves."""
        self._clients.pop(peer, None)
        self._inside.pop(peer, None)
        return sorted(self._concerned.pop(peer, ()))

    def inside(self, peer: Hashable) -> SystemRecord | None:
        """Return the system whose task or callback a peer serves."""
        return self._inside.get(peer)

    def application(self, peer: Hashable) -> str:
        """Return the id of the application that a peer's systems belong to."""
        inside = self._inside.get(peer)
        return inside.application if inside is not None else self._clients.get(peer) or str(peer)

    def depth(self, peer: Hashable) -> int:
        """Return how deep what a peer submits is nested."""
        inside = self._inside.get(peer)
        return inside.depth + 1 if inside is not None else 0

    def client(self, peer: Hashable) -> str:
        """Return a peer's own id; empty when it is not known."""
        return self._clients.get(peer, "")

    def concern(self, life: SystemLife, peer: Hashable) -> None:
        """Note that a peer's leaving concerns a system."""
        life.known_to.add(peer)
        self._concerned.setdefault(peer, set()).add(life.record.number)

    def drop(self, life: SystemLife) -> None:
        """Forget a system."""
        for peer in life.known_to:
            self._concerned[peer].discard(life.record.number)
