"""The master's side of system hosts: start, speak, end. Loop thread only."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.execution.launching import describe_status
from concurro.execution.native_trace import unnamed_file
from concurro.execution.output_flow import PERIOD
from concurro.execution.worker_output import ProcessOutput
from concurro.nodes.host_core import CALLBACKS
from concurro.transport.stream import StreamLink
from concurro.wire.messages import Kind, Message, pack_message, unpack_message
from concurro.wire.schema import Sender, check_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.execution.launching import Launcher
    from concurro.transport.loop import Loop

log = logging.getLogger(__name__)

HOST_MODULE = "concurro.nodes.host"

HOST_CHILD = 1 << 32
"""Child ids of hosts start here, so that they never meet those of workers."""


class HostProcesses:
    """One process per running system.

    Args:
        loop: The master's loop.
        launcher: Executes them.
        on_message: Called with the number of the system and each message of its host.
        on_started: Called with the number of the system and the process id.
        on_lost: Called with the number of the system and a reason, when a host ended by itself.
    """

    def __init__(
        self,
        loop: Loop,
        launcher: Launcher,
        on_message: Callable[[int, Message], None],
        on_started: Callable[[int, int], None],
        on_lost: Callable[[int, str], None],
    ) -> None:
        self._loop = loop
        self._launcher = launcher
        self._on_message = on_message
        self._on_started = on_started
        self._on_lost = on_lost
        self._links: dict[int, StreamLink] = {}
        self._outputs: dict[int, ProcessOutput] = {}
        self._trails: dict[int, int] = {}  # a byte of memory that each host shares with us
        self._looking = False
        self._child_ids = itertools.count(HOST_CHILD)
        self._children: dict[int, int] = {}  # system number to the id of its latest host
        self._numbers: dict[int, int] = {}  # and back; a system that is run again has several, one after the other
        self.on_service: Callable[[int, StreamLink], None] = lambda number, link: link.close()  # noqa: ARG005
        self.on_output: Callable[[int, list[list[Any]]], None] = lambda number, entries: None  # noqa: ARG005

    def start(self, number: int) -> None:
        """Start the host of a system; if that cannot be, tell of its loss."""
        try:
            (ours, theirs), (service, service_end), (output, output_end), (errors, errors_end), trails = _channels()
        except OSError as error:
            self._on_lost(number, f"it could not be started, for want of file descriptors: {error.strerror}")
            return
        self._outputs[number] = ProcessOutput(self._loop, output, errors, self._look_soon)
        link = self._links[number] = StreamLink(self._loop, socket.socket(fileno=ours), "host")
        link.on_message = lambda frames: self._take(number, frames)
        callbacks = StreamLink(self._loop, socket.socket(fileno=service), f"the callbacks of system {number}")
        self.on_service(number, callbacks)
        self._trails[number], trail = trails
        fds = [theirs, output_end, errors_end, service_end, trail]  # as `host.run` takes them
        child_id = self._children[number] = next(self._child_ids)
        self._numbers[child_id] = number
        self._launcher.start_host(child_id, HOST_MODULE, fds)

    def send(self, number: int, kind: Kind, body: list[Any], frames: Sequence[Any] = ()) -> bool:
        """Send a message to a host; return whether it is there."""
        link = self._links.get(number)
        if link is None:
            return False
        link.send([pack_message(kind, body), *frames])
        return True

    def callback(self, number: int) -> str:
        """Return in which callback a host is; empty for none, or no host."""
        trail = self._trails.get(number)
        place = os.pread(trail, 1, 0) if trail is not None else b""
        return CALLBACKS[place[0]] if place and place[0] < len(CALLBACKS) else ""

    def stop(self, number: int) -> None:
        """End a host now. Idempotent."""
        link = self._links.pop(number, None)
        if link is not None:
            link.close()
            self._close_files(number)
            child_id = self._children.pop(number)
            self._numbers.pop(child_id, None)
            self._launcher.kill(child_id)

    def close(self) -> None:
        """Release what belongs to hosts that were ended with their launcher."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        for number in list(self._outputs):
            self._close_files(number)

    def started(self, child_id: int, pid: int) -> None:
        """Take the launcher's news."""
        number = self._numbers.get(child_id)
        if number is not None and number in self._links:
            self._on_started(number, pid)

    def ended(self, child_id: int, pid: int, status: int, peak: int) -> None:  # noqa: ARG002 - the signature of news
        """Take the launcher's news.

        What the host sent before it died still counts.
        """
        number = self._numbers.pop(child_id, None)
        link = None if number is None else self._links.get(number)
        if number is None or link is None:
            return
        link.drain()
        self._lose(number, describe_status(status))

    def failed(self, child_id: int, text: str) -> None:
        """Take the launcher's news: the host could not be executed."""
        number = self._numbers.pop(child_id, None)
        if number is not None:
            self._lose(number, text)

    def launcher_lost(self, reason: str) -> None:
        """Notice that every host died with the launcher."""
        for number, link in list(self._links.items()):
            link.drain()
            self._lose(number, reason)

    def _lose(self, number: int, reason: str) -> None:
        """Let go of a host that is gone, and tell of it, once."""
        link = self._links.pop(number, None)
        if link is not None:
            link.close()
            callback = self.callback(number)
            self._close_files(number)
            self._numbers.pop(self._children.pop(number), None)
            self._on_lost(number, f"{reason}, in {callback}" if callback else reason)

    def _take(self, number: int, frames: list[Any]) -> None:
        """Take a message of a host.

        Nonsense ends the host, and with it only its own system.
        """
        try:
            message = unpack_message(frames)
            check_message(message, Sender.HOST)
            self._heard(number, message)
        except Exception as error:
            # Whatever one host's message leads to, the other systems go on.
            unforeseen = not isinstance(error, ProtocolError)
            log.warning("bad message from the host of system %d: %s", number, error, exc_info=unforeseen)
            if number in self._links:
                self.stop(number)
                self._on_lost(number, f"it was ended, since it sent what no host sends: {error}")

    def _heard(self, number: int, message: Message) -> None:
        """Pass a message on; before the end of a system, what it printed."""
        output = self._outputs.get(number)
        if message.kind == Kind.OUT and message.body[8] is not None and output is not None:
            output.read()
            self._tell(number, output, ended=True)
        self._on_message(number, message)

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.after(PERIOD, self._look)

    def _look(self) -> None:
        self._looking = False
        for number, output in list(self._outputs.items()):
            if output.flow.waiting:
                self._tell(number, output, ended=False)
            if output.flow.waiting:
                self._look_soon()

    def _close_files(self, number: int) -> None:
        trail = self._trails.pop(number, None)
        if trail is not None:
            os.close(trail)
        output = self._outputs.pop(number, None)
        if output is not None:
            output.close()
            self._tell(number, output, ended=True)

    def _tell(self, number: int, output: ProcessOutput, *, ended: bool) -> None:
        entries = output.flow.settle(number, self._loop.now(), ended=ended)
        if entries:
            self.on_output(number, entries)


def _channels() -> list[tuple[int, int]]:
    """Return two socket pairs, two pipes and a shared byte: ours, the host's.

    Raises:
        OSError: There is no room for all of them; none is left open.
    """
    with contextlib.ExitStack() as opened:
        channels: list[tuple[int, int]] = []
        for pair in (_socket_pair, _socket_pair, _pipe, _pipe, _shared_byte):
            channels.append(pair())
            for fd in channels[-1]:
                opened.callback(os.close, fd)
        opened.pop_all()
    return channels


def _socket_pair() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def _pipe() -> tuple[int, int]:
    return os.pipe2(os.O_CLOEXEC)


def _shared_byte() -> tuple[int, int]:
    fd = unnamed_file("concurro-callback")
    try:
        os.ftruncate(fd, 1)
        return fd, os.dup(fd)
    except OSError:
        os.close(fd)
        raise
