r"""A call as its caller has it: `Task`, its outputs, its result.

    Task --await--> itself, once the method ended        task.result() --await--> the whole value
         \- outputs[key]: a part of it, alike            task.outputs.done: nothing but the end

What a method returned stays at its home until every task that stands for it is gone; up to a
kibibyte comes along with the news that it ended, the rest when it is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, cast

from concurro import NoApplicationError
from concurro_monitor import Answer, Pending, refuse_in_a_loop
from concurro_tessera.arguments import Dependency, keep
from concurro_tessera.failures import CallCancelledError, CallCycleError, rebuild
from concurro_tessera.records import running_call, shown
from concurro_tessera.unheard import Failure
from concurro_tessera.ways import Entry

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from concurrent.futures import Future

    from concurro_tessera.callers import Caller
    from concurro_tessera.records import Call
    from concurro_tessera.ways import Way

PROBE_AFTER = 0.2
"""A method that waits so long for a call looks whether that waits for it [s]."""

PLACED_POLL = 0.005
"""How often a wait inside a task of the core looks whether its tessera has a place [s]."""

_MISSING = object()


class Task(Pending["Task"]):
    """A call of a tessera. Thread-safe.

    `await task` gives the task once the method ended, or raises what it raised.

    Attributes:
        uid: Its name.
        tessera: Uid of the tessera.
        method: What was called.
    """

    __slots__ = (
        "_caller",
        "_fetched",
        "_heard",
        "_kept",
        "_parts",
        "_shape",
        "_whole",
        "batch",
        "incarnation",
        "method",
        "tessera",
        "uid",
        "way",
    )

    def __init__(self, caller: Caller, uid: str, tessera: str, method: str, incarnation: int = 1) -> None:
        # As that of `Pending`, without the call: this runs for every call.
        self._settled = False
        self._value = None
        self._error = None
        self._listeners = None
        self.uid = uid
        self.tessera = tessera
        self.method = method
        self.incarnation = incarnation
        self.way: Way | None = None
        self.batch = 0
        self._caller = caller
        self._kept: list[Any] | None = None
        self._shape: Any = None
        self._parts: Any = None
        self._whole: Any = _MISSING
        self._fetched: Answer[Any] | None = None
        self._heard = False

    def __repr__(self) -> str:
        """Return what was called, and how it stands."""
        return f"<Task {self.method} of {self.tessera}: {self.state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a reference to the same call."""
        if not keep(self) and os.getpid() == self._caller.runtime.pid:
            self._caller.pin_result(self)
        self._caller.remember(self)
        self.pass_on()
        address = self.way.address if self.way is not None else ""
        return _task_of, (self.uid, self.tessera, self.method, address, self.incarnation)

    def __del__(self) -> None:
        if self._error is not None and self._caller.unheard.dropped(self.uid) and not self._heard:
            self._caller.sweep(("failure", self.failure()))
        if self.way is not None:
            self._caller.sweep(("task", self.way, self.uid))

    @property
    def state(self) -> str:
        """`pending` (on its way), `queued` (at the tessera, maybe running).

        `done` or `failed`.
        """
        if self._settled:
            return "done" if self._error is None else "failed"
        way = self.way
        return "queued" if way is not None and 0 < self.batch <= way.acknowledged else "pending"

    @property
    def outputs(self) -> Outputs:
        """The parts of its result."""
        return Outputs(self)

    def result(self) -> Result:
        """Return an awaitable of the whole value; it can be asked again and again."""
        return Result(self)

    def get(self, timeout: float | None = None) -> Any:
        """Wait; return the whole value.

        Raises what the method raised.
        """
        return Result(self).get(timeout)

    def cancel(self) -> bool:
        """Cancel the call; return False when it has ended.

        One that waits does not run. A coroutine is cancelled where it is; a plain method that runs goes
        on, and nobody hears of it.
        """
        if not self.settle(None, CallCancelledError(self._what())):
            return False
        self._caller.cancel(self)
        return True

    def _what(self) -> str:
        return f"{self.method.removeprefix(chr(0))}() of {shown(self.tessera)}"

    async def _arrival(self) -> None:
        loop = asyncio.get_running_loop()
        if self._caller.runtime.is_nested:
            # Inside a task of the core: who waits lends its slot, or what is waited for might never run.
            loop.run_in_executor(None, self._lend, None)
        call = running_call.get()
        if call is None:
            await super()._arrival()
            return
        with self._waited_for_by(call):
            probe = loop.call_later(PROBE_AFTER, self._probe, call)
            try:
                await super()._arrival()
            finally:
                probe.cancel()

    def _block(self, timeout: float | None) -> None:
        refuse_in_a_loop("wait() and get()")
        patience = _Patience(timeout)
        if self._caller.runtime.is_nested:
            self._lend(timeout)
        call = running_call.get()
        if call is None:
            super()._block(patience.left())
            return
        with self._waited_for_by(call):
            left = patience.left()
            if left is None or left > PROBE_AFTER:
                with contextlib.suppress(TimeoutError):
                    super()._block(PROBE_AFTER)
                if not self._settled:
                    self._probe(call)
            if not self._settled:
                super()._block(patience.left())

    @contextlib.contextmanager
    def _waited_for_by(self, call: Call) -> Iterator[None]:
        """Note for what the method of a call waits."""
        call.waits = [*(call.waits or ()), self]
        try:
            yield
        finally:
            call.waits = [task for task in call.waits or () if task is not self]

    def _probe(self, call: Call) -> None:
        """Look whether this waits for the call that waits for it."""
        self.probe(call.uid)

    def probe(self, origin: str) -> None:
        """Ask its home whether it waits for another call."""
        if not self._settled and self.way is not None:
            self.way.send((int(Entry.PROBE), self.uid, origin))

    def break_cycle(self) -> None:
        """Fail: whoever waits for it would wait for ever."""
        message = f"{self._what()} waits for the very method that waits for it"
        if self.settle(None, CallCycleError(message)):
            self._caller.cancel(self)

    def _lend(self, timeout: float | None) -> None:
        """Wait, and lend the slot of the core's task that runs here."""
        patience = _Patience(timeout)
        while not self._settled and self.way is None and patience.left() != 0.0:
            sleep(PLACED_POLL)
        if not self._settled and self.way is not None:
            with contextlib.suppress(Exception):  # whatever it was, `settle` is told
                self.way.ask("ended", self.uid).result(patience.left())

    def _outcome(self) -> Task:
        if self._error is not None:
            self._heard = True
            self._caller.unheard.heard(self, self._error)
            super()._outcome()
        return self

    def future(self) -> Future[Task]:
        """Return a concurrent future of it."""
        self._heard = True
        return super().future()

    # For the caller's side

    def keep(self, kept: list[Any] | None) -> None:
        """Let what it was given live until it is over."""
        self._kept = kept

    def settle(self, value: Any = None, error: BaseException | None = None) -> bool:
        """Take the end of the call."""
        kept, self._kept = self._kept, None
        del kept
        if error is not None and not self._heard and not self._settled:
            self._caller.unheard.failed(self, error)
        return super().settle(value, error)

    @property
    def is_heard(self) -> bool:
        """Whether somebody heard of its end, or will."""
        return self._heard

    def pass_on(self) -> None:
        """Leave it to others to hear how it ends."""
        self._heard = True

    def failure(self) -> Failure:
        """Return how it failed."""
        worker = self.way.address if self.way is not None else ""
        return Failure(self.tessera, self.method, worker, cast("BaseException", self._error))

    def ended(self, entry: tuple[Any, ...]) -> None:
        """Take the news of its home.

        `(uid, ok, shape, parts)`, or `(uid, False, facts of an error)`.
        """
        if entry[1]:
            self._shape, self._parts = entry[2], entry[3]
            self.settle()
        else:
            self.settle(None, rebuild(entry[2]))

    def as_dependency(self, at: Any) -> Dependency | None:
        """Return what stands for it among arguments."""
        return self.part_as_dependency(at, None, whole=True)

    def part_as_dependency(self, at: Any, key: Any, *, whole: bool) -> Dependency:
        """Return what stands for a part of it among arguments."""
        self.pass_on()
        address = self.way.address if self.way is not None else ""
        return Dependency(at, self.uid, self.tessera, address, self.incarnation, key, whole)

    def parts(self) -> Answer[Any] | None:
        """Return what comes when the parts of the result are here; None: they are."""
        if self._parts is not None or self._whole is not _MISSING:
            return None
        with _fetch_lock:
            if self._fetched is None:
                assert self.way is not None  # noqa: S101 - it has ended at its home
                self._fetched = self.way.fetch(self)
            return self._fetched

    def take_parts(self) -> None:
        """Take the parts that were fetched.

        Raises what went wrong with that.
        """
        if self._parts is None and self._fetched is not None:
            self._parts = self._fetched.wait(0)

    def packed_size(self) -> int:
        """Return what its parts that are here, and are not opened, take [B]."""
        if self._whole is not _MISSING:
            return 0
        self.take_parts()
        return sum(getattr(part, "size", 0) for part in self._parts or ())

    def value(self, key: Any = None, *, whole: bool = True) -> Any:
        """Return the value, or a part of it; its parts are here.

        Loading runs code of users.
        """
        self.take_parts()
        if self._whole is _MISSING:
            self._whole = self._caller.load(self._shape, self._parts)
            self._parts = None if self._shape is None else self._parts
        return self._whole if whole else _part_of(self._whole, self._shape, key, self._what())


_fetch_lock = threading.Lock()


def _part_of(value: Any, shape: Any, key: Any, what: str) -> Any:
    if shape is None and not isinstance(value, dict):
        if key == 0 and key is not False:
            return value
        message = f"{what} has one output, outputs[0], not {key!r}"
        raise LookupError(message) if not isinstance(key, int) else IndexError(message)
    return value[key]


class Result:
    """The value of a task, or of an output: for `await`, `wait` and `get`."""

    __slots__ = ("_key", "_task", "_whole")

    def __init__(self, task: Task, key: Any = None, *, whole: bool = True) -> None:
        self._task = task
        self._key = key
        self._whole = whole

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait in the running loop; give the value."""
        task = self._task
        yield from task.__await__()
        parts = task.parts()
        if parts is not None:
            yield from parts.__await__()
        return task.value(self._key, whole=self._whole)

    def done(self) -> bool:
        """Say whether the call has ended."""
        return self._task.done()

    def wait(self, timeout: float | None = None) -> Any:
        """Wait; return the value.

        Raises what the method raised; TimeoutError when it took longer than `timeout` [s].
        """
        patience = _Patience(timeout)
        self._task.wait(timeout)
        parts = self._task.parts()
        if parts is not None:
            parts.wait(patience.left())
        return self._task.value(self._key, whole=self._whole)

    get = wait


class Outputs:
    """The outputs of a task: by number for a tuple, by key for a dict.

    Else one, number 0.
    """

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getitem__(self, key: Any) -> Output:
        """Return an output, also of a task that has not ended.

        Whether there is one shows then.
        """
        return Output(self._task, key)

    @property
    def done(self) -> Done:
        """The end of the task: as an argument, a dependency and nothing else."""
        return Done(self._task)


class _OfTask:
    """What stands for a part of a task: awaited like it."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait in the running loop for the end of the task; give this."""
        yield from self._task.__await__()
        return self._outcome()

    @property
    def state(self) -> str:
        """That of the task."""
        return self._task.state

    def done(self) -> bool:
        """Say whether the task has ended."""
        return self._task.done()

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the end of the task; return this."""
        self._task.wait(timeout)
        return self._outcome()

    def _outcome(self) -> Any:
        return self


class Output(_OfTask):
    """One output of a task, awaitable and with `result()` like it."""

    __slots__ = ("_key",)

    def __init__(self, task: Task, key: Any) -> None:
        super().__init__(task)
        self._key = key

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a reference."""
        return Output, (self._task, self._key)

    def result(self) -> Result:
        """Return an awaitable of its value."""
        return Result(self._task, self._key, whole=False)

    def get(self, timeout: float | None = None) -> Any:
        """Wait; return its value."""
        return self.result().get(timeout)

    def as_dependency(self, at: Any) -> Dependency:
        """Return what stands for it among arguments."""
        return self._task.part_as_dependency(at, self._key, whole=False)


class Done(_OfTask):
    """The end of a task."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a reference."""
        return Done, (self._task,)

    def get(self, timeout: float | None = None) -> None:
        """Wait for the end of the task."""
        self.wait(timeout)

    def as_dependency(self, at: Any) -> Dependency:  # noqa: ARG002 - as that of `Task`
        """Return what stands for it among arguments: no argument."""
        return self._task.part_as_dependency(None, None, whole=True)


class _Patience:
    """What is left of a timeout."""

    __slots__ = ("_until",)

    def __init__(self, timeout: float | None) -> None:
        self._until = None if timeout is None else _now() + timeout

    def left(self) -> float | None:
        """Return it [s]; None for ever."""
        return None if self._until is None else max(0.0, self._until - _now())


_now = monotonic


def _task_of(uid: str, tessera: str, method: str, address: str, incarnation: int) -> Task | EarlyTask:
    """Return the task of a call that was made elsewhere."""
    from concurro_tessera.callers import as_soon_as_possible, caller_here  # noqa: PLC0415 - it makes tasks

    try:
        return caller_here().foreign(uid, tessera, method, address, incarnation, arrived=True)
    except NoApplicationError:
        early = EarlyTask((uid, tessera, method, address, incarnation))
        as_soon_as_possible(early.find)
        return early


class EarlyTask:
    """A task that arrived where nobody can be called yet.

    As in the state of a task system: its callbacks use it as a task.
    """

    __slots__ = ("_facts", "_found")

    def __init__(self, facts: tuple[str, str, str, str, int]) -> None:
        self._facts = facts
        self._found: Task | None = None

    def find(self) -> Task:
        """Return the task.

        Raises:
            NoApplicationError: It is still too early.
        """
        if self._found is None:
            from concurro_tessera.callers import caller_here  # noqa: PLC0415 - as above

            self._found = caller_here().foreign(*self._facts, arrived=True)
        return self._found

    def __getattr__(self, name: str) -> Any:
        """Return what the task has of that name."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.find(), name)

    def __await__(self) -> Generator[Any, None, Task]:
        """Wait in the running loop; give the task."""
        return self.find().__await__()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the task does."""
        return (_task_of, self._facts) if self._found is None else self._found.__reduce__()

    def __repr__(self) -> str:
        """Return what was called."""
        _, tessera, method, *_ = self._facts
        return f"<Task {method} of {tessera}>" if self._found is None else repr(self._found)

    def as_dependency(self, at: Any) -> Dependency | None:
        """Return what stands for it among arguments."""
        return self.find().as_dependency(at)
