"""A system host: the process in which one task system runs.

    master == AF_UNIX stream == host

    START, IN n, BLOB_GET, BLOB_CHUNK --> loop --> HostCore --> OUT n, BLOB_GET, BLOB_CHUNK
    SNAPSHOT_GET n --------------------> SnapshotTaker -- forks a child that pickles --> SNAPSHOT n

Inputs wait in order until the blobs they need are here. The process ends with its master:
EOF on the stream is the order to go.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import signal
import socket
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

from concurro.errors import NoApplicationError, SystemLoadError
from concurro.execution.inside import ProcessDoor, this_process
from concurro.execution.tidying import keep_tidy
from concurro.ids import Outcome, SystemState
from concurro.nodes.host_core import LOADING, HostCore
from concurro.nodes.log_lines import log_for_people
from concurro.nodes.snapshot import SnapshotTaker
from concurro.system import TaskSystem
from concurro.transport.loop import Loop
from concurro.transport.stream import StreamLink
from concurro.wire.blobs import LASTING, BlobStore
from concurro.wire.failures import describe, explain_import
from concurro.wire.importing import importing
from concurro.wire.libraries import blamed, carry
from concurro.wire.messages import MESSAGE_LIMIT, Kind, Message, pack_message, unpack_message
from concurro.wire.payload import Packer
from concurro.wire.segments import SegmentPool
from concurro.wire.transfer import BlobTransfer
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

PIECE_BYTES = 8 * 1024 * 1024
"""Bytes of tasks and partial results in one OUT message; more go ahead in pieces [B]."""

ENTRY_BYTES = 32
"""Of a task or partial result beside its payload, about [B]."""

log = logging.getLogger(__name__)


class Host:
    """Ties a HostCore to its stream."""

    def __init__(
        self,
        loop: Loop,
        stream: socket.socket,
        service: socket.socket,
        trail: Any = None,
        *,
        taker: type[SnapshotTaker] = SnapshotTaker,
    ) -> None:
        self._loop = loop
        self._trail = bytearray(1) if trail is None else trail
        self._link = StreamLink(loop, stream, "master")
        self._link.on_message = self._message
        self._link.on_closed = self._closed
        self._store = BlobStore(pool=SegmentPool())
        self._packer = Packer(self._store, Travelling())
        self._transfer = BlobTransfer(self._store, self._send, loop.request_flush)
        self._transfer.maps = lambda: True
        self._core: HostCore | None = None
        this_process.door = self._door = HostDoor(service, self._packer)
        self._inputs: deque[Message] = deque()
        self._fetching = False
        self._looking = False
        self._snapshots = taker(loop, self._packer, self._send)
        keep_tidy(loop, self._store)

    def _send(self, kind: Kind, body: list[Any], frames: tuple[Any, ...] = ()) -> None:
        self._link.send([pack_message(kind, body), *frames])

    def _closed(self, reason: str) -> None:
        log.debug("host ends: %s", reason)
        self._loop.stop()

    def _message(self, frames: list[Any]) -> None:
        message = unpack_message(frames)
        if message.kind in (Kind.START, Kind.IN, Kind.SNAPSHOT_GET):
            self._inputs.append(message)
            self._next_input()
        elif message.kind == Kind.PUBLISHED and self._core is not None:
            self._core.release_published(message.body[1])
        elif message.kind == Kind.SNAPSHOT_DONE:
            self._snapshots.release(message.body[1])
        elif message.kind == Kind.GOODBYE:
            self._loop.stop()
        else:
            self._transfer.handle(message)

    def _next_input(self) -> None:
        """Apply inputs in order, each once its blobs are here."""
        self._looking = True
        while self._inputs and not self._fetching:
            self._fetching = True
            message = self._inputs[0]
            if message.kind == Kind.START:
                self._transfer.fetch(message.body[3], LASTING, self._ready)
            elif message.kind == Kind.SNAPSHOT_GET:
                self._ready(None)
            else:
                blobs = [blob for entry in message.body[3] if entry[1] == 0 for blob in entry[3] or ()]
                self._transfer.fetch(blobs, ("input", message.body[1]), self._ready)
        self._looking = False

    def _ready(self, error: str | None) -> None:
        """Apply the first input.

        A blob that did not arrive shows when its value is loaded.
        """
        if error is not None:
            log.warning("a part of an input did not arrive: %s", error)
        self._fetching = False
        message = self._inputs.popleft()
        if message.kind == Kind.START:
            self._start(message.body)
        elif self._core is None:
            log.debug("message %d before START was answered", message.kind)
        elif message.kind == Kind.SNAPSHOT_GET:
            self._snapshots.take(self._core, message.body[1])
        else:
            self._put_out(self._core.take_input(message.body))
            self._store.release(("input", message.body[1]))
        # Fetched at once, we are inside the loop of `_next_input`, which this call would not enter twice.
        if not self._looking:
            self._next_input()

    def _start(self, body: list[Any]) -> None:
        number, system_id, payload, blobs, seed, facts = body[:6]
        self._trail[0] = LOADING
        n = facts.get("snapshot")
        try:
            with importing("the code of a task system"):
                state = self._packer.loads(payload, blobs)
            system = state if n is None else state["system"]
            if not isinstance(system, TaskSystem):
                message = f"what was submitted is no task system but a {type(system).__qualname__}"
                raise SystemLoadError(message)  # noqa: TRY301 - one way out for every fault of loading
            view = facts.get("view")
            core = HostCore(number, system, system_id, self._packer, seed=seed, view=view, trail=self._trail)
            restored = None if n is None else core.thaw(n, state)
        except BaseException as fault:  # noqa: BLE001 - loading runs user code, which may do anything
            modules = self._packer.modules_of(payload, blobs) | blamed(fault)
            if isinstance(fault, ImportError) and not isinstance(fault, SystemLoadError):
                fault = explain_import(fault, None)
            carry(fault, modules)
            failure = describe(fault, dumps=self._packer.dumps_whole, loads=self._packer.loads_whole)
            end = [SystemState.FAILED.value, [int(Outcome.RAISED), [*failure, "loading"], None]]
            self._send(Kind.OUT, [number, n or 0, 0, [], [], [], [], None, end, {}])
            return
        system.system_id = self._door.own_system = system_id
        self._core = core
        self._door.let_in()
        self._trail[0] = 0
        self._put_out(core.start(facts.get("time", 0.0)) if restored is None else restored)

    def _put_out(self, body: list[Any]) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # a callback closed or replaced it
                stream.flush()
        try:
            packed = [_pack_out(piece) for piece in _pieces(body)]
        except (OverflowError, TypeError, ValueError, RecursionError) as error:
            if self._core is None:
                raise
            packed = [_pack_out(self._core.fail(body[1], error))]
        for frame in packed:
            self._link.send([frame])


class HostDoor(ProcessDoor):
    """The door of a system's callbacks.

    Args:
        stream: The channel to the master.
        packer: Of the host.
    """

    opens = True

    def __init__(self, stream: socket.socket, packer: Packer) -> None:
        super().__init__(packer, "callback")
        self._stream = stream

    @property
    def whose(self) -> str:  # type: ignore[override]  # known once the system is
        """The system."""
        return f"system {self.own_system}"

    def check(self) -> None:
        """Refuse what is no callback of this process.

        Raises:
            NoApplicationError: The system is not loaded yet, or a callback forked this process.
        """
        super().check()
        if not self.own_system:
            message = "current_application() was called while the code of the system was loaded; call it in a callback"
            raise NoApplicationError(message)

    def open_link(self, loop: Loop) -> StreamLink:
        """Return the channel as a link."""
        return StreamLink(loop, self._stream, "the master")


def _pack_out(body: list[Any]) -> bytes:
    packed = pack_message(Kind.OUT, body)
    if len(packed) > MESSAGE_LIMIT:
        message = f"{len(packed)} B in one message, the limit is {MESSAGE_LIMIT} B"
        raise ValueError(message)
    return packed


def _pieces(body: list[Any]) -> Iterator[list[Any]]:
    """Split an OUT too large for one message; all but the last say `more`."""
    number, n, first, classes, tasks = body[:5]
    piece: list[Any] = []
    size = 0
    for entry in tasks:
        piece.append(entry)
        size += ENTRY_BYTES + len(entry[1])
        if size > PIECE_BYTES:
            yield [number, n, first, classes, piece, [], [], None, None, {"more": True}]
            first, classes, piece, size = first + len(piece), [], [], 0
    cancelled, publications = body[5:7]
    published: list[Any] = []
    for publication in publications:
        published.append(publication)
        size += ENTRY_BYTES + len(publication[0])
        if size > PIECE_BYTES:
            yield [number, n, first, classes, piece, [], published, None, None, {"more": True}]
            first, classes, piece, published, size = first + len(piece), [], [], [], 0
    yield [number, n, first, classes, piece, cancelled, published, *body[7:]]


def _write_to(output: int, errors: int) -> None:
    for fd, number in ((output, 1), (errors, 2)):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdout, sys.stderr = (
        open(number, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        for number in (1, 2)  # they live as long as the process
    )
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]  # as at start-up


def _leave_to_the_master(number: int, frame: types.FrameType | None) -> None:
    """Stay: the end of the master is the end of its hosts.

    What a callback executes does not inherit that.
    """


def run(channel: int, output: int, errors: int, service: int, trail: int) -> NoReturn:
    """Be a host, in a process that was just started for it.

    Args:
        channel: The stream to the master.
        output: Becomes its standard output: the master reads it.
        errors: Becomes its standard error, likewise.
        service: The way to the master for what its callbacks submit.
        trail: A byte of memory that says in which callback we are.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A stopped service ends all its processes; the system must not fail before its master ends.
    signal.signal(signal.SIGTERM, _leave_to_the_master)
    _write_to(output, errors)
    log_for_people()  # who shows it marks it with the name of the system
    logging.getLogger("concurro.system").setLevel(logging.INFO)  # `master.log`: what a system says is wanted
    for fd in (channel, service):
        os.set_inheritable(fd, False)  # noqa: FBT003 - the standard library's signature
    loop = Loop()
    with os.fdopen(trail, "r+b", buffering=0) as page:
        byte = mmap.mmap(page.fileno(), 1)
    Host(loop, socket.socket(fileno=channel), socket.socket(fileno=service), byte)
    loop.run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def main() -> None:
    """Run a host on the descriptors 3 to 7."""
    run(*range(3, 8))


if __name__ == "__main__":
    main()
