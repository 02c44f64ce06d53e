r"""What somebody waits for: by `await` in any loop, or by blocking.

    resolving thread --settle--> Pending --> LoopMail: one wake per batch --> asyncio futures
                                        \-> sleeping threads, callbacks

A `Pending` belongs to no loop: it can be awaited in several, any number of times.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from weakref import WeakKeyDictionary, ref

from concurro import MasterUnreachable, ServiceLostError, WaitInCallbackError
from concurro_monitor.errors import RuntimeDisconnectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

T = TypeVar("T")

_lock = threading.Lock()
"""Held for the few steps in which somebody begins to wait, or what is waited for comes."""


class Pending(Generic[T]):
    """Something that comes. Thread-safe.

    `await` gives its value or raises its error, again and again; `wait` and `get` are the same for
    scripts.
    """

    __slots__ = ("__weakref__", "_error", "_listeners", "_settled", "_value")

    def __init__(self) -> None:
        self._settled = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._listeners: list[Callable[[], object]] | None = None

    def done(self) -> bool:
        """Say whether it is here."""
        return self._settled

    def settle(self, value: Any = None, error: BaseException | None = None) -> bool:
        """Take the value, or the error; return False when there is one already."""
        with _lock:
            if self._settled:
                return False
            self._value, self._error, self._settled = value, error, True
            listeners, self._listeners = self._listeners, None
        for listener in listeners or ():
            listener()
        return True

    def then(self, listener: Callable[[], object]) -> None:
        """Call once when it is here: at once, or in the thread that brings it.

        It must not wait.
        """
        with _lock:
            if not self._settled:
                if self._listeners is None:
                    self._listeners = [listener]
                else:
                    self._listeners.append(listener)
                return
        listener()

    def future(self) -> Future[T]:
        """Return a concurrent future of it."""
        future: Future[T] = Future()

        def came() -> None:
            if self._error is not None:
                future.set_exception(self._error)
            else:
                future.set_result(self._value)

        self.then(came)
        return future

    def forget(self, listener: Callable[[], object]) -> None:
        """Call it no more. Idempotent."""
        with _lock, contextlib.suppress(ValueError):
            if self._listeners is not None:
                self._listeners.remove(listener)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait in the running loop."""
        if not self._settled:
            yield from self._arrival().__await__()
        return self._outcome()

    async def _arrival(self) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        mail = mail_of(loop)

        def listener() -> None:
            mail.put(future)

        self.then(listener)
        try:
            await future
        finally:
            self.forget(listener)

    def wait(self, timeout: float | None = None) -> T:
        """Wait; return what `await` gives.

        Raises:
            TimeoutError: It did not come within `timeout` [s].
            WaitInCallbackError: Called in the thread of a running asyncio loop.
        """
        if not self._settled:
            self._block(timeout)
        return self._outcome()

    def get(self, timeout: float | None = None) -> Any:
        """Wait; return the value.

        Raises as `wait` does.
        """
        return self.wait(timeout)

    def _block(self, timeout: float | None) -> None:
        refuse_in_a_loop("wait() and get()")
        sleeper = threading.Lock()
        sleeper.acquire()
        self.then(sleeper.release)
        if not sleeper.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            self.forget(sleeper.release)
            if not self._settled:
                message = f"{self._what()} did not come within {timeout:g} s"
                raise TimeoutError(message)

    def _what(self) -> str:
        return "it"

    def _outcome(self) -> T:
        """Return the value, or raise the error."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                del self  # the error's traceback would keep it, and it keeps the error
        value: T = self._value
        return value


class Answer(Pending[T]):
    """A `Pending` of which it is said what it is."""

    __slots__ = ("_name",)

    def __init__(self, name: str = "the answer") -> None:
        super().__init__()
        self._name = name

    def _what(self) -> str:
        return self._name

    @classmethod
    def of(cls, value: T) -> Self:
        """Return one that is here."""
        answer = cls()
        answer.settle(value)
        return answer

    @classmethod
    def of_future(cls, future: Any, convert: Callable[[Any], Any] | None = None, name: str = "the answer") -> Self:
        """Return one that comes when a future of a service does.

        `convert` makes its value of the future's.
        """
        answer = cls(name)

        def came(done: Any) -> None:
            error = done.exception()
            value = None
            if error is None:
                try:
                    value = done.result() if convert is None else convert(done.result())
                except Exception as fault:  # noqa: BLE001 - whoever waits is told
                    error = fault
            if isinstance(error, ServiceLostError | MasterUnreachable):
                error = RuntimeDisconnectedError(str(error))
            answer.settle(value, error)

        future.add_done_callback(came)
        return answer


class BackgroundLoop:
    """An asyncio loop in a thread of its own, started at first use.

    Thread-safe.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; it runs."""
        with self._lock:
            if self._loop is None:
                self._loop = loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def start(self, coroutine: Coroutine[Any, Any, T], name: str = "the answer") -> Answer[T]:
        """Run a coroutine there; return its answer."""
        answer: Answer[T] = Answer(name)

        async def run() -> None:
            try:
                value = await coroutine
            except BaseException as error:  # noqa: BLE001 - whoever waits is told, also of a cancellation
                answer.settle(None, error)
            else:
                answer.settle(value)

        loop = self.loop

        def begin() -> None:
            task = loop.create_task(run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop.call_soon_threadsafe(begin)
        return answer

    def close(self) -> None:
        """End it. Idempotent."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.stop)
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        loop.close()


class LoopMail:
    """Futures of one loop that are to be resolved: one wake for any number.

    Thread-safe.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)  # the loop's own mail must not keep it
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._due = False

    def put(self, future: asyncio.Future[None]) -> None:
        """Resolve a future, in its loop."""
        self._waiting.append(future)
        if not self._due:
            self._due = True
            loop = self._loop()
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there
                if loop is not None:
                    loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._due = False
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)


_mails: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopMail] = WeakKeyDictionary()


def mail_of(loop: asyncio.AbstractEventLoop) -> LoopMail:
    """Return the mail of a loop. In its thread."""
    mail = _mails.get(loop)
    if mail is None:
        mail = _mails[loop] = LoopMail(loop)
    return mail


def refuse_in_a_loop(what: str, instead: str = "`await`") -> None:
    """Refuse to block the thread of a running asyncio loop.

    Args:
        what: Would block it.
        instead: What to use there.

    Raises:
        WaitInCallbackError: This is one.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    message = f"{what} would block the thread of a running asyncio loop; use {instead} there"
    raise WaitInCallbackError(message)
