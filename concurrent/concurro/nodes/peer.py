"""The other end of a session: messages in, messages out, heartbeats.

    owner <-- on_message -- Peer <-- control link: numbered, kept until acknowledged
                             |  <-- data link (TCP): chunks of blobs, never kept
                             +--> on_away, on_back: the connection changes, the session does not
                             +--> on_closed: the session has ended

A session over AF_UNIX ends with its link. One over TCP goes on over the next link: whoever
owns the peer says how long it waits for one. What a data link loses is asked for again.
Loop thread only.
"""

from __future__ import annotations

import logging
import sys
from math import inf
from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.transport.framing import size_of
from concurro.transport.link import ignore_closed, ignore_message
from concurro.wire.messages import Farewell, Kind, Message, pack_message, unpack_message
from concurro.wire.schema import Sender, check_message
from concurro.wire.session import HEARTBEAT_PERIOD, LastingSession, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.transport.link import Link
    from concurro.transport.loop import Loop, Timer

log = logging.getLogger(__name__)

PROTOCOL_ERROR_LIMIT = 10

DATA_LINK_PATIENCE = 5.0
"""How long a session that goes on waits for a data link before chunks are asked for without one [s]."""


def python_version() -> str:
    """Return major.minor of this interpreter."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


class Peer:
    """The other end of a session.

    Attributes:
        on_message: Called with each checked message.
        on_closed: Called once with a reason when the session ends from the other side.
        on_away: Called with a reason when a session that may go on has lost its connection.
        on_back: Called when it goes on over another one.
        on_chunks_lost: Called when chunks of blobs that were under way may be lost.
        id: What the owner calls the peer; any hashable.
        outer: Who it belongs to, when it is inside a job; None otherwise.
        identity: Who the other end proved to be.
        sender: What it is, which decides what it may send.
        farewell: The code of its GOODBYE, known when `on_closed` is called; empty when it said none.
        lasting: Whether the session outlives its link; the owner sets it once both ends know.
        away_since: When the link was lost [s]; None while there is one.
    """

    def __init__(self, loop: Loop, link: Link, sender: Sender = Sender.STRANGER) -> None:
        self.on_message: Callable[[Message], None] = _no_message
        self.on_closed: Callable[[str], None] = _no_end
        self.on_away: Callable[[str], None] = _no_end
        self.on_back: Callable[[], None] = _nothing
        self.on_chunks_lost: Callable[[], None] = _nothing
        self.id: Any = None
        self.outer: Any = None
        self.identity = link.identity
        self.sender = sender
        self.session: Session = Session(loop.now()) if link.ordered else LastingSession(loop.now())
        self.lasting = False
        self.away_since: float | None = None
        self.closed = False
        self.farewell = ""
        self._name = link.peer
        self._loop = loop
        self._link: Link | None = None
        self._data: Link | None = None
        self._data_heard = self._data_said = 0.0
        self._chunks_lost = False  # with a data link, and not asked for again
        self._faults = 0
        self._known = False
        self._acknowledging: Timer | None = None
        self._urgent = False
        self._attach(link)

    @property
    def link(self) -> Link | None:
        """The connection; None while there is none."""
        return self._link

    def send(self, kind: Kind, body: list[Any], frames: Sequence[Any] = ()) -> None:
        """Queue a message; without a connection it waits for the next one.

        Raises:
            ProtocolError: It is over the limits.
        """
        if self.closed:
            return
        if kind == Kind.BLOB_CHUNK and self._data is not None:
            self._data_said = self._loop.now()
            self._data.send([pack_message(kind, body), *frames])
            return
        packed = self.session.pack(kind, body, self._loop.now(), frames)
        try:
            if self._link is not None:
                self._link.send(packed)
            else:
                size_of(packed)
        except ProtocolError:
            self.session.unsend()
            raise

    @property
    def passes_descriptors(self) -> bool:
        """Whether a frame may be a descriptor now."""
        return self._link is not None and self._link.passes_descriptors

    def backlog(self) -> int:
        """Return the bytes that the other end may not have yet [B]."""
        waiting = self._link.backlog() if self._link is not None else 0
        return max(waiting, self.session.kept_bytes)

    def may_send(self) -> bool:
        """Say whether there is room for what is not acknowledged."""
        return self.session.may_send()

    def beat(self) -> None:
        """Send heartbeats where nothing else was sent lately."""
        now = self._loop.now()
        if self._link is not None and self.session.heartbeat_due(now):
            self.send(Kind.HEARTBEAT, [])
        if self._data is not None and now - self._data_said >= HEARTBEAT_PERIOD:
            self._data_said = now
            self._data.send([pack_message(Kind.HEARTBEAT, [])])

    # The end

    def close(self, reason: str = "", code: Farewell = Farewell.LEFT) -> None:
        """Say goodbye and close. Idempotent; `on_closed` is not called."""
        if not self.closed:
            self._say(Kind.GOODBYE, [reason, code.value])
            self._end()

    def give_up(self, reason: str, code: Farewell, late: Callable[[Message], None]) -> Link | None:
        """Say goodbye, and hear on: what comes now is too late.

        Args:
            reason: For the other end.
            code: Why.
            late: Called with each message that still arrives; what is no valid one is dropped.

        Returns:
            The link, which the owner closes after a while; None when there is none.
        """
        self._say(Kind.GOODBYE, [reason, code.value])
        link = self.release()
        if link is not None:
            link.on_message = lambda frames: _hear_late(frames, self.sender, late, link)
        return link

    def fail(self, reason: str) -> None:
        """End the session as if the other end had; calls `on_closed`."""
        if not self.closed:
            self._end()
            self.on_closed(reason)

    # Another connection

    def unlink(self, reason: str) -> None:
        """Give the connection up, and keep the session if it is a lasting one."""
        if self._link is not None:
            self._unlinked(self._link, reason)

    def release(self) -> Link | None:
        """Hand the link to another peer; this one is closed without a word."""
        link, self._link = self._link, None
        self._end()
        if link is not None:
            link.on_message, link.on_closed = ignore_message, ignore_closed
        return link

    def rebind(self, link: Link, received: int, first: tuple[Kind, list[Any]] | None = None) -> None:
        """Go on over another link: say again what the other end has not received.

        Args:
            link: The new one; the old one is dropped.
            received: The last of our messages that the other end has.
            first: What to say before anything else.

        Raises:
            ProtocolError: It claims to have what was never sent.
        """
        assert isinstance(self.session, LastingSession)  # noqa: S101 - only lasting ones lose their links
        again = self.session.rebind(received, self._loop.now())
        if self._link is not None:
            self._drop(self._link)
        self._drop_data()
        self.away_since = None
        self._attach(link)
        if first is not None:
            self._say(*first)
        for packed in again:
            link.send(packed)
        self.on_back()
        if self._chunks_lost:  # usually another data link comes, and they are asked for then
            self._loop.after(DATA_LINK_PATIENCE, self._do_without_data_link)

    # The data connection

    def bind_data(self, link: Link) -> None:
        """Let chunks of blobs travel over a link of their own from now on."""
        self._drop_data()
        self._data = link
        self._data_heard = self._data_said = self._loop.now()
        link.on_message = self._chunk
        link.on_closed = lambda reason: self._data_ended(link, reason)
        link.send([pack_message(Kind.HEARTBEAT, [])])
        self._ask_for_chunks()

    def data_silent(self, now: float, limit: float) -> bool:
        """Say whether the data link was silent for too long."""
        return self._data is not None and now - self._data_heard > limit

    def unbind_data(self, reason: str) -> None:
        """Give the data link up; the dialling end makes another."""
        if self._data is not None:
            self._data.send([pack_message(Kind.GOODBYE, [reason, Farewell.SILENT.value])])
            self._data_ended(self._data, reason)

    @property
    def has_data_link(self) -> bool:
        """Whether chunks have a link of their own."""
        return self._data is not None

    def _chunk(self, frames: list[Any]) -> None:
        self._data_heard = self.session.last_heard = self._loop.now()
        try:
            message = unpack_message(frames)
            check_message(message, self.sender)
            if message.kind == Kind.BLOB_CHUNK:
                self.on_message(message)
            elif message.kind == Kind.GOODBYE and self._data is not None:
                self._data_ended(self._data, "the other end gave it up")
            elif message.kind != Kind.HEARTBEAT:
                text = f"{Kind(message.kind).name} is no message for a data connection"
                raise ProtocolError(text)  # noqa: TRY301 - one way out for every fault
        except Exception as error:  # noqa: BLE001 - whatever a message of one peer leads to, the others go on
            self._fault(error)

    def _data_ended(self, link: Link, reason: str) -> None:
        if link is self._data:
            log.debug("the data connection of %s ended: %s", self.id or self._name, reason)
            self._drop_data()
            self._ask_for_chunks()

    def _ask_for_chunks(self) -> None:
        self._chunks_lost = False
        self.on_chunks_lost()

    def _do_without_data_link(self) -> None:
        if self._chunks_lost and self._link is not None:
            self._ask_for_chunks()

    def _drop_data(self) -> None:
        data, self._data = self._data, None
        if data is not None:
            self._chunks_lost = True
            self._drop(data)

    # Messages

    def _frames(self, frames: list[Any]) -> None:
        if self.closed:
            return
        session, now = self.session, self._loop.now()
        try:
            message = session.accept(frames, now)
            if session.lasting:
                self._acknowledge_soon(now, unheard=message is None)
            if message is None:
                return
            self._known = self.sender is not Sender.STRANGER
            check_message(message, self.sender)
            if message.kind == Kind.GOODBYE:
                reason, self.farewell = [*message.body, "", ""][:2]
                self._end()
                self.on_closed(reason or "the other end said goodbye")
                return
            self.on_message(message)
        except Exception as error:  # noqa: BLE001 - whatever a message of one peer leads to, the others go on
            self._fault(error)

    def _acknowledge_soon(self, now: float, *, unheard: bool) -> None:
        if unheard and self._link is not None:
            for reply in self.session.take_replies(now):
                self._link.send(reply)
        due = self.session.acknowledge_at()
        if due is None:
            return
        if due == -inf:
            if not self._urgent:
                self._urgent = True
                self._loop.request_flush(self._acknowledge_now)
        elif self._acknowledging is None:
            self._acknowledging = self._loop.at(due, self._acknowledge)

    def _acknowledge_now(self) -> None:
        self._urgent = False
        self._say_acknowledged(-inf)

    def _acknowledge(self) -> None:
        self._acknowledging = None
        self._say_acknowledged(inf)

    def _say_acknowledged(self, until: float) -> None:
        """Acknowledge alone what found nothing to ride along with."""
        due = self.session.acknowledge_at()
        if due is not None and due <= until and self._link is not None:
            self._say(Kind.HEARTBEAT, [])

    def _say(self, kind: Kind, body: list[Any]) -> None:
        """Send a message of the connection, if there is one."""
        if self._link is not None:
            self._link.send(self.session.pack(kind, body, self._loop.now()))

    def _fault(self, error: Exception) -> None:
        self._faults += 1
        unforeseen = not isinstance(error, ProtocolError)
        log.warning("bad message from %s: %s", self.id or self._name, error, exc_info=unforeseen)
        unknown = self.sender is Sender.STRANGER or not self._known
        # A fault of our own while we take the master's news: whoever waits for the rest is told at once.
        ours = unforeseen and self.sender is Sender.MASTER
        if not self.closed and (self._faults >= PROTOCOL_ERROR_LIMIT or unknown or ours):
            reason = f"protocol errors, the last: {error}"
            self.close(reason, Farewell.PROTOCOL)  # a link over TCP stays open until the other end hears that
            self.on_closed(reason)

    # Links

    def _attach(self, link: Link) -> None:
        self._link = link
        link.on_message = self._frames
        link.on_closed = lambda reason: self._unlinked(link, reason)

    def _unlinked(self, link: Link, reason: str) -> None:
        if self.closed or link is not self._link:
            return
        self._link = None
        self._drop(link)
        if self.lasting and link.fault is None:
            self.away_since = self._loop.now()
            self._drop_data()
            self.on_away(reason)
        else:
            self._end()
            self.on_closed(reason)

    def _end(self) -> None:
        self.closed = True
        if self._acknowledging is not None:
            self._acknowledging.cancel()
        link, self._link = self._link, None
        if link is not None:
            self._drop(link)
        self._drop_data()

    @staticmethod
    def _drop(link: Link) -> None:
        link.on_message, link.on_closed = ignore_message, ignore_closed
        link.close()


def keep_beating(loop: Loop, peers: Callable[[], Sequence[Peer]]) -> Callable[[], None]:
    """Send heartbeats to `peers()` for as long as the loop lives.

    Return what ends it.
    """
    timer: list[Timer | None] = [None]

    def beat() -> None:
        for peer in peers():
            peer.beat()
        timer[0] = loop.after(HEARTBEAT_PERIOD, beat)

    def stop() -> None:
        if timer[0] is not None:
            timer[0].cancel()

    beat()
    return stop


def _hear_late(frames: list[Any], sender: Sender, late: Callable[[Message], None], link: Link) -> None:
    try:
        message = unpack_message(frames)
        check_message(message, sender)
    except ProtocolError:
        return
    if message.kind == Kind.GOODBYE:
        link.close()
    else:
        late(message)


def _no_message(message: Message) -> None:
    """Drop a message: nobody listens yet."""


def _no_end(reason: str) -> None:
    """Drop the news: nobody listens yet."""


def _nothing() -> None:
    """Do nothing: nobody listens yet."""
