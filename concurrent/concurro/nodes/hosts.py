"""The master's side of system hosts: start, speak, end. Loop thread only."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from concurro.execution.launching import describe_status
from concurro.execution.program import python_command
from concurro.transport.stream import StreamLink
from concurro.wire.messages import Kind, Message, pack_message, unpack_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.execution.launching import Launcher
    from concurro.transport.loop import Loop

_CHANNEL = "3"

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

    def start(self, number: int) -> None:
        """Execute the host of a system."""
        ours, theirs = socket.socketpair()
        command = python_command("concurro.nodes.host", _CHANNEL)
        link = self._links[number] = StreamLink(self._loop, ours, "host")
        link.on_message = lambda frames: self._on_message(number, unpack_message(frames))
        self._launcher.execute_host(HOST_CHILD + number, command, [theirs.detach()])

    def send(self, number: int, kind: Kind, body: list[Any], frames: Sequence[Any] = ()) -> None:
        """Send a message to a host; one that is gone hears nothing."""
        link = self._links.get(number)
        if link is not None:
            link.send([pack_message(kind, body), *frames])

    def stop(self, number: int) -> None:
        """End a host now. Idempotent."""
        link = self._links.pop(number, None)
        if link is not None:
            link.close()
            self._launcher.kill(HOST_CHILD + number)

    def started(self, child_id: int, pid: int) -> None:
        """Take the launcher's news."""
        number = child_id - HOST_CHILD
        if number in self._links:
            self._on_started(number, pid)

    def ended(self, child_id: int, status: int) -> None:
        """Take the launcher's news.

        What the host sent before it died still counts.
        """
        number = child_id - HOST_CHILD
        link = self._links.get(number)
        if link is None:
            return
        link.drain()
        if self._links.pop(number, None) is not None:
            link.close()
            self._on_lost(number, describe_status(status))

    def failed(self, child_id: int, text: str) -> None:
        """Take the launcher's news: the host could not be executed."""
        number = child_id - HOST_CHILD
        link = self._links.pop(number, None)
        if link is not None:
            link.close()
            self._on_lost(number, text)
