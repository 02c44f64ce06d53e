"""An application's side of the protocol, pure.

Messages and wishes in, messages out.

    submit, attach --> SUBMIT, ATTACH --> SUBMITTED, EVENT ..., ENDED --> handle
    push           --> OPEN, OUT ------> IN (finished) --> OUT (consumed) --> future
    request        --> REQUEST ---------> REPLY --> future

Handles and futures are resolved from here. After a lost connection, what was not
acknowledged is submitted again, and the rest is attached to.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from concurrent.futures import CancelledError, InvalidStateError
from typing import TYPE_CHECKING, Any

from concurro.errors import (
    ConfigError,
    MasterUnreachable,
    RefusedError,
    SystemFailedError,
    TaskCancelled,
    TaskError,
    UnknownSystemError,
)
from concurro.ids import Outcome, ProgressRecord
from concurro.nodes.failed_attempts import FailedAttempts
from concurro.nodes.pushed import PushedTasks
from concurro.wire.failures import original
from concurro.wire.messages import Kind, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Future

    from concurro.nodes.futures import TaskFuture
    from concurro.nodes.handle import SystemHandle
    from concurro.nodes.service_lines import ServiceLines
    from concurro.task import Task
    from concurro.wire.payload import Packer
    from concurro.wire.transfer import BlobTransfer

    Sender = Callable[[Kind, list[Any]], None]
    TaskTaker = Callable[[Task, Any, TaskError | None], None]

log = logging.getLogger("concurro.application")

EMISSION_LIMIT = 4096

LINE_KINDS = frozenset({Kind.LINE, Kind.LINE_OPENED, Kind.LINE_END})


class _Submission:
    __slots__ = ("acknowledged", "body", "cancelled", "handles", "number", "published", "sent", "system_id")

    def __init__(self, handle: SystemHandle, body: list[Any] | None) -> None:
        self.system_id = handle.system_id
        self.handles = [handle]
        self.body = body  # what follows the token in SUBMIT; None for an attached system
        self.acknowledged = False
        self.sent = False
        self.cancelled = False
        self.published = 0  # the partial results before this number were told
        self.number: int | None = None


class _Input:
    """An IN of pushed tasks, and whether all that it needs is here."""

    __slots__ = ("body", "ready")

    def __init__(self, body: list[Any]) -> None:
        self.body = body
        self.ready = False


class ApplicationCore:
    """Everything an application waits for.

    Args:
        packer: Loads results.
        send: Sends to the master; only called while connected.
        client_id: Of the application.
        make_id: Gives a fresh unique id for each implicit system.

    Attributes:
        on_output: Called with the entries of each PRINTED.
        failed: Saves failures of plain tasks.
        before_news: Called before results are told: output that came before them is shown first.
        lines: Those to services; told of what concerns them.
    """

    def __init__(self, packer: Packer, send: Sender, client_id: str, make_id: Callable[[], str]) -> None:
        self.on_task: TaskTaker | None = None
        self.failed = FailedAttempts("")
        self.on_output: Callable[[list[list[Any]]], None] = _drop_output
        self.before_news: Callable[[], None] = _nothing_before
        self.plain = PushedTasks(packer, make_id(), client_id)
        self.lines: ServiceLines | None = None
        self.connected = False
        self.credit = 1
        self.byte_credit = 1
        self._client_id = client_id
        self._make_id = make_id
        self._packer = packer
        self._send = send
        self._transfer: BlobTransfer | None = None
        self._token = 0
        self._submissions: dict[str, _Submission] = {}
        self._by_token: dict[int, _Submission] = {}
        self._by_number: dict[int, _Submission] = {}
        self._requests: dict[int, tuple[Future[Any], str, list[Any]]] = {}
        self._inputs: deque[_Input] = deque()
        self._news: dict[int, deque[Message]] = {}

    def use_transfer(self, transfer: BlobTransfer) -> None:
        """Learn who fetches blobs."""
        self._transfer = transfer

    @property
    def busy(self) -> bool:
        """Whether something is unfinished."""
        return bool(self._submissions or self.plain.open)

    # Wishes

    def submit(self, handle: SystemHandle, body: list[Any]) -> None:
        """Submit a system; `body` is what follows the token in SUBMIT."""
        self._begin(handle, body)

    def attach(self, handle: SystemHandle) -> None:
        """Follow a system that is running or kept."""
        self._begin(handle, None)

    def cancel_system(self, system_id: str) -> None:
        """Ask the master to cancel a system."""
        submission = self._submissions.get(system_id)
        if submission is None:
            return
        if submission.sent:
            submission.cancelled = True  # told again with the next connection: this one may be lost before it arrives
        if self.connected:
            self._send(Kind.CANCEL_SYSTEM, [system_id])  # it comes behind SUBMIT
        elif submission.sent:
            return
        else:
            self._drop(submission)
            for handle in submission.handles:
                handle.end_cancelled()

    def request(self, future: Future[Any], name: str, arguments: list[Any]) -> None:
        """Ask the master a question."""
        self._token += 1
        self._requests[self._token] = (future, name, arguments)
        if self.connected:
            self._send(Kind.REQUEST, [self._token, name, arguments])

    def flush_plain(self) -> None:
        """Send pushed tasks, as far as credit goes, and what was consumed.

        The owner holds the lock that users' threads take to push.
        """
        plain = self.plain
        if not self.connected:
            return
        if plain.number is None:
            if plain.waiting and not plain.opening:
                plain.opening = True
                self._token += 1
                self._send(Kind.OPEN, [self._token, plain.system_id, "tasks"])
            return
        while True:
            room = min(EMISSION_LIMIT, self.credit - plain.sent)
            first, classes, tasks = plain.take(room, self.byte_credit)
            cancelled, unstarted = plain.take_unwanted()
            if not (tasks or cancelled or unstarted or plain.answer_due):
                return
            plain.answer_due = False
            facts = {"retired": plain.take_retired(), "unstarted": unstarted}
            facts = {name: numbers for name, numbers in facts.items() if numbers}
            body = [plain.number, plain.consumed, first, classes, tasks, cancelled, [], None, None, facts]
            self._send(Kind.OUT, body)

    # The connection

    def joined(self, credit: int, byte_credit: int) -> None:
        """Go on after a connection was made.

        Args:
            credit: Tasks that may be on their way.
            byte_credit: Bytes of tasks that may be on their way [B].
        """
        self.connected = True
        self.credit = credit
        self.byte_credit = byte_credit
        for submission in list(self._submissions.values()):
            self._ask(submission)
        for token, (_, name, arguments) in self._requests.items():
            self._send(Kind.REQUEST, [token, name, arguments])
        self.plain.answer_due = True
        if self.lines is not None:
            self.lines.joined()

    def lost(self, reason: str) -> None:
        """Note a lost connection.

        Tasks that were sent are lost with it, systems are not.
        """
        self.connected = False
        self._by_token.clear()
        self._by_number.clear()
        self._news.clear()
        if self.plain.number is not None or self.plain.opening:
            self._fail_plain(_tasks_lost(len(self.plain.open), reason))
        if self.lines is not None:
            self.lines.lost(reason)

    def close(self, error: Exception) -> None:
        """End everything with an error."""
        self.connected = False
        for submission in list(self._submissions.values()):
            _end_failed(submission, error)
        self._submissions.clear()
        for future, _, _ in self._requests.values():
            _fail(future, error)
        self._requests.clear()
        self._fail_plain(error)
        if self.lines is not None:
            self.lines.close(error)

    def handle(self, message: Message) -> None:
        """Take a message of the master."""
        kind, body = message.kind, message.body
        if kind == Kind.PRINTED:
            self.on_output(body)
        elif kind == Kind.IN:
            self._take_input(body)
        elif kind == Kind.SUBMITTED:
            self._submitted(*body[:5])
        elif kind in (Kind.EVENT, Kind.ENDED):
            news = self._news.setdefault(body[0], deque())
            news.append(message)
            if len(news) == 1:
                self._next_news(body[0], news)
        elif kind == Kind.REPLY:
            self._replied(*body[:3])
        elif kind in LINE_KINDS:
            if self.lines is not None:
                self.lines.handle(message)
        elif self._transfer is not None:
            self._transfer.handle(message)

    def task_name(self, system: int, number: int) -> str:
        """Return the name of an open pushed task; empty when it is none."""
        return self.plain.name_of(number) if system == self.plain.number else ""

    # Systems

    def _begin(self, handle: SystemHandle, body: list[Any] | None) -> None:
        known = self._submissions.get(handle.system_id)
        if known is not None:
            self._join(known, [handle])
            return
        submission = self._submissions[handle.system_id] = _Submission(handle, body)
        if self.connected:
            self._ask(submission)

    def _join(self, known: _Submission, handles: list[SystemHandle]) -> None:
        """Let more handles follow a system; each hears everything from now on."""
        known.handles += handles
        for handle in handles:
            handle.system_id = known.system_id
            if known.acknowledged:
                handle.acknowledge()

    def _ask(self, submission: _Submission) -> None:
        self._token += 1
        self._by_token[self._token] = submission
        submission.sent = True
        if submission.body is not None and not submission.acknowledged:
            self._send(Kind.SUBMIT, [self._token, *submission.body])
        else:
            self._send(Kind.ATTACH, [self._token, submission.system_id])
        if submission.cancelled:
            self._send(Kind.CANCEL_SYSTEM, [submission.system_id])

    def _submitted(self, token: int, number: int, system_id: str, error: str | None, code: str | None) -> None:
        if system_id == self.plain.system_id:
            self.plain.number = number
            self.plain.opening = False
            self.plain.answer_due = True
            return
        submission = self._by_token.pop(token, None)
        if submission is None:
            return
        if error is not None:
            self._drop(submission)
            was_known = submission.acknowledged
            text = f"the master forgot the system, it was probably restarted: {error}" if was_known else error
            _end_failed(submission, _refusal(text, code or ""))
            return
        if system_id != submission.system_id:
            # It was asked for by the beginning of its id.
            del self._submissions[submission.system_id]
            submission.system_id = system_id
            known = self._submissions.get(system_id)
            if known is not None:
                self._join(known, submission.handles)
                return
            self._submissions[system_id] = submission
        submission.acknowledged = True
        submission.number = number
        self._by_number[number] = submission
        for handle in submission.handles:
            handle.system_id = system_id
            handle.acknowledge()

    def _next_news(self, number: int, news: deque[Message]) -> None:
        """Fetch what the oldest news of a system needs; they are told in order."""
        kind, body = news[0].kind, news[0].body
        if kind == Kind.EVENT:
            blobs = [blob for _, part in body[1] for blob in part or ()]
            owner = ("event", number)
        else:
            result = body[2]
            blobs = (result[2] if result is not None else None) or []
            owner = ("system", body[3])
        self._fetch(blobs, owner, lambda error: self._tell_news(number, news, error))

    def _tell_news(self, number: int, news: deque[Message], error: str | None) -> None:
        if self._news.get(number) is not news:
            return  # the connection was lost meanwhile, and the news with it
        message = news.popleft()
        if message.kind == Kind.EVENT:
            self._event(message.body, error)
        else:
            self._system_ended(message.body, error)
        if news:
            self._next_news(number, news)
        else:
            self._news.pop(number, None)

    def _event(self, body: list[Any], error: str | None) -> None:
        number, publications, progress, counts, elapsed = body[:5]
        submission = self._by_number.get(number)
        if submission is not None:
            if publications and len(body) > 7:  # noqa: PLR2004 - a later field
                publications = _untold(submission, publications, body[7])
            self._tell_event(submission, publications, progress_record(progress, counts or {}, elapsed), error)
        self._packer.blobs.release(("event", number))
        for notice in body[5] if len(body) > 5 else ():  # noqa: PLR2004 - a later field
            log.warning("%s", notice)
        if len(body) > 6 and self.connected:  # noqa: PLR2004 - a later field
            self._send(Kind.TAKEN, [number, body[6]])

    def _tell_event(
        self, submission: _Submission, publications: list[Any], progress: ProgressRecord, error: str | None
    ) -> None:
        values = self._published(publications, error)
        for handle in submission.handles:
            for value in values:
                handle.take_published(value)
            handle.take_progress(progress)

    def _published(self, publications: list[Any], error: str | None) -> list[Any]:
        values = []
        for value, blobs in publications:
            if self._packer.blobs.missing(blobs):
                log.warning("a partial result did not arrive: %s", error)
                continue
            try:
                values.append(self._packer.loads(value, blobs))
            except BaseException:
                # Loading runs user code, which may do anything, exit included.
                log.warning("a partial result arrived but could not be rebuilt", exc_info=True)
        return values

    def _system_ended(self, body: list[Any], error: str | None) -> None:
        number, state, result, system_id = body[:4]
        if number == self.plain.number:
            self.before_news()
            reason = str(result[1][1]) if result is not None and result[0] != Outcome.DONE else state
            self._fail_plain(CancelledError(f"the application's tasks were ended: {reason}"))
            return
        submission = self._by_number.pop(number, None) or self._submissions.get(system_id)
        if submission is None:
            return
        self._drop(submission)
        if error is not None:
            _end_failed(submission, UnknownSystemError(f"the result did not arrive: {error}"))
            return
        self.before_news()
        for handle in submission.handles:
            handle.take_end(state, result, self._packer)
        if self.connected:
            self._send(Kind.RELEASE, [system_id])

    def _drop(self, submission: _Submission) -> None:
        self._submissions.pop(submission.system_id, None)
        if submission.number is not None:
            self._by_number.pop(submission.number, None)
        self._packer.blobs.release(("system", submission.system_id))

    # Plain tasks

    def _take_input(self, body: list[Any]) -> None:
        """Fetch what an input needs; inputs are consumed in order."""
        awaited = _Input(body)
        self._inputs.append(awaited)
        blobs = [blob for entry in body[3] if entry[1] == 0 for blob in entry[3] or ()]
        self._fetch(blobs, ("input", body[1]), lambda error: self._input_ready(awaited))  # noqa: ARG005 - a missing part shows when its value is loaded, as that task's own error

    def _input_ready(self, awaited: _Input) -> None:
        awaited.ready = True
        while self._inputs and self._inputs[0].ready:
            self._finished(self._inputs.popleft().body)

    def _finished(self, body: list[Any]) -> None:
        plain = self.plain
        if body[0] != plain.number:
            return
        self.before_news()
        for entry in body[3]:
            settled = plain.settle(entry, seen=self.on_task is not None)
            if settled is not None:
                future, task, result, fault = settled
                if task is None:
                    resolve(future, result, None)
                else:
                    self._task_ended(future, task, result, fault)
                plain.close(entry[0])
        plain.consumed = body[1]
        plain.answer_due = True
        self._packer.blobs.release(("input", body[1]))

    def _task_ended(self, future: TaskFuture, task: Task, result: Any, fault: TaskError | None) -> None:
        """Tell everybody who sees a task that it is final."""
        if fault is not None and (kept := self.failed.take(fault)):
            log.warning("%s", kept)
        broken = _call_finished(task, result, fault)
        if self.on_task is not None:
            self.on_task(task, result, fault)
        if broken is None:
            resolve(future, result, fault)
        else:
            _fail(future, broken)

    def _fail_plain(self, error: Exception) -> None:
        lost = self.plain
        self.plain = PushedTasks(self._packer, self._make_id(), self._client_id)
        for awaited in self._inputs:
            self._packer.blobs.release(("input", awaited.body[1]))
        self._inputs.clear()
        cancelled = isinstance(error, CancelledError)
        kind, name = (TaskCancelled, "TaskCancelled") if cancelled else (TaskError, type(error).__name__)
        tasks = lost.tasks()
        faults = {number: kind(str(task.task_id), name, str(error)) for number, _, task in tasks}
        for number, future, _ in tasks:
            _fail(future, faults[number] if cancelled else error)
        for number, _, task in tasks:
            _call_finished(task, None, faults[number])
            if self.on_task is not None:
                self.on_task(task, None, faults[number])
        lost.drop()

    # Small steps

    def _fetch(self, blobs: list[Any] | None, owner: Hashable, done: Callable[[str | None], None]) -> None:
        if not blobs or self._transfer is None:
            done(None)
        else:
            self._transfer.fetch(blobs, owner, done)

    def _replied(self, token: int, ok: bool, value: Any) -> None:  # noqa: FBT001 - a field of REPLY
        waiting = self._requests.pop(token, None)
        if waiting is None:
            return
        if ok:
            waiting[0].set_result(value)
        else:
            _fail(waiting[0], LookupError(value))


def _untold(submission: _Submission, publications: list[Any], first: int) -> list[Any]:
    """Return the partial results that were not told yet.

    A restarted master may say some again.
    """
    known = max(0, submission.published - first)
    submission.published = max(submission.published, first + len(publications))
    return publications[known:]


def _tasks_lost(count: int, reason: str) -> MasterUnreachable:
    """Return what tasks raise that were pushed to a master we have lost."""
    which = "1 pushed task was" if count == 1 else f"{count} pushed tasks were"
    message = (
        f"{which} lost, run or not, with the connection to the master: {reason}. What is pushed lives no longer than "
        f"that; push again what may run twice, or submit a task system: it goes on over another connection, and comes "
        f"back with a restarted master that has a journal ([master] journal)"
    )
    return MasterUnreachable(message)


def _refusal(text: str, code: str) -> Exception:
    """Return what a submission that the master refused raises."""
    if code == "unknown":
        return UnknownSystemError(text)
    if code == "options":
        return ConfigError(text)
    if code == "blobs":
        return SystemFailedError(text)
    return RefusedError(text, code)


def _drop_output(entries: list[list[Any]]) -> None:
    """Drop output: nobody shows it."""


def _nothing_before() -> None:
    """Wait for nothing."""


def progress_record(progress: list[Any] | None, counts: dict[str, int], elapsed: float) -> ProgressRecord:
    """Return the record of an EVENT."""
    finished = sum(counts.get(name, 0) for name in ("done", "failed"))
    done, total, message = progress or (finished, None, "")
    return ProgressRecord(done, total, message, counts, elapsed)


def resolve(future: TaskFuture, result: Any, error: TaskError | None) -> None:
    """Resolve the future of a task, unless its owner cancelled it."""
    try:
        if error is None:
            future.set_result(result)
        elif not (isinstance(error, TaskCancelled) and future.end_withdrawn()):
            future.set_exception(original(error))
    except InvalidStateError:
        return


def _call_finished(task: Task, result: Any, error: TaskError | None) -> BaseException | None:
    """Call a task's own `finished`; return what it raised."""
    try:
        task.finished(result, error)
    except BaseException as fault:  # noqa: BLE001 - user code, and everybody else's news come through this thread
        return fault if isinstance(fault, Exception) else RuntimeError(f"finished raised {type(fault).__name__}")
    return None


def _fail(future: Future[Any], error: BaseException | None) -> None:
    with contextlib.suppress(InvalidStateError):
        future.set_exception(error)


def _end_failed(submission: _Submission, error: Exception) -> None:
    for handle in submission.handles:
        handle.end_failed(error)
