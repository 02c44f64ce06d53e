"""Which results are safe, told to their slaves many at once.

    safe ---> with large parts --> RESULT_ACK at once: the slave has much to let go
              others ------------> RESULT_ACK with those of the next moment

Nobody waits for it but a slave that leaves: a message for each would cost as much as another task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from typing import Any

    from concurro.transport.loop import Loop

DELAY = 0.01
"""How long a slave may wait for the news that small results are safe [s]."""

MOST_UNTOLD = 1024
"""So many results of a slave are told at once: it keeps them until then."""


class Settlements:
    """Tells slaves which results need not be kept any more. Loop thread only.

    Args:
        loop: The master's.
        send: Sends to a peer; nothing happens when there is none.
        let_go: Takes leases whose parts need not be kept here; says whether there were any.
    """

    def __init__(
        self, loop: Loop, send: Callable[[Hashable, Kind, list[Any]], object], let_go: Callable[[Iterable[int]], bool]
    ) -> None:
        self._loop = loop
        self._send = send
        self._let_go = let_go
        self._untold: dict[str, list[int]] = {}

    def settle(self, slave_id: str, leases: list[int]) -> None:
        """Take leases whose results are safe, or that nobody wants."""
        if not self._untold:
            self._loop.after(DELAY, self.tell_all)
        untold = self._untold.setdefault(slave_id, [])
        untold += leases
        if self._let_go(leases) or len(untold) >= MOST_UNTOLD:
            self._untold[slave_id] = []
            self._send(("slave", slave_id), Kind.RESULT_ACK, [untold])

    def tell_all(self) -> None:
        """Tell every slave what it was not told yet."""
        untold, self._untold = self._untold, {}
        for slave_id, leases in untold.items():
            if leases:
                self._send(("slave", slave_id), Kind.RESULT_ACK, [leases])

    def forget(self, slave_id: str) -> None:
        """Tell a slave nothing more: it is gone."""
        if slave_id in self._untold:
            self._untold[slave_id] = []
