"""Links over AF_UNIX streams: `ipc://` and every parent-child channel.

EOF is death, SO_PEERCRED is the identity, and no I/O thread stands in between. A descriptor
among the frames of a message goes along with its first bytes.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import stat
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from concurro.errors import AddressError, AuthenticationError, ProtocolError
from concurro.transport.framing import Decoder, frame_header, pack_single
from concurro.transport.link import SAME_USER, Frames, ignore_closed, ignore_message
from concurro.wire.segments import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.transport.loop import Loop

log = logging.getLogger(__name__)

PATH_LIMIT = 100
"""Longest socket path [B]; the kernel's limit is 107, and 103 elsewhere."""

_READ_SIZE = 256 * 1024
_READS_PER_TURN = 4
_JOIN_LIMIT = 64 * 1024
_IOV_LIMIT = 512
_BUFFER_SIZE = 1024 * 1024
_REST = 0.25
_DESCRIPTORS = socket.CMSG_SPACE(4 * struct.calcsize("i"))  # we send one at a time
_MOST_UNCLAIMED = 16
_CLOSE_ON_EXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))  # plain numbers: operators of enum members are calls
_CUT_OFF = int(socket.MSG_CTRUNC)


class StreamLink:
    """A `Link` over a connected AF_UNIX stream socket."""

    ordered = True
    passes_descriptors = True

    def __init__(self, loop: Loop, stream: socket.socket, peer: str = "") -> None:
        stream.setblocking(False)  # noqa: FBT003 - the standard library's signature
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            stream.setsockopt(socket.SOL_SOCKET, option, _BUFFER_SIZE)
        self.peer = peer
        self.identity = SAME_USER
        self.fault: Exception | None = None
        self.on_message: Callable[[Frames], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self._loop = loop
        self._stream: socket.socket | None = stream
        self._fd = stream.fileno()
        self._decoder = Decoder()
        self._queue: deque[Any] = deque()
        self._backlog = 0
        self._received = 0
        self._accompanied = 0
        self._writing = False
        self._flush_requested = False
        loop.watch(self._fd, self._readable, self._writable)

    @property
    def closed(self) -> bool:
        """Whether either side has closed it."""
        return self._stream is None

    def peer_uid(self) -> int:
        """Return the user id of the process at the other end."""
        assert self._stream is not None  # noqa: S101 - the owner asks while the link lives
        return user_of(self._stream)

    def send(self, frames: Sequence[Any]) -> None:
        """Queue a message; it leaves with the loop's next flush."""
        if self._stream is None:
            return
        if not self._flush_requested:
            self._flush_requested = True
            self._loop.request_flush(self._flush)
        if len(frames) == 1:
            packed = pack_single(frames[0])
            self._queue.append(packed)
            self._backlog += len(packed)
            return
        descriptor = next((frame for frame in frames if isinstance(frame, Descriptor)), None)
        if descriptor is not None and descriptor.fileno() < 0:  # lost on its way to us, and so for who is next
            self.send([frame for frame in frames if frame is not descriptor])
            return
        header = frame_header(frames)
        if descriptor is not None:
            self._accompanied += 1
            self._queue.append(_Accompanied(header, descriptor))
        else:
            self._queue.append(header)
        self._backlog += len(header)
        for frame in frames:
            if isinstance(frame, Descriptor):
                continue
            view = memoryview(frame).cast("B")
            if view.nbytes:
                self._queue.append(view)
                self._backlog += view.nbytes

    def backlog(self) -> int:
        """Return the bytes that were queued and not taken by the kernel yet [B]."""
        return self._backlog

    def pause(self, paused: bool) -> None:  # noqa: FBT001 - a switch, and its value is all it takes
        """Read no further, or go on; the other end then waits."""
        if self._stream is not None:
            self._loop.pause_read(self._fd, paused)

    def drain(self) -> None:
        """Deliver what the kernel has for us now.

        The other end may be dead already.
        """
        before = -1
        while self._stream is not None and before != self._received:
            before = self._received
            self._readable()

    def close(self) -> None:
        """Send what fits at once, and close. Idempotent."""
        if self._stream is None:
            return
        self.on_message, self.on_closed = ignore_message, ignore_closed  # writing may find the other end gone
        self._write()
        self._release()

    def _flush(self) -> None:
        self._flush_requested = False
        if self._queue and not self._writing:
            self._write()

    def _writable(self) -> None:
        self._write()

    def _write(self) -> None:
        while self._queue and self._stream is not None:
            batch = self._take_batch()
            try:
                if self._accompanied and isinstance(batch[0], _Accompanied):
                    sent = self._send_accompanied(self._stream, batch[0])
                else:
                    sent = self._stream.send(batch[0]) if len(batch) == 1 else self._stream.sendmsg(batch)
            except BlockingIOError:
                self._queue.extendleft(reversed(batch))
                break
            except OSError as error:
                self._queue.extendleft(reversed(batch))
                if self._loop.lent:
                    self._loop.soon(self._write)  # what follows from it is for the loop's own thread
                    return
                self.drain()  # what it sent before it went counts
                self._lost(f"writing failed: {error.strerror}")
                return
            self._backlog -= sent
            if len(batch) > 1 or sent < len(batch[0]):
                self._put_back(batch, sent)
        wanted = bool(self._queue)
        if self._stream is not None and wanted != self._writing:
            self._writing = wanted
            self._loop.want_write(self._fd, wanted)

    def _take_batch(self) -> list[Any]:
        """Take buffers for one system call; many small ones become one."""
        queue = self._queue
        if len(queue) == 1 or (self._accompanied and isinstance(queue[0], _Accompanied)):
            return [queue.popleft()]
        batch: list[Any] = []
        size = 0
        while queue and len(batch) < _IOV_LIMIT and size < _BUFFER_SIZE:
            if self._accompanied and isinstance(queue[0], _Accompanied):
                break
            size += len(queue[0])
            batch.append(queue.popleft())
        if size <= _JOIN_LIMIT:
            return [b"".join(batch)]
        return batch

    def _send_accompanied(self, stream: socket.socket, first: _Accompanied) -> int:
        """Send the first bytes of a message with its descriptor.

        Raises:
            BlockingIOError: There is no room, or too many descriptors are on their way.
        """
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", first.descriptor.fileno()))]
        try:
            sent = stream.sendmsg([first.header], rights)
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                raise BlockingIOError(errno.EAGAIN, error.strerror) from error
            raise
        self._accompanied -= 1
        return sent

    def _put_back(self, batch: list[Any], sent: int) -> None:
        for index, buffer in enumerate(batch):
            if sent < len(buffer):
                if isinstance(buffer, _Accompanied):
                    buffer = buffer.header  # noqa: PLW2901 - the descriptor has left
                self._queue.extendleft(reversed([memoryview(buffer)[sent:], *batch[index + 1 :]]))
                return
            sent -= len(buffer)

    def _readable(self) -> None:
        for _ in range(_READS_PER_TURN):
            if self._stream is None:
                return
            try:
                chunk, beside, flags, _ = self._stream.recvmsg(_READ_SIZE, _DESCRIPTORS, _CLOSE_ON_EXEC)
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(f"reading failed: {error.strerror}")
                return
            if beside or flags & _CUT_OFF:
                self._decoder.descriptors += _received(beside, flags)
            if not chunk:
                self._lost("the other end closed the connection")
                return
            self._received += len(chunk)
            self._deliver(chunk)
            if len(chunk) < _READ_SIZE:
                return

    def _deliver(self, chunk: bytes) -> None:
        """Hand on the messages that these bytes complete, until the owner closes."""
        try:
            messages = self._decoder.feed(chunk)
        except ProtocolError as error:
            self._lost(f"not our protocol: {error}")
            return
        if len(self._decoder.descriptors) > _MOST_UNCLAIMED:
            self._lost("not our protocol: descriptors come without messages that name them")
            return
        for frames in messages:
            self.on_message(frames)
            if self._stream is None:
                return

    def _lost(self, reason: str) -> None:
        if self._stream is not None:
            self._release()
            self.on_closed(reason)

    def _release(self) -> None:
        stream, self._stream = self._stream, None
        self._loop.unwatch(self._fd)
        self._queue.clear()
        self._decoder.descriptors.clear()
        self._backlog = 0
        if stream is not None:
            stream.close()


class _Accompanied:
    """The first bytes of a message, and the descriptor that goes along."""

    __slots__ = ("descriptor", "header")

    def __init__(self, header: bytes, descriptor: Descriptor) -> None:
        self.header = header
        self.descriptor = descriptor

    def __len__(self) -> int:
        return len(self.header)


def _received(beside: list[tuple[int, int, bytes]], flags: int) -> list[Descriptor]:
    """Return the descriptors that came with some bytes.

    One for which this process had no number left was closed by the kernel; it leaves a gap.
    """
    numbers: list[int] = []
    for level, kind, content in beside:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            size = struct.calcsize("i")
            numbers += struct.unpack(f"{len(content) // size}i", content[: len(content) // size * size])
    if flags & _CUT_OFF:
        numbers.append(-1)
    return [Descriptor(number) for number in numbers]


class StreamListener:
    """Accepts AF_UNIX connections at a path, from the same user only."""

    def __init__(self, loop: Loop, path: str, on_link: Callable[[StreamLink], None]) -> None:
        """Bind and listen.

        Raises:
            AddressError: The path is too long, taken by a live server, or not writable.
        """
        self._loop = loop
        self._path = path
        self._on_link = on_link
        check_path(path)
        remove_stale(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101 - a str path all the way
            self._socket.listen(128)
        except OSError as error:
            self._socket.close()
            message = f"cannot listen on ipc://{path}: {error.strerror}"
            raise AddressError(message) from error
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._inode = os.stat(path).st_ino  # noqa: PTH116
        loop.watch(self._socket.fileno(), self._acceptable)

    def close(self) -> None:
        """Stop listening and remove the path, if it is still ours. Idempotent."""
        if self._socket.fileno() < 0:
            return
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:  # noqa: PTH116
                os.unlink(self._path)  # noqa: PTH108

    def _acceptable(self) -> None:
        while True:
            try:
                stream, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._rest()
                return
            link = StreamLink(self._loop, stream, f"ipc://{self._path}")
            if link.peer_uid() != os.geteuid():
                log.warning("refused a connection of user %d on %s", link.peer_uid(), self._path)
                link.close()
                continue
            self._on_link(link)

    def _rest(self) -> None:
        """Accept nobody for a while.

        Who waits stays readable, and would keep the loop busy.
        """
        log.warning("cannot accept a connection on %s: out of file descriptors", self._path)
        self._loop.unwatch(self._socket.fileno())
        self._loop.after(_REST, self._go_on)

    def _go_on(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno(), self._acceptable)


def check_path(path: str) -> None:
    """Refuse a path that the kernel would cut.

    Raises:
        AddressError: It is longer than 100 bytes.
    """
    size = len(os.fsencode(path))
    if size > PATH_LIMIT:
        message = f"the path of ipc://{path} has {size} bytes, {PATH_LIMIT} are allowed; choose a shorter folder"
        raise AddressError(message)


def remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more.

    Raises:
        AddressError: Somebody does listen, or the path is something else.
    """
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        message = f"cannot listen on ipc://{path}: the path exists and is not a socket"
        raise AddressError(message)
    probe = unconnected()
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)  # noqa: PTH108
    except BlockingIOError as error:
        message = f"cannot listen on ipc://{path}: another process listens there already, and accepts nobody"
        raise AddressError(message) from error
    except OSError as error:
        message = f"cannot listen on ipc://{path}: the path exists and is not ours ({error.strerror})"
        raise AddressError(message) from error
    else:
        message = f"cannot listen on ipc://{path}: another process listens there already"
        raise AddressError(message)
    finally:
        probe.close()


def user_of(stream: socket.socket) -> int:
    """Return the user id of the process at the other end."""
    raw = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", raw)[1])


def unconnected() -> socket.socket:
    """Return a socket that never waits.

    A listener that is stopped would keep us for ever.
    """
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)


def connect_stream(loop: Loop, path: str) -> StreamLink:
    """Return a link to the listener at `path`.

    Raises:
        AuthenticationError: Another user listens there.
        OSError: Nobody listens there.
    """
    check_path(path)
    stream = unconnected()
    try:
        stream.connect(path)
    except OSError:
        stream.close()
        raise
    link = StreamLink(loop, stream, f"ipc://{path}")
    uid = link.peer_uid()
    if uid != os.geteuid():
        link.close()
        message = f"user {uid} listens on ipc://{path}, and not user {os.geteuid()}, as whom this process runs"
        raise AuthenticationError(message, "master")
    return link


class Channel:
    """The blocking end of a parent-child stream."""

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(True)  # noqa: FBT003 - the standard library's signature
        self._stream = stream
        self._decoder = Decoder()
        self._ready: deque[list[Any]] = deque()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._stream.fileno()

    def receive(self) -> list[Any] | None:
        """Wait for the next message; None at the end of the stream.

        Raises:
            ProtocolError: The bytes are no frames of ours.
            OSError: The descriptor was closed.
        """
        while not self._ready:
            chunk, beside, flags, _ = self._stream.recvmsg(_READ_SIZE, _DESCRIPTORS, _CLOSE_ON_EXEC)
            if not chunk:
                return None
            if beside or flags & _CUT_OFF:
                self._decoder.descriptors += _received(beside, flags)
            self._ready.extend(self._decoder.feed(chunk))
        return self._ready.popleft()

    def pending(self) -> bool:
        """Say whether `receive` would return at once from what was read already."""
        return bool(self._ready)

    def wait(self, timeout: float) -> bool:
        """Wait until something can be read, or `timeout` [s].

        Return whether it can.
        """
        if self._ready:
            return True
        poller = select.poll()
        poller.register(self._stream, select.POLLIN)
        return bool(poller.poll(timeout * 1000))

    def send(self, frames: Sequence[Any]) -> None:
        """Send a message; wait until the kernel has it.

        Raises:
            OSError: The other end is gone.
        """
        if len(frames) == 1:
            self._stream.sendall(pack_single(frames[0]))
            return
        header = frame_header(frames)
        descriptor = next((frame for frame in frames if isinstance(frame, Descriptor)), None)
        if descriptor is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor.fileno()))]
            header = header[self._stream.sendmsg([header], rights) :]
        self._stream.sendall(header)
        for frame in frames:
            if frame is not descriptor:
                self._stream.sendall(frame)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()
