"""Links in virtual time: they delay, lose, repeat, and break.

    Way (one direction between two machines): delay, rate, a cut until, losses, repetitions
       |
    Connection: two ends, a queue of messages each way, in order
       |
    SimulatedLink: one end, as nodes use it        over TCP: an end is told, what was under way may be lost
                                                   AF_UNIX: nothing is lost, the end of a process is seen

A cut delays what was sent, as TCP does, until an end gives the connection up; what then was
under way is lost without a word. Each connection draws its own delays, so that messages of
one overtake those of another.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from concurro.transport.link import SAME_USER, Frames, Identity, ignore_closed, ignore_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.testing.simulated_time import Agenda, SimulatedLoop

_SEQ = 3
"""Where frame 0 has the number of its message: the header of an array, version, kind, number."""


@dataclass(slots=True)
class Way:
    """One direction between two machines.

    Attributes:
        delay: Of a message, on the average [s].
        rate: Bytes per second [B/s].
        cut_until: Nothing gets through before [s].
        lose: So many of the next messages are lost.
        repeat: So many of the next messages come twice.
    """

    delay: float = 200e-6
    rate: float = inf
    cut_until: float = 0.0
    lose: int = 0
    repeat: int = 0


class SimulatedLink:
    """One end of a connection; see `concurro.transport.link.Link`.

    Attributes:
        loop: The loop of the process that has it; None before it is born.
        closed: Whether this end is closed.
    """

    def __init__(self, connection: Connection, loop: SimulatedLoop | None, peer: str, identity: Identity) -> None:
        self.on_message: Callable[[Frames], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self.ordered = connection.ordered
        self.passes_descriptors = False
        self.peer = peer
        self.identity = identity
        self.fault: Exception | None = None
        self.loop = loop
        self.closed = False
        self._connection = connection
        self._held: list[Callable[[], None]] = []

    def hand_to(self, loop: SimulatedLoop) -> None:
        """Give this end to a process that is there from now on."""
        self.loop = loop
        for callback in self._held:
            loop.arrive(callback)
        self._held.clear()

    def arrive(self, callback: Callable[[], None]) -> None:
        """Call in the loop of the owner, once there is one."""
        if self.loop is None:
            self._held.append(callback)
        else:
            self.loop.arrive(callback)

    def send(self, frames: Sequence[Any]) -> None:
        """Queue a message."""
        if not self.closed:
            self._connection.take(self, [bytes(frame) for frame in frames])

    def backlog(self) -> int:
        """Return what is under way [B]."""
        return self._connection.under_way(self)

    def drain(self) -> None:
        """Take at once what the other end has sent."""
        for message in self._connection.all_for(self):
            self.receive(message)

    def pause(self, paused: bool) -> None:  # noqa: FBT001 - the signature of a stream's
        """Do nothing: what is behind is not modelled here."""

    def close(self) -> None:
        """Send what is queued, and close. Idempotent."""
        if not self.closed:
            self.closed = True
            self._connection.end_after(self)

    def receive(self, frames: Frames) -> None:
        """Take a message in the loop of the owner."""
        if not self.closed:
            self.on_message(frames)

    def lose(self, reason: str) -> None:
        """Learn that the connection has ended."""
        if not self.closed:
            self.closed = True
            self.on_closed(reason)


class _Direction:
    __slots__ = ("event", "free_at", "queue", "size", "target", "way")

    def __init__(self, way: Way, target: SimulatedLink) -> None:
        self.way = way
        self.target = target
        self.queue: deque[tuple[float, Frames | str]] = deque()  # a text is the end, and why
        self.free_at = 0.0
        self.event: Any = None
        self.size = 0


class Connection:
    """Two ends and what is between them.

    Args:
        network: Whose it is.
        name: For the trace.
        loops: Of the dialling end, and of the other.
        ways: From the dialling end to the other, and back.
        ordered: Whether nothing is lost (AF_UNIX).
        peers: What each end calls the other.
        identity: What the other end knows of the dialling one.
    """

    def __init__(  # noqa: PLR0913 - what two ends have
        self,
        network: Network,
        name: str,
        loops: tuple[SimulatedLoop, SimulatedLoop | None],
        ways: tuple[Way, Way],
        *,
        ordered: bool,
        peers: tuple[str, str] = ("", ""),
        identity: Identity = SAME_USER,
    ) -> None:
        self.ordered = ordered
        self.name = name
        self._network = network
        self._random = random.Random(f"{network.seed} {name}")
        self.ends = (
            SimulatedLink(self, loops[0], peers[0], SAME_USER),
            SimulatedLink(self, loops[1], peers[1], identity),
        )
        self._to = {self.ends[0]: _Direction(ways[0], self.ends[1]), self.ends[1]: _Direction(ways[1], self.ends[0])}

    def take(self, end: SimulatedLink, frames: Frames) -> None:
        """Take a message of one end."""
        direction = self._to[end]
        way = direction.way
        if not self.ordered and _is_numbered(frames):
            if way.lose > 0:
                way.lose -= 1
                return
            if way.repeat > 0:
                way.repeat -= 1
                self._queue(direction, frames)
        self._queue(direction, frames)

    def under_way(self, end: SimulatedLink) -> int:
        """Return the bytes that an end has sent and the other has not [B]."""
        return self._to[end].size

    def all_for(self, end: SimulatedLink) -> list[Frames]:
        """Take out every message that is under way to an end."""
        direction = self._to[self._other(end)]
        messages = [item for _, item in direction.queue if not isinstance(item, str)]
        ends = [entry for entry in direction.queue if isinstance(entry[1], str)]
        direction.queue.clear()
        direction.queue.extend(ends)
        direction.size = 0
        return messages

    def end_after(self, end: SimulatedLink) -> None:
        """Let the other end know, behind what was sent, that this one is closed."""
        self._queue(self._to[end], "the connection ended")

    def break_off(self, end: SimulatedLink, *, keep: int | None = None) -> None:
        """End the connection from one end, whose process is gone.

        Args:
            end: That end.
            keep: So many messages under way still arrive; None for all.
        """
        end.closed = True
        direction = self._to[end]
        if keep is not None and not self.ordered:
            while len(direction.queue) > keep:
                direction.queue.pop()
        self._queue(direction, "the connection ended")

    def reset(self) -> None:
        """Break between the ends: what is under way is lost, each end is told."""
        for end in self.ends:
            direction = self._to[end]
            direction.queue.clear()
            direction.size = 0
            self._queue(direction, "the connection ended")

    def look_again(self) -> None:
        """Wait anew for what is under way: a cut may be over."""
        for direction in self._to.values():
            if direction.event is not None:
                direction.event.cancel()
                direction.event = None
                self._wait(direction)

    def _other(self, end: SimulatedLink) -> SimulatedLink:
        return self.ends[1] if end is self.ends[0] else self.ends[0]

    def _queue(self, direction: _Direction, item: Frames | str) -> None:
        way, now = direction.way, self._network.agenda.now
        size = 0 if isinstance(item, str) else sum(map(len, item))
        delay = way.delay * (0.5 + self._random.random()) if not self.ordered else way.delay
        start = max(now, direction.free_at)
        direction.free_at = start + (size / way.rate if way.rate < inf else 0.0)
        arrival = direction.free_at + delay
        if direction.queue:
            arrival = max(arrival, direction.queue[-1][0])
        direction.queue.append((arrival, item))
        direction.size += size
        self._wait(direction)

    def _wait(self, direction: _Direction) -> None:
        if direction.event is None and direction.queue:
            due = direction.queue[0][0]
            if direction.way.cut_until > due:
                due = direction.way.cut_until + self._random.random() * 0.2
            direction.event = self._network.agenda.at(due, lambda: self._arrive(direction))

    def _arrive(self, direction: _Direction) -> None:
        direction.event = None
        now, queue = self._network.agenda.now, direction.queue
        if direction.way.cut_until > now:
            self._wait(direction)
            return
        target = direction.target
        if target.loop is not None and target.loop.ended and not target.closed:
            target.closed = True
            self._queue(self._to[target], "the connection ended")  # the kernel of a process that is gone says so
        while queue and queue[0][0] <= now:
            _, item = queue.popleft()
            if isinstance(item, str):
                target.arrive(lambda reason=item: target.lose(reason))  # type: ignore[misc]
            else:
                direction.size -= sum(map(len, item))
                self._network.arrived(self, target, item)
                target.arrive(lambda frames=item: target.receive(frames))  # type: ignore[misc]
        self._wait(direction)


class Network:
    """Ways between machines, and the connections over them.

    Args:
        agenda: The time.
        seed: Of the delays.
        trace: Called with the name of a connection, the direction and the frames of what arrives.
    """

    def __init__(self, agenda: Agenda, seed: int, trace: Callable[[str, Frames], None]) -> None:
        self.agenda = agenda
        self.seed = seed
        self.delay = 200e-6
        self._trace = trace
        self._ways: dict[tuple[str, str], Way] = {}
        self._connections: dict[str, Connection] = {}
        self._count = 0

    def way(self, source: str, target: str) -> Way:
        """Return the way from one machine to another."""
        way = self._ways.get((source, target))
        if way is None:
            way = self._ways[source, target] = Way(self.delay)
        return way

    def connect(  # noqa: PLR0913 - what two ends have
        self,
        loops: tuple[SimulatedLoop, SimulatedLoop | None],
        machines: tuple[str, str],
        name: str,
        *,
        ordered: bool,
        peers: tuple[str, str] = ("", ""),
        identity: Identity = SAME_USER,
    ) -> tuple[SimulatedLink, SimulatedLink]:
        """Make a connection; return its ends: who dialled, who was dialled."""
        self._count += 1
        name = f"{self._count} {name}"
        ways = (Way(2e-05), Way(2e-05)) if ordered else (self.way(*machines), self.way(machines[1], machines[0]))
        connection = Connection(self, name, loops, ways, ordered=ordered, peers=peers, identity=identity)
        self._connections[name] = connection
        return connection.ends

    def of_loop(self, loop: SimulatedLoop) -> list[tuple[Connection, SimulatedLink]]:
        """Return the connections that a process has, and its ends of them."""
        found = []
        for name, connection in list(self._connections.items()):
            if connection.ends[0].closed and connection.ends[1].closed:
                del self._connections[name]
                continue
            found += [(connection, end) for end in connection.ends if end.loop is loop and not end.closed]
        return found

    def look_again(self) -> None:
        """Let what waits behind cuts go on: they were mended."""
        for connection in list(self._connections.values()):
            connection.look_again()

    def arrived(self, connection: Connection, target: SimulatedLink, frames: Frames) -> None:
        """Note a message that arrives."""
        self._trace(connection.name + (">" if target is connection.ends[1] else "<"), frames)


def _is_numbered(frames: Frames) -> bool:
    """Say whether a message has a number, so that its loss is noticed."""
    return len(frames[0]) > _SEQ and frames[0][_SEQ] != 0
