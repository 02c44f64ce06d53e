"""The application inside a task or a callback: `current_application`.

    task (worker's thread) --- wishes ---> loop thread --- door ---> agent ---> master
    callback (host's thread) - wishes ---> loop thread --- door --------------> master

It is an application like any other, but for where its messages go, and how long it lives: as
long as the attempt, or the system whose callbacks it serves. What it did not detach ends then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import threading
import uuid
from typing import TYPE_CHECKING, Any, Self

from concurro.errors import MasterUnreachable, NoApplicationError, RefusedError, SlotsLentError, WaitInCallbackError
from concurro.execution.inside import door_here, this_process
from concurro.ids import Role
from concurro.nodes.application import ApplicationNode
from concurro.nodes.peer import Peer, python_version
from concurro.wire.importing import refuse_while_importing
from concurro.wire.lodging import Lodging
from concurro.wire.messages import PROTOCOL, Kind
from concurro.wire.schema import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from concurro.execution.inside import Door
    from concurro.execution.service import ServiceLink
    from concurro.wire.messages import Message

log = logging.getLogger("concurro.application")

LOOK_AGAIN = 0.02
"""How often a wait whose slot could not be lent yet looks whether it is over [s]."""

LEAVE_LIMIT = 5.0
"""How long what is left of an attempt's application may take to end [s]."""


def current_application() -> ApplicationNode:
    """Return the application of the task, or the callback, that calls this.

    It reaches the master that runs the caller: `submit`, `run`, `attach`, `push_task`,
    `push_tasks`, `executor()`, `status`. A task that waits there lends its slot meanwhile. What was
    submitted or pushed and not detached is cancelled when the attempt ends, or the system
    whose callback it is. Thread-safe.

    Raises:
        NoApplicationError: The caller is neither a task nor a callback, or has no way to a master.
        MasterUnreachable: The master is gone.
    """
    door = door_here()
    with door.lock:
        if door.application is None:
            door.application = NestedApplication(door)
        application: Any = door.application
    if isinstance(application, NestedApplication):
        application.connect()
    found: ApplicationNode = application
    return found


def when_application(callback: Callable[[], object]) -> None:
    """Call once `current_application` may be called: at once where it may.

    The code and the state of a task system are loaded before that; what they are made of calls somebody
    then, before the first callback. In the thread that runs callbacks.

    Raises:
        NoApplicationError: It may not, and never will here.
    """
    try:
        door_here()
    except NoApplicationError:
        door = this_process.door
        if door is None or not door.opens:
            raise
        door.wait_for_it(callback)
        return
    callback()


class NestedApplication(ApplicationNode):
    """An application that goes through a door. Thread-safe.

    `close` does nothing: it ends with the attempt, or the system, that it belongs to.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._whose = door.whose
        self._lodging = Lodging(door.packer.blobs)
        self._build(f"the master of {self._whose}", door.packer.for_guest(self._lodging))
        self._link: Any = None
        self._dialled: Peer | None = None
        self._parted = False
        self._loan: Loan | None = None
        self._wait: str | None = None  # for what the task waits, unsaid
        if door.lends:
            self._loan = Loan(self, self._whose)
            self.lend = self._loan.lend
        else:
            self.lend = self._wait_for_others

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Go on: it ends by itself."""

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def close(self) -> None:
        """Do nothing: it ends with the attempt, or the system, that it belongs to."""

    def main(self) -> None:
        """Refuse.

        Raises:
            RuntimeError: Always: `main` is for programs.
        """
        message = "main() is for programs of their own; inside a task or a callback use run() or submit()"
        raise RuntimeError(message)

    def part(self) -> bool:
        """End it, and what it did not detach; return whether all of it is gone."""
        self.let_guests_end()
        with self._start_lock:
            was_open, self._state = self._state == "open", "closed"
        if not was_open:
            self._loop.close()
            return True
        self._loop.post(self._leave)
        thread = self._thread
        if thread is not None:
            thread.join(LEAVE_LIMIT)
        self._printer.close()
        self._lodging.leave()
        return self._parted

    def say_waits(self, text: str) -> None:
        """Say that the task waits; the loan is told what was decided."""
        self._loop.post(lambda: self._note_wait(text))

    def say_goes_on(self) -> None:
        """Say that the task waits no more."""
        with contextlib.suppress(RuntimeError):
            self._loop.post(self._go_on)

    def _note_wait(self, text: str) -> None:
        self._wait = text

    def _go_on(self) -> None:
        if self._wait is None:
            link: ServiceLink = self._link
            link.goes_on()
        elif self._loan is not None:
            self._wait = None
            self._loan.answered(granted=False, lent=0, workers=0)

    def _flush(self) -> None:
        super()._flush()
        if self._wait is not None and self._has_begun():
            text, self._wait = self._wait, None
            self._link.waits(text)

    def _has_begun(self) -> bool:
        """Say whether the master knows of the tasks that this one may wait for.

        A slot that were lent before would be taken by any other task, which may wait as well.
        """
        plain = self._core.plain
        return self._core.connected and (not plain.waiting or plain.sent > 0)

    # As an application, but for the way to the master

    def _open(self) -> None:
        refuse_while_importing("an application")
        self._state = "open"
        self._thread = threading.Thread(target=self._main, name="concurro-nested", daemon=True)
        self._thread.start()

    def _dial(self) -> None:
        self._link = self._door.open_link(self._loop)
        if self._loan is not None:
            self._link.on_answer = self._loan.answered
        peer = self._dialled = Peer(self._loop, self._link, Sender.MASTER)
        peer.on_message = self._answered
        peer.on_closed = self._lost
        facts = {"pid": os.getpid(), "client_id": self.client_id, "output": False}
        name = f"{platform.node()}, inside {self._whose}"
        hello = [PROTOCOL, python_version(), Role.APPLICATION.value, uuid.uuid4().bytes, 0, 0, name, facts]
        peer.send(Kind.HELLO, hello)

    def _answered(self, message: Message) -> None:
        peer = self._dialled
        if peer is None:
            return
        self._dialled = None
        if message.kind == Kind.WELCOME:
            self._join(peer, message.body)
        elif message.kind == Kind.REFUSED:
            code, text = message.body[:2]
            self._fail(RefusedError(f"the master refused {self._whose}: {text}", code))

    def _lost(self, reason: str) -> None:
        self._peer = self._dialled = None
        self._fail(MasterUnreachable(f"{self._whose} has no way to its master any more: {reason}"))

    def _fail(self, error: Exception) -> None:
        super()._fail(error)
        if self._loan is not None:
            self._loan.give_up()

    def _hang_up(self) -> None:
        peer = self._peer or self._dialled
        if peer is not None:
            peer.close("what it belongs to ended")
        link = self._link
        if link is None or not self._door.lends or link.left:
            self._left()
            return
        # The channel is used again: nothing of this session may still be under way in it.
        link.on_left = self._left
        link.close()

    def _left(self) -> None:
        self._parted = True
        if self._loan is not None:
            self._loan.give_up()  # a thread that the task left behind may still ask
        if self._door.lends and self._link is not None:
            self._link.release()
        self._loop.stop()

    @contextlib.contextmanager
    def _wait_for_others(self, what: str, over: Callable[[], bool]) -> Iterator[None]:  # noqa: ARG002 - a host has no slot
        own = self._door.own_system
        if own and what.startswith(f"system {own}"):
            message = f"a callback of {self._whose} would wait for the end of its own system: for ever"
            raise WaitInCallbackError(message)
        yield

    def _wait_for_room(self) -> None:
        if self._loan is None:
            super()._wait_for_room()
        else:
            with self._loan.lend("room for more tasks", self._has_room):
                super()._wait_for_room()


class Loan:
    """The slot of a task, lent while any of its threads waits.

    Thread-safe.

    Args:
        application: Of the attempt.
        whose: The task, in words.
    """

    def __init__(self, application: NestedApplication, whose: str) -> None:
        self._application = application
        self._whose = whose
        self._asking = threading.Lock()
        self._count = threading.Lock()
        self._waiting = 0
        self._answer = threading.Event()
        self._granted = True
        self._lent = self._workers = 0
        self._over = False

    @contextlib.contextmanager
    def lend(self, what: str, over: Callable[[], bool]) -> Iterator[None]:
        """Lend the slot while the block waits.

        Args:
            what: For what, in words.
            over: Says whether the wait is over: the slave may have nothing left to lend for long.

        Raises:
            SlotsLentError: The slave has lent all that it may, and nothing runs there any more.
        """
        if not self._begin(what, over):
            yield
            return
        try:
            yield
        finally:
            self._end()

    def answered(self, granted: bool, lent: int, workers: int) -> None:  # noqa: FBT001 - as it stands in the note
        """Take what the agent decided. Loop thread only."""
        self._granted, self._lent, self._workers = granted, lent, workers
        self._answer.set()

    def give_up(self) -> None:
        """Let whoever asks go on: nobody answers any more."""
        self._over = self._granted = True
        self._answer.set()

    def _begin(self, what: str, over: Callable[[], bool]) -> bool:
        """Lend the slot; return False when the wait was over first."""
        while not self._asking.acquire(timeout=LOOK_AGAIN):
            if over():
                return False
        try:
            with self._count:
                if self._waiting or self._over:
                    self._waiting += 1
                    return True
            self._answer.clear()
            self._application.say_waits(what)
            if not self._is_answered(over):
                self._application.say_goes_on()
                self._is_answered(_never)  # each question is answered, also one that was withdrawn
                return False
            if not self._granted:
                raise SlotsLentError(self._refusal(what), what)
            with self._count:
                self._waiting += 1
            return True
        finally:
            self._asking.release()

    def _is_answered(self, over: Callable[[], bool]) -> bool:
        """Wait for the answer; return False when the wait was over first."""
        while not self._answer.wait(LOOK_AGAIN):
            if self._over:
                return True
            if over():
                return False
        return True

    def _end(self) -> None:
        with self._count:
            self._waiting -= 1
            if not self._waiting and not self._over:
                self._application.say_goes_on()

    def _refusal(self, what: str) -> str:
        return (
            f"{self._whose} waits for {what}, but {self._lent} slots of its slave are lent by tasks that wait already, "
            f"the most for its {self._workers} workers, and nothing else runs there: waiting for one more could be for "
            f"ever; wait for fewer at once, split into larger parts, take more workers, or let a task system make "
            f"the tasks of its results"
        )


def _never() -> bool:
    return False
