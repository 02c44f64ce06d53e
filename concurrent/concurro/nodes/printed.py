"""The master's desk for output: passed on, and the last of it kept.

    slave --OUTPUT--> +---------+ --PRINTED--> every application that follows the system
    host  ==pipes===> | Printed |
                      +---------+ kept: the last lines of recent tasks

Text that an application does not take in time is dropped and counted, never queued without a
bound. Results are not held up: they leave later in the same turn of the loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import parse_task_id
from concurro.scheduling.output_log import CALLBACKS, OutputLog
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.nodes.peer import Peer
    from concurro.scheduling.core import SchedulerCore
    from concurro.scheduling.systems import SystemTable

BACKLOG_LIMIT = 4 * 1024 * 1024
"""An application that has so much still to take gets no output [B]."""


class Printed:
    """Passes output on, and keeps the last of it. Loop thread only.

    Args:
        core: Knows the leases.
        table: Knows who follows a system.
        peers: Every connected peer by its id.
    """

    def __init__(self, core: SchedulerCore, table: SystemTable, peers: dict[Hashable, Peer]) -> None:
        self._core = core
        self._table = table
        self._peers = peers
        self._log = OutputLog()
        self._deaf: set[Hashable] = set()
        self._dropped: dict[Hashable, int] = {}

    def joined(self, peer_id: Hashable, facts: dict[str, Any]) -> None:
        """Learn whether an application wants output."""
        if not facts.get("output", True):
            self._deaf.add(peer_id)

    def left(self, peer_id: Hashable) -> None:
        """Forget an application."""
        self._deaf.discard(peer_id)
        self._dropped.pop(peer_id, None)

    def slave_wrote(self, slave_id: str, entries: list[list[Any]]) -> None:
        """Take OUTPUT; only current leases count, as with results."""
        slave = self._core.slaves.get(slave_id)
        if slave is None:
            return
        by_system: dict[int, list[list[Any]]] = {}
        for lease, name, stream, text, dropped in entries:
            task = slave.leases.get(lease)
            if task is None:
                continue
            system = task.system
            self._log.add(system.system_id, task.number, str(text), int(dropped), str(name))
            entry = [system.number, task.number, name, slave_id, stream, text, dropped]
            by_system.setdefault(system.number, []).append(entry)
        for number, mine in by_system.items():
            self._tell(number, mine)

    def host_wrote(self, number: int, entries: list[list[Any]]) -> None:
        """Take what a system's own callbacks wrote.

        Args:
            number: Of the system.
            entries: `[owner, stream, text, dropped]` each.
        """
        life = self._table.life(number)
        if life is not None:
            for _, _, text, dropped in entries:
                self._log.add(life.record.system_id, CALLBACKS, str(text), int(dropped), life.record.name)
            whose = [number, None, life.record.name, ""]
            self._tell(number, [[*whose, *entry[1:]] for entry in entries])

    def last_lines(self, task_id: str) -> str:
        """Return the last lines that a task wrote.

        Raises:
            LookupError: There was no such task, or too long ago.
            ValueError: It is no task id.
        """
        system_id, number = parse_task_id(task_id)
        text = self._log.text_of(system_id, number)
        if text is not None:
            return text
        emitted = self._table.emitted(system_id)
        if emitted is None or not 0 <= number < emitted:
            message = f"no task {task_id}: its system is not known here, or has not emitted it"
            raise LookupError(message)
        return ""

    def pages(self, wanted: str, after: int) -> dict[str, Any]:
        """Return what a system, or one of its tasks, wrote after a place.

        Args:
            wanted: Id of a system or a task, or the beginning of that.
            after: The `position` of the page before; 0 for the beginning.

        Returns:
            `system_id`, `entries` as `[number or None for callbacks, name, text, whether text before it is gone]`,
            `position`, whether there is `more` now, whether the system has `ended`, and the `epoch` of the master:
            positions of another one mean nothing here.

        Raises:
            LookupError: There is no such system.
            ValueError: `wanted` has a colon and is no task id.
        """
        system_id, number = parse_task_id(wanted) if ":" in wanted else (wanted, None)
        life = self._table.find(system_id)
        known = self._table.past(system_id) if life is None else life.record
        system_id = system_id if known is None else known.system_id
        written, position, more = self._log.written(system_id, after, number)
        if life is None and not written and not after:
            message = f"no system {system_id}, and no output of one that is kept no more; see concurrent systems"
            raise LookupError(message)
        entries = [[None if each.number == CALLBACKS else each.number, *each[1:]] for each in written]
        ended = life is None or life.record.state.ended
        page = {"system_id": system_id, "entries": entries, "position": position, "more": more, "ended": ended}
        return {**page, "epoch": self._core.epoch}

    def _tell(self, number: int, entries: list[list[Any]]) -> None:
        for peer_id in self._table.listeners(number):
            peer = self._peers.get(peer_id)
            if peer is None or peer_id in self._deaf:
                continue
            if peer.backlog() > BACKLOG_LIMIT:
                lost = sum(len(entry[5]) + entry[6] for entry in entries)
                self._dropped[peer_id] = self._dropped.get(peer_id, 0) + lost
                continue
            lost = self._dropped.pop(peer_id, 0)
            first = [*entries[0][:6], entries[0][6] + lost]
            peer.send(Kind.PRINTED, [first, *entries[1:]])
