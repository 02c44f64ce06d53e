"""What followers of systems are told: in order, as fast as they take it.

    OUT --publications--> waiting --Spool--> under way --EVENT--> sent --TAKEN--> dropped
                             |                                     |
                 the host gets no further input      64 MiB and 256 deliveries at most

    progress, counts --> merged --> EVENT, while a follower has not too many to take

A large value stays with the host until it is in the spool (PUBLISHED), and in the spool until
every follower has taken it or left. What cannot be had is told, and nothing else is lost with
it. Pure: events in, commands out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from concurro.scheduling.commands import DropBlobs, Send, Spool
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.ids import SystemState
    from concurro.scheduling.life import SystemLife

    Finish = Callable[[SystemLife, SystemState, list[Any], float], None]

NEWS_BYTES = 64 * 1024 * 1024
"""Partial results of one system on their way to its followers; a single one may be larger [B]."""

MOST_DELIVERIES = 256
"""Deliveries of one system on their way to its followers."""

GENERATION_SHIFT = 40
"""Above it, the number of a publication has the generation: each run of a system numbers its own."""

JOINED_BYTES = 1024 * 1024
"""Small partial results that travel together [B]."""

END_PATIENCE = 30.0
"""How long the end of a kept system waits for followers to take what it published before [s]."""

MOST_UNANSWERED = 8
"""Messages that a follower may have to take before counts and progress are merged."""


@dataclass(slots=True, eq=False)
class Delivery:
    """Partial results that travel together, or the end of a system.

    Attributes:
        publications: `[payload, blobs]` each.
        end: State and result; there are no publications then.
        size: Bytes of the publications, blobs included [B].
        last: How many publications of the system there are up to the last of these.
        ready: Whether its blobs are in the spool, or there are none.
        number: Of the EVENT that carried it.
        waiting_for: The followers that have not taken it.
    """

    publications: list[Any] = field(default_factory=list)
    blobs: list[Any] = field(default_factory=list)
    end: tuple[SystemState, list[Any]] | None = None
    size: int = 0
    last: int = 0
    ready: bool = False
    number: int = 0
    waiting_for: set[Hashable] = field(default_factory=set)


@dataclass(slots=True)
class News:
    """What one system tells.

    Attributes:
        waiting: What there is no room for yet.
        under_way: What waits for its blobs, or for one before it.
        sent: What some follower has not taken yet.
        size: Bytes under way or sent [B].
        published: How many publications there were.
        delivered: How many of them no longer need their host.
        repeated: So many that follow are known: a host that died told them.
        number: Of the last EVENT.
        unanswered: Per follower the numbers of the EVENTs that it has not taken.
        behind: Followers that were not told the latest counts.
        missed: Publications that nobody was there to take.
        held: Whether they wait for followers, who could not come while there was no master.
        generation: Which run of the system they are of.
        end_by: When the end waits no longer for followers to take what came before; None before it came [s].
    """

    waiting: deque[Delivery] = field(default_factory=deque)
    under_way: deque[Delivery] = field(default_factory=deque)
    sent: list[Delivery] = field(default_factory=list)
    size: int = 0
    published: int = 0
    delivered: int = 0
    repeated: int = 0
    number: int = 0
    unanswered: dict[Hashable, deque[int]] = field(default_factory=dict)
    behind: set[Hashable] = field(default_factory=set)
    missed: int = 0
    held: bool = False
    generation: int = 1
    end_by: float | None = None

    @property
    def settled(self) -> int:
        """How many publications nobody waits for any more.

        They were taken, or nobody was there.
        """
        unsettled = [delivery for delivery in self.sent if delivery.waiting_for]
        unsettled += [delivery for delivery in (*self.under_way, *self.waiting) if delivery.end is None]
        return unsettled[0].last - len(unsettled[0].publications) if unsettled else self.published


class NewsDesk:
    """Tells the followers of all systems. Loop thread only.

    Args:
        command: Takes what is to be done.
        finish: Called with a system whose end is due, behind everything it published.
        counts: Returns the tasks of a system by state.
        taken: Called with a system and how many of its publications every follower has.
    """

    def __init__(
        self,
        command: Callable[[Any], None],
        finish: Finish,
        counts: Callable[[SystemLife], dict[str, int]],
        taken: Callable[[SystemLife, int], None],
    ) -> None:
        self._command = command
        self._finish = finish
        self._counts = counts
        self._taken = taken

    def publish(self, life: SystemLife, publications: list[list[Any]], now: float) -> None:
        """Queue partial results."""
        news = life.news
        known = min(len(publications), news.repeated)
        news.repeated -= known
        for payload, blobs in publications[known:]:
            news.published += 1
            size = len(payload) + sum(blob[2] for blob in blobs or ())
            last = news.waiting[-1] if news.waiting else None
            if blobs or last is None or last.blobs or last.size + size > JOINED_BYTES:
                last = Delivery(blobs=list(blobs or ()))
                news.waiting.append(last)
            last.publications.append([payload, blobs])
            last.size += size
            last.last = news.published
        self._move(life, now)

    def skip(self, life: SystemLife, publications: list[list[Any]]) -> None:
        """Count partial results that were told before the master was restarted."""
        life.news.published += len(publications)
        if any(blobs for _, blobs in publications):
            self._command(Send(life.host, Kind.PUBLISHED, [life.record.number, life.news.published]))

    def stop_holding(self, life: SystemLife, now: float) -> None:
        """Tell what was kept back for followers, whether there are any or not."""
        life.news.held = False
        self._move(life, now)

    def go_on(self, life: SystemLife, now: float) -> None:
        """Take every step that is due by now."""
        self._move(life, now)

    def begin_again(self, life: SystemLife, another: int = 1) -> None:
        """Forget what was published: the system runs again from its start.

        `another` is 0 where it will publish the same again, under the same numbers.
        """
        number, unanswered, held, generation = (
            life.news.number,
            life.news.unanswered,
            life.news.held,
            life.news.generation,
        )
        self.drop(life)
        life.news = News(number=number, unanswered=unanswered, held=held, generation=generation + another)

    def announce_end(
        self, life: SystemLife, state: SystemState, result: list[Any], now: float, *, blobs: list[Any]
    ) -> None:
        """Queue the end of a system, behind what it published.

        The journal keeps no partial results of a system that has ended: the end of a kept one
        waits until its followers have them.
        """
        life.news.waiting.append(Delivery(end=(state, result), blobs=blobs))
        life.news.end_by = now + END_PATIENCE
        self._move(life, now)

    def spooled(self, life: SystemLife, delivery: Delivery, error: str | None, now: float) -> None:
        """Go on after the blobs of a delivery arrived in the spool, or did not."""
        delivery.ready = True
        if error is not None and delivery.end is None:
            delivery.publications = []
            life.notices.append(f"a partial result of system {life.record.system_id} was lost: {error}")
        self._move(life, now)

    def tell(self, life: SystemLife, now: float) -> None:
        """Tell counts, progress and notices to the followers.

        One that has much to take already is told the latest of them later.
        """
        news = life.news
        ready = set(life.listeners)
        life.told = tuple(self._counts(life).values())
        if not life.notices:
            news.behind |= {peer for peer in ready if len(news.unanswered.get(peer, ())) >= MOST_UNANSWERED}
            ready -= news.behind
        self._send(life, [], ready, now)

    def tell_counts(self, lives: list[SystemLife], now: float) -> None:
        """Tell the followers of running systems the counts, where they changed."""
        for life in lives:
            if life.ended_at is None and life.followers and tuple(self._counts(life).values()) != life.told:
                self.tell(life, now)

    def tell_all(self, life: SystemLife, now: float) -> None:
        """Tell the last counts to every follower, whatever it has to take."""
        self._send(life, [], set(life.followers), now)

    def taken(self, life: SystemLife, peer: Hashable, number: int, now: float) -> None:
        """Note that a follower has taken everything up to an EVENT."""
        news = life.news
        unanswered = news.unanswered.get(peer, deque())
        while unanswered and unanswered[0] <= number:
            unanswered.popleft()
        for delivery in news.sent:
            if delivery.number <= number:
                delivery.waiting_for.discard(peer)
        done = list(takewhile(lambda delivery: not delivery.waiting_for, news.sent))
        if done and done[-1].last:
            self._taken(life, done[-1].last)
        if peer in news.behind and len(unanswered) < MOST_UNANSWERED:
            news.behind.discard(peer)
            self._send(life, [], {peer}, now)
        self._move(life, now)

    def left(self, life: SystemLife, peer: Hashable, now: float) -> None:
        """Wait no longer for one that follows no more."""
        news = life.news
        news.unanswered.pop(peer, None)
        news.behind.discard(peer)
        for delivery in news.sent:
            if peer in delivery.waiting_for and not life.followers:
                news.missed += len(delivery.publications)
            delivery.waiting_for.discard(peer)
        self._move(life, now)

    def followed(self, life: SystemLife, peer: Hashable, now: float) -> None:
        """Tell one that follows from now on what it missed.

        The counts of a system that has ended do not change any more: they are told now or never.
        """
        news = life.news
        if news.missed:
            results = "1 partial result" if news.missed == 1 else f"{news.missed} partial results"
            which = f"{results} of system {life.record.system_id}"
            news.missed = 0
            life.notices.append(f"{which} may be missing: no application was there to take them")
            self._send(life, [], {peer}, now)
        elif life.ended_at is not None:
            self._send(life, [], {peer}, now)

    def drop(self, life: SystemLife) -> None:
        """Let go of everything: the system is forgotten."""
        for delivery in (*life.news.under_way, *life.news.sent):
            self._release(life, delivery)
        life.news = News()

    # Steps

    def _move(self, life: SystemLife, now: float) -> None:
        """Take every step that is due."""
        self._drop_taken(life)
        self._start(life)
        news = life.news
        while news.under_way and news.under_way[0].ready:
            if news.under_way[0].end is not None and self._must_wait(life, now):
                return
            delivery = news.under_way.popleft()
            if delivery.end is not None:
                self._finish(life, *delivery.end, now)
                return
            self._deliver(life, delivery, now)
            self._drop_taken(life)
            self._start(life)

    def _must_wait(self, life: SystemLife, now: float) -> bool:
        """Say whether the end must wait for somebody to take what was published."""
        return bool(life.kept and life.news.sent) and (life.news.end_by is None or now < life.news.end_by)

    def _start(self, life: SystemLife) -> None:
        """Fetch what there is room for."""
        news = life.news
        if news.held and life.followers:
            news.held = False
        while news.waiting and self._has_room(news, news.waiting[0]):
            if news.held and news.waiting[0].end is None:
                return
            delivery = news.waiting.popleft()
            news.under_way.append(delivery)
            news.size += delivery.size
            if delivery.end is None and not life.followers:
                news.missed += len(delivery.publications)
                delivery.publications = []
                delivery.ready = True
            elif not delivery.blobs:
                delivery.ready = True
            else:
                number = life.record.number
                self._command(Spool(life.host, delivery.blobs, ("news", number, delivery), owner_of(number, delivery)))

    def _has_room(self, news: News, delivery: Delivery) -> bool:
        on_their_way = len(news.under_way) + len(news.sent)
        if not on_their_way or delivery.end is not None:
            return True
        return on_their_way < MOST_DELIVERIES and news.size + delivery.size <= NEWS_BYTES

    def _deliver(self, life: SystemLife, delivery: Delivery, now: float) -> None:
        life.news.delivered = delivery.last
        if delivery.blobs:
            self._command(Send(life.host, Kind.PUBLISHED, [life.record.number, delivery.last]))
        if delivery.publications or life.notices:
            first = delivery.last - len(delivery.publications)
            self._send(life, delivery.publications, set(life.followers), now, first)
            delivery.number = life.news.number
        if delivery.publications:
            delivery.waiting_for = set(life.followers)
        life.news.sent.append(delivery)

    def _drop_taken(self, life: SystemLife) -> None:
        news = life.news
        if all(delivery.waiting_for for delivery in news.sent):
            return
        for delivery in news.sent:
            if not delivery.waiting_for:
                news.size -= delivery.size
                self._release(life, delivery)
        news.sent = [delivery for delivery in news.sent if delivery.waiting_for]

    def _release(self, life: SystemLife, delivery: Delivery) -> None:
        if delivery.blobs and delivery.end is None:
            self._command(DropBlobs(owner_of(life.record.number, delivery)))

    def _send(
        self, life: SystemLife, publications: list[Any], peers: set[Hashable], now: float, first: int = 0
    ) -> None:
        if not peers:
            return
        news = life.news
        counts = self._counts(life)
        news.number += 1
        notices, life.notices = life.notices, []
        elapsed = (now if life.ended_at is None else life.ended_at) - life.submitted_at
        body = [life.record.number, publications, life.progress, counts, elapsed, notices, news.number]
        if publications:
            body.append(news.generation << GENERATION_SHIFT | first)
        for peer in peers:
            self._command(Send(peer, Kind.EVENT, body))
            news.unanswered.setdefault(peer, deque()).append(news.number)


def owner_of(system: int, delivery: Delivery) -> Hashable:
    """Return who owns the blobs of a delivery.

    A result stays as long as its system.
    """
    return system if delivery.end is not None else ("news", system, delivery.last)
