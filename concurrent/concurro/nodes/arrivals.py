"""Results with large parts.

They count once their parts are in the master's spool.

    RESULTS --> parts? no  --> core
                       yes --> relay.spool --> core       slave lost meanwhile: tried again
    acknowledged, or nobody wants it --> the spool lets go

A slave may leave at any time. As long as a result's parts are only there, the task holds its
lease and is tried again elsewhere when the slave is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from concurro.nodes.relay import BlobRelay

    Apply = Callable[[str, list[list[Any]]], None]


class ResultArrivals:
    """Results on their way into the core. Loop thread only.

    Args:
        relay: Fetches the parts.
        apply: Takes a slave's id and complete results.
    """

    def __init__(self, relay: BlobRelay, apply: Apply) -> None:
        self._relay = relay
        self._apply = apply
        self._spooled: set[int] = set()

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
                self._fetch(slave_id, result)

    def settled(self, leases: Iterable[int]) -> None:
        """Let the parts go of results that are safe, or that nobody wants."""
        if self._spooled:
            for lease in self._spooled.intersection(leases):
                self._spooled.discard(lease)
                self._relay.drop(("result", lease))

    def _fetch(self, slave_id: str, result: list[Any]) -> None:
        lease = result[0]
        self._spooled.add(lease)

        def arrived(error: str | None) -> None:
            if error is None:
                self._apply(slave_id, [result])
                return
            self._spooled.discard(lease)
            self._relay.drop(("result", lease))
            failure = ["WorkerLost", f"the result was lost with slave {slave_id}: {error}", "", None]
            self._apply(slave_id, [[lease, int(Outcome.SLAVE_LOST), failure, None, result[4]]])

        self._relay.spool(("slave", slave_id), result[3], ("result", lease), arrived)
