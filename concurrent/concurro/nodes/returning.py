"""Slaves that come back to a restarted master, with what they hold.

    HELLO(was) --> kept waiting --INVENTORY, and what follows--> its systems are replayed
                                                                  |
                          a slave as any; equal leases go on, the others are killed

A slave takes nothing new before that: the scheduler would take it for idle. Loop thread only.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from concurro.wire.messages import Kind, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.scheduling.recovery import Recovery

log = logging.getLogger("concurro.master")


class _Comer:
    """A slave that came back, and what it said so far."""

    __slots__ = ("facts", "holdings", "host", "messages", "was")

    def __init__(self, was: str, host: str, facts: dict[str, Any]) -> None:
        self.was = was
        self.host = host
        self.facts = facts
        self.holdings: list[list[Any]] | None = None
        self.messages: list[Message] = []


class Returning:
    """Who of the slaves that there were is back.

    Args:
        recovery: Has the systems.
        missed: The slaves that the master before had.
        admit: Makes a slave one as any: id, host name, facts.
        hear: Takes a message of a slave.
        kill: Tells a slave which leases nobody wants.
    """

    def __init__(
        self,
        recovery: Recovery,
        missed: set[str],
        admit: Callable[[str, str, dict[str, Any]], None],
        hear: Callable[[str, Message], None],
        kill: Callable[[str, list[int]], None],
    ) -> None:
        self._recovery = recovery
        self._missed = missed
        self._admit = admit
        self._hear = hear
        self._kill = kill
        self._comers: dict[str, _Comer] = {}
        recovery.settled = not missed

    def joined(self, slave_id: str, host: str, facts: dict[str, Any]) -> None:
        """Let a slave wait that says it was one before."""
        self._comers[slave_id] = _Comer(str(facts["was"]), host, facts)

    def take(self, slave_id: str, message: Message) -> None:
        """Take a message of any slave."""
        comer = self._comers.get(slave_id)
        if comer is None:
            self._hear(slave_id, message)
        elif comer.holdings is None and message.kind == Kind.INVENTORY:
            comer.holdings = message.body
        else:
            comer.messages.append(message)

    def left(self, slave_id: str) -> None:
        """Notice that a slave is gone."""
        self._comers.pop(slave_id, None)

    def look(self) -> None:
        """Admit those whose systems are back."""
        for slave_id, comer in list(self._comers.items()):
            if comer.holdings is None:
                continue
            if not any(self._recovery.is_coming(entry[1]) for entry in comer.holdings):
                self._receive(slave_id, comer)

    def miss_no_longer(self) -> None:
        """Wait no longer for slaves that have not come."""
        self._missed &= {comer.was for comer in self._comers.values()}
        self._settle_if_all()

    def give_up(self) -> None:
        """Wait no longer for systems either: their tasks are run again."""
        for slave_id, comer in list(self._comers.items()):
            if comer.holdings is not None:
                self._receive(slave_id, comer)
        self._missed.clear()
        self._settle_if_all()

    def _receive(self, slave_id: str, comer: _Comer) -> None:
        del self._comers[slave_id]
        self._admit(slave_id, comer.host, comer.facts)
        holdings = comer.holdings or []
        unwanted = self._recovery.adopt(slave_id, holdings)
        log.info(
            "slave %s, %s before, is back with tasks of the master before: %d, of which %d go on",
            slave_id,
            comer.was.rpartition("/")[2],
            len(holdings),
            len(holdings) - len(unwanted),
        )
        if unwanted:
            self._kill(slave_id, unwanted)
        for message in comer.messages:
            self._hear(slave_id, message)
        self._missed.discard(comer.was)
        self._settle_if_all()

    def _settle_if_all(self) -> None:
        if not self._missed:
            self._recovery.settle()


def unique_name(epoch: int, slave_id: str) -> str:
    """Return the name of a slave that no slave of another master has."""
    return f"{epoch}/{slave_id}"
