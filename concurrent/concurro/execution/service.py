"""A worker's service channel: what its tasks say besides their results.

    task --> application (own thread) --> ServiceLink == service channel == agent --> master
    waits in a call of ours ------------> WAITS ... <-- ANSWER

The channel is there from the fork and costs nothing until a task asks for its application.
Each attempt that does has a session of its own: OPEN, frames either way, LEAVE, and LEFT,
behind which nothing of it follows. Notes are private to this machine and version: frame 0 is
a msgpack array that starts with a `ServiceNote`; the frames of the message follow it.
"""

from __future__ import annotations

import os
import socket
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.errors import NoApplicationError
from concurro.execution.inside import Door
from concurro.transport.link import SAME_USER, Frames, ignore_closed, ignore_message
from concurro.transport.stream import StreamLink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.transport.loop import Loop
    from concurro.wire.payload import Packer


class ServiceNote(IntEnum):
    """The kinds of messages on a service channel."""

    # Worker to agent.
    OPEN = 0  # [number, lease]: the task of that lease wants to speak to the master
    LEAVE = 1  # [number]: it has said everything
    WAITS = 2  # [number, for what]: the task waits in a call of ours
    GOES_ON = 3  # [number]
    # Agent to worker.
    LEFT = 4  # [number]: nothing more follows
    ENDED = 5  # [number, reason]: the master cannot be reached any more
    ANSWER = 6  # [number, granted, slots lent, workers]: to WAITS
    # Either way.
    FRAMES = 7  # [number], and the frames of a message


class ServiceLink:
    """A `Link` to the master over the service channel. Loop thread only.

    Args:
        loop: The loop of the application.
        stream: The channel; closed with the link.
        number: Of this session in the worker.
        lease: Of the attempt.

    Attributes:
        on_left: Called when nothing more follows: the channel can be used again.
        left: Whether that is so.
        on_answer: Called with (granted, slots lent, workers) when the agent has decided about a wait.
    """

    ordered = True
    passes_descriptors = False
    identity = SAME_USER
    fault: Exception | None = None
    peer = "the master, by way of the slave"

    def __init__(self, loop: Loop, stream: socket.socket, number: int, lease: int) -> None:
        self.on_message: Callable[[Frames], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self.on_left: Callable[[], None] = _nothing
        self.on_answer: Callable[[bool, int, int], None] = _no_answer
        self.left = False
        self._number = number
        self._prefix = msgpack.packb((ServiceNote.FRAMES, number))
        self._closed = False
        self._link = StreamLink(loop, stream, "agent")
        self._link.on_message = self._take
        self._link.on_closed = self._lost
        self._say(ServiceNote.OPEN, lease)

    def send(self, frames: Sequence[Any]) -> None:
        """Queue a message; it leaves with the loop's next flush."""
        if not self._closed:
            self._link.send([self._prefix, *frames])

    def backlog(self) -> int:
        """Return the bytes that were not taken by the kernel yet [B]."""
        return self._link.backlog()

    def close(self) -> None:
        """Say that nothing more comes; `on_left` follows. Idempotent."""
        if not self._closed:
            self._closed = True
            self.on_message, self.on_closed = ignore_message, ignore_closed
            self._say(ServiceNote.LEAVE)

    def waits(self, text: str) -> None:
        """Say that the task waits; `on_answer` follows."""
        self._say(ServiceNote.WAITS, text)

    def goes_on(self) -> None:
        """Say that the task waits no more."""
        self._say(ServiceNote.GOES_ON)

    def release(self) -> None:
        """Close this end's descriptor. Idempotent."""
        self._link.close()

    def _say(self, note: ServiceNote, *body: Any) -> None:
        self._link.send([msgpack.packb((note, self._number, *body))])

    def _take(self, frames: list[Any]) -> None:
        note, number, *body = msgpack.unpackb(frames[0])
        if number != self._number:
            return
        if note == ServiceNote.FRAMES:
            self.on_message(frames[1:])
        elif note == ServiceNote.ANSWER:
            self.on_answer(*body)
        elif note == ServiceNote.ENDED:
            self.on_closed(body[0])
        elif note == ServiceNote.LEFT:
            self._leave()

    def _lost(self, reason: str) -> None:
        self.on_closed(reason)
        self._leave()

    def _leave(self) -> None:
        self.left = True
        self.on_left()


class WorkerDoor(Door):
    """The door of a worker's tasks: opened by an attempt, shut behind it.

    Args:
        fd: The service channel.
        packer: Of the worker.
        current: Says which attempt runs: its lease and its task's id; lease 0 for none.
    """

    lends = True

    def __init__(self, fd: int, packer: Packer, current: Callable[[], tuple[int, str]]) -> None:
        super().__init__()
        self._fd = fd
        self._packer = packer
        self._current = current
        self._pid = os.getpid()
        self._number = 0

    @property
    def packer(self) -> Packer:
        """What loads and dumps the values of tasks."""
        return self._packer

    @property
    def whose(self) -> str:  # type: ignore[override]  # a task's name is known when it runs
        """The task that runs."""
        return f"task {self._current()[1]}"

    def check(self) -> None:
        """Refuse what is no task of this worker.

        Raises:
            NoApplicationError: A process that a task forked, or no task runs.
        """
        if os.getpid() != self._pid:
            message = (
                "current_application() was called in a process that a task forked: the way to the master belongs to "
                "the worker; call it in the task itself, and hand the results on"
            )
            raise NoApplicationError(message)
        if not self._current()[0]:
            message = "current_application() was called in a worker while no task ran: call it inside a task"
            raise NoApplicationError(message)

    def open_link(self, loop: Loop) -> ServiceLink:
        """Begin a session for the attempt that runs."""
        self._number += 1
        stream = socket.socket(fileno=os.dup(self._fd))
        return ServiceLink(loop, stream, self._number, self._current()[0])

    def end_attempt(self) -> bool:
        """Close the application of the attempt; return whether all of it is gone."""
        application, self.application = self.application, None
        return bool(application.part())

    def fileno(self) -> int:
        """Return the descriptor of the channel."""
        return self._fd


def _nothing() -> None:
    """Do nothing: nobody listens yet."""


def _no_answer(granted: bool, lent: int, workers: int) -> None:  # noqa: FBT001 - as it stands in the note
    """Drop the answer: nobody waits."""
