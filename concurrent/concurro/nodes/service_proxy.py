"""A service, seen from an application: `ServiceProxy`.

    users' threads --CALL--> ServiceProxy -- a loop that waits is stood in for --> line
    futures <---REPLY------- loop thread <---------------------------------------- line
    on_told <---TELL-------

A call leaves when it is made, in the order of calls, and runs at most once, whether or not anybody
waits for its future. When the line ends, every call without an answer fails with the reason.
"""

from __future__ import annotations

import builtins
import logging
import os
import threading
from collections import deque
from concurrent.futures import InvalidStateError
from typing import TYPE_CHECKING, Any

from concurro import errors
from concurro.errors import (
    ClosedError,
    NotPicklableError,
    RemoteTraceback,
    ServiceError,
    ServiceFailedError,
    ServiceLostError,
    UnknownServiceError,
)
from concurro.nodes.futures import LoopFuture
from concurro.wire.lines import LineEnd, Said
from concurro.wire.messages import LineCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.nodes.control import Control
    from concurro.transport.loop import Loop
    from concurro.wire.blobs import BlobStore
    from concurro.wire.parcels import PackedValues, PlainValues

log = logging.getLogger("concurro.application")

UNSENT_BYTES = 64 * 1024 * 1024
"""Bytes of calls that may wait to be sent; beyond it a call waits [B]."""

MOST_OPEN = 100_000
"""Calls without an answer on one line; beyond it a call waits."""

MOST_UNTOLD = 1024
"""What a service tells is kept so long for somebody to listen."""


_OWN_ERRORS = frozenset({"ClosedError", "ConfigError", "NotPicklableError"})
_TAKE_MORE_THAN_TEXT = (UnicodeError, ExceptionGroup)


class AnswerFuture(LoopFuture):
    """The future of a call of a service."""

    def __init__(self, control: Control, line: CallingEnd) -> None:
        super().__init__(control)
        self._line = line

    def describe(self) -> str:
        """Say in words what it is that comes."""
        return f"an answer of {self._line.describe()}"


class ServiceProxy:
    """A service of the master, or of a worker: calls, notes, news.

    Thread-safe.

    `proxy.name(...)` is `proxy.call("name", ...)`, for names that are none of its own.

    Attributes:
        service: Name of the service.
        worker: Address of its worker; empty for one of the master.
    """

    def __init__(self, line: CallingEnd) -> None:
        self.service = line.service
        self.worker = line.worker
        self._line = line

    def __repr__(self) -> str:
        """Return which service it is, and whether it is there."""
        state = f", lost: {self.lost}" if self.lost is not None else ""
        return f"<{self._line.describe()}{state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to travel.

        Raises:
            NotPicklableError: Always.
        """
        which = self._line.describe()
        message = f"a proxy of {which} does not travel: send its name and worker, and reach for it there"
        raise NotPicklableError(message, "proxy", "ServiceProxy")

    @property
    def lost(self) -> Exception | None:
        """Why it can be called no more; None while it can."""
        return self._line.lost

    def __getattr__(self, name: str) -> Callable[..., AnswerFuture]:
        """Return what calls the method of that name."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self.call(name, *arguments)

    def call(self, method: str, *arguments: Any) -> AnswerFuture:
        """Call a method; return the future of its answer at once.

        The future raises what the method raised, `UnknownServiceError` when there is no such service
        or method, `ServiceLostError` when the service, or the way to it, ended before the answer came.
        Callbacks of the future run in the thread that brings everybody's news, and must not wait.

        Raises:
            NotPicklableError: An argument cannot travel; names the culprit.
            WaitInCallbackError: So much waits to be sent that it would wait, in a callback.
        """
        return self._line.call(method, arguments)

    def tell(self, method: str, *arguments: Any) -> None:
        """Call a method whose answer nobody wants; what it raises is logged there.

        Raises:
            NotPicklableError: An argument cannot travel; names the culprit.
            WaitInCallbackError: So much waits to be sent that it would wait, in a callback.
            ServiceError: The line has ended.
        """
        self._line.say(Said.TELL, method, arguments, None)

    def on_told(self, callback: Callable[..., object]) -> None:
        """Call with method and arguments of all that the service tells.

        In the thread that brings everybody's news: it must not wait.
        """
        self._line.on_told(callback)

    def on_lost(self, callback: Callable[[Exception], object]) -> None:
        """Call once with the error when it can be called no more.

        In the thread that brings everybody's news: it must not wait.
        """
        self._line.on_lost(callback)

    def close(self) -> None:
        """End the line; calls without an answer fail. Idempotent."""
        self._line.close()


class CallingEnd:
    """The calling end of a line. Thread-safe where it is said."""

    def __init__(  # noqa: PLR0913 - what a line is made of
        self,
        service: str,
        worker: str,
        control: Control,
        loop: Loop,
        values: PackedValues | PlainValues,
        store: BlobStore | None,
        hang_up: Callable[[CallingEnd], None],
    ) -> None:
        self.service = service
        self.worker = worker
        self.lost: Exception | None = None
        self.proxy = ServiceProxy(self)
        self._control = control
        self._loop = loop
        self._values = values
        self._hang_up = hang_up
        self._end = LineEnd(_not_yet, store, loop.request_flush)
        self._end.on_entry = self._take_entry
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._short_of_room = 0
        self._pid = os.getpid()
        self._calls: dict[int, AnswerFuture] = {}
        self._open = False
        self._due = False
        self._on_told: Callable[..., object] | None = None
        self._on_lost: list[Callable[[Exception], object]] = []
        self._untold: deque[tuple[str, Any]] = deque(maxlen=MOST_UNTOLD)

    def describe(self) -> str:
        """Return which service it is, for people."""
        return (
            f"service {self.service!r} on {self.worker}" if self.worker else f"service {self.service!r} of the master"
        )

    # For the proxy; thread-safe

    def call(self, method: str, arguments: tuple[Any, ...]) -> AnswerFuture:
        """Call a method; return the future of its answer."""
        future = AnswerFuture(self._control, self)
        self.say(Said.CALL, method, arguments, future)
        return future

    def on_told(self, callback: Callable[..., object]) -> None:
        """Call with all that the service tells."""
        self._loop.post(lambda: self._listen(callback))

    def on_lost(self, callback: Callable[[Exception], object]) -> None:
        """Call once with the error when the line has ended."""
        self._loop.post(lambda: self._mind(callback))

    def close(self) -> None:
        """End the line."""
        self._loop.post(lambda: self._hang_up(self))

    def say(self, said: Said, method: str, arguments: tuple[Any, ...], future: AnswerFuture | None) -> None:
        """Queue a call or a note, and have it sent."""
        if os.getpid() != self._pid:
            message = f"the application is that of process {self._pid}, which forked this one: open one here"
            raise ClosedError(message)
        if self._end.waiting_bytes > UNSENT_BYTES or len(self._calls) >= MOST_OPEN:
            self._wait_for_room()
        owner = object()
        payload, blobs = self._values.pack(arguments, owner)
        entry = [int(said), method, payload, blobs]
        with self._lock:
            lost = self.lost
            number = self._end.add(entry, owner if blobs else None)
            if lost is None:
                if future is not None:
                    self._calls[number] = future
                wake, self._due = not self._due, True
        if lost is not None:
            if future is None:
                raise lost
            future.set_exception(lost)
        elif wake:
            self._wake()

    def _wake(self) -> None:
        try:
            if self._open and len(self._calls) <= 1 and self._loop.stand_in(self._flush):
                return
        except BaseException:
            # Ctrl-C in the middle of it: nobody knows how far it came.
            self._loop.post(lambda: self._hang_up(self))
            raise
        self._loop.post(self._flush)

    def _flush(self) -> None:
        self._due = False
        if self._open:
            self._end.flush()
            if self._short_of_room:
                self._make_room()

    def _wait_for_room(self) -> None:
        self._control.refuse_to_wait("a call of a service")
        with self._room:
            self._short_of_room += 1
            self._room.wait_for(self._has_room)
            self._short_of_room -= 1

    def _has_room(self) -> bool:
        little = self._end.waiting_bytes <= UNSENT_BYTES and len(self._calls) < MOST_OPEN
        return little or self.lost is not None

    def _make_room(self) -> None:
        with self._room:
            self._room.notify_all()

    # For the lines of an application; loop thread only

    def opened(self, send: Callable[[list[Any]], None], *, straight: bool) -> None:
        """Learn that the service is there, and how it is spoken to."""
        self._end.send = send
        self._end.straight = straight
        self._open = True
        self._flush()

    def take(self, frames: list[Any]) -> None:
        """Take a message of the service; nonsense ends the line."""
        if self.lost is not None:
            return
        try:
            self._end.take(frames)
        except Exception as error:  # noqa: BLE001 - whatever one service says, the others go on
            log.warning("bad message of %s: %s", self.describe(), error)
            self._hang_up(self)
        if self._short_of_room:
            self._make_room()

    def fail(self, error: Exception) -> None:
        """End it: every call without an answer fails. Idempotent."""
        with self._lock:
            if self.lost is not None:
                return
            self.lost = error
            calls, self._calls = self._calls, {}
            self._room.notify_all()
        self._open = False
        self._end.close(str(error))
        for callback in self._on_lost:  # first: who hears of a failed call calls again at once
            _guarded(callback, error)
        for future in calls.values():
            _end_with(future, None, error)

    def ended(self, code: str, text: str) -> None:
        """Learn that the other end closed the line, or is gone."""
        if code == LineCode.UNKNOWN:
            self.fail(UnknownServiceError(text, self.service, self.worker))
        elif code == LineCode.BUSY:
            self.fail(ServiceError(f"{self.describe()}: {text}", self.service, self.worker))
        else:
            self.fail(ServiceLostError(f"{self.describe()}: {text}", self.service, self.worker))

    # In

    def _take_entry(self, number: int, entry: list[Any], fault: str | None) -> None:  # noqa: ARG002 - calls have their own numbers
        if entry[0] == Said.REPLY:
            with self._lock:
                future = self._calls.pop(entry[1], None)
            if future is not None:
                _end_with(future, *self._outcome(entry, fault))
        elif entry[0] == Said.TELL:
            self._told(entry, fault)

    def _outcome(self, entry: list[Any], fault: str | None) -> tuple[Any, BaseException | None]:
        ok, payload, blobs = entry[2:5]
        if fault is not None:
            return None, ServiceLostError(f"{self.describe()}: the answer did not arrive: {fault}", *self._facts())
        if not ok:
            return None, self._error(*payload)
        try:
            return self._values.load(payload, blobs), None
        except BaseException as error:  # noqa: BLE001 - loading runs code of users, which may do anything
            return None, error if isinstance(error, Exception) else RuntimeError(f"loading raised {error!r}")

    def _told(self, entry: list[Any], fault: str | None) -> None:
        try:
            arguments = self._values.load(entry[2], entry[3]) if fault is None else None
        except BaseException:
            # Loading runs code of users, which may do anything.
            log.warning("what %s told could not be rebuilt", self.describe(), exc_info=True)
            return
        if arguments is None:
            log.warning("what %s told did not arrive: %s", self.describe(), fault)
        elif self._on_told is None:
            self._untold.append((entry[1], arguments))
        else:
            _guarded(self._on_told, entry[1], *arguments)

    def _listen(self, callback: Callable[..., object]) -> None:
        self._on_told = callback
        while self._untold:
            method, arguments = self._untold.popleft()
            _guarded(callback, method, *arguments)

    def _mind(self, callback: Callable[[Exception], object]) -> None:
        if self.lost is not None:
            _guarded(callback, self.lost)
        else:
            self._on_lost.append(callback)

    def _facts(self) -> tuple[str, str]:
        return self.service, self.worker

    def _error(self, type_name: str, text: str, traceback: str, pickled: bytes | None) -> BaseException:
        """Return what a method raised, as well as it can be rebuilt here."""
        error: Any = None
        if pickled is not None and self._values.load_error is not None:
            try:
                error = self._values.load_error(pickled)
            except BaseException:  # noqa: BLE001 - loading runs code of users; then the text is left
                error = None
        if error is None and type_name == UnknownServiceError.__name__:
            error = UnknownServiceError(text, *self._facts())
        if error is None and pickled is None:
            error = _known_error(type_name, text)
        if isinstance(error, Exception):
            try:
                error.__cause__ = RemoteTraceback(traceback)
            except Exception:  # noqa: BLE001 - an exception may refuse attributes in any way
                error = None
        if not isinstance(error, Exception):
            return ServiceFailedError(type_name, text, traceback, *self._facts())
        return error


def _known_error(type_name: str, text: str) -> Exception | None:
    """Return a usual exception with that text; None when it is none."""
    kind: Any = getattr(errors if type_name in _OWN_ERRORS else builtins, type_name, None)
    if not isinstance(kind, type) or not issubclass(kind, Exception) or issubclass(kind, _TAKE_MORE_THAN_TEXT):
        return None
    if kind is KeyError and text[:1] in "'\"" and text[:1] == text[-1:]:
        text = text[1:-1]  # that of a KeyError is shown as a literal
    known: Exception = kind(text)
    return known


def _end_with(future: AnswerFuture, value: Any, error: BaseException | None) -> None:
    try:
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
    except InvalidStateError:
        return  # its owner cancelled it


def _guarded(callback: Callable[..., object], *facts: Any) -> None:
    """Call what a user gave; everybody else's news come through this thread."""
    try:
        callback(*facts)
    except Exception:
        log.exception("a callback for news of a service raised")


def _not_yet(frames: list[Any]) -> None:
    """Drop a message: the line is not open. Nothing is sent before that."""
