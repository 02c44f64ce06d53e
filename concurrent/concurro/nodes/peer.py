"""A session over a link: messages in, messages out, heartbeats.

Loop thread only.
"""

from __future__ import annotations

import logging
import random
import sys
import uuid
from typing import TYPE_CHECKING, Any

from concurro.errors import AuthenticationError, ConfigError, MasterUnreachable, ProtocolError, RefusedError
from concurro.transport.addresses import connect
from concurro.wire.messages import PROTOCOL, Farewell, Kind, Message
from concurro.wire.schema import Sender, check_message
from concurro.wire.session import HEARTBEAT_PERIOD, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from concurro.ids import Role
    from concurro.transport.link import Link
    from concurro.transport.loop import Loop, Timer

log = logging.getLogger(__name__)

PROTOCOL_ERROR_LIMIT = 10
HELLO_PATIENCE = 3.0
FIRST_DELAY = 0.05
TELL_AFTER = 1.5
LONGEST_DELAY = 2.0
KEY_TRIES = 5
"""After so many tries in a row with keys that do not fit there is no use in another one."""


def python_version() -> str:
    """Return major.minor of this interpreter."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _no_message(message: Message) -> None:
    """Drop a message: nobody listens yet."""


def _no_end(reason: str) -> None:
    """Drop the news: nobody listens yet."""


class Peer:
    """The other end of a link, as messages.

    Attributes:
        on_message: Called with each checked message.
        on_closed: Called once with a reason when the session ends from the other side.
        id: What the owner calls the peer; any hashable.
        sender: What it is, which decides what it may send.
        farewell: The code of its GOODBYE, known when `on_closed` is called; empty when it said none.
    """

    def __init__(self, loop: Loop, link: Link, sender: Sender = Sender.STRANGER) -> None:
        self.on_message: Callable[[Message], None] = _no_message
        self.on_closed: Callable[[str], None] = _no_end
        self.id: Any = None
        self.link = link
        self.sender = sender
        self.session = Session(loop.now())
        self.closed = False
        self.farewell = ""
        self._loop = loop
        self._faults = 0
        self._known = False
        link.on_message = self._frames
        link.on_closed = self._lost

    def send(self, kind: Kind, body: list[Any], frames: Sequence[Any] = ()) -> None:
        """Queue a message.

        Raises:
            ProtocolError: It is over the limits.
        """
        if self.closed:
            return
        packed = self.session.pack(kind, body, self._loop.now(), frames)
        try:
            self.link.send(packed)
        except ProtocolError:
            self.session.unsend()
            raise

    def beat(self) -> None:
        """Send a heartbeat if nothing else was sent lately."""
        if self.session.heartbeat_due(self._loop.now()):
            self.send(Kind.HEARTBEAT, [])

    def close(self, reason: str = "", code: Farewell = Farewell.LEFT) -> None:
        """Say goodbye and close. Idempotent; `on_closed` is not called."""
        if not self.closed:
            self.send(Kind.GOODBYE, [reason, code.value])
            self.closed = True
            self.link.close()

    def _frames(self, frames: list[Any]) -> None:
        if self.closed:
            return
        try:
            message = self.session.accept(frames, self._loop.now())
            if message is None:
                return
            self._known = self.sender is not Sender.STRANGER
            check_message(message, self.sender)
            if message.kind == Kind.GOODBYE:
                reason, self.farewell = [*message.body, "", ""][:2]
                self._lost(reason or "the other end said goodbye")
                return
            self.on_message(message)
        except Exception as error:  # noqa: BLE001 - whatever a message of one peer leads to, the others go on
            self._fault(error)

    def _fault(self, error: Exception) -> None:
        self._faults += 1
        unforeseen = not isinstance(error, ProtocolError)
        log.warning("bad message from %s: %s", self.id or self.link.peer, error, exc_info=unforeseen)
        unknown = self.sender is Sender.STRANGER or not self._known
        # A fault of our own while we take the master's news: whoever waits for the rest is told at once.
        ours = unforeseen and self.sender is Sender.MASTER
        if not self.closed and (self._faults >= PROTOCOL_ERROR_LIMIT or unknown or ours):
            reason = f"protocol errors, the last: {error}"
            self.close(reason, Farewell.PROTOCOL)  # a link over TCP stays open until the other end hears that
            self.on_closed(reason)

    def _lost(self, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self.link.close()
            self.on_closed(reason)


class Dialer:
    """Connects to a master and says hello, again and again until it answers.

    Args:
        loop: The loop to live in.
        url: Address of the master.
        role: What we are.
        name: Host name or program, for people.
        facts: More to say in HELLO.
        patience: How long to try [s]; None for ever.
        keys: Our key file, or a folder with it; None for what a master of our user left for us.
    """

    def __init__(  # noqa: PLR0913 - what HELLO says
        self,
        loop: Loop,
        url: str,
        role: Role,
        name: str,
        facts: dict[str, Any],
        *,
        patience: float | None,
        keys: Path | None = None,
    ) -> None:
        self.on_joined: Callable[[Peer, list[Any]], None] = lambda peer, welcome: None  # noqa: ARG005
        self.on_failed: Callable[[Exception], None] = lambda error: None  # noqa: ARG005
        self._loop = loop
        self._url = url
        self._role = role
        self._keys = keys
        self._misfits = 0
        self._name = name
        self._facts = facts
        self._session_id = uuid.uuid4().bytes
        self._started = loop.now()
        self._deadline = None if patience is None else self._started + patience
        self._delay = FIRST_DELAY
        self._attempts = 0
        self._peer: Peer | None = None
        self._timer: Timer | None = None
        self._last = ""
        self._told = False

    def start(self) -> None:
        """Try now."""
        self._attempts += 1
        try:
            link = connect(self._loop, self._url, self._keys, self._role)
        except ConfigError as error:
            self.on_failed(error)
            return
        except OSError as error:
            self._again(error.strerror or str(error), error)
            return
        peer = self._peer = Peer(self._loop, link, Sender.MASTER)
        peer.on_message = self._answered
        peer.on_closed = lambda reason: self._again(reason, link.fault)
        hello = [PROTOCOL, python_version(), self._role.value, self._session_id, 0, 0, self._name, self._facts]
        peer.send(Kind.HELLO, hello)
        self._timer = self._loop.after(HELLO_PATIENCE, self._unanswered)

    def stop(self) -> None:
        """Give up silently. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def _answered(self, message: Message) -> None:
        peer = self._peer
        if peer is None:
            return
        if message.kind == Kind.REFUSED:
            self.stop()
            code, text = message.body[:2]
            self.on_failed(RefusedError(f"the master at {self._url} refused: {text}", code))
        elif message.kind == Kind.WELCOME:
            if self._timer is not None:
                self._timer.cancel()
            self._peer = None
            self.on_joined(peer, message.body)

    def _unanswered(self) -> None:
        if self._peer is not None:
            self._peer.on_closed = lambda reason: None  # noqa: ARG005
            self._peer.close()
            self._again("something listens there, but does not answer as a Concurrent master would")

    def _again(self, reason: str, fault: Exception | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._peer = None
        self._last = reason
        now = self._loop.now()
        late = self._deadline is not None and now >= self._deadline
        if isinstance(fault, AuthenticationError):
            self._misfits += 1  # a master that was just started may not have written its keys yet
            if late or fault.code == "key" or self._misfits >= KEY_TRIES:
                self.on_failed(fault)
                return
        else:
            self._misfits = 0
        if late:
            self.on_failed(self._unreachable(now))
            return
        if not self._told and now - self._started > TELL_AFTER:
            self._told = True
            patience = "for ever" if self._deadline is None else f"for {self._deadline - now:.0f} s more"
            log.warning("no master at %s yet (%s); trying %s", self._url, reason, patience)
        delay = self._delay * (0.5 + random.random())
        self._delay = min(LONGEST_DELAY, self._delay * 1.6)
        if self._deadline is not None:
            delay = min(delay, max(0.01, self._deadline - now))
        self._timer = self._loop.after(delay, self.start)

    def _unreachable(self, now: float) -> MasterUnreachable:
        message = (
            f"no master at {self._url}: tried {self._attempts} times in {now - self._started:.1f} s, "
            f"the last time: {self._last}; start one with: concurrent-master --listen {self._url}"
        )
        return MasterUnreachable(message)


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
