"""A peer without manners: says to a master whatever a test wants said."""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from typing import TYPE_CHECKING, Any, Self

from concurro.transport.framing import Decoder, frame_header, pack_single
from concurro.wire.messages import Kind, Message, pack_message, unpack_message
from concurro.wire.session import OF_A_CONNECTION
from tests.support.messages import hello_body

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0


class RawPeer:
    """A connection to the master at an `ipc://` address."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(url.removeprefix("ipc://"))
        self._decoder = Decoder()
        self._seq = 0
        self.closed = False
        self.heard: list[Message] = []

    def __enter__(self) -> Self:
        """Be a context manager."""
        return self

    def __exit__(self, *fault: object) -> None:
        """Hang up."""
        self._socket.close()

    def hello(self, role: str, **facts: Any) -> Self:
        """Introduce itself, and wait for the welcome."""
        self.send(Kind.HELLO, hello_body(role, **facts))
        self.wait_for(lambda message: message.kind == Kind.WELCOME)
        return self

    def open_plain_tasks(self) -> int:
        """Open a system of plain tasks; return its number."""
        self.send(Kind.OPEN, [0, f"tasks of {uuid.uuid4()}", "tasks"])
        answer = self.wait_for(lambda message: message.kind == Kind.SUBMITTED)
        return -1 if answer is None else int(answer.body[1])

    def send(self, kind: int, body: list[Any], *frames: bytes) -> None:
        """Send a message under the next number; a master that hung up hears nothing."""
        numbered = kind not in OF_A_CONNECTION
        self._seq += numbered
        first = pack_message(kind, body, self._seq if numbered else 0)
        packed = pack_single(first) if not frames else b"".join([frame_header([first, *frames]), first, *frames])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(packed)

    def say(self, frame: bytes) -> None:
        """Send a message of one frame as it is."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(pack_single(frame))

    def wait_for(self, wanted: Callable[[Message], bool]) -> Message | None:
        """Return the next message that is wanted, or None when the master hangs up."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for index, message in enumerate(self.heard):
                if wanted(message):
                    del self.heard[: index + 1]
                    return message
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                chunk = self._socket.recv(1 << 16)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                self.closed = True
                return None
            self.heard += [unpack_message(list(frames)) for frames in self._decoder.feed(chunk)]

    def wait_until_closed(self) -> None:
        """Wait for the master to hang up."""
        self.wait_for(lambda message: False)

    def status(self) -> dict[str, Any] | None:
        """Ask for the state of the master; None when it hangs up."""
        self.send(Kind.REQUEST, [self._seq, "status", []])
        token = self._seq - 1
        reply = self.wait_for(lambda message: message.kind == Kind.REPLY and message.body[0] == token)
        return None if reply is None else reply.body[2]
