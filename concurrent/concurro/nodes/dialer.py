"""The way to a master: hello until it answers, and after a cut again.

    start --> HELLO --> WELCOME --> on_joined(peer)       a new session
    cut   --> HELLO(session, received) --> WELCOME        the same session, what was missed is said again
                                       --> REFUSED        it has ended: the peer's on_closed
    TCP   --> BIND(token) --> HEARTBEAT                   a second connection, for blobs

Delays are drawn at random, so that a thousand slaves of one master come back one by one.
Loop thread only.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import uuid
from math import inf
from typing import TYPE_CHECKING, Any

from concurro.errors import AuthenticationError, ConfigError, MasterUnreachable, ProtocolError, RefusedError
from concurro.nodes.machine import machine_id
from concurro.nodes.peer import Peer, python_version
from concurro.transport.addresses import connect
from concurro.wire.messages import PROTOCOL, Kind, Message, unpack_message
from concurro.wire.schema import Sender
from concurro.wire.session import LINK_LIMIT, SILENCE_LIMIT, StallWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from concurro.ids import Role
    from concurro.transport.link import Link
    from concurro.transport.loop import Loop, Timer

log = logging.getLogger(__name__)

HELLO_PATIENCE = 3.0
FIRST_DELAY = 0.05
TELL_AFTER = 1.5
SHORT_PATIENCE = 5.0
"""Who waits no longer than that hears how it ended, and not that it waits [s]."""

LONGEST_DELAY = 2.0
LOOK_PERIOD = 1.0
KEY_TRIES = 5
"""After so many tries in a row with keys that do not fit there is no use in another one."""

DATA_SILENCE = 30.0
"""A data connection without any bytes for so long is made anew [s]."""


class Dialer:
    """Connects to a master, and keeps the session through lost connections.

    Args:
        loop: The loop to live in.
        url: Address of the master.
        role: What we are.
        name: Host name or program, for people.
        facts: More to say in HELLO.
        patience: How long to try [s]; None for ever.
        resume_patience: How long a session waits for another connection, counted from the last
            that was heard of the master [s].
        keys: Our key file, or a folder with it; None for what a master of our user left for us.
        silence: After how long a master that keeps silent on a carrier without reconnects is given up [s].

    Attributes:
        gave_up: Whether the session ended because nobody answered in time.
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
        resume_patience: float = SILENCE_LIMIT,
        silence: float = inf,
        keys: Path | None = None,
    ) -> None:
        self.on_joined: Callable[[Peer, list[Any]], None] = lambda peer, welcome: None  # noqa: ARG005
        self.on_failed: Callable[[Exception], None] = lambda error: None  # noqa: ARG005
        self.fate: Callable[[], Exception | None] = lambda: None
        self._loop = loop
        self._url = url
        self._role = role
        self._keys = keys
        self._misfits = 0
        self._name = name
        self._facts = {"machine": machine_id(), **facts}
        self._patience = patience
        self._resume_patience = resume_patience
        self._silence = silence
        self._session_id = uuid.uuid4().bytes
        self._epoch = 0
        self._started = loop.now()
        self._deadline = None if patience is None else self._started + patience
        self._delay = FIRST_DELAY
        self._attempts = 0
        self._calling: Peer | None = None  # says HELLO; not more than that
        self._session: Peer | None = None  # what was joined
        self._timer: Timer | None = None
        self._last = ""
        self._nameless = False
        self._told = False
        self.gave_up = False
        self._data = DataDialer(lambda: connect(loop, url, keys, role, probe=False), loop)
        self._watch = StallWatch(loop.now())
        self._looking: Timer | None = None

    def start(self) -> None:
        """Try now."""
        self._attempts += 1
        try:
            # Who is busy with a session's tasks does not wait here.
            link = connect(self._loop, self._url, self._keys, self._role, probe=self._session is None)
        except ConfigError as error:
            self._fail(error)
            return
        except OSError as error:
            self._again(error.strerror or str(error), error)
            return
        session = self._session
        peer = self._calling = Peer(self._loop, link, Sender.MASTER)
        peer.on_message = self._answered
        peer.on_closed = lambda reason: self._again(reason, link.fault)
        received = 0 if session is None else session.session.received
        about = [self._session_id, self._epoch, received, self._name, self._facts]
        peer.send(Kind.HELLO, [PROTOCOL, python_version(), self._role.value, *about])
        self._timer = self._loop.after(HELLO_PATIENCE, self._unanswered)

    def stop(self) -> None:
        """Give up silently; a peer that was handed over is left alone. Idempotent."""
        for timer in (self._timer, self._looking):
            if timer is not None:
                timer.cancel()
        self._data.stop()
        if self._calling is not None:
            self._hang_up(self._calling)
            self._calling = None
        if self._session is not None:
            self._session.lasting = False
            self._session.on_away = _ignore
            self._session = None

    # Answers

    def _answered(self, message: Message) -> None:
        peer = self._calling
        if peer is None or message.kind not in (Kind.REFUSED, Kind.WELCOME):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._calling = None
        if message.kind == Kind.REFUSED:
            peer.close()
            self._refused(*message.body[:2])
        elif self._session is None:
            self._join(peer, message.body)
        else:
            self._resume(peer, message.body)

    def _refused(self, code: str, text: str) -> None:
        if self._session is not None and code == "session":
            self._end(f"the master has given us up: {text}")
            return
        self._fail(RefusedError(f"the master at {self._url} refused: {text}", code))

    def _join(self, peer: Peer, welcome: list[Any]) -> None:
        self._epoch = int(welcome[0])
        self._session = peer
        peer.lasting = peer.session.lasting
        peer.on_away = self._away
        self._look()
        self._open_data(peer, welcome)
        self.on_joined(peer, welcome)

    def _resume(self, caller: Peer, welcome: list[Any]) -> None:
        session = self._session
        assert session is not None  # noqa: S101 - who asks for it has one
        if not welcome[5].get("resumed") or welcome[0] != self._epoch:
            self._hang_up(caller)
            self._end("the master does not know us any more")
            return
        link = caller.release()
        assert link is not None  # noqa: S101 - it has just spoken
        try:
            session.rebind(link, int(welcome[2]))
        except ProtocolError as error:
            link.close()
            self._end(f"protocol errors, the last: {error}")
            return
        log.warning("connected to the master at %s again; nothing was lost", self._url)
        self._delay, self._told = FIRST_DELAY, False
        self._open_data(session, welcome)

    def _open_data(self, peer: Peer, welcome: list[Any]) -> None:
        token = welcome[5].get("data")
        if token is not None and peer.session.lasting:
            self._data.keep_open(peer, token)

    def _end(self, reason: str) -> None:
        session, self._session = self._session, None
        self.stop()
        if session is not None:
            session.fail(reason)

    def _fail(self, error: Exception) -> None:
        session = self._session
        self.stop()
        if session is not None:
            session.close()
        self.on_failed(error)

    # A lost connection

    def _away(self, reason: str) -> None:
        """Come back in a while: after a cut for all, everybody else does too."""
        session = self._session
        if session is None:
            return
        log.warning("the connection to the master at %s was lost (%s); trying again", self._url, reason)
        self._data.stop()
        self._attempts, self._started, self._told, self._last = 0, self._loop.now(), True, reason
        self._deadline = session.session.last_heard + max(self._resume_patience, LINK_LIMIT + HELLO_PATIENCE)
        self._delay = 2 * FIRST_DELAY
        self._timer = self._loop.after(random.random() * 10 * FIRST_DELAY, self.start)

    def _look(self) -> None:
        """Give up a silent connection; after a stall of ours read it first."""
        now, session = self._loop.now(), self._session
        if session is None or session.closed:
            self.stop()
            return
        self._looking = self._loop.after(LOOK_PERIOD, self._look)
        if self._watch.stalled(now) or session.link is None:
            return
        if session.lasting and session.session.silent(now, LINK_LIMIT):
            session.unlink(f"nothing was heard for {now - session.session.last_heard:.0f} s")
        elif session.session.silent(now, self._silence):
            self._end("silent for too long")
        elif session.data_silent(now, DATA_SILENCE):
            session.unbind_data("silent for too long")

    # Not yet

    def _unanswered(self) -> None:
        if self._calling is not None:
            self._hang_up(self._calling)
            self._again("something listens there, but does not answer as a Concurrent master would")

    def _hang_up(self, caller: Peer) -> None:
        """Leave a connection.

        A goodbye would end a session that may be bound to it already.
        """
        if self._session is None:
            caller.close()
            return
        link = caller.release()
        if link is not None:
            link.close()

    def _again(self, reason: str, fault: Exception | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._calling = None
        self._last, self._nameless = reason, isinstance(fault, socket.gaierror)
        fate = self.fate()
        if fate is not None:
            self._fail(fate)
            return
        now = self._loop.now()
        late = self._deadline is not None and now >= self._deadline
        if isinstance(fault, AuthenticationError):
            self._misfits += 1  # a master that was just started may not have written its keys yet
            if late or fault.code == "key" or self._misfits >= KEY_TRIES:
                self._fail(fault)
                return
        else:
            self._misfits = 0
        if late:
            self._give_up(now)
            return
        short = self._deadline is not None and self._deadline - self._started <= SHORT_PATIENCE
        if not self._told and not short and now - self._started > TELL_AFTER:
            self._told = True
            patience = "for ever" if self._deadline is None else f"for {self._deadline - now:.0f} s more"
            log.warning("no master at %s yet (%s); trying %s", self._url, reason, patience)
        delay = self._delay * (0.5 + random.random())
        self._delay = min(LONGEST_DELAY, self._delay * 1.6)
        if self._deadline is not None:
            delay = min(delay, max(0.01, self._deadline - now))
        self._timer = self._loop.after(delay, self.start)

    def _give_up(self, now: float) -> None:
        error = self._unreachable(now)
        if self._session is not None:
            self.gave_up = True
            self._end(str(error))
        else:
            self.on_failed(error)

    def _unreachable(self, now: float) -> MasterUnreachable:
        message = (
            f"no master at {self._url}: tried {self._attempts} times in {now - self._started:.1f} s, "
            f"the last time: {self._last}; start one with: concurrent-master --listen {self._url}"
        )
        if self._nameless:
            message = f"{message.rpartition('; ')[0]}; check the name of the host"
        return MasterUnreachable(message)


class DataDialer:
    """Keeps a second connection to the master, for the chunks of blobs.

    Until it is there, and whenever it is not, they travel with everything else.
    """

    def __init__(self, dial: Callable[[], Link], loop: Loop) -> None:
        self._connect = dial
        self._loop = loop
        self._peer: Peer | None = None
        self._token = b""
        self._link: Link | None = None
        self._timer: Timer | None = None

    def keep_open(self, peer: Peer, token: bytes) -> None:
        """Open it for a session, and again when it is lost."""
        self.stop()
        self._peer, self._token = peer, token
        self._dial()

    def stop(self) -> None:
        """Keep it open no longer. Idempotent."""
        self._peer = None
        if self._timer is not None:
            self._timer.cancel()
        self._drop()

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.on_closed = _ignore
            link.close()

    def _dial(self) -> None:
        peer = self._peer
        if peer is None or peer.closed:
            return
        self._timer = self._loop.after(HELLO_PATIENCE * (0.5 + random.random()), self._dial)
        if peer.has_data_link:
            return
        self._drop()
        try:
            link = self._link = self._connect()
        except (OSError, ConfigError):
            return
        link.on_message = lambda frames: self._answered(peer, link, frames)
        link.on_closed = lambda reason: self._refused(link)  # noqa: ARG005
        link.send(peer.session.pack(Kind.BIND, [self._token], self._loop.now()))

    def _answered(self, peer: Peer, link: Link, frames: list[Any]) -> None:
        if link is not self._link:
            return
        with contextlib.suppress(ProtocolError):
            if unpack_message(frames).kind == Kind.HEARTBEAT:
                self._link = None
                peer.bind_data(link)
                return
        self._drop()

    def _refused(self, link: Link) -> None:
        if link is self._link:
            self._link = None


def _ignore(reason: str) -> None:
    """Hear no more of it: it was given up."""
