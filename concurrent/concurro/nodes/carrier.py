"""Carries out what the table of systems commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.scheduling.commands import (
    Acknowledge,
    DropBlobs,
    DropUnused,
    HostBack,
    KeepBlobs,
    OfferBlobs,
    Record,
    Reread,
    Send,
    Spool,
    StartHost,
    StopHost,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.nodes.hosts import HostProcesses
    from concurro.nodes.keeper import Keeper
    from concurro.nodes.relay import BlobRelay
    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.systems import SystemTable
    from concurro.wire.messages import Kind


class Carrier:
    """The hands of a table. Loop thread only.

    Args:
        core: The scheduler core beside the table.
        table: Commands, and is told what came of it.
        relay: Has the blobs.
        hosts: The processes of systems.
        keeper: The journal; None without one.
        now: Returns the time of the loop [s].

    Attributes:
        send: Sends a message to a peer.
        acknowledge: Tells a slave which results are safe.
    """

    def __init__(  # noqa: PLR0913 - what commands are about
        self,
        core: SchedulerCore,
        table: SystemTable,
        relay: BlobRelay,
        hosts: HostProcesses,
        keeper: Keeper | None,
        now: Callable[[], float],
    ) -> None:
        self.send: Callable[[Hashable, Kind, list[Any]], object] = lambda peer, kind, body: None  # noqa: ARG005
        self.acknowledge: Callable[[str, list[int]], None] = lambda slave_id, leases: None  # noqa: ARG005
        self._core = core
        self._table = table
        self._relay = relay
        self._hosts = hosts
        self._keeper = keeper
        self._now = now
        self._actions: dict[type, Callable[[Any], None]] = {
            Send: self._send,
            Acknowledge: lambda command: self.acknowledge(command.slave_id, command.leases),
            OfferBlobs: lambda command: relay.offer(command.peer, command.blobs, command.owner),
            StartHost: lambda command: hosts.start(command.system),
            StopHost: self._stop_host,
            HostBack: lambda command: relay.peer_back(("host", command.system)),
            Spool: self._spool,
            KeepBlobs: lambda command: relay.keep(command.blobs, command.owner),
            DropBlobs: lambda command: relay.drop(command.owner),
            DropUnused: lambda command: relay.drop_some(command.owner, command.digests),
            Record: self._record,
            Reread: self._reread,
        }

    def carry_out(self) -> None:
        """Do everything that is commanded, and what that leads to."""
        # What is carried out may bring more: parts that are here already need no fetching.
        while commands := self._table.take_commands():
            for command in commands:
                self._actions[type(command)](command)

    def _send(self, command: Send) -> None:
        self.send(command.peer, command.kind, command.body)

    def _stop_host(self, command: StopHost) -> None:
        self._hosts.stop(command.system)
        self._relay.peer_left(("host", command.system))

    def _spool(self, command: Spool) -> None:
        def done(error: str | None) -> None:
            self._table.spooled(command.token, error, self._now())

        self._relay.spool(command.peer, command.blobs, command.owner, done)

    def _record(self, command: Record) -> None:
        assert self._keeper is not None  # noqa: S101 - only a journalled table records
        self._keeper.record(command, lambda: self._recorded(command.token))

    def _recorded(self, token: int) -> None:
        self._core.begin(self._now())
        self._table.recorded(token, self._now())

    def _reread(self, command: Reread) -> None:
        assert self._keeper is not None  # noqa: S101 - as above
        self._keeper.reread(command.system, lambda snapshot, rows: self._table.reread(command.system, rows, snapshot))
