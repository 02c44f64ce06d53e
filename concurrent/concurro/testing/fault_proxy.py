"""A bad network: a TCP proxy in a thread, with faults to order.

    node --> FaultProxy.url ==> held, delayed, throttled, swallowed, cut ==> the master's port

What is held arrives later, as TCP would deliver it after a short cut. What is swallowed never
does, and nobody is told: both ends believe in a connection that is none any more.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 16 * 1024
QUEUE_LIMIT = 64 * 1024
"""Bytes that one direction of a connection may have under way; beyond, the sender must wait [B]."""

TO_MASTER, FROM_MASTER = 0, 1
BOTH = (TO_MASTER, FROM_MASTER)

_RESET = struct.pack("ii", 1, 0)
_BURST = 0.02

ANSWER_LIMIT = 30.0
"""How long the thread of a network may take to obey [s]."""


class _Half:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, direction: int) -> None:
        self.source, self.sink, self.direction = source, sink, direction
        self.queue: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.ended = False
        self.swallows = False


class FaultProxy:
    """Passes bytes between who dials `url` and a port of this machine.

    Thread-safe. Once it is closed, what it is ordered to do is done: there is nothing to do it to.

    Attributes:
        url: Where it listens.
        accepted: When connections were accepted, monotonic [s].
        passed: Bytes that were passed on, to the master and from it [B].
        garbled: How many bits were flipped.
    """

    def __init__(self, url: str) -> None:
        self._target = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.settimeout(0)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted: list[float] = []
        self.passed = [0, 0]
        self._held = [False, False]
        self._delay = 0.0
        self._rate = float("inf")
        self._budget = [0.0, 0.0]
        self._filled = time.monotonic()
        self._refusing = False
        self._garbles: set[int] = set()
        self.garbled = 0
        self._halves: list[_Half] = []
        self._orders: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._ordering = threading.Lock()  # held while the thread is woken: what wakes it is not closed meanwhile
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._running = True
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Be a context manager."""
        return self

    def __exit__(self, *fault: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End every connection and listen no more. Idempotent."""
        self._order(self._stop)
        self._thread.join(ANSWER_LIMIT)

    # Faults

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._halves) // 2

    def held_bytes(self, direction: int) -> int:
        """Return the bytes in one direction that were taken and not passed on [B]."""
        return sum(half.size for half in list(self._halves) if half.direction == direction)

    def cut(self, *, reset: bool = True) -> None:
        """End every connection, by RST or by FIN; what is under way is lost."""
        self._order(lambda: self._cut(reset=reset))

    def refuse(self, refusing: bool = True) -> None:  # noqa: FBT001, FBT002 - a switch
        """Reset every new connection from now on, or no more."""
        self._order(lambda: setattr(self, "_refusing", refusing))

    def hold(self, *directions: int) -> None:
        """Let nothing pass in these directions until `release`."""
        self._order(lambda: self._hold(directions or BOTH, held=True))

    def release(self) -> None:
        """Let everything pass again, what was held first."""
        self._order(lambda: self._hold(BOTH, held=False))

    def garble(self, direction: int) -> None:
        """Flip one bit of one direction, in the next piece that is large."""
        self._order(lambda: self._garbles.add(direction))

    def swallow(self, *directions: int) -> None:
        """Let nothing of the present connections arrive any more; nobody is told."""
        self._order(lambda: self._swallow(directions or BOTH))

    def delay(self, seconds: float) -> None:
        """Pass everything on so much later [s]."""
        self._order(lambda: setattr(self, "_delay", seconds))

    def throttle(self, rate: float) -> None:
        """Pass on so much at most [B/s].

        In each direction, all connections together.
        """
        self._order(lambda: setattr(self, "_rate", rate))

    # The thread

    def _order(self, order: Callable[[], None]) -> None:
        obeyed = threading.Event()
        with self._ordering:
            if self._wake_write < 0:
                return
            self._orders.append((order, obeyed))
            os.write(self._wake_write, b"\0")
        if not obeyed.wait(ANSWER_LIMIT):
            message = f"the network between {self.url} and the master does not answer"
            raise TimeoutError(message)

    def _run(self) -> None:
        try:
            while self._running:
                self._turn()
        finally:
            self._end_orders()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            else:
                self._read(key.data)
        while self._orders and self._running:
            order, obeyed = self._orders.popleft()
            order()
            obeyed.set()
        self._pass_on()

    def _end_orders(self) -> None:
        """Take no more orders; those that came after the last one are done, too."""
        with self._ordering:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1
        for _, obeyed in self._orders:
            obeyed.set()

    def _patience(self) -> float | None:
        waiting = [half for half in self._halves if half.queue and not self._held[half.direction]]
        return 0.002 if waiting else None

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except BlockingIOError:
                return
            self.accepted.append(time.monotonic())
            if self._refusing:
                _end(near, reset=True)
                continue
            try:
                far = socket.create_connection(self._target, timeout=2)
            except OSError:
                _end(near, reset=True)
                continue
            for stream in (near, far):
                stream.settimeout(0)
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for half in (_Half(near, far, TO_MASTER), _Half(far, near, FROM_MASTER)):
                self._halves.append(half)
                self._selector.register(half.source, selectors.EVENT_READ, half)

    def _read(self, half: _Half) -> None:
        try:
            piece = half.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._drop(half, reset=True)
            return
        if not piece:
            half.ended = True
            self._selector.unregister(half.source)
            return
        if half.direction in self._garbles and len(piece) > PIECE // 4:
            self._garbles.discard(half.direction)
            self.garbled += 1
            piece = piece[:-1] + bytes([piece[-1] ^ 1])
        if not half.swallows:
            half.queue.append((time.monotonic() + self._delay, piece))
            half.size += len(piece)
            if half.size >= QUEUE_LIMIT:
                self._selector.unregister(half.source)

    def _pass_on(self) -> None:
        now = time.monotonic()
        if self._rate != float("inf"):
            fresh = self._rate * (now - self._filled)
            self._budget = [min(self._rate * _BURST + PIECE, budget + fresh) for budget in self._budget]
        else:
            self._budget = [float("inf")] * 2
        self._filled = now
        busy = True
        while busy:  # a piece of each connection in turn
            busy = any([self._pass_piece(half, now) for half in list(self._halves)])  # noqa: C419 - all of them

    def _pass_piece(self, half: _Half, now: float) -> bool:
        """Pass a piece on; return whether there may be more."""
        if not half.queue:
            if half.ended and not half.swallows and not self._held[half.direction]:
                self._drop(half, reset=False)
            return False
        due, piece = half.queue[0]
        if self._held[half.direction] or due > now or self._budget[half.direction] < len(piece):
            return False
        half.queue.popleft()
        half.size -= len(piece)
        try:
            sent = half.sink.send(piece)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(half, reset=True)
            return False
        if sent < len(piece):
            half.queue.appendleft((due, piece[sent:]))
            half.size += len(piece) - sent
        self.passed[half.direction] += sent
        self._budget[half.direction] -= sent
        if half.size < QUEUE_LIMIT and not half.ended:
            with contextlib.suppress(KeyError):  # it is read already
                self._selector.register(half.source, selectors.EVENT_READ, half)
        return sent == len(piece)

    def _drop(self, half: _Half, *, reset: bool) -> None:
        for other in [other for other in self._halves if other.source in (half.source, half.sink)]:
            self._halves.remove(other)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(other.source)
            _end(other.source, reset=reset)

    def _cut(self, *, reset: bool) -> None:
        while self._halves:
            self._drop(self._halves[0], reset=reset)

    def _hold(self, directions: tuple[int, ...], *, held: bool) -> None:
        for direction in directions:
            self._held[direction] = held

    def _swallow(self, directions: tuple[int, ...]) -> None:
        for half in self._halves:
            if half.direction in directions:
                half.swallows = True
                half.queue.clear()
                half.size = 0
                if not half.ended:
                    with contextlib.suppress(KeyError):
                        self._selector.register(half.source, selectors.EVENT_READ, half)

    def _stop(self) -> None:
        self._cut(reset=False)
        self._selector.unregister(self._listener)
        self._listener.close()
        self._selector.close()
        self._running = False


def _end(stream: socket.socket, *, reset: bool) -> None:
    if reset:
        with contextlib.suppress(OSError):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    stream.close()
