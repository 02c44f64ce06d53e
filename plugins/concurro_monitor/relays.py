"""Commands for runtimes of programs, which only the master can reach.

anybody --relay(uid, command)--> monitor --tell--> the program that enrolled as uid
    <------ answer --------          <--relayed(number, answer)--
"""

from __future__ import annotations

import itertools
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurro import IServicePeer


class Relays:
    """Who enrolled, and commands on their way. Not thread-safe: one thread's."""

    def __init__(self) -> None:
        self._enrolled: list[tuple[str, IServicePeer]] = []
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[IServicePeer, Future[Any]]] = {}

    def enrol(self, peer: IServicePeer, uid: str) -> None:
        """Let a peer get the commands for a uid; the one that came last does."""
        if (uid, peer) not in self._enrolled:
            self._enrolled.append((uid, peer))

    def everybody(self, uid: str) -> list[IServicePeer]:
        """Return who enrolled as a uid, the last one at the end."""
        return [peer for name, peer in self._enrolled if name == uid]

    def relay(self, uid: str, sender: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Future[Any]:
        """Pass a command on; return the future of its answer.

        Which raises ConnectionError when nobody enrolled as that uid, or who did is gone.
        """
        future: Future[Any] = Future()
        peers = self.everybody(uid)
        if not peers:
            future.set_exception(ConnectionError(f"no program with the runtime {uid!r} is connected"))
            return future
        number = next(self._numbers)
        self._open[number] = peers[-1], future
        peers[-1].tell("command", number, uid, sender, method, args, kwargs)
        return future

    def relayed(self, number: int, fault: list[str] | None, value: Any) -> None:
        """Take the answer to a command: a value, or class and text of an error."""
        _, future = self._open.pop(number, (None, None))
        if future is None:
            return
        if fault is None:
            future.set_result(value)
        else:
            future.set_exception(_ERRORS.get(fault[0], RuntimeError)(fault[1]))

    def peer_left(self, peer: IServicePeer, reason: str) -> None:
        """Let the commands fail that a peer does not answer any more."""
        self._enrolled = [entry for entry in self._enrolled if entry[1] is not peer]
        for number, (whose, future) in list(self._open.items()):
            if whose is peer:
                del self._open[number]
                future.set_exception(ConnectionError(f"{peer.name} left before it answered: {reason}"))


_ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (AttributeError, KeyError, LookupError, TypeError, ValueError, TimeoutError)
}
