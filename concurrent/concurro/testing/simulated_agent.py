"""The real agent of a slave, and what it hears of its results.

A crash counts once the master has heard of it, and it has when it acknowledges it. What it kills
instead, it does not know any more: nobody can count that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.execution.agent import SlaveAgent
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from concurro.testing.simulated_workers import Witness
    from concurro.wire.messages import Message


class ObservedAgent(SlaveAgent):
    """Says what its master acknowledges and kills; else as any agent."""

    def __init__(self, loop: Any, witness: Witness, **more: Any) -> None:
        super().__init__(loop, **more)
        self._witness = witness

    def handle(self, message: Message) -> None:
        """Take a message of the master."""
        if message.kind == Kind.KILL:
            self._witness.on_killed(message.body[0])
        elif message.kind == Kind.RESULT_ACK:
            self._witness.on_acknowledged(message.body[0])
        super().handle(message)
