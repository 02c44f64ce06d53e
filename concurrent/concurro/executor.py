"""An executor: `concurrent.futures` on a cluster.

A call is a task. Its function goes by reference where it can be imported, else by value; a
raised exception comes back as it is, with the remote traceback as its cause.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import re
import threading
import uuid
import weakref
from concurrent.futures import BrokenExecutor
from numbers import Integral
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeVar

from concurro.errors import ConfigError, NotPicklableError
from concurro.execution.inside import this_process
from concurro.nodes.arguments import check_count, check_timeout
from concurro.nodes.futures import Patience
from concurro.nodes.streams import MOST_OPEN, as_they_come, check_buffersize, in_order
from concurro.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from concurro.nodes.application import ApplicationNode
    from concurro.nodes.futures import TaskFuture
    from concurro.nodes.inline import InlineApplication
    from concurro.wire.code import CodeTable


class Preparation(NamedTuple):
    """What a worker does before its first call of an executor.

    Attributes:
        executor_id: The executor.
        initializer: Called once.
        arguments: With these.
    """

    executor_id: str
    initializer: Callable[..., object]
    arguments: tuple[Any, ...]


# What each executor's initializer came to in this worker: its globals, and what failed or "". Like what
# an initializer sets up, it belongs to the process. Code that travels by value has globals per class
# of calls, and each of these is prepared.
_prepared: dict[tuple[str, int], tuple[object, str]] = {}


class Call(Task):
    """One call of a function."""

    name = "call"
    preparation: ClassVar[Preparation | None] = None
    # Its only field, and no name of its own: what is not there need not travel.
    call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

    def __call__(self) -> Any:
        """Call it, after the initializer of its executor."""
        if self.preparation is not None:
            _prepare(self.preparation)
        function, args, kwargs = self.call
        return function(*args, **kwargs)

    def _shown_call(self) -> tuple[str, Sequence[Any], Mapping[str, Any]]:
        """Return what is called, by name, and with what."""
        function, args, kwargs = self.call
        return str(getattr(function, "__qualname__", type(function).__qualname__)), args, kwargs

    def __repr__(self) -> str:
        function = self.call[0]
        return f"<{type(self).__name__} {getattr(function, '__qualname__', function)!s} {self.task_id or ''}>"


CallClass = TypeVar("CallClass", bound=Call)
MOST_FUNCTIONS = 500
"""Functions of one application that have a class of their own; further ones travel with each call."""

# How the path of what cannot travel begins, and what the caller knows that part as.
_PARTS = (
    (re.compile(r"\w+\.function"), "the function itself"),
    (re.compile(r"(\w+|task)\.preparation\.initializer"), "the initializer"),
    (re.compile(r"(\w+|task)\.preparation\.arguments"), "initargs"),
)
_PARTS_OF_CALL = (
    (re.compile(r"task\.call\[0\]"), "the function itself"),
    (re.compile(r"task\.(call\[1\]|args)(?=\[)"), "args"),
    (re.compile(r"task\.(call\[2\]|kwargs)(?=\[)"), "kwargs"),
    *_PARTS,
)
_PARTS_OF_CALLS = (
    (re.compile(r"task\.call\[1\]\[0\]"), "the function itself"),
    (re.compile(r"task\.(call\[1\]\[\d+\]|args\[\d+\])\[\d+\]"), "an argument of it"),
    *_PARTS,
)

_SHUT_DOWN = "cannot schedule new futures after shutdown"


class FunctionCall(Call):
    """One call of the function that belongs to its class.

    The class travels once and has its own measured duration; with a call only its arguments
    travel.
    """

    function: ClassVar[Callable[..., Any]]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = MappingProxyType({})

    def __call__(self) -> Any:
        """Call it, after the initializer of its executor."""
        if self.preparation is not None:
            _prepare(self.preparation)
        return self.function(*self.args, **self.kwargs)

    def _shown_call(self) -> tuple[str, Sequence[Any], Mapping[str, Any]]:
        """Return what is called, by name, and with what."""
        return self.name, self.args, self.kwargs

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.task_id or ''}>"


class FunctionCalls(FunctionCall):
    """Many calls of a function, each with one element of every column."""

    def __call__(self) -> list[Any]:
        """Return the results."""
        if self.preparation is not None:
            _prepare(self.preparation)
        return call_all(self.function, *self.args)


class Ownership:
    """What an executor uses, and ends. Thread-safe.

    It outlives its executor: that one may be forgotten while its calls run.

    Args:
        application: Runs the calls; they are pushed in the name of this object.
        close: Ends the executor's own cluster or connection; None where it is somebody else's.

    Attributes:
        is_shut_down: Whether it takes no more calls.
    """

    def __init__(self, application: ApplicationNode | InlineApplication, close: Callable[[], None] | None) -> None:
        self.application = application
        self.is_shut_down = False
        self._close = close
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def end(self, *, wait: bool) -> None:
        """Take no more calls, let those that are open end, then close. Idempotent."""
        with self._lock:
            self.is_shut_down = True
            close, self._close = self._close, None
        futures = self.application.futures_of(self)
        if wait:
            _finish(futures, close)
        elif close is not None:
            threading.Thread(target=_finish, args=(futures, close), name="concurro-executor-end").start()

    def end_forgotten(self) -> None:
        """End as nobody can use it any more.

        At the end of the program that waits, as no thread can be started there.
        """
        if os.getpid() == self._pid:
            self.end(wait=not threading.main_thread().is_alive())


class ClusterExecutor(concurrent.futures.Executor):
    """Calls functions on a cluster. Thread-safe.

    Without a master it owns a local cluster and ends it in `shutdown`, or when it is forgotten or the program
    ends: after the last of its calls.

    Args:
        max_workers: Workers of the local cluster; None for one per usable processor.
        master: Address of a running master, in place of a local cluster.
        initializer: Called in every worker before its first call: once, or once per function
            where code travels by value and each function has globals of its own.
        initargs: Its arguments.

    Raises:
        ValueError: `max_workers` is no whole number of 1 or more, or given together with `master`.
        TypeError: `initializer` cannot be called.
    """

    _own_workers = 0  # of a cluster that ends with it

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        master: str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if max_workers is not None:
            max_workers = _check_workers(max_workers)
        if max_workers is not None and master is not None:
            message = f"max_workers is for a cluster of its own; the master at {master} has slaves already"
            raise ValueError(message)
        preparation = _preparation(initializer, initargs)
        if master is None:
            from concurro.execution.processors import usable_processors  # noqa: PLC0415 - a worker imports this
            from concurro.nodes.cluster import LocalCluster  # noqa: PLC0415 - module for Call

            self._own_workers = max_workers or usable_processors()
            cluster = LocalCluster(max_workers)
            self._begin(cluster.application, preparation, cluster.close)
        else:
            from concurro.nodes.application import ApplicationNode  # noqa: PLC0415 - as above

            application = ApplicationNode(master)
            try:
                application.connect()
            except BaseException:
                application.close()
                raise
            self._begin(application, preparation, application.close)

    @classmethod
    def sharing(cls, application: ApplicationNode | InlineApplication) -> Self:
        """Return an executor on a running application, which outlives it."""
        executor = cls.__new__(cls)
        executor._begin(application, None, None)  # noqa: SLF001 - its own class
        return executor

    @property
    def _max_workers(self) -> int:
        """How many calls run at once, under the name that the standard pools have.

        Dask, and others, ask for it.
        """
        if self._own_workers:
            return self._own_workers
        return max(1, sum(int(slave["workers"]) for slave in self._application.status()["slaves"]))

    def _begin(self, application: Any, preparation: Preparation | None, close: Callable[[], None] | None) -> None:
        self._application: ApplicationNode | InlineApplication = application
        self._code: CodeTable = application.code
        self._preparation = preparation
        self._call_class = Call if preparation is None else _make_class(Call, preparation=preparation)
        # A class lives as long as its application: the next executor of that has the same, not another one.
        known: dict[Any, Any] = self._code.call_classes if preparation is None else {}
        self._classes: dict[type[FunctionCall], dict[Callable[..., Any], type[FunctionCall]]]
        self._classes = {kind: known.setdefault(kind, {}) for kind in (FunctionCall, FunctionCalls)}
        self._owned = Ownership(application, close)
        if close is not None:
            weakref.finalize(self, self._owned.end_forgotten)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Call `fn(*args, **kwargs)` on a worker; return its future.

        Raises:
            RuntimeError: After `shutdown`.
            NotPicklableError: Function or arguments cannot travel; names the culprit.
        """
        if self._owned.is_shut_down:
            raise RuntimeError(_SHUT_DOWN)
        try:
            if fn.__class__ is FunctionType and self._is_lasting(fn, FunctionCall):
                fields: dict[str, Any] = {"args": args, "kwargs": kwargs} if kwargs else {"args": args}
                return self._application.push_call(self._class_of(fn, FunctionCall), fields, self._owned)
            return self._application.push_call(self._call_class, {"call": (fn, args, kwargs)}, self._owned)
        except NotPicklableError as error:
            raise _of_the_call(error, fn, _PARTS_OF_CALL) from error.__cause__

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Return the results of `fn` over the iterables, in order, lazily.

        The rest is cancelled when one call fails, when the time is over, or when nobody wants more.

        Args:
            fn: Called with one element of each iterable.
            iterables: As for the built-in `map`; taken as a whole at once, but for `buffersize`.
            timeout: Seconds until `next` raises TimeoutError, from now on [s].
            chunksize: Calls per task; more is faster for many short ones.
            buffersize: How many tasks may be submitted whose results were not taken; None for any number.
        """
        patience, size = Patience(check_timeout(timeout)), check_buffersize(buffersize)
        if check_count("chunksize", chunksize) == 1:
            return in_order(itertools.starmap(self.submit, _rows(fn, iterables)), size, patience)
        chunks = (self._submit_chunk(fn, columns) for columns in _columns(iterables, chunksize))
        return _one_by_one(in_order(chunks, size, patience))

    def imap(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Yield the results of `fn` over the iterables as they come, in any order.

        For streams longer than memory: an element is taken from the iterables when a result is asked
        for, and never more than `buffersize` tasks are on their way. The rest is cancelled when one
        call fails, when the time is over, or when the iterator is closed or forgotten.

        Args:
            fn: Called with one element of each iterable.
            iterables: As for the built-in `map`; nothing is taken before the first `next`.
            timeout: Seconds until `next` raises TimeoutError, from now on [s].
            chunksize: Calls per task; more is faster for many short ones.
            buffersize: How many tasks may be submitted whose results were not taken; None for 1000.
        """
        patience, size = Patience(check_timeout(timeout)), check_buffersize(buffersize) or MOST_OPEN
        if check_count("chunksize", chunksize) == 1:
            return as_they_come(itertools.starmap(self.submit, _rows(fn, iterables)), size, patience)
        chunks = (self._submit_chunk(fn, columns) for columns in _columns(iterables, chunksize))
        return _one_by_one(as_they_come(chunks, size, patience))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """Take no more calls; end the cluster if it is this executor's own.

        Idempotent; calls that go on after one `shutdown` may be cancelled, or waited for, by another.

        Args:
            wait: Whether to return after the last call ended.
            cancel_futures: Whether to cancel calls that have not started. The oldest, as many as there are
                workers of its own, count as started.
        """
        if cancel_futures:
            self._owned.is_shut_down = True
            for future in self._application.futures_of(self._owned)[self._own_workers :]:
                future.withdraw()
        self._owned.end(wait=wait)

    def _submit_chunk(self, fn: Callable[..., Any], columns: tuple[list[Any], ...]) -> TaskFuture:
        """Submit one call per row of these columns, as one task."""
        if self._owned.is_shut_down:
            raise RuntimeError(_SHUT_DOWN)
        try:
            if fn.__class__ is FunctionType and self._is_lasting(fn, FunctionCalls):
                return self._application.push_call(self._class_of(fn, FunctionCalls), {"args": columns}, self._owned)
            return self._application.push_call(self._call_class, {"call": (call_all, (fn, *columns), {})}, self._owned)
        except NotPicklableError as error:
            raise _of_the_call(error, fn, _PARTS_OF_CALLS) from error.__cause__

    def _class_of(self, function: Callable[..., Any], kind: type[FunctionCall]) -> type[FunctionCall]:
        """Return the class for calls of a function.

        Another one when what it uses has changed.
        """
        classes = self._classes[kind]
        made = classes.get(function)
        if made is not None and self._code.travels_unchanged(made):
            return made
        made = classes[function] = _make_class(
            kind, function=staticmethod(function), name=function.__qualname__, preparation=self._preparation
        )
        return made

    def _is_lasting(self, function: Any, kind: type[FunctionCall]) -> bool:
        """Say whether a function deserves a class, kept with the application.

        Most lambdas and closures are used once, or change; so do functions that come by the hundred.

        With an initializer all get one but closures, for in a class the two share their globals.
        """
        if function.__closure__ is not None:
            return False
        if self._preparation is not None:
            return True
        classes = self._classes[kind]
        return function.__name__ != "<lambda>" and (len(classes) < MOST_FUNCTIONS or function in classes)


def call_all(function: Callable[..., Any], *columns: list[Any]) -> list[Any]:
    """Return the results of a function for each row of these columns."""
    if len(columns) == 1:
        return [function(each) for each in columns[0]]
    return [function(*each) for each in zip(*columns, strict=True)]


def _of_the_call(
    error: NotPicklableError, function: Any, parts: Iterable[tuple[re.Pattern[str], str]]
) -> NotPicklableError:
    """Return an error as the caller knows the call: by function and argument."""
    for pattern, part in parts:
        found = pattern.match(error.path)
        if found is not None:
            where = part + error.path[found.end() :]
            name = getattr(function, "__qualname__", type(function).__qualname__)
            why = str(error).partition(error.path)[2]
            return NotPicklableError(f"a call of {name} cannot travel: {where}{why}", where, error.culprit)
    return error


def _columns(iterables: tuple[Iterable[Any], ...], size: int) -> Iterator[tuple[list[Any], ...]]:
    """Yield so many elements of each iterable at a time.

    Lists pickle faster than a tuple for each call.
    """
    if len(iterables) == 1:
        elements = iter(iterables[0])
        while column := list(itertools.islice(elements, size)):
            yield (column,)
        return
    rows = zip(*iterables, strict=False)
    while chunk := list(itertools.islice(rows, size)):
        yield tuple(map(list, zip(*chunk, strict=True)))


def _rows(fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments of `submit`, call by call."""
    return ((fn, *row) for row in zip(*iterables, strict=False))


def _one_by_one(chunks: Iterator[list[Any]]) -> Iterator[Any]:
    """Yield the results of chunks, and forget each."""
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()


def _finish(futures: list[TaskFuture], close: Callable[[], None] | None) -> None:
    concurrent.futures.wait(futures)
    if close is not None:
        close()


def _make_class(parent: type[CallClass], **attributes: Any) -> type[CallClass]:
    return type(parent.__name__, (parent,), {**attributes, "__module__": __name__})


def _check_workers(max_workers: Any) -> int:
    if isinstance(max_workers, Integral) and max_workers <= 0:
        kind = type(max_workers).__name__
        message = f"max_workers must be greater than 0, a whole number of 1 or more, got {max_workers!r} ({kind})"
        raise ConfigError(message)
    return check_count("max_workers", max_workers)


def _preparation(initializer: Any, arguments: tuple[Any, ...]) -> Preparation | None:
    if initializer is None:
        return None
    if not callable(initializer):
        message = f"initializer must be callable, got {initializer!r}"
        raise TypeError(message)
    return Preparation(str(uuid.uuid4()), initializer, tuple(arguments))


def _prepare(preparation: Preparation) -> None:
    namespace = getattr(preparation.initializer, "__globals__", None)
    key = (preparation.executor_id, id(namespace))
    if key not in _prepared:
        try:
            preparation.initializer(*preparation.arguments)
        except BaseException as error:
            _prepared[key] = (namespace, f"{type(error).__name__}: {error}")
            message = f"the initializer of the executor failed: {type(error).__name__}: {error}"
            raise BrokenExecutor(message) from error
        _prepared[key] = (namespace, "")
        if this_process.on_prepared is not None:
            this_process.on_prepared()
    failure = _prepared[key][1]
    if failure:
        message = f"the initializer of the executor failed in this worker before: {failure}"
        raise BrokenExecutor(message)
