"""The real agent of a slave, and what it forgets unheard.

A crash counts once the master has heard of it. A slave that was given up, or whose leases a
restarted master does not want, drops what it knows: then nobody can count it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.execution.agent import SlaveAgent
from concurro.ids import Outcome
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from concurro.testing.simulated_workers import Witness
    from concurro.wire.messages import Message


class ObservedAgent(SlaveAgent):
    """Says which crashes it forgets; else as any agent."""

    def __init__(self, loop: Any, witness: Witness, **more: Any) -> None:
        super().__init__(loop, **more)
        self._witness = witness

    def abandon(self) -> None:
        """Drop every lease and result."""
        self._witness.on_unheard(unheard_crashes(self))
        super().abandon()

    def handle(self, message: Message) -> None:
        """Take a message of the master."""
        if message.kind == Kind.KILL:
            self._witness.on_unheard(unheard_crashes(self) & set(message.body[0]))
        super().handle(message)


def unheard_crashes(agent: SlaveAgent) -> set[int]:
    """Return the leases of crashes that the master may not have heard of."""
    outbox = agent.core._outbox  # noqa: SLF001 - what is not acknowledged
    results = [*outbox.kept.values(), *outbox.results]
    return {result[0] for result in results if result[1] == Outcome.LOST}
