"""Results with large parts.

They count once their parts are in the master's spool.

    RESULTS --> parts? no  --> core
                       yes --> room for its system? no  --> it waits at the slave
                                                    yes --> relay.spool --> core
                                                            slave lost meanwhile: tried again
    acknowledged, or nobody wants it --> the spool lets go, the next one comes

A slave may leave at any time. As long as a result's parts are only there, the task holds its
lease and is tried again elsewhere when the slave is lost.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.ids import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from concurro.nodes.relay import BlobRelay

    Apply = Callable[[str, list[list[Any]]], None]

ROOM = 128 * 1024 * 1024
"""Bytes of results of one system that the spool holds, until its host has consumed them [B]."""


class _Share(NamedTuple):
    """What a result takes of the room of its system."""

    system: Hashable
    size: int


class ResultArrivals:
    """Results on their way into the core. Loop thread only.

    A host or an application that does not consume what its tasks return keeps the next results
    waiting where they are, and so the tasks of no other system but its own.

    Args:
        relay: Fetches the parts.
        apply: Takes a slave's id and complete results.
        system_of: Says whose a lease of a slave is; None for one that does not count.
        room: For the results of one system; a single one may be larger [B].
    """

    def __init__(
        self, relay: BlobRelay, apply: Apply, system_of: Callable[[str, int], Hashable | None], room: int = ROOM
    ) -> None:
        self._relay = relay
        self._apply = apply
        self._system_of = system_of
        self._room = room
        self._spooled: dict[int, _Share] = {}
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[tuple[str, list[Any]]]] = {}

    def take(self, slave_id: str, results: list[list[Any]]) -> None:
        """Take RESULTS of a slave.

        `[[lease, outcome, value, blobs, duration ns], ...]`.
        """
        if not any(result[3] for result in results):
            self._apply(slave_id, results)
            return
        at_once = [result for result in results if not result[3]]
        if at_once:
            self._apply(slave_id, at_once)
        for result in results:
            if result[3]:
                self._take_large(slave_id, result)

    def settled(self, leases: Iterable[int]) -> bool:
        """Let the parts go of results that are safe, or that nobody wants.

        Return whether any had parts.
        """
        large = self._spooled.keys() & leases if self._spooled else ()
        for lease in large:
            self._release(lease)
        return bool(large)

    def _take_large(self, slave_id: str, result: list[Any]) -> None:
        if result[0] in self._spooled:
            return  # it comes already
        system = self._system_of(slave_id, result[0])
        if system is None:
            self._apply(slave_id, [result])  # it does not count: nobody will ask for its parts
        elif system in self._waiting:
            self._waiting[system].append((slave_id, result))
        elif self._has_room(system, result):
            self._fetch(slave_id, result, system)
        else:
            self._waiting[system] = deque([(slave_id, result)])

    def _has_room(self, system: Hashable, result: list[Any]) -> bool:
        taken = self._taken.get(system, 0)
        return not taken or taken + _size_of(result) <= self._room

    def _fetch(self, slave_id: str, result: list[Any], system: Hashable) -> None:
        lease, size = result[0], _size_of(result)
        self._spooled[lease] = _Share(system, size)
        self._taken[system] = self._taken.get(system, 0) + size

        def arrived(error: str | None) -> None:
            if error is None:
                self._apply(slave_id, [result])
                return
            failure = ["WorkerLost", f"the result was lost with slave {slave_id}: {error}", "", None]
            self._apply(slave_id, [[lease, int(Outcome.SLAVE_LOST), failure, None, result[4]]])
            self._release(lease)

        self._relay.spool(("slave", slave_id), result[3], ("result", lease), arrived)

    def _release(self, lease: int) -> None:
        """Let the parts of a result go, and the next results of its system come."""
        share = self._spooled.pop(lease, None)
        if share is None:
            return
        self._relay.drop(("result", lease))
        self._taken[share.system] -= share.size
        waiting = self._waiting.get(share.system, ())
        while waiting and self._has_room(share.system, waiting[0][1]):
            slave_id, result = waiting.popleft()
            if self._system_of(slave_id, result[0]) == share.system:
                self._fetch(slave_id, result, share.system)
            else:
                self._apply(slave_id, [result])
        if not waiting:
            self._waiting.pop(share.system, None)
        if not self._taken.get(share.system, 1):
            del self._taken[share.system]


def _size_of(result: list[Any]) -> int:
    """Return the bytes of the parts of a result [B]."""
    size: int = sum(part[2] for part in result[3])
    return size
