"""A stand-in for the master of one agent, in the test's own loop."""

from __future__ import annotations

from concurro.transport.loop import Loop
from concurro.wire.blobs import BlobStore
from concurro.wire.messages import Kind, Message
from concurro.wire.payload import Packer
from concurro.wire.transfer import BlobTransfer
from concurro.wire.travelling import Travelling
from tests.support.waiting import wait_until
from tests.system.execution.tasks import Call

SYSTEM = 7


class AgentDriver:
    """Leases calls to an agent and keeps what it says."""

    def __init__(self, make_agent):
        self.loop = Loop()
        self.blobs = BlobStore()
        self.packer = Packer(self.blobs, Travelling())
        self.results = {}
        self.returned, self.started, self.states = [], [], []
        self.output = []
        self.leases = 0
        self.outbox = []
        self.agent = make_agent(self.loop, self._hear)
        self.transfer = BlobTransfer(self.blobs, lambda kind, body, frames: self.outbox.append((kind, body, frames)))
        self.agent.start()
        payload, blobs = self.packer.dump_task_class(Call)
        self.tell(Kind.CLASSES, [[SYSTEM, 0, "Call", None, {}, payload, blobs, "job"]])

    def close(self):
        """End the agent and its loop."""
        self.agent.stop()
        self.loop.close()

    def tell(self, kind, body, frames=()):
        """Send a message to the agent."""
        self.agent.handle(Message(kind, 0, 0, body, tuple(frames)))

    def lease(self, function, *arguments):
        """Lease a call; return the lease."""
        self.leases += 1
        payload, blobs = self.packer.dump_task(Call(function, *arguments), self.leases)
        self.tell(Kind.LEASES, [[self.leases, SYSTEM, 0, self.leases, 1, payload, blobs]])
        return self.leases

    def turn_until(self, predicate, what):
        """Turn the loop until something holds."""

        def turned():
            self.loop.turn(0.05)
            outbox, self.outbox = self.outbox, []
            for message in outbox:
                self.tell(*message)
            return predicate()

        wait_until(turned, 30, what)

    def result(self, lease):
        """Return outcome and value of a lease, its blobs fetched."""
        self.turn_until(lambda: lease in self.results, f"the result of lease {lease}")
        _, outcome, value, blobs, _ = self.results[lease]
        if blobs:
            fetched = []
            self.transfer.fetch(blobs, "test", fetched.append)
            self.turn_until(lambda: fetched, "its blobs")
            assert fetched == [None]
        return outcome, self.packer.loads(value, blobs) if outcome == 0 else value

    def _hear(self, kind, body, frames=()):
        if kind == Kind.RESULTS:
            self.results.update((result[0], result) for result in body)
        elif kind == Kind.RETURNED:
            self.returned += body[0]
        elif kind == Kind.STARTED:
            self.started += body[0]
        elif kind == Kind.SLAVE_STATE:
            self.states.append(body)
        elif kind == Kind.OUTPUT:
            self.output += body
        else:
            self.transfer.handle(Message(kind, 0, 0, body, tuple(frames)))
