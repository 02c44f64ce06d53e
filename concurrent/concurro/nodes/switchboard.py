r"""The master's switchboard: lines between applications and services.

    application --LINE_OPEN--> Switchboard --LINE_OPEN--> slave == worker for services
                --LINE-------> looked up, not looked at --LINE-->
                                           \--> ServiceHall: a service of the master

A line is a number of each session that it crosses. It ends when either end says so, or is gone, and
then both know why. Whoever opens one is an application: a program, or one inside a task, a callback
or a service.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from concurro.config.spelling import did_you_mean
from concurro.ids import ServiceWorker
from concurro.nodes.service_hall import ServiceHall
from concurro.wire.messages import Kind, LineCode, Message
from concurro.wire.segments import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from concurro.kernel import Environment
    from concurro.nodes.keeper import Keeper
    from concurro.nodes.peer import Peer
    from concurro.nodes.service_hall import HallLine
    from concurro.transport.loop import Loop

    SendTo = Callable[[Hashable, Kind, list[Any], Sequence[Any]], bool]

log = logging.getLogger("concurro.master")

MOST_LINES = 4096
"""Lines of one application at once."""

APPLICATION_KINDS = frozenset({Kind.LINE, Kind.LINE_OPEN, Kind.LINE_END})
SLAVE_KINDS = frozenset({Kind.LINE, Kind.LINE_OPENED, Kind.LINE_END, Kind.STAFF})


STAFF_PATIENCE = 5.0
"""How long who asks for workers waits for those of every slave [s]."""

NOBODY = 0
"""The number of a worker that ended: the slave keeps none at all."""


class _Place(NamedTuple):
    """An end of a line: a number of a peer's session."""

    peer: Hashable
    number: int


class Switchboard:
    """Every line, and every worker for services. Loop thread only.

    Args:
        env: The environment of the master.
        loop: Its loop.
        send: Sends to a peer; returns whether it is there.
        passes: Says whether descriptors can be passed to a peer.
        status: Returns the state of the master.

    Attributes:
        workers: Workers for services by address.
    """

    def __init__(
        self,
        env: Environment,
        loop: Loop,
        send: SendTo,
        passes: Callable[[Hashable], bool],
        status: Callable[[], dict[str, Any]],
    ) -> None:
        self.workers: dict[str, ServiceWorker] = {}
        self._loop = loop
        self._send = send
        self._passes = passes
        self._hall = hall = ServiceHall(env, loop, status)
        hall.hire, hall.workers, hall.slaves = self.hire, self.workers, lambda: list(self._slaves)
        self._hiring = False
        self._slaves: dict[str, int] = {}
        self._draining: set[str] = set()
        self._other_end: dict[_Place, _Place | HallLine] = {}
        self._of_peer: dict[Hashable, set[int]] = {}
        self._numbers = itertools.count(1)
        self._curious: list[Callable[[list[Any]], None]] = []

    def prepare(self, services: list[str], keeper: Keeper | None) -> None:
        """Build services of the master now; all may use the journal."""
        self._hall.keeper = keeper
        for service in services:
            self._hall.prepare(service)

    def close(self, reason: str) -> None:
        """End every line to services of the master."""
        self._hall.close(reason)

    # Who is there

    def slave_joined(self, slave_id: str, workers: int) -> None:
        """Notice a slave that may have that many workers for services."""
        self._slaves[slave_id] = workers
        if self._hiring:
            self._send(("slave", slave_id), Kind.HIRE, [], ())
        self._hall.tell("slave_joined", slave_id)

    def slave_changed(self, slave_id: str, *, draining: bool) -> None:
        """Offer the workers of a slave that ends to nobody.

        Lines to them go on.
        """
        if draining and slave_id in self._slaves:
            self._slaves[slave_id] = 0
            self._draining.add(slave_id)
            self._staff(slave_id, [], [])

    def slave_left(self, slave_id: str, reason: str) -> None:
        """End every line to a slave."""
        self._slaves.pop(slave_id, None)
        self._draining.discard(slave_id)
        why = f"slave {slave_id} left: {reason}"
        self._hang_up(("slave", slave_id), why)
        for worker in [worker for worker in self.workers.values() if worker.slave_id == slave_id]:
            self._gone(worker, why)
        self._hall.tell("slave_left", slave_id, reason)
        self._answer_curious()

    def peer_left(self, peer: Hashable, reason: str) -> None:
        """End every line of an application."""
        self._hang_up(peer, f"its caller is gone: {reason}")

    def hire(self) -> None:
        """Let every slave, now and later, keep workers for services. Idempotent."""
        if not self._hiring:
            self._hiring = True
            for slave_id in self._slaves:
                self._send(("slave", slave_id), Kind.HIRE, [], ())

    def list_workers(self, answer: Callable[[list[Any]], None]) -> None:
        """Call `answer` with `[[address, slave id, pid], ...]`.

        As soon as every slave that is here has some, or after a while.
        """
        self.hire()
        self._curious.append(answer)
        self._answer_curious()
        if self._curious:
            self._loop.after(STAFF_PATIENCE, lambda: self._answer([answer]))

    def _answer_curious(self) -> None:
        if not self._curious:
            return
        here = Counter(worker.slave_id for worker in self.workers.values())
        if here and all(here[slave_id] >= workers for slave_id, workers in self._slaves.items()):
            self._answer(self._curious)

    def _answer(self, asking: list[Callable[[list[Any]], None]]) -> None:
        """Tell those who still wait which workers there are."""
        listed = [list(worker) for worker in self.workers.values()]
        answered = [answer for answer in asking if answer in self._curious]
        self._curious = [answer for answer in self._curious if answer not in answered]
        for answer in answered:
            answer(listed)

    def _staff(self, slave_id: str, alive: list[list[Any]], ended: list[list[Any]]) -> None:
        known = {worker.address: worker for worker in self.workers.values() if worker.slave_id == slave_id}
        hows = {f"{slave_id}/{number}": how for number, how in ended}
        here = {} if slave_id in self._draining else {f"{slave_id}/{number}": pid for number, pid in alive}
        for address, worker in known.items():
            if address not in here:
                self._gone(worker, hows.get(address, "its slave ends"))
        for address, pid in here.items():
            if address not in known:
                worker = self.workers[address] = ServiceWorker(address, slave_id, pid)
                self._hall.tell("worker_joined", worker)
        if any(number == NOBODY for number, _ in ended) and slave_id in self._slaves:
            self._slaves[slave_id] = 0
        self._answer_curious()

    def _gone(self, worker: ServiceWorker, why: str) -> None:
        del self.workers[worker.address]
        self._hall.tell("worker_left", worker, why)

    # Lines

    def from_application(self, peer: Peer, message: Message) -> None:
        """Take LINE, LINE_OPEN or LINE_END of an application."""
        place = _Place(peer.id, message.body[0])
        if message.kind == Kind.LINE_OPEN:
            inside = peer.link.peer if peer.outer is not None and peer.link is not None else ""
            self._open(place, inside or f"application-{peer.id[1]}", message)
        else:
            self._pass_on(place, message)

    def from_slave(self, slave_id: str, message: Message) -> None:
        """Take LINE, LINE_OPENED, LINE_END or STAFF of a slave."""
        if message.kind == Kind.STAFF:
            self._staff(slave_id, *message.body[:2])
        else:
            self._pass_on(_Place(("slave", slave_id), message.body[0]), message)

    def _pass_on(self, place: _Place, message: Message) -> None:
        other = self._other_end.get(place)
        if other is None:
            return  # said before it heard that the line has ended
        if isinstance(other, _Place):
            body = [other.number, *message.body[1:]]
            if message.kind == Kind.LINE_END:
                self._forget(place)
            self._send(other.peer, Kind(message.kind), body, message.frames)
        elif message.kind == Kind.LINE:
            other.take(list(message.frames))
        elif message.kind == Kind.LINE_END:
            self._forget(place)
            other.ended(str(message.body[2]))

    def _open(self, place: _Place, who: str, message: Message) -> None:
        _, service, address = message.body[:3]
        mine = self._of_peer.get(place.peer, ())
        if place.number in mine or len(mine) >= MOST_LINES:
            text = f"it has {len(mine)} lines to services, {MOST_LINES} are allowed"
            self._refuse(place, LineCode.BUSY, text)
            return
        if not address:
            self._open_here(place, service, who)
            return
        worker = self.workers.get(address)  # nobody has an address of workers that were not hired
        if worker is None:
            text = f"no worker for services has the address {address!r}, or it has ended"
            self._refuse(place, LineCode.LOST, f"{text}{did_you_mean(address, self.workers)}")
            return
        other = _Place(("slave", worker.slave_id), next(self._numbers))
        self._join(place, other)
        passed = message.frames if self._passes(other.peer) else ()
        passed = tuple(frame for frame in passed if isinstance(frame, Descriptor))[:1]
        self._send(other.peer, Kind.LINE_OPEN, [other.number, service, address, who, *message.body[4:5]], passed)

    def _open_here(self, place: _Place, service: str, who: str) -> None:
        """Open a line to a service of the master, once that is built."""
        self._of_peer.setdefault(place.peer, set()).add(place.number)

        def send(frames: list[Any]) -> None:
            self._send(place.peer, Kind.LINE, [place.number], frames)

        def hang_up(code: LineCode, text: str) -> None:
            self._forget(place)
            self._refuse(place, code, text)

        line = self._hall.open(service, who, send, hang_up)
        if place.number in self._of_peer.get(place.peer, ()):  # else it was refused at once
            self._other_end[place] = line
            line.on_opened = lambda: self._send(place.peer, Kind.LINE_OPENED, [place.number, False], ())
            line.begin()

    def _join(self, place: _Place, other: _Place) -> None:
        self._other_end[place], self._other_end[other] = other, place
        for end in (place, other):
            self._of_peer.setdefault(end.peer, set()).add(end.number)

    def _forget(self, place: _Place) -> _Place | HallLine | None:
        """Forget a line, both its ends; return the other one."""
        other = self._other_end.pop(place, None)
        for end in (place, other):
            if isinstance(end, _Place):
                self._other_end.pop(end, None)
                numbers = self._of_peer.get(end.peer)
                if numbers is not None:
                    numbers.discard(end.number)
                    if not numbers:
                        del self._of_peer[end.peer]
        return other

    def _hang_up(self, peer: Hashable, why: str) -> None:
        """End every line of a peer that is gone."""
        for number in list(self._of_peer.get(peer, ())):
            other = self._forget(_Place(peer, number))
            if isinstance(other, _Place):
                self._refuse(other, LineCode.LOST, why)
            elif other is not None:
                other.ended(why)

    def _refuse(self, place: _Place, code: LineCode, text: str) -> None:
        self._send(place.peer, Kind.LINE_END, [place.number, code.value, text], ())
