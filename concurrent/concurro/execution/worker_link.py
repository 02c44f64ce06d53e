"""The agent's end of one worker: its channel, tokens and output."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.execution.native_trace import NativeTrace
from concurro.execution.native_writes import ReadCount
from concurro.execution.worker import BLOB_PIECE, Note
from concurro.execution.worker_output import ProcessOutput
from concurro.transport.stream import StreamLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.execution.slave_records import PostChunk
    from concurro.transport.loop import Loop
    from concurro.wire.blobs import BlobStore


class WorkerLink:
    """Posts to one worker and hears from it. Loop thread only.

    Args:
        loop: The agent's loop.
        worker_id: Its id.
        on_output: Called after the worker wrote something.

    Attributes:
        child_fds: What the worker's process gets, in the order of `run_worker`; taken over by who forks it.
        closed: Whether the channel has ended: nothing more will come.
        cause: How the process ended, in words; None while it lives.
        fault: Why it was killed, behind the cause; empty when there is nothing to say.
        killed: Whether it was killed by its agent.
        trace: Where native code leaves its last trace.
        pid: Its process id; 0 before it runs.
        sent: Digests of blobs that it got.
        parts: Blobs of which a part has arrived from it.
        output: What it prints.
        service: What its tasks submit.
        speaker: Lease and name of the task that said that it prints; None for none.
        hosts_services: Whether it is for services, not for tasks.
    """

    hosts_services = False

    def __init__(self, loop: Loop, worker_id: int, on_output: Callable[[WorkerLink], None]) -> None:
        self.id = worker_id
        self.pid = 0
        self.cause: str | None = None
        self.fault = ""
        self.killed = False
        self.closed = False
        self.sent: set[bytes] = set()
        self.parts: dict[bytes, bytearray] = {}
        self.speaker: tuple[int, str] | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._tokens = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        output, output_end = os.pipe2(os.O_CLOEXEC)
        errors, errors_end = os.pipe2(os.O_CLOEXEC)
        self.trace = NativeTrace()
        service, service_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.child_fds = [theirs.detach(), os.dup(self._tokens), output_end, errors_end]
        self._reads = ReadCount()
        self.child_fds += [self.trace.end_for_worker(), service_end.detach(), self._reads.end_for_worker()]
        self.output = ProcessOutput(loop, output, errors, lambda: on_output(self), self._reads.add)
        self.link = StreamLink(loop, ours, f"worker {worker_id}")
        self.service = StreamLink(loop, service, f"worker {worker_id}")

    def send(self, note: Note, *body: Any, frame: Any = None) -> None:
        """Queue a message to the worker."""
        packed = msgpack.packb((note, *body))
        self.link.send([packed] if frame is None else [packed, frame])

    def post(self, chunk: PostChunk, store: BlobStore) -> None:
        """Post a chunk: blobs that it has not seen, then tokens and entries."""
        announcements = [code.announcement for code in chunk.task_classes]
        for announcement in announcements:
            if announcement[4]:
                self.send_blobs(announcement[4], store)
        for entry in chunk.entries:
            if entry[6]:
                self.send_blobs(entry[6], store)
        os.eventfd_write(self._tokens, len(chunk.entries))
        self.send(Note.CHUNK, announcements, chunk.entries, chunk.devices, chunk.timed, chunk.joined)

    def send_blobs(self, blobs: list[Any], store: BlobStore) -> None:
        """Send blobs once; the worker asks again for what it had to drop."""
        for _, digest, _ in blobs:
            if digest not in self.sent:
                self.send_blob(digest, store)

    def send_blob(self, digest: bytes, store: BlobStore) -> None:
        """Send one blob: a descriptor of its pages, or its bytes."""
        descriptor = store.descriptor(digest)
        if descriptor is None:
            self.send_pieces(digest, store)
        else:
            self.sent.add(digest)
            self.send(Note.MAPPED, digest, store.size_of(digest), frame=descriptor)

    def send_pieces(self, digest: bytes, store: BlobStore) -> None:
        """Send the bytes of one blob in pieces."""
        self.sent.add(digest)
        view = store.get(digest)
        for offset in range(0, max(len(view), 1), BLOB_PIECE):
            self.send(Note.BLOB, digest, len(view), offset, frame=view[offset : offset + BLOB_PIECE])

    def shut(self) -> None:
        """Let the worker end: it reads the end of its channel when it is idle."""
        self.link.close()
        self.closed = True

    def take_tokens(self) -> int:
        """Take back every token that is left; return how many."""
        count = 0
        try:
            while True:
                count += os.eventfd_read(self._tokens)
        except BlockingIOError:
            return count

    def close(self) -> None:
        """Release every descriptor. Idempotent."""
        self.link.close()
        self.service.close()
        self.output.close()
        self._reads.close()
        self.trace.close()
        if self._tokens >= 0:
            os.close(self._tokens)
            self._tokens = -1
