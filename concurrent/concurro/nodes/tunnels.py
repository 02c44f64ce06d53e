"""The master's end of tunnels: applications inside tasks.

    slave --TUNNEL_OPEN--> Tunnels --> TunnelLink --> welcomed like any stranger
          --TUNNEL-------> its `on_message`           HELLO, SUBMIT, OUT ...
          <-TUNNEL-------- its `send`

Every tunnel is a `Link`, so that what speaks through it is an application like any other. It
belongs to the attempt whose lease it was opened with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.ids import Role
from concurro.transport.link import Frames, Identity, ignore_closed, ignore_message
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from concurro.records import SystemRecord
    from concurro.scheduling.core import SchedulerCore
    from concurro.wire.messages import Message

    SendTo = Callable[[Hashable, Kind, list[Any], Sequence[Any]], bool]
    BacklogOf = Callable[[Hashable], int]


MOST_FOR_SERVICES = 1024
"""A slave opens at most so many tunnels for services at once: one for each worker that hosts some."""

INSIDE = Identity("of a running job", frozenset({Role.APPLICATION}))
"""A task or a callback: whatever it says, it is an application."""


class Outer(NamedTuple):
    """Who an application inside a job belongs to.

    Attributes:
        system: The system of the task, or of the callback; None for services in a worker.
        task_id: The task; empty for a callback.
    """

    system: SystemRecord | None
    task_id: str = ""


class TunnelLink:
    """A `Link` to the application inside a task. Loop thread only.

    Args:
        tunnels: Where it ends.
        slave_id: The slave in between.
        number: What the slave calls it.
        lease: The attempt; 0 for services.
        peer: Who is at the other end, in words.
    """

    ordered = True
    passes_descriptors = False
    identity = INSIDE
    fault: Exception | None = None

    def __init__(self, tunnels: Tunnels, slave_id: str, number: int, lease: int, peer: str) -> None:
        self.peer = peer
        self.lease = lease
        self.on_message: Callable[[Frames], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self._tunnels = tunnels
        self._slave_id = slave_id
        self._number = number

    def send(self, frames: Sequence[Any]) -> None:
        """Queue a message behind what the slave is sent."""
        self._tunnels.send(self._slave_id, self._number, frames)

    def backlog(self) -> int:
        """Return the bytes that wait on the way to the slave [B]."""
        return self._tunnels.backlog(self._slave_id)

    def close(self) -> None:
        """Close it from here. Idempotent."""
        self.on_message, self.on_closed = ignore_message, ignore_closed
        self._tunnels.close(self._slave_id, self._number)


class Tunnels:
    """Every tunnel of every slave. Loop thread only.

    Args:
        core: Knows the leases.
        send: Sends to a peer; returns whether it is there.
        backlog: Says how many bytes wait on the way to a peer [B].
        welcome: Takes a new link, and who it belongs to.
    """

    def __init__(
        self, core: SchedulerCore, send: SendTo, backlog: BacklogOf, welcome: Callable[[TunnelLink, Outer], None]
    ) -> None:
        self._core = core
        self._send = send
        self._backlog = backlog
        self._welcome = welcome
        self._links: dict[str, dict[int, TunnelLink]] = {}

    def take(self, slave_id: str, message: Message) -> None:
        """Take TUNNEL_OPEN, TUNNEL or TUNNEL_END of a slave."""
        number = message.body[0]
        links = self._links.setdefault(slave_id, {})
        if message.kind == Kind.TUNNEL_OPEN:
            self._open(slave_id, number, message.body[1], links)
        elif message.kind == Kind.TUNNEL:
            link = links.get(number)
            if link is not None:
                link.on_message(list(message.frames))
        else:
            link = links.pop(number, None)
            if link is not None:
                link.on_closed(message.body[1])

    def slave_left(self, slave_id: str, reason: str) -> None:
        """End every tunnel of a slave."""
        for link in self._links.pop(slave_id, {}).values():
            link.on_closed(f"slave {slave_id} left: {reason}")

    def send(self, slave_id: str, number: int, frames: Sequence[Any]) -> None:
        """Send a message through a tunnel; one that has ended drops it."""
        if number in self._links.get(slave_id, ()):
            self._send(("slave", slave_id), Kind.TUNNEL, [number], frames)

    def backlog(self, slave_id: str) -> int:
        """Return the bytes that wait on the way to a slave [B]."""
        return self._backlog(("slave", slave_id))

    def close(self, slave_id: str, number: int) -> None:
        """End a tunnel from here. Idempotent."""
        if self._links.get(slave_id, {}).pop(number, None) is not None:
            self._send(("slave", slave_id), Kind.TUNNEL_END, [number, "the master closed it"], ())

    def _open(self, slave_id: str, number: int, lease: int, links: dict[int, TunnelLink]) -> None:
        slave = self._core.slaves.get(slave_id)
        task = slave.leases.get(lease) if slave is not None and lease else None
        if refusal := _refusal(number, lease, links, wanted=task is not None or not lease):
            self._send(("slave", slave_id), Kind.TUNNEL_END, [number, refusal], ())
            return
        whose = f"task {task.id}" if task is not None else "services"
        link = links[number] = TunnelLink(self, slave_id, number, lease, f"{whose} on slave {slave_id}")
        self._welcome(link, Outer(None) if task is None else Outer(task.system, task.id))


def _refusal(number: int, lease: int, links: dict[int, TunnelLink], *, wanted: bool) -> str:
    """Say why a tunnel is not opened; empty when it is.

    An attempt has one at a time, and a slave a few for services: strangers behind them are waited for without end.
    """
    if not wanted:
        return "the attempt is not wanted any more"
    if number in links:
        return "there is a tunnel of that number"
    open_ones = sum(link.lease == lease for link in links.values())
    if open_ones >= (1 if lease else MOST_FOR_SERVICES):
        return "the attempt has a tunnel" if lease else f"there are {open_ones} tunnels for services"
    return ""
