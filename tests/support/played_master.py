"""A master that a test plays: it answers what an application says as it is told to."""

from __future__ import annotations

import contextlib
import pickle
import threading
from typing import TYPE_CHECKING, Any

from concurro.nodes.door import Door
from concurro.transport.loop import Loop
from concurro.wire.messages import Farewell, Kind, Message
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from concurro.nodes.peer import Peer


class PlayedMaster:
    """Takes one application at a time, and keeps every OUT.

    Attributes:
        url: Where it listens.
        outs: The bodies of what was said, in order.
        welcomed: How many applications came.
        left: What each that went said, or was said of it.
        answers: Whether each task is answered with its number at once.
    """

    def __init__(self, url: str) -> None:
        self.outs: list[list[Any]] = []
        self.welcomed = 0
        self.left: list[str] = []
        self.answers = True
        self._inputs = 0
        self._peer: Peer | None = None
        self._loop = Loop()
        self._door = Door(self._loop, 1, 60.0, lambda reason: None)
        self._door.on_joined = self._welcome
        self.url = self._door.open(url, None, 16)
        self._thread = threading.Thread(target=self._loop.run, name="played-master")
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._loop.post(lambda: self._door.close("the play is over", Farewell.STOPPED))
        self._loop.stop()
        self._thread.join()
        self._loop.close()

    def finish(self, numbers: list[int]) -> None:
        """Tell the application in one message that these tasks have ended."""
        self._loop.post(lambda: self._finish(numbers))

    def wait_for(self, count: int) -> list[list[Any]]:
        """Wait for so many OUT; return all."""
        wait_until(lambda: len(self.outs) >= count, 30, f"{count} messages of the application")
        return self.outs

    def wait_for_task(self, number: int) -> None:
        """Wait until a task was sent: nobody has a result before."""
        wait_until(lambda: number < sum(len(out[4]) for out in self.outs), 30, f"task {number} to be sent")

    def _welcome(self, peer: Peer, *_: Any) -> None:
        self.welcomed += 1
        self._inputs = 0
        self._peer = peer
        peer.on_message = lambda message: self._take(peer, message)
        peer.on_closed = self.left.append

    def _take(self, peer: Peer, message: Message) -> None:
        if message.kind == Kind.OPEN:
            peer.send(Kind.SUBMITTED, [message.body[0], 1, message.body[1], None, None])
        elif message.kind == Kind.OUT:
            self.outs.append(message.body)
            if self.answers and message.body[4]:
                self._finish(list(range(message.body[2], message.body[2] + len(message.body[4]))))

    def _finish(self, numbers: list[int]) -> None:
        assert self._peer is not None
        self._inputs += 1
        entries = [[number, 0, pickle.dumps(number), None, "slave-1", 1, 1000] for number in numbers]
        self._peer.send(Kind.IN, [1, self._inputs, 0.0, entries, 0, 1, None, None])


@contextlib.contextmanager
def played_master(folder: Path) -> Iterator[PlayedMaster]:
    """Play a master in a folder."""
    master = PlayedMaster(f"ipc://{folder}/master")
    try:
        yield master
    finally:
        master.close()
