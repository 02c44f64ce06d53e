"""The master's door: who comes in, who comes back, who is gone.

    link --HELLO--> refused | a new peer | the peer of that session, over another connection
         --BIND---> the data connection of a peer

    slave        silent for 10 s --> lost; what it still says is late, and counted
    application  without a connection for `grace` --> gone; never by silence, its code may hold the interpreter
    either       without a connection, and its process on this machine has ended --> gone

After a stall of our own, what arrived meanwhile is read first, and nobody is blamed for it.
"""

from __future__ import annotations

import logging
import os
from math import inf
from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.ids import Role
from concurro.nodes.machine import has_ended
from concurro.nodes.peer import Peer, python_version
from concurro.transport.addresses import Listener
from concurro.wire.messages import PROTOCOL, Farewell, Kind, Message
from concurro.wire.schema import Sender
from concurro.wire.session import StallWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from concurro.transport.link import Link
    from concurro.transport.loop import Loop, Timer

log = logging.getLogger("concurro.master")

TASK_CREDIT = 200_000
BYTE_CREDIT = 64 * 1024 * 1024
CHECK_PERIOD = 0.25
STRANGER_PATIENCE = 10.0
"""How long somebody may keep a connection without a HELLO [s]."""

LATE_PATIENCE = 60.0
"""How long a lost slave may still say what counts as late [s]."""

TOKEN_SIZE = 16

DATA_SILENCE = 30.0
"""A data connection without any bytes for so long is given up [s]."""


class Door:
    """Lets peers in, and says when they are gone. Loop thread only.

    Args:
        loop: The loop of the master.
        epoch: Of the master; a session of another one has ended.
        grace: How long an application may be without a connection [s].
        on_failed: Called once with a reason when nobody can be let in any more.

    Attributes:
        on_joined: Called with a new peer, its role, host name and facts; it takes the peer's messages.
        on_away: Called with a peer that lost its connection, and why.
        on_back: Called with one that has another.
        on_full: Called with a peer when so much waits for its acknowledgement that nothing should be added, or
            no longer: True or False.
        on_left: Called once with a peer whose session has ended, why, and since when it was gone [s].
        on_late: Called with what a slave says that was given up.
        peers: Every peer by its id.
        journal: Name of the master's journal, told to everybody; empty without one.
    """

    def __init__(self, loop: Loop, epoch: int, grace: float, on_failed: Callable[[str], None]) -> None:
        self.on_joined: Callable[[Peer, Role, str, dict[str, Any]], None] = _nothing
        self.on_away: Callable[[Peer, str], None] = _nothing
        self.on_back: Callable[[Peer], None] = _nothing
        self.on_full: Callable[[Peer, bool], None] = _nothing
        self.on_left: Callable[[Peer, str, float], None] = _nothing
        self.on_late: Callable[[Peer, Message], None] = _nothing
        self.peers: dict[Hashable, Peer] = {}
        self.journal = b""
        self._loop = loop
        self._epoch = epoch
        self._grace = grace
        self._on_failed = on_failed
        self._listener: Listener | None = None
        self._strangers: dict[Peer, float] = {}
        self._sessions: dict[bytes, Peer] = {}
        self._tokens: dict[bytes, Peer] = {}
        self._processes: dict[Peer, tuple[str, int]] = {}
        self._full: set[Peer] = set()
        self._late: dict[Link, float] = {}
        self._counter = 0
        self._watch = StallWatch(loop.now())
        self._timer: Timer | None = None

    def open(self, address: str, keys: Path | None, most_connections: int) -> str:
        """Listen; return the address as peers dial it.

        Raises:
            AddressError: It is malformed, taken, or not allowed without keys.
            KeyFileError: The keys cannot be used.
        """
        self._listener = Listener(self._loop, address, self.knock, keys, most_connections)
        self._listener.on_failed = self._on_failed
        self._check()
        return self._listener.url

    @property
    def own_folder(self) -> str | None:
        """The folder of keys that were made for this listener; None without."""
        return None if self._listener is None else self._listener.own_folder

    def close(self, reason: str, code: Farewell) -> None:
        """Say goodbye to everybody, and listen no more."""
        if self._timer is not None:
            self._timer.cancel()
        for peer in [*self.peers.values(), *self._strangers]:
            peer.close(reason, code)
        for link in self._late:
            link.close()
        if self._listener is not None:
            self._listener.close()

    # Strangers

    def knock(self, link: Link, outer: Any = None) -> None:
        """Hear what somebody says first.

        Args:
            link: The connection.
            outer: Who it belongs to, when it is inside a job.
        """
        peer = Peer(self._loop, link)
        peer.outer = outer
        # Who is inside a job speaks when its code first asks for us, however late; it ends with the job.
        self._strangers[peer] = self._loop.now() if outer is None else inf
        peer.on_message = lambda message: self._heard(peer, message)
        peer.on_closed = lambda reason: self._forget(peer)  # noqa: ARG005 - nobody knew it

    def _forget(self, stranger: Peer) -> None:
        self._strangers.pop(stranger, None)

    def _heard(self, stranger: Peer, message: Message) -> None:
        if message.kind == Kind.BIND:
            self._bind(stranger, message.body[0])
            return
        if message.kind != Kind.HELLO:
            self._refuse(stranger, "hello", "the first message must be HELLO; say it again on a new connection")
            return
        if (objection := _objection(stranger, message.body)) is not None:
            self._refuse(stranger, *objection)
            return
        _, _, role_name, session, epoch, received, name, facts = message.body[:8]
        role = Role(role_name)
        known = self._sessions.get(session)
        if epoch:
            self._resume(stranger, known, role, epoch, received)
            return
        if known is not None and _is_same(stranger, known, role):
            self._gone(known, "it said hello anew")
        self._admit(stranger, session, role, name, facts)

    def _admit(self, peer: Peer, session: bytes, role: Role, name: str, facts: dict[str, Any]) -> None:
        self._forget(peer)
        peer.sender = Sender(role.value)
        peer.on_closed = lambda reason: self._gone(peer, reason)
        shown = self.name_slave(name) if role is Role.SLAVE else f"{role.value}-{self._next_number()}"
        peer.id = ("slave", shown) if role is Role.SLAVE else (role.value, self._counter)
        self.peers[peer.id] = peer
        self._processes[peer] = str(facts.get("machine", "")), int(facts.get("pid", 0))
        if peer.session.lasting and session not in self._sessions:
            peer.lasting = True
            peer.on_away = lambda reason: self.on_away(peer, reason)
            peer.on_back = lambda: self._came_back(peer)
            self._sessions[session] = peer
        peer.send(Kind.WELCOME, self._welcome(peer, shown))
        self.on_joined(peer, role, name, facts)

    def _resume(self, stranger: Peer, known: Peer | None, role: Role, epoch: int, received: int) -> None:
        """Let a known peer go on over the connection of a stranger."""
        if known is None or epoch != self._epoch or not _is_same(stranger, known, role):
            why = "it was restarted meanwhile" if epoch != self._epoch else "it heard nothing from here for too long"
            self._refuse(stranger, "session", why)
            return
        self._forget(stranger)
        link = stranger.release()
        if link is None:
            return
        shown = known.id[1] if role is Role.SLAVE else f"{role.value}-{known.id[1]}"
        welcome = self._welcome(known, shown, resumed=True)
        try:
            known.rebind(link, received, (Kind.WELCOME, welcome))
        except ProtocolError as error:
            link.close()
            known.fail(f"protocol errors, the last: {error}")

    def _welcome(self, peer: Peer, shown: str, *, resumed: bool = False) -> list[Any]:
        facts: dict[str, Any] = {}
        if peer.lasting:
            self._tokens = {token: other for token, other in self._tokens.items() if other is not peer}
            token = os.urandom(TOKEN_SIZE)
            self._tokens[token] = peer
            facts = {"data": token, "resumed": resumed}
        if self.journal:
            facts["journal"] = self.journal
        return [self._epoch, shown, peer.session.received, TASK_CREDIT, BYTE_CREDIT, facts]

    def _bind(self, stranger: Peer, token: bytes) -> None:
        """Make a stranger's connection the data connection of a peer."""
        peer = self._tokens.get(token)
        if peer is None or peer.identity != stranger.identity:
            self._refuse(stranger, "session", "no session was given that token")
            return
        self._forget(stranger)
        link = stranger.release()
        if link is not None:
            peer.bind_data(link)

    def _refuse(self, peer: Peer, code: str, text: str) -> None:
        if code != "session":  # that happens, and is told elsewhere
            log.warning("refused somebody: %s", text)
        peer.send(Kind.REFUSED, [code, text])
        self._forget(peer)
        peer.on_message = _ignore
        self._loop.after(0.5, peer.close)

    # Who is gone

    def _gone(self, peer: Peer, reason: str) -> None:
        """Forget a peer whose session has ended."""
        if self.peers.pop(peer.id, None) is None:
            return
        del self._processes[peer]
        self._full.discard(peer)
        self._sessions = {session: other for session, other in self._sessions.items() if other is not peer}
        self._tokens = {token: other for token, other in self._tokens.items() if other is not peer}
        peer.close(reason)
        self.on_left(peer, reason, peer.away_since or self._loop.now())

    def _check(self) -> None:
        now = self._loop.now()
        self._timer = self._loop.after(CHECK_PERIOD, self._check)
        if pause := self._watch.stalled(now):
            self._forgive(pause, now)
            return
        for peer in list(self.peers.values()):
            if peer.away_since is not None and has_ended(*self._processes[peer]):
                self._gone(peer, "its process has ended")
            elif peer.id[0] == "slave":
                self._judge_slave(peer, now)
            elif peer.away_since is not None and now - peer.away_since > self._grace:
                self._gone(peer, "it did not come back")
            self._judge_room(peer)
            if peer.data_silent(now, DATA_SILENCE):
                peer.unbind_data("silent for too long")
        for stranger in [peer for peer, since in self._strangers.items() if now - since > STRANGER_PATIENCE]:
            self._refuse(stranger, "hello", "nothing was said in time")
        for link in [link for link, since in self._late.items() if now - since > LATE_PATIENCE]:
            del self._late[link]
            link.close()

    def _came_back(self, peer: Peer) -> None:
        """Tell of a peer that is back, and whether it has room now."""
        self._full.discard(peer)
        self.on_back(peer)
        self._judge_room(peer)

    def _judge_room(self, peer: Peer) -> None:
        if peer.may_send() == (peer in self._full):
            self._full ^= {peer}
            self.on_full(peer, peer in self._full)

    def _judge_slave(self, peer: Peer, now: float) -> None:
        if not peer.session.silent(now):
            return
        reason = f"silent for {now - peer.session.last_heard:.0f} s"
        link = peer.give_up("silent for too long", Farewell.SILENT, lambda message: self.on_late(peer, message))
        if link is not None:
            self._late[link] = now
        self._gone(peer, reason)

    def _forgive(self, pause: float, now: float) -> None:
        """Count the time of a stall of our own for nobody."""
        for peer in self.peers.values():
            peer.session.last_heard = now
            if peer.away_since is not None:
                peer.away_since += pause
        self._strangers = {peer: since + pause for peer, since in self._strangers.items()}

    # Names

    def name_slave(self, host: str) -> str:
        """Return the id of the next slave on a host."""
        return f"{host}-{self._next_number()}"

    def _next_number(self) -> int:
        self._counter += 1
        return self._counter


def _objection(stranger: Peer, hello: list[Any]) -> tuple[str, str] | None:
    """Say why somebody must not come in, as code and text; None: welcome."""
    protocol, python, role_name, _, _, _, name = hello[:7]
    if protocol != PROTOCOL:
        return "protocol", f"protocol {protocol} of {name} does not match protocol {PROTOCOL} of the master"
    role = Role(role_name)
    if role is Role.HOST:
        return "role", "a host is started by its master; it does not dial in"
    if role not in stranger.identity.roles:
        key, remedy = stranger.identity.name, f"concurrent keys add {role.value} NAME"
        return "role", f"the key {key} lets no {role.value} in; that takes one made with: {remedy}"
    if role in (Role.SLAVE, Role.APPLICATION) and python != python_version():
        text = (
            f"Python {python} of the {role.value} on {name} does not match Python {python_version()} "
            f"of the master; tasks travel only between equal versions"
        )
        return "python", text
    return None


def _is_same(stranger: Peer, known: Peer, role: Role) -> bool:
    """Say whether it is the same peer that comes back: role and key."""
    return known.sender.value == role.value and known.identity == stranger.identity


def _nothing(*facts: Any) -> None:
    """Do nothing: nobody listens yet."""


def _ignore(message: Message) -> None:
    """Hear no more of it: it was refused."""
