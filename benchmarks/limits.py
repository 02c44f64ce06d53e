"""Raw paths of as many hops as ours: what is left when nobody decides, checks or pickles.

    pipe          application -- worker                                pipes, 2 hops there and back
    unix-4-hops   application -- master -- worker                      AF_UNIX, as when embedded
    tcp-6-hops    application == master == agent -- worker             TCP is zmq with CURVE, then AF_UNIX

Every process only passes on what it gets. A task is 64 bytes; a message holds one, or a hundred.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import zmq

from benchmarks.clocks import check_equal
from benchmarks.round_trips import percentiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.workload import Setting

TASK = b"t" * 64
TASKS = 100_000
HUNDRED = 100
IN_FLIGHT = {1: 100, HUNDRED: 12}
"""Tasks of a message to messages on their way: few enough to fit into every buffer, else everybody waits for room."""


class End(Protocol):
    """One end of a connection."""

    def send(self, message: bytes) -> None:
        """Send it."""

    def receive(self) -> bytes:
        """Wait for one."""

    def drain(self) -> list[bytes]:
        """Return what is there; do not wait."""


class SocketEnd:
    """An AF_UNIX socket that keeps messages apart."""

    def __init__(self, end: socket.socket) -> None:
        self.poll_on: Any = end.fileno()
        self._end = end

    def send(self, message: bytes) -> None:
        """Send it."""
        self._end.send(message)

    def receive(self) -> bytes:
        """Wait for one; end with the other side."""
        return self._end.recv(65536) or _end_here()

    def drain(self) -> list[bytes]:
        """Return what is there."""
        messages = []
        try:
            while True:
                messages.append(self._end.recv(65536, socket.MSG_DONTWAIT) or _end_here())
        except BlockingIOError:
            return messages


class ZmqEnd:
    """A zmq socket with CURVE, over TCP."""

    def __init__(self, end: zmq.Socket[bytes]) -> None:
        self.poll_on: Any = end
        self._end = end

    def send(self, message: bytes) -> None:
        """Send it."""
        self._end.send(message)

    def receive(self) -> bytes:
        """Wait for one."""
        return self._end.recv()

    def drain(self) -> list[bytes]:
        """Return what is there."""
        messages = []
        try:
            while True:
                messages.append(self._end.recv(zmq.NOBLOCK))
        except zmq.Again:
            return messages


def pipe_trips(setting: Setting) -> dict[str, float]:
    """Ask over a pair of pipes."""
    with _pipe() as (reader, writer):

        def ask(number: int) -> None:  # noqa: ARG001 - all are equal
            os.write(writer, TASK)
            os.read(reader, len(TASK))

        return percentiles(ask, setting)


def unix_trips(setting: Setting) -> dict[str, float]:
    """Ask over four hops of AF_UNIX."""
    with _unix_path() as end:
        return _trips(end, setting)


def tcp_trips(setting: Setting) -> dict[str, float]:
    """Ask over six hops."""
    with _tcp_path() as end:
        return _trips(end, setting)


def tcp_trips_without_keys(setting: Setting) -> dict[str, float]:
    """Ask over six hops without CURVE."""
    with _tcp_path(with_keys=False) as end:
        return _trips(end, setting)


def unix_rate(setting: Setting) -> dict[str, float]:
    """Send one message per task over four hops of AF_UNIX."""
    with _unix_path() as end:
        return _rate(end, 1, setting)


def unix_rate_in_hundreds(setting: Setting) -> dict[str, float]:
    """Send hundreds."""
    with _unix_path() as end:
        return _rate(end, HUNDRED, setting)


def tcp_rate(setting: Setting) -> dict[str, float]:
    """Send one message per task over six hops."""
    with _tcp_path() as end:
        return _rate(end, 1, setting)


def tcp_rate_in_hundreds(setting: Setting) -> dict[str, float]:
    """Send hundreds."""
    with _tcp_path() as end:
        return _rate(end, HUNDRED, setting)


def _trips(end: End, setting: Setting) -> dict[str, float]:
    def ask(number: int) -> None:  # noqa: ARG001 - all are equal
        end.send(TASK)
        end.receive()

    return percentiles(ask, setting)


def _rate(end: End, tasks: int, setting: Setting) -> dict[str, float]:
    messages = (setting.count or TASKS) // tasks
    message = TASK * tasks
    waiting: deque[None] = deque()
    returned = 0
    started = time.perf_counter()
    for _ in range(messages):
        if len(waiting) == IN_FLIGHT[tasks]:
            for answer in [end.receive(), *end.drain()]:
                waiting.popleft()
                returned += len(answer)
        end.send(message)
        waiting.append(None)
    for _ in waiting:
        returned += len(end.receive())
    seconds = time.perf_counter() - started
    check_equal(returned, messages * len(message), "bytes")
    return {"rate": messages * tasks / seconds, "seconds": seconds}


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    there, back = os.pipe(), os.pipe()

    def work() -> None:
        os.close(there[1])
        while message := os.read(there[0], 65536):
            os.write(back[1], message)

    child = _fork(work)
    try:
        yield back[0], there[1]
    finally:
        _kill([child])


@contextmanager
def _unix_path() -> Iterator[End]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    children = [
        _fork(lambda: _relay(SocketEnd(theirs), SocketEnd(left))),
        _fork(lambda: _echo(SocketEnd(right))),
    ]
    try:
        yield SocketEnd(ours)
    finally:
        _kill(children)


@contextmanager
def _tcp_path(*, with_keys: bool = True) -> Iterator[End]:
    keys = zmq.curve_keypair() if with_keys else None
    places = [socket.socketpair() for _ in range(2)]  # where the master and the agent are told ports
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def be_master() -> None:
        context = zmq.Context()
        ends = [_listen(context, keys, place[1]) for place in places]
        _relay_zmq(*ends)

    def be_agent() -> None:
        _relay_zmq(_dial(zmq.Context(), keys, places[1][0]), SocketEnd(left))

    children = [_fork(be_master), _fork(be_agent), _fork(lambda: _echo(SocketEnd(right)))]
    context = zmq.Context()
    try:
        yield _dial(context, keys, places[0][0])
    finally:
        context.destroy(0)
        _kill(children)


def _listen(context: zmq.Context[Any], keys: tuple[bytes, bytes] | None, place: socket.socket) -> ZmqEnd:
    end = context.socket(zmq.DEALER)
    if keys is not None:
        end.curve_server = True
        end.curve_publickey, end.curve_secretkey = keys
    place.send(end.bind_to_random_port("tcp://127.0.0.1").to_bytes(2, "big"))
    return ZmqEnd(end)


def _dial(context: zmq.Context[Any], keys: tuple[bytes, bytes] | None, place: socket.socket) -> ZmqEnd:
    end = context.socket(zmq.DEALER)
    if keys is not None:
        end.curve_serverkey = keys[0]
        end.curve_publickey, end.curve_secretkey = zmq.curve_keypair()
    end.connect(f"tcp://127.0.0.1:{int.from_bytes(place.recv(2), 'big')}")
    return ZmqEnd(end)


def _relay(left: SocketEnd, right: SocketEnd) -> None:
    poll = select.poll()
    ends = {left.poll_on: (left, right), right.poll_on: (right, left)}
    for place in ends:
        poll.register(place, select.POLLIN)
    while True:
        for place, _ in poll.poll():
            source, sink = ends[place]
            for message in source.drain():
                sink.send(message)


def _relay_zmq(left: ZmqEnd | SocketEnd, right: ZmqEnd | SocketEnd) -> None:
    poller = zmq.Poller()
    ends = {left.poll_on: (left, right), right.poll_on: (right, left)}
    for place in ends:
        poller.register(place, zmq.POLLIN)
    while True:
        for place, _ in poller.poll():
            source, sink = ends[place]
            for message in source.drain():
                sink.send(message)


def _echo(end: SocketEnd) -> None:
    while True:
        end.send(end.receive())


def _fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    finally:
        os._exit(0)


def _kill(children: list[int]) -> None:
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _end_here() -> bytes:
    raise EOFError
