r"""One task manager of a master: its core, its sessions, its rows.

    do(session, number, ...) --> known already? its answer again
                             \-> core --> what changed --> journal, all or nothing --> answers leave

So an answer says only what is on disk. Loop thread only.
"""

from __future__ import annotations

import uuid
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from concurro import ConcurroError, ConfigError
from concurro_tagqueue.core import CRASH_LIMIT, TaskManagerCore
from concurro_tagqueue.errors import WaitTimeoutError
from concurro_tagqueue.operations import OPERATIONS
from concurro_tagqueue.records import State
from concurro_tagqueue.rows import Rows
from concurro_tagqueue.sessions import Answer, Form, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concurro import IMasterServiceHost
    from concurro_tagqueue.records import TaggedTask, Waiter
    from concurro_tagqueue.rows import Kept


class ServedTasks:
    """A task manager that a master keeps. Loop thread only.

    Args:
        label: Its name.
        host: The master.
        origin: Its name among all that ever were; empty for a new one.
        crash_limit: As of the core.

    Attributes:
        core: Its state.
        sessions: Those who are connected, and who were lately, by name.
    """

    def __init__(
        self, label: str, host: IMasterServiceHost, origin: str = "", *, crash_limit: int = CRASH_LIMIT
    ) -> None:
        self.label = label
        self.core = TaskManagerCore(crash_limit)
        self.core.result_of_lost = self._give_up
        self.sessions: dict[str, Session] = {}
        self.origin = origin or uuid.uuid4().hex
        self._host = host
        self._rows = Rows(label, self.core, self.origin)
        self._fresh: list[Answer] = []
        self._dropped: list[Answer] = []
        self._parked: dict[Waiter, Answer] = {}
        self._watchdog: Any = None
        self._due = 0.0
        if host.durable:
            self.core.changed = {("counters", None)}

    @classmethod
    def restored(cls, label: str, host: IMasterServiceHost, kept: Kept, crash_limit: int = CRASH_LIMIT) -> ServedTasks:
        """Return one as the journal has it; nobody speaks for its sessions yet."""
        served = cls(label, host, kept.facts[0], crash_limit=crash_limit)
        core = served.core
        _, core.next_task, core.next_process, core.terminated, core.dropped = kept.facts[:5]
        core.stored.update(kept.stored)
        for process in kept.processes:
            core.enter(process, host.now())
        core.restore(kept.tasks)
        core.changed = set()
        served._rows.remember(kept)
        held = [process.session for process in kept.processes] + [task.session for task in kept.tasks]
        for name in {*(name for name in held if name is not None), *(name for name, _ in kept.answers)}:
            served.sessions[name] = Session(name)
        for (name, number), row in kept.answers.items():
            served._restore_answer(served.sessions[name], number, row)
        served.watch_pings()
        served.settle()
        return served

    def _restore_answer(self, session: Session, number: int, row: list[Any]) -> None:
        form, value, lasts = Form(row[0]), row[1], bool(row[2])
        answer = Answer(session, number, lasts=lasts, form=form, over=True, there=True)
        if form is Form.PLAIN:
            answer.value = value
        else:
            answer.tasks = [self.core.tasks[task_id] for task_id in value if task_id in self.core.tasks]
        if form is Form.PLAIN or len(answer.tasks) == len(value):
            session.answers[number] = answer
        else:
            self._dropped.append(answer)

    # Sessions

    def refuse_second_essential(self, name: str) -> None:
        """Refuse a session when another one is essential.

        Raises:
            ConfigError: So it is.
        """
        if any(session.essential and session.name != name for session in self.sessions.values()):
            message = (
                f"label {self.label!r} ends with another connection already; "
                "if that is gone for good, so is the label after [tagqueue] grace"
            )
            raise ConfigError(message)

    def attach(self, peer: Any, name: str, low: int, *, essential: bool = False) -> None:
        """Let a peer speak for a session; what is below `low` has come."""
        session = self.sessions.setdefault(name, Session(name))
        session.essential = essential
        session.peer, session.since = peer, None
        self._arrived(session, low)
        self.settle()

    def end(self, session: Session, lost: str = "") -> None:
        """Let go what a session held: nobody speaks for it any more.

        It may come back; what it was answered, and was not undone now, is remembered. The results that it
        took may have come, or not: they wait for it until `end_results`.

        Args:
            session: It.
            lost: How its connection was lost, charged to what it ran; empty for one that left.
        """
        session.peer, session.since = None, self._host.now()
        session.ahead.clear()
        for answer in list(session.answers.values()):
            self._release(answer)
            if not answer.over or not answer.lasts or answer.failed:
                self._drop(answer)
        self.core.end_session(session.name, lost)
        self.settle()

    def end_essential(self, session: Session) -> None:
        """Terminate, if a session that is gone was essential."""
        if session.essential:
            self.core.terminate()
            self.settle()

    def end_results(self, session: Session) -> None:
        """Let go the results that a session took: it does not come back for them."""
        for answer in [answer for answer in session.answers.values() if answer.form is Form.RESULT]:
            self._drop(answer)
        self.core.end_results(session.name)
        self.settle()

    def forget(self, session: Session) -> None:
        """Forget a session that has ended."""
        self.end_results(session)
        for answer in list(session.answers.values()):
            self._drop(answer)
        self.sessions.pop(session.name, None)
        self.settle()

    @property
    def is_done(self) -> bool:
        """Whether it is of no use any more, if nobody is connected."""
        core = self.core
        return core.terminated or not (core.tasks or core.stored)

    def erase(self) -> None:
        """Forget it, also in the journal."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        for session in list(self.sessions.values()):
            self.forget(session)
        if self._host.durable:
            self._host.keep_all(self._rows.erased())

    # Requests

    def do(  # noqa: PLR0913 - a request, all of it plain
        self,
        session: Session,
        number: int,
        low: int,
        operation: str,
        arguments: list[Any],
        came: Sequence[int] = (),
    ) -> Any:
        """Do a request once; return its answer, or the future of it.

        Args:
            session: Who asks.
            number: Of the request.
            low: All answers below it have arrived.
            operation: A name of `OPERATIONS`.
            arguments: What it takes.
            came: Numbers from `low` on whose answers have arrived as well: an older request may wait for long.
        """
        self._arrived(session, low, came)
        answer = session.answers.get(number)
        if answer is None:
            chosen = OPERATIONS[operation]
            answer = session.answers[number] = Answer(session, number, chosen.keeps, chosen.lasts)
            try:
                chosen.begin(self, answer, *arguments)
            except ConcurroError as error:
                answer.fail(error)
            except BaseException:
                del session.answers[number]  # nonsense, that no proxy says
                raise
            if answer.over:
                self._fresh.append(answer)
            self.settle()
        if answer.there:
            return answer.message()
        future: Future[Any] = Future()
        answer.futures.append(future)
        return future

    def abandon(self, session: Session, number: int) -> None:
        """Take back what a request got, or would get: nobody wants it."""
        answer = session.answers.get(number)
        if answer is None:
            return
        self._drop(answer)
        self._release(answer)
        for task in reversed(answer.tasks):
            if task.session == session.name and self.core.tasks.get(task.task_id) is task:
                if task.state is State.RUNNING:
                    self.core.give_back(task.task_id)
                elif task.state is State.TAKEN:
                    self.core.put_back(task)
        self.settle()

    def received(self, session: Session, number: int) -> None:
        """Learn that the result which a request asked for has come."""
        answer = session.answers.get(number)
        if answer is not None:
            self._drop(answer)
            self._confirm(answer)
            self.settle()

    def settle(self) -> None:
        """Tell everybody what became of it, once it is on disk."""
        for waiter in self.core.take_ready():
            answer = self._parked.pop(waiter, None)
            if answer is None:
                self.core.undo(waiter)  # who waited is gone
            else:
                self._resolve(answer, waiter)
        fresh, self._fresh = self._fresh, []
        dropped, self._dropped = self._dropped, []
        if not self._host.durable:
            self._leave(fresh)
            return
        rows = self._rows.changes()
        changed = bool(rows)
        rows |= {self._answer_key(answer): None for answer in dropped if answer.keeps}
        if changed:
            rows |= {self._answer_key(answer): answer.row() for answer in fresh if answer.keeps and not answer.failed}
        if changed and fresh:
            self._host.keep_all(rows, lambda: self._leave(fresh))
            return
        if rows:
            self._host.keep_all(rows)
        self._leave(fresh)

    # For operations

    def now(self) -> float:
        """Return the monotonic time [s]."""
        return self._host.now()

    def add(self, tag: str, parts: list[bytes], requester: int | None, priority: int) -> str:
        """Put a task in line; return its id, which no other one ever has."""
        task_id = f"{self.origin[:6]}-{self.core.next_task}"
        return self.core.add(tag, parts, requester, priority, task_id).task_id

    def park(self, answer: Answer, waiter: Waiter, timeout: float | None, what: str) -> None:
        """Let a request wait, at most so long [s]."""

        def give_up() -> None:
            if self._parked.pop(waiter, None) is not None:
                self.core.unpark(waiter)
                answer.fail(WaitTimeoutError(f"no sign of {what} with {waiter.choice} within {timeout:g} s"))
                self._fresh.append(answer)
                self.settle()

        answer.waiter = waiter
        self._parked[waiter] = answer
        if timeout is not None:
            answer.timer = self._host.after(timeout, give_up)

    def watch_pings(self) -> None:
        """See to it that missed pings are noticed."""
        deadline = self.core.next_deadline()
        if deadline is None or (self._watchdog is not None and self._due <= deadline):
            return
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._due = deadline
        self._watchdog = self._host.after(max(0.0, deadline - self.now()), self._expire)

    # How

    def _arrived(self, session: Session, low: int, came: Sequence[int] = ()) -> None:
        """Forget the answers below a number, and others: their caller has them."""
        for answer in session.arrived(low, came):
            self._dropped.append(answer)
            self._confirm(answer)

    def _confirm(self, answer: Answer) -> None:
        """Forget the task whose result has come."""
        for task in answer.tasks:
            if task.state is State.TAKEN and task.session == answer.session.name:
                self.core.confirm(task)

    def _give_up(self, reason: str) -> list[bytes]:
        """Return the result of a task that runs no more."""
        self._host.log.warning("label %r: %s", self.label, reason)
        return [reason.encode()]

    def _expire(self) -> None:
        self._watchdog = None
        for process in self.core.expire(self.now()):
            self._host.log.warning("label %r: %s did not ping, its tasks return", self.label, process)
        self.settle()
        self.watch_pings()

    def _resolve(self, answer: Answer, waiter: Waiter) -> None:
        if answer.timer is not None:
            answer.timer.cancel()
        if waiter.error is not None:
            answer.fail(waiter.error)
        elif waiter.task is not None:
            answer.hand(_form_of(waiter.task), waiter.task)
        else:
            answer.say(list(waiter.counts or ()))
        self._fresh.append(answer)

    def _leave(self, fresh: list[Answer]) -> None:
        for answer in fresh:
            answer.there = True
            futures, answer.futures = answer.futures, []
            if futures:
                message = answer.message()
                for future in futures:
                    future.set_result(message)

    def _release(self, answer: Answer) -> None:
        """Let an answer wait no more."""
        if answer.timer is not None:
            answer.timer.cancel()
        if answer.waiter is not None and self._parked.pop(answer.waiter, None) is not None:
            self.core.unpark(answer.waiter)

    def _drop(self, answer: Answer) -> None:
        answer.session.answers.pop(answer.number, None)
        self._dropped.append(answer)

    def _answer_key(self, answer: Answer) -> str:
        return self._rows.key("answer", f"{answer.session.name}/{answer.number}")


def _form_of(task: TaggedTask) -> Form:
    return Form.TASK if task.state is State.RUNNING else Form.RESULT
