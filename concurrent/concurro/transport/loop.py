"""The loop of a node: drain what arrived, decide, flush.

    wait ---> read every ready source ---> due timers, posted calls ---> flush hooks --+
      ^                                                                              |
      +------------------------------------------------------------------------------+

Everything that arrived in one wake-up is handled before anything is sent, so that a
batch of events becomes one message per peer. No latency is added when idle. Another thread
that has something to send may stand in for a loop that waits: that saves waking its thread.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import selectors
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

LONGEST_WAIT = 3600.0
"""A wait is cut here, since pollers take no month [s]; the loop then looks again."""

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE


class Timer:
    """A call at a time; `cancel` forgets it."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the call. Idempotent."""
        self.callback = None


class Loop:
    """A single-threaded poller with timers.

    Loop thread only, but for `post`, `wake`, `stop` and `stand_in`.

    Attributes:
        wakeups: How often it has turned.
        lent: Whether another thread stands in.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._posted: deque[Callable[[], None]] = deque()
        self._flushes: list[Callable[[], None]] = []
        self._requested: list[Callable[[], None]] = []
        self._paused: dict[int, Any] = {}
        self._stopping = False
        self._closed = False
        self._wake_lock = threading.RLock()  # a signal may come while its thread holds it
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, _READ, (self._drain_wake, None))
        self._awake = threading.Lock()  # held while anything is handled, by whichever thread
        self.wakeups = 0
        self.lent = False

    now = staticmethod(time.monotonic)
    """Return the monotonic time [s]."""

    def watch(self, fd: int, on_readable: Callable[[], None], on_writable: Callable[[], None] | None = None) -> None:
        """Call `on_readable` whenever `fd` can be read.

        See `want_write` for the other.
        """
        self._selector.register(fd, _READ, (on_readable, on_writable))

    def want_write(self, fd: int, wanted: bool) -> None:  # noqa: FBT001 - a switch, and its value is all it takes
        """Ask, or stop asking, for `on_writable` calls."""
        if fd in self._paused:
            self._set_events(fd, _WRITE if wanted else 0, self._paused[fd])
        else:
            key = self._selector.get_key(fd)
            self._selector.modify(fd, _READ | _WRITE if wanted else _READ, key.data)

    def pause_read(self, fd: int, paused: bool) -> None:  # noqa: FBT001 - a switch, and its value is all it takes
        """Stop reading a source that is ahead of us, or go on."""
        key = self._selector.get_map().get(fd)
        writing = key.events & _WRITE if key is not None else 0
        if paused and key is not None and fd not in self._paused:
            self._paused[fd] = key.data
            self._set_events(fd, writing, key.data)
        elif not paused and fd in self._paused:
            self._set_events(fd, _READ | writing, self._paused.pop(fd))

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; call it before the descriptor is closed. Idempotent."""
        self._paused.pop(fd, None)
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            return

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call once at the monotonic time `when` [s]."""
        timer = Timer(when, callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def after(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once, `delay` seconds from now [s]."""
        return self.at(time.monotonic() + delay, callback)

    def post(self, callback: Callable[[], None]) -> None:
        """Call once in the loop's thread. Thread-safe."""
        self._posted.append(callback)
        self.wake()

    def soon(self, callback: Callable[[], None]) -> None:
        """Call once, in this turn or the next.

        Loop thread only: nobody has to be woken.
        """
        self._posted.append(callback)

    def wake(self) -> None:
        """Make the loop turn once. Thread-safe."""
        with self._wake_lock, contextlib.suppress(BlockingIOError):  # a full pipe: it is awake already
            if not self._closed:  # its descriptor may be somebody else's by now
                os.write(self._wake_write, b"\0")

    def on_flush(self, callback: Callable[[], None]) -> None:
        """Call after every batch of events, in the order of registration."""
        self._flushes.append(callback)

    def off_flush(self, callback: Callable[[], None]) -> None:
        """Forget a flush hook. Idempotent."""
        if callback in self._flushes:
            self._flushes.remove(callback)

    def request_flush(self, callback: Callable[[], None]) -> None:
        """Call once after this batch, behind the flush hooks."""
        self._requested.append(callback)

    def flush_now(self) -> None:
        """Make the requested calls now.

        What somebody waits for leaves before the rest is decided. Loop thread only.
        """
        if self._requested:
            requested, self._requested = self._requested, []
            for flush in requested:
                flush()

    def stand_in(self, callback: Callable[[], None]) -> bool:
        """Call and flush in this thread, if the loop waits; return whether it did.

        Thread-safe. What the call posts, and its timers, are the loop's. A source that fails
        while it is written to must be left to the loop: see `lent`.
        """
        if not self._awake.acquire(blocking=False):
            return False
        try:
            timer = self._timers[0] if self._timers else None
            self.lent = True
            callback()
            self.flush_now()
        finally:
            self.lent = False
            self._awake.release()
        if self._posted or (self._timers and self._timers[0] is not timer):
            self.wake()
        return True

    def run(self) -> None:
        """Turn until `stop`; one that came before ends it after a turn."""
        while True:
            self.turn(None)
            if self._stopping:
                self._stopping = False
                return

    def stop(self) -> None:
        """End `run` after this turn. Thread-safe."""
        self._stopping = True
        self.wake()

    def turn(self, timeout: float | None) -> None:
        """Wait at most `timeout` seconds for events [s], handle them, flush."""
        ready: list[tuple[Any, int]] = self._selector.select(self._patience(timeout))
        with self._awake:
            self.wakeups += 1
            for key, mask in ready:
                on_readable, on_writable = key.data
                if mask & _READ:
                    on_readable()
                if mask & _WRITE and on_writable is not None:
                    on_writable()
            if self._timers:
                self._run_timers()
            while self._posted:
                self._posted.popleft()()
            for flush in tuple(self._flushes):
                flush()
            self.flush_now()

    def close(self) -> None:
        """Release the poller. Idempotent."""
        with self._wake_lock:
            if self._closed:
                return
            self._closed = True
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _set_events(self, fd: int, events: int, callbacks: Any) -> None:
        """Wait for these events of `fd`; for none, the poller knows nothing of it."""
        known = fd in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, events, callbacks)
        else:
            self._selector.register(fd, events, callbacks)

    def _patience(self, timeout: float | None) -> float | None:
        """Return how long to wait for events [s]; None for ever."""
        if self._posted or self._requested:
            return 0.0
        if self._timers:
            delay = min(LONGEST_WAIT, max(0.0, self._timers[0][0] - time.monotonic()))
            return delay if timeout is None else min(delay, timeout)
        return timeout

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()

    def _drain_wake(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            return
