r"""A service where it lives: the lines to it, its peers, its answers.

    line --CALL--> HostedLine --> method(peer, *arguments) --> value ----------> REPLY
                                                          \-> Future, any thread -^

In the master's loop or in that of a worker for services; the two differ in the values alone
(wire/parcels.py). Whatever a method raises is its caller's.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from concurro.config.spelling import did_you_mean
from concurro.errors import UnknownServiceError
from concurro.interfaces import IServicePeer, implementer
from concurro.wire.failures import describe
from concurro.wire.lines import Said
from concurro.wire.messages import LineCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.transport.loop import Loop
    from concurro.wire.lines import LineEnd
    from concurro.wire.parcels import PackedValues, PlainValues

SLOW_CALL = 0.1
"""A call that keeps the loop for so long is told in the log [s]."""


class HostedService:
    """A service and the lines to it. Loop thread only.

    Args:
        name: Of the service.
        component: It.
        values: Packs and loads what its methods take and give.
        loop: Where it lives.
    """

    def __init__(self, name: str, component: Any, values: PackedValues | PlainValues, loop: Loop) -> None:
        self.name = name
        self.component = component
        self.values = values
        self.loop = loop
        self.log = logging.getLogger(f"concurro.{name}")
        self.methods = frozenset(component.methods)
        self._lines: set[HostedLine] = set()

    def open(self, end: LineEnd, who: str, hang_up: Callable[[LineCode, str], None]) -> HostedLine:
        """Take a new line.

        Args:
            end: Our end of it.
            who: Who is at the other end, for people.
            hang_up: Ends it from here, with a code and a reason.
        """
        line = HostedLine(self, end, who, hang_up)
        self._lines.add(line)
        return line

    def leave(self, line: HostedLine, reason: str) -> None:
        """Let the service know that a peer is gone."""
        if line not in self._lines:
            return
        self._lines.discard(line)
        try:
            self.component.peer_left(line.peer, reason)
        except Exception:
            self.log.exception("service %r: peer_left(%s) raised", self.name, line.peer.name)

    def close(self, reason: str) -> None:
        """End every line."""
        for line in list(self._lines):
            line.hang_up(LineCode.LOST, reason)


class HostedLine:
    """One line to a service.

    Loop thread only, but for `say`, `tell` and `hang_up_soon`.
    """

    def __init__(
        self, service: HostedService, end: LineEnd, who: str, hang_up: Callable[[LineCode, str], None]
    ) -> None:
        self.peer = ServicePeer(who, self)
        self._service = service
        self._end = end
        self._hang_up = hang_up
        self._lock = threading.Lock()
        self._due = False
        end.on_entry = self._take

    def take(self, frames: list[Any]) -> None:
        """Take a message of the other end; nonsense ends the line."""
        self._due = True  # what is answered at once leaves at the end of it, with no other thread's help
        try:
            self._end.take(frames)
        except Exception as error:  # noqa: BLE001 - whatever one caller says, the others go on
            self._service.log.warning("service %r: bad message of %s: %s", self._service.name, self.peer.name, error)
            self.hang_up(LineCode.LOST, f"service {self._service.name!r} got what no caller sends: {error}")
        self._flush()

    def ended(self, reason: str) -> None:
        """Notice that the other end is gone. Idempotent."""
        if not self.peer.gone:
            self.peer.gone = reason or "the line was closed"
            self._end.close(reason)
            self._service.leave(self, reason)

    def hang_up(self, code: LineCode, reason: str) -> None:
        """End it from here. Idempotent."""
        if not self.peer.gone:
            self._end.flush()  # the answers that are there still go
            self._hang_up(code, reason)
            self.ended(reason)

    def hang_up_soon(self, reason: str) -> None:
        """End it from here. Thread-safe."""
        self._service.loop.post(lambda: self.hang_up(LineCode.CLOSED, reason))

    def tell(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Tell the peer something. Thread-safe."""
        if self.peer.gone:
            return
        owner = object()
        payload, blobs = self._service.values.pack(arguments, owner)
        self.say([int(Said.TELL), method, payload, blobs], owner if blobs else None)

    def say(self, entry: list[Any], owner: object | None) -> None:
        """Queue an entry, and have it sent. Thread-safe."""
        self._end.add(entry, owner)
        with self._lock:
            if self._due:
                return
            self._due = True
        loop = self._service.loop
        if not loop.stand_in(self._flush):
            loop.post(self._flush)

    def _flush(self) -> None:
        self._due = False
        if not self.peer.gone:
            self._end.flush()

    # In

    def _take(self, number: int, entry: list[Any], fault: str | None) -> None:
        said, method = entry[0], entry[1]
        if said == Said.REPLY:
            return
        answer = self._answer if said == Said.CALL else self._noted
        service = self._service
        began = service.loop.now()
        try:
            if method not in service.methods:
                raise UnknownServiceError(*_no_method(service, method))  # noqa: TRY301 - one way out for every fault
            if fault is not None:
                raise UnknownServiceError(*_not_arrived(service, method, fault))  # noqa: TRY301 - as above
            arguments = service.values.load(entry[2], entry[3])
            value = getattr(service.component, method)(self.peer, *arguments)
        except BaseException as error:  # noqa: BLE001 - code of a plugin, and everybody else's calls come through this thread
            answer(number, method, None, error)
        else:
            if isinstance(value, Future):
                value.add_done_callback(lambda future: self._resolved(number, method, answer, future))
            else:
                answer(number, method, value, None)
        took = service.loop.now() - began
        if took > SLOW_CALL:
            service.log.warning("service %r kept its loop for %.2f s in %s()", service.name, took, method)

    def _resolved(
        self, number: int, method: str, answer: Callable[[int, str, Any, BaseException | None], None], future: Any
    ) -> None:
        try:
            error = future.exception()
        except CancelledError as cancelled:
            error = cancelled
        answer(number, method, None if error is not None else future.result(), error)

    def _noted(self, number: int, method: str, value: Any, error: BaseException | None) -> None:  # noqa: ARG002 - as `_answer`
        if error is not None:
            self._service.log.error(
                "service %r: %s(), told by %s, raised", self._service.name, method, self.peer.name, exc_info=error
            )

    def _answer(self, number: int, method: str, value: Any, error: BaseException | None) -> None:  # noqa: ARG002 - as `_noted`
        """Answer a call. Thread-safe."""
        if self.peer.gone:
            return
        owner = object()
        payload: Any = None
        blobs = None
        if error is None:
            try:
                payload, blobs = self._service.values.pack(value, owner)
            except BaseException as fault:  # noqa: BLE001 - pickling runs code of users, which may do anything
                error = fault
        ok = error is None
        if error is not None:
            values = self._service.values
            payload = list(describe(error, trim=1, dumps=values.dump_error, loads=values.load_error))[:4]
        self.say([int(Said.REPLY), number, ok, payload, blobs], owner if blobs else None)


@implementer(IServicePeer)
class ServicePeer:
    """Who calls a service. Thread-safe."""

    def __init__(self, name: str, line: HostedLine) -> None:
        self.name = name
        self.gone = ""
        self._line = line

    def tell(self, method: str, *arguments: Any) -> None:
        """Call what the peer gave to `on_told`.

        Raises:
            NotPicklableError: An argument cannot travel.
        """
        self._line.tell(method, arguments)

    def close(self, reason: str = "the service closed the line") -> None:
        """End the line."""
        self._line.hang_up_soon(reason)

    def __repr__(self) -> str:
        """Return who it is."""
        return f"<peer {self.name}>"


def _no_method(service: HostedService, method: str) -> tuple[str, str]:
    return f"service {service.name!r} has no method {method!r}{did_you_mean(method, service.methods)}", service.name


def _not_arrived(service: HostedService, method: str, fault: str) -> tuple[str, str]:
    return f"the arguments of {service.name}.{method}() did not arrive: {fault}", service.name
