"""Tells slaves and systems what the scheduler core has decided.

SchedulerCore --Commands--> CLASSES, LEASES, RECALL, KILL, FORGET --> slaves
--> final tasks, warnings ----------------> SystemTable
--> leases that may be run once ----------> journal, then the slave
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.nodes.keeper import Keeper
    from concurro.nodes.settlements import Settlements
    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.orders import SlaveOrders
    from concurro.scheduling.systems import SystemTable

LEASE_BYTES = 1024 * 1024
"""Payloads in one LEASES message, about [B]."""


class Dispatch:
    """The mouth of a scheduler core. Loop thread only.

    Args:
        core: Decides.
        table: Is told of tasks that are final.
        settlements: Tells slaves which results are safe.
        keeper: The journal; None without one.
        send: Sends a message to a peer.
        now: Returns the time of the loop [s].
    """

    def __init__(  # noqa: PLR0913 - what commands are about
        self,
        core: SchedulerCore,
        table: SystemTable,
        settlements: Settlements,
        keeper: Keeper | None,
        send: Callable[[Hashable, Kind, list[Any]], object],
        now: Callable[[], float],
    ) -> None:
        self._core = core
        self._table = table
        self._settlements = settlements
        self._keeper = keeper
        self._send = send
        self._now = now

    def put_out(self) -> None:
        """Tell whoever it concerns what was decided since the last call."""
        commands = self._core.take_commands()
        for number, entries in commands.finished.items():
            self._table.finished(number, entries, commands.leases_of.get(number, []))
        for number, text in commands.warnings:
            self._table.notice(number, text, self._now())
        for slave_id, leases in commands.settled.items():
            self._settlements.settle(slave_id, leases)
        if commands.crashed and self._keeper is not None:
            self._keeper.crashed(commands.crashed, self._settlements.settle)
        for slave_id, orders in commands.orders.items():
            self._send_orders(("slave", slave_id), orders)

    def _send_orders(self, slave: tuple[str, str], orders: SlaveOrders) -> None:
        if orders.forgets:
            for number in orders.forgets:
                self._send(slave, Kind.FORGET, [number])
        if orders.classes:
            self._send(slave, Kind.CLASSES, orders.classes)
        self._send_leases(slave, orders.leases)
        if orders.held and self._keeper is not None:
            self._keeper.hold(orders.held, lambda: self._send_held(slave, orders.held))
        if orders.recalls:
            self._send(slave, Kind.RECALL, [orders.recalls])
        if orders.kills:
            self._send(slave, Kind.KILL, [orders.kills])

    def _send_held(self, slave: tuple[str, str], held: list[Any]) -> None:
        """Send the leases that waited for the journal and still count."""
        record = self._core.slaves.get(slave[1])
        if record is not None:
            self._send_leases(slave, [entry for entry, _ in held if entry[0] in record.leases])

    def _send_leases(self, slave: tuple[str, str], leases: list[list[Any]]) -> None:
        if sum([len(entry[5]) for entry in leases]) <= LEASE_BYTES:  # a list: as quick as it goes
            if leases:
                self._send(slave, Kind.LEASES, leases)
            return
        piece: list[list[Any]] = []
        size = 0
        for entry in leases:
            piece.append(entry)
            size += len(entry[5])
            if size > LEASE_BYTES:
                self._send(slave, Kind.LEASES, piece)
                piece, size = [], 0
        if piece:
            self._send(slave, Kind.LEASES, piece)
