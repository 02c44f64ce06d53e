"""Many slaves in one process, of nothing but the protocol: what is leased has been done.

    python -m benchmarks.protocol_slaves URL COUNT      # until standard input ends

Sessions, keys and heartbeats are the real ones, one TCP connection each (the second one of a slave is for blobs,
of which there are none). Each LEASES is answered by one RESULTS at once, all of them None and measured as
`DURATION`. Prints `joined` when all have, and at the end what was said and heard.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import uuid
from typing import TYPE_CHECKING, Any

import zmq

from concurro.config.addresses import parse_address
from concurro.ids import Outcome, Role
from concurro.nodes.peer import Peer, keep_beating, python_version
from concurro.transport.authenticator import use_key
from concurro.transport.keys_automatic import find_automatic
from concurro.transport.link import SAME_USER, ignore_closed, ignore_message
from concurro.transport.loop import Loop
from concurro.wire.messages import PROTOCOL, Kind
from concurro.wire.schema import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.transport.keys import PeerKey
    from concurro.wire.messages import Message

WORKERS = 8
DURATION = 1_000_000
"""What a task is said to have taken [ns]."""

AT_ONCE = 50
"""Slaves that say HELLO before the first of them is welcome."""

NONE = pickle.dumps(None, 5)


class SharedContextLink:
    """A connection over a socket of a context that many share: one I/O thread for all."""

    ordered = False
    passes_descriptors = False
    identity = SAME_USER

    def __init__(self, loop: Loop, context: zmq.Context[Any], url: str, key: PeerKey) -> None:
        self.peer = url
        self.fault: Exception | None = None
        self.on_message: Callable[[list[Any]], None] = ignore_message
        self.on_closed: Callable[[str], None] = ignore_closed
        self._loop = loop
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        use_key(self._socket, key)
        self._socket.connect(url)
        loop.watch(int(self._socket.FD), self._drain)

    def send(self, frames: Sequence[Any]) -> None:
        """Send a message; read what came meanwhile: the descriptor tells only once."""
        self._socket.send_multipart(frames)
        self._loop.soon(self._drain)

    def backlog(self) -> int:
        """Return nothing: zmq takes it all."""
        return 0

    def close(self) -> None:
        """Close it."""
        if not self._socket.closed:
            self._loop.unwatch(int(self._socket.FD))
            self._socket.close(0)

    def _drain(self) -> None:
        while not self._socket.closed:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.on_message(frames)


class ProtocolSlave:
    """One slave."""

    def __init__(self, number: int, loop: Loop, link: SharedContextLink, on_joined: Callable[[], None]) -> None:
        self.heard = self.said = self.done = 0
        self.peer = Peer(loop, link, Sender.MASTER)
        self.peer.on_message = self._take
        self._on_joined = on_joined
        facts = {"pid": os.getpid(), "workers": WORKERS, "resources": {}, "worker_pids": [], "machine": ""}
        about = [uuid.uuid4().bytes, 0, 0, f"protocol-{number}", facts]
        self._say(Kind.HELLO, [PROTOCOL, python_version(), Role.SLAVE.value, *about])

    def leave(self) -> None:
        """Say goodbye."""
        self.peer.close("the measurement is over")

    def _say(self, kind: Kind, body: list[Any]) -> None:
        self.said += 1
        self.peer.send(kind, body)

    def _take(self, message: Message) -> None:
        self.heard += 1
        kind, body = message.kind, message.body
        if kind == Kind.LEASES:
            self.done += len(body)
            self._say(Kind.RESULTS, [[entry[0], Outcome.DONE, NONE, None, DURATION] for entry in body])
        elif kind == Kind.RECALL:
            self._say(Kind.STARTED, [body[0]])
        elif kind == Kind.WELCOME:
            self._say(Kind.SLAVE_STATE, [WORKERS, [], "", {}])
            self._on_joined()


def main(url: str, count: int) -> None:
    """Run the slaves until standard input ends."""
    address = parse_address(url)
    key = find_automatic(address.host, address.port)
    context = zmq.Context(io_threads=1)
    context.max_sockets = 2 * count + 16
    loop = Loop()
    slaves: list[ProtocolSlave] = []
    joined = 0

    def call() -> None:
        for _ in range(min(AT_ONCE, count - len(slaves))):
            link = SharedContextLink(loop, context, url, key)
            slaves.append(ProtocolSlave(len(slaves), loop, link, note_joined))

    def note_joined() -> None:
        nonlocal joined
        joined += 1
        if joined == count:
            print("joined", flush=True)
        elif joined == len(slaves):
            call()

    stop_beating = keep_beating(loop, lambda: [slave.peer for slave in slaves])
    loop.watch(sys.stdin.fileno(), loop.stop)
    loop.soon(call)
    loop.run()
    stop_beating()
    for slave in slaves:
        slave.leave()
    print(json.dumps({what: sum(getattr(slave, what) for slave in slaves) for what in ("heard", "said", "done")}))
    context.destroy(200)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
