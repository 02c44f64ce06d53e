r"""The way of a proxy to its task manager at the master, over restarts too.

    ask --> line there? --no--> reach the master, attach the session --> the same task manager? go on
                        \-yes-> request n --> answer n
            line lost: reach it again, at once; ask again what was not answered, under the same numbers

Each thread waits for its own answer.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
import uuid
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from concurro import (
    ApplicationNode,
    ClosedError,
    ConcurroError,
    Config,
    ConfigError,
    LocalCluster,
    MasterNode,
    MasterUnreachable,
    ServiceLostError,
)
from concurro_tagqueue import errors
from concurro_tagqueue.sessions import Status, split

if TYPE_CHECKING:
    from concurrent.futures import Future

    from concurro import ServiceProxy

log = logging.getLogger("concurro.tagqueue")

SERVICE = "tagqueue"

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Between two attempts to reach a master [s]."""

LAST_TRY = 1.0
"""How long to try a master that is gone for longer than our patience: it may be there again [s]."""

AT_ONCE = 8
"""So many parts of a large value are on their way at once."""

LOST = (MasterUnreachable, ServiceLostError)

_ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        errors.TaskManagerTermination,
        errors.UnknownDataError,
        errors.UnknownProcessError,
        errors.UnknownTaskError,
        errors.WaitTimeoutError,
        ConfigError,
    )
}
_WITH_A_FACT = frozenset({"UnknownDataError", "UnknownProcessError", "UnknownTaskError"})


class Connection:
    """A session with a task manager of a master. Thread-safe.

    Args:
        master: Address, node or cluster; None for `[application] master`.
        label: Of the task manager.
        patience: How long to wait for a master that is gone, from its loss on [s].
        config: For an application of our own.
        essential: Whether the task manager ends with this session.

    Attributes:
        application: Through which it goes.

    Raises:
        MasterUnreachable: No master answered.
        ConfigError: What is given cannot be used.
    """

    def __init__(self, master: Any, label: str, patience: float, config: Any, *, essential: bool = False) -> None:
        if not isinstance(label, str) or not label:
            message = f"the label of a task manager is a text, got {label!r}"
            raise ConfigError(message)
        self.label = label
        self._session = uuid.uuid4().hex
        self._essential = essential
        self._patience = patience
        self._master, self._config = master, config
        self._owns = is_address(master)
        self.application: Any = open_application(master, config)
        if self._owns:
            self.application.resume_patience = min(patience, self.application.resume_patience)
        self._numbers = itertools.count(1)
        self._asked = 0
        self._open: dict[int, Future[Any] | None] = {}
        self._came: list[int] = []
        self._lock = threading.Lock()
        self._reaching = threading.RLock()
        self._line: ServiceProxy | None = None
        self._origin = ""
        self._fault: Exception | None = None
        self._away_since = 0.0
        self._gave_up = False
        self._closing = threading.Event()
        try:
            self._reach()
        except BaseException:
            self.close()
            raise

    def ask(self, operation: str, *arguments: Any, value: bytes | None = None, **wait: float | None) -> Any:
        """Have something done once; return what came of it.

        Args:
            operation: Its name.
            arguments: Plain values.
            value: One more, however large.
            wait: `timeout`, of an operation that has one [s].

        Raises:
            ConcurroError: What the task manager raised.
            MasterUnreachable: The master is gone for longer than our patience.
            QueueLostError: The task manager is gone.
            ClosedError: This was closed.
        """
        parts = [] if value is None else split(value)
        deadline = None if wait.get("timeout") is None else time.monotonic() + (wait["timeout"] or 0.0)
        with self._lock:
            number = next(self._numbers)
            self._open[number] = None
            self._asked = number
        try:
            while True:
                line = self._reach()
                given = list(arguments)
                if parts:
                    given.append(parts[0] if len(parts) == 1 else len(parts))
                if wait:
                    given.append(None if deadline is None else max(0.0, deadline - time.monotonic()))
                try:
                    return self._ask_once(line, number, operation, given, parts)
                except LOST:
                    self._lose(line)
                except errors.WaitTimeoutError as error:
                    what = str(error).rpartition(" within ")[0]  # the master was told what was left of it
                    message = f"{what} within {wait['timeout']:g} s"
                    raise errors.WaitTimeoutError(message) from None
        finally:
            with self._lock:
                del self._open[number]
                if number > self._low():  # an older one waits, maybe for long
                    self._came.append(number)

    def close(self) -> None:
        """Leave the task manager; what waits for it ends. Idempotent."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            waiting = [future for future in self._open.values() if future is not None]
            line, self._line = self._line, None
            low = self._low()
        for future in waiting:
            future.cancel()
        if line is not None:
            with contextlib.suppress(ConcurroError):
                line.tell("detach", self.label, self._session, low)
        if self._owns:
            self.application.close()

    # How

    def _ask_once(
        self, line: ServiceProxy, number: int, operation: str, arguments: list[Any], parts: list[bytes]
    ) -> Any:
        who = (self.label, self._session, number)
        with self._lock:
            low, came, self._came = self._low(), self._came, []
        try:
            if len(parts) > 1:
                for index, part in enumerate(parts):
                    line.tell("ahead", *who, index, part)
            status, answer = self._result(line.call("do", *who, low, operation, arguments, came), number)
            _refuse_failure(status, answer)
            answer = self._whole(line, operation, answer, number)
            if operation == "collect":
                line.tell("received", *who)
        except LOST:
            raise
        except BaseException:
            if not self._closing.is_set():  # else the session ends with all its requests
                with contextlib.suppress(ConcurroError):
                    line.tell("abandon", *who)
            raise
        return answer

    def _result(self, future: Any, number: int) -> Any:
        with self._lock:
            if self._closing.is_set():
                future.cancel()
            self._open[number] = future
        try:
            return future.result()
        except CancelledError:
            raise ClosedError(self._was_closed()) from None

    def _whole(self, line: ServiceProxy, operation: str, answer: Any, number: int) -> Any:
        """Return an answer with its large value, which comes in parts."""
        if operation == "retrieve_data":
            return self._joined(line, answer, number) if isinstance(answer, int) else answer
        if operation in ("take", "collect", "drain") and answer and isinstance(answer[-1], int):
            return [*answer[:-1], self._joined(line, answer[-1], number)]
        return answer

    def _joined(self, line: ServiceProxy, count: int, number: int) -> bytes:
        parts: list[bytes] = []
        coming: deque[Any] = deque()
        for index in range(count):
            coming.append(line.call("part", self.label, self._session, number, index))
            if len(coming) >= AT_ONCE:
                parts.append(self._result(coming.popleft(), number))
        parts += [self._result(future, number) for future in coming]
        return b"".join(parts)

    def _reach(self) -> ServiceProxy:
        """Return the line to the service, our session attached."""
        line = self._line
        if line is not None:
            return line
        with self._reaching:
            if self._line is None:
                self._attach()
            if self._line is None:
                raise ClosedError(self._was_closed())
            return self._line

    def _attach(self) -> None:
        deadline = self._away_since + self._patience
        pause = FIRST_PAUSE
        if self._gave_up:
            self._renew(LAST_TRY)
        while not self._closing.is_set():
            if self._fault is not None:
                raise self._fault
            line: ServiceProxy | None = None
            try:
                line = self.application.service(SERVICE)
                with self._lock:
                    low = self._low()
                origin = line.call("attach", self.label, self._session, low, self._essential).result()
            except LOST:
                gave_up = line is None and not self._owns  # the application's own patience is over
                if gave_up or not self._origin or time.monotonic() > deadline:
                    self._gave_up = bool(self._origin)
                    raise
            else:
                self._check_origin(origin)
                self._use(line)
                return
            self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            self._renew(max(LAST_TRY, deadline - time.monotonic()))

    def _renew(self, limit: float) -> None:
        """Have an application that tries again, for `limit` [s], if it is ours."""
        if self._owns and not self._closing.is_set():
            self.application.close()
            config = Config.load(self._config)
            usual = float(config["application.connect_timeout"])
            hasty = Config.load(config, overrides={"application.connect_timeout": str(min(limit, usual))})
            self.application = open_application(self._master, hasty)
            self.application.resume_patience = min(self._patience, max(usual, self.application.resume_patience))
            if self._closing.is_set():
                self.application.close()

    def _check_origin(self, origin: str) -> None:
        if self._origin and origin != self._origin:
            message = (
                f"the task manager {self.label!r} is gone, and its tasks with it: the master was started again without "
                f"a journal, or it was terminated and everybody else left; connect again to begin anew"
            )
            self._fault = errors.QueueLostError(message)
            raise self._fault
        self._origin = origin

    def _lose(self, line: ServiceProxy) -> None:
        with self._lock:
            if self._line is line:
                self._line = None
                self._away_since = time.monotonic() - (self.application.tried_again_for if self._owns else 0.0)

    def _use(self, line: ServiceProxy) -> None:
        with self._lock:
            self._line = None if self._closing.is_set() else line
            self._gave_up = False
        line.on_lost(lambda error: self._lost(line))  # noqa: ARG005 - why it is does not matter

    def _lost(self, line: ServiceProxy) -> None:
        """Come back soon, lest what we hold be given to others.

        Called in the thread that brings news.
        """
        self._lose(line)
        if not self._closing.is_set():
            threading.Thread(target=self._come_back, name="tagqueue-comes-back", daemon=True).start()

    def _come_back(self) -> None:
        try:
            self._reach()
        except ClosedError:
            return  # nobody wants it any more
        except errors.QueueLostError as error:
            log.warning("%s", error)
        except ConcurroError as error:
            log.warning("the task manager %r is not reached any more: %s", self.label, error)

    def _low(self) -> int:
        """Return the number below which every answer has come; the lock is held."""
        return next(iter(self._open), self._asked + 1)

    def _was_closed(self) -> str:
        return f"this proxy of the task manager {self.label!r} was closed"


def open_application(master: Any, config: Any) -> Any:
    """Return the application that is meant.

    Raises:
        ConfigError: None is.
    """
    if is_address(master):
        address = master.url if isinstance(master, MasterNode) else master
        return ApplicationNode(address or None, config=config)
    if isinstance(master, LocalCluster):
        return master.application
    if isinstance(master, ApplicationNode):
        return master
    message = f"master is an address, a node, a LocalCluster or None, got {type(master).__name__}"
    raise ConfigError(message)


def is_address(master: Any) -> bool:
    """Say whether an application is made to reach a master, and is ours."""
    return master is None or isinstance(master, str | MasterNode)


def _refuse_failure(status: int, answer: Any) -> None:
    """Raise what the task manager raised.

    Raises:
        ConcurroError: So it is.
    """
    if status == Status.OK:
        return
    name, text, fact = answer
    kind = _ERRORS.get(name)
    if kind is None:
        message = f"{name}: {text}"
        raise ConcurroError(message)
    raise kind(text, fact) if name in _WITH_A_FACT else kind(text)
