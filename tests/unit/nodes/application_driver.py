"""Drives an application's core: what it sends, and a master to hear from."""

from __future__ import annotations

import itertools
from concurrent.futures import Future

from concurro.nodes.application_core import ApplicationCore
from concurro.nodes.control import Control
from concurro.nodes.handle import SystemHandle
from concurro.wire.blobs import BlobStore
from concurro.wire.messages import Kind, Message
from concurro.wire.payload import Packer
from concurro.wire.transfer import BlobTransfer
from concurro.wire.travelling import Travelling

LARGE = 200_000


class Application(Control):
    """A core, what it sent, and a packer on the other side."""

    def __init__(self, credit=100):
        self.sent = []
        self.store = BlobStore()
        self.packer = Packer(self.store, Travelling())
        self.far = Packer(BlobStore(), Travelling())
        ids = itertools.count(1)
        self.core = ApplicationCore(self.packer, self.send, "alice", lambda: f"plain-{next(ids)}")
        self.core.use_transfer(BlobTransfer(self.store, lambda kind, body, frames: self.send(kind, body)))
        self.credit = credit
        self.core.joined(credit, 1 << 26)

    def send(self, kind, body):
        self.sent.append((kind, body))

    def take(self, kind=None):
        taken, self.sent = self.sent, []
        return taken if kind is None else [body for one, body in taken if one == kind]

    def hear(self, kind, *body):
        self.core.handle(Message(kind, 1, 0, list(body)))

    def chunks(self):
        """Serve what was asked for from the far side."""
        for digest, size, offset, length in self.take(Kind.BLOB_GET):
            chunk = self.far.blobs.get(digest)[offset : offset + length]
            self.core.handle(Message(Kind.BLOB_CHUNK, 1, 0, [digest, size, offset], (chunk,)))

    # Systems

    def submit(self, system_id="job"):
        handle = SystemHandle(system_id, "Job", self)
        self.core.submit(handle, [system_id, "Job", b"pickled", None, {}])
        return handle

    def submitted(self, system_id="job"):
        """Submit a system and let the master accept it as number 1."""
        handle = self.submit(system_id)
        (body,) = self.take(Kind.SUBMIT)
        self.hear(Kind.SUBMITTED, body[0], 1, system_id, None, None)
        return handle

    def end(self, value=None, error=None, state="complete", number=1, system_id="job"):
        payload, blobs = self.far.dumps((value, error))
        self.hear(Kind.ENDED, number, state, [0, payload, blobs], system_id)

    def event(self, *values, number=1, progress=None, counts=None, event=1):
        published = [list(self.far.dumps(value)) for value in values]
        self.hear(Kind.EVENT, number, published, progress, counts, 1.0, [], event)

    def cancel_system(self, system_id):
        self.core.cancel_system(system_id)

    def request(self, name, arguments):
        future = Future()
        self.core.request(future, name, arguments)
        return future

    # Plain tasks

    def push(self, task):
        return self.core.plain.push(self, task)

    def open(self):
        """Let the master open the implicit system as number 7."""
        self.core.flush_plain()
        (body,) = self.take(Kind.OPEN)
        self.hear(Kind.SUBMITTED, body[0], 7, body[1], None, None)
        self.core.flush_plain()

    def done(self, n, *numbers):
        entries = [[number, 0, *self.far.dumps(number * 10), "north", 1, 1] for number in numbers]
        self.hear(Kind.IN, 7, n, 0.0, entries, 0, 0, None, None)
        self.core.flush_plain()
