"""A tessera as others have it: `TesseraProxy`, and the seat behind it.

    proxy.method(...) --> RemoteAttribute --> Seat.call --> Way          as soon as it is placed
    remote(...) --place--> monitor --> address --> CREATE, and the calls that waited, in order

One process has one proxy of a tessera. All that a proxy does is in its seat, so that hardly any
name is taken from the class of users.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from concurro import ConcurroError, NoApplicationError, NotPicklableError
from concurro_monitor import Answer, RuntimeDisconnectedError, RuntimeProxy
from concurro_tessera.arguments import Packed, keep, pack_arguments, unpack_arguments
from concurro_tessera.callers import Caller, as_soon_as_possible, caller_here
from concurro_tessera.calls import Result, Task
from concurro_tessera.failures import of_arguments
from concurro_tessera.records import shown
from concurro_tessera.ways import Entry

if TYPE_CHECKING:
    from collections.abc import Generator

    from concurro_tessera.ways import Way

GET = "\0get"
SET = "\0set"
STATE = "\0state"
UPDATE = "\0update"
BECOME_PARAMETER = "\0parameter"
READY = "\0ready"
"""Methods that no class has: attributes are read and set in the order of calls."""

PINNED = 30.0
"""What was pickled for somebody who is not known, in a task of the core say, is kept so long [s]."""

PIN_AGAIN = 10.0
"""A tessera that is pinned is not pinned again before [s]."""

FOUND_WITHIN = 3.0
"""Who has a proxy of a tessera that was constructed again knows where it is within this [s]."""


class Seat:
    """Where a tessera lives, as far as this process knows. Thread-safe.

    Args:
        caller: Of this process.
        uid: Name of the tessera.
        cls: Its class.
        retries: Of each call that does not say.

    Attributes:
        address: Of its worker; empty while that is not known.
        worker: Uid of the worker.
        incarnation: How often it was constructed, as far as is known here.
        ready: The task of its construction.
    """

    def __init__(self, caller: Caller, uid: str, cls: type, retries: int) -> None:
        self.caller = caller
        self.uid = uid
        self.cls = cls
        self.retries = retries
        self.address = ""
        self.worker = ""
        self.incarnation = 1
        self.ready: Task | None = None
        self.is_parameter = False
        self.constructor: tuple[Packed, dict[str, Any]] | None = None
        self._restarts = 0
        self._pinned = -PIN_AGAIN
        self._way: Way | None = None
        self._lost: Exception | None = None
        self._lock = threading.RLock()
        self._waiting: list[tuple[tuple[Any, ...], Task | None]] = []

    # Where it is

    def place(self, packed: Packed, options: dict[str, Any], runtime: str) -> None:
        """Let it be constructed: somewhere, or in a given worker."""
        self.constructor = packed, options
        self._restarts = options["restarts"]
        if self._restarts:
            self.caller.restarted[self.uid] = self
        self.ready = self._construction()
        self._ask_for_place(runtime)

    def _construction(self) -> Task:
        assert self.constructor is not None  # noqa: S101 - called by its creator alone
        packed, options = self.constructor
        task = Task(self.caller, self.caller.new_uid(), self.uid, "__init__", self.incarnation)
        task.keep(packed.kept)
        entry = (int(Entry.CREATE), task.uid, self.uid, self.incarnation, packed.payload, packed.dependencies, options)
        self._waiting.insert(0, (entry, task))
        self.caller.open[task.uid] = task
        return task

    def _ask_for_place(self, runtime: str) -> None:
        self.caller.placing(self)
        facts = (self.uid, self.cls.__qualname__, runtime, self._restarts, self.incarnation)
        placed = self.caller.runtime.ask("place", *facts)
        placed.add_done_callback(self._placed)

    @property
    def owes(self) -> bool:
        """Whether something waits here for its place that was asked for.

        That it is constructed again for nobody's call is nothing to wait for.
        """
        with self._lock:
            return self.incarnation == 1 or any(entry[0] == Entry.CALL for entry, _ in self._waiting)

    def locate(self) -> None:
        """Ask where it is, this incarnation or a later one."""
        self.caller.expect_hold(self)
        self.caller.placing(self)
        located = self.caller.runtime.ask("locate", self.uid, self.incarnation)
        located.add_done_callback(self._placed)

    def settle_at(self, address: str, worker: str, incarnation: int) -> None:
        """Learn where it is; send what waited."""
        way = self.caller.way(address)
        with self._lock:
            self.address, self.worker, self.incarnation = address, worker, incarnation
            for entry, task in self._waiting:
                if task is not None and task.done() and entry[0] == Entry.CALL:  # cancelled: it does not run
                    self.caller.withdrawn(task)
                    continue
                if task is not None:
                    task.incarnation = incarnation
                way.send(_of_incarnation(entry, incarnation), task)
                if task is not None:
                    self.caller.sent_late(task)
                    if task.done():  # cancelled at this very moment
                        self.caller.cancel(task)
            self._waiting.clear()
            self._way = way
        way.seat(self)

    def hold(self) -> None:
        """Let its home know of the proxy here."""
        self.caller.hold(self.address, self.uid, self.incarnation)

    def _placed(self, done: Any) -> None:
        error = done.exception()
        if error is None:
            try:
                self.settle_at(*done.result())
                if self.constructor is None:
                    self.hold()
            except ConcurroError as fault:  # the way to the master was closed meanwhile
                error = fault
        if error is not None:
            self._give_up(error)
        self.caller.held(self)

    def way_lost(self, way: Way, error: Exception) -> None:
        """Learn that its worker is gone, or the way to it."""
        with self._lock:
            if self._way is not way:
                return
            self._way = None
            known = self._restarts > 0
            self.incarnation += 1
            if self.constructor is not None and known:
                self._restarts -= 1
                self.ready = self._construction()
        if not known:
            self._give_up(RuntimeDisconnectedError(f"tessera {shown(self.uid)} is lost: {error}"))
            return
        try:
            self._look_again()
        except ConcurroError as fault:  # as at the end of a program: the way to the master is closed
            self.caller.held(self)
            self._give_up(RuntimeDisconnectedError(f"tessera {shown(self.uid)} is lost: {error}; {fault}"))

    def _look_again(self) -> None:
        """Have it constructed again, or ask where that is done."""
        if self.constructor is not None:
            self._ask_for_place("")
            if self.uid not in self.caller.proxies:
                self._pin_for(FOUND_WITHIN)
                self.release()
        else:
            self.locate()

    def _give_up(self, error: BaseException) -> None:
        if isinstance(error, ConnectionError) and not isinstance(error, RuntimeDisconnectedError):
            error = RuntimeDisconnectedError(str(error))
        self.caller.restarted.pop(self.uid, None)
        with self._lock:
            self._lost = error if isinstance(error, Exception) else RuntimeError(repr(error))
            waiting, self._waiting = self._waiting, []
        for _, task in waiting:
            if task is not None:
                self.caller.open.pop(task.uid, None)
                task.settle(None, self._lost)

    # What is asked of it

    def call(
        self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], retries: int | None = None, uid: str = ""
    ) -> Task:
        """Call a method; return the task at once, named as given or anew.

        Raises:
            NotPicklableError: An argument cannot travel; names the culprit.
        """
        caller = self.caller
        if args or kwargs:
            try:
                payload, dependencies, kept = pack_arguments(caller.runtime.application.pack, args, kwargs)
            except NotPicklableError as error:
                raise of_arguments(error, f"{self.cls.__name__}.{method.removeprefix(chr(0))}()") from error.__cause__
        else:
            payload = dependencies = kept = None
        task = Task(caller, uid or caller.new_uid(), self.uid, method, self.incarnation)
        task._kept = kept  # noqa: SLF001 - its own class's neighbour; this runs for every call
        entry = (
            0,
            task.uid,
            self.uid,
            self.incarnation,
            method,
            payload,
            dependencies,
            self.retries if retries is None else retries,
        )
        self.send(entry, task)
        return task

    def send(self, entry: tuple[Any, ...], task: Task | None) -> None:
        """Send an entry when it is known whither."""
        way = self._way
        if way is not None:
            way.send(entry, task)
            return
        with self._lock:
            if self._way is not None:
                self._way.send(_of_incarnation(entry, self.incarnation), task)
            elif self._lost is None:
                self._waiting.append((entry, task))
                if task is not None:
                    self.caller.open[task.uid] = task
            elif task is not None:
                task.settle(None, self._lost)

    def wait_ready(self) -> Task:
        """Return a task that ends when it is constructed."""
        with self._lock:
            ready = self.ready
            if ready is None or (ready.done() and ready.incarnation != self.incarnation):
                ready = self.ready = Task(self.caller, self.caller.new_uid(), self.uid, "__init__", self.incarnation)
                self.send((int(Entry.WAIT_FOR), ready.uid, self.uid, self.incarnation), ready)
        return ready

    def find_place(self, limit: float) -> str:
        """Return the uid of its worker; asks for it, for at most `limit` seconds."""
        if not self.worker:
            _, worker, _ = self.caller.runtime.ask("locate", self.uid, self.incarnation).result(limit)
            return str(worker)
        return self.worker

    def release(self) -> None:
        """Tell its home that the proxy here is gone."""
        self.send((int(Entry.RELEASE), self.uid, self.incarnation), None)

    def pin(self) -> None:
        """Let the tessera live for a while though nobody may have a proxy.

        One was pickled for somewhere unknown, as in the state of a task. Not in a copy of this process.
        """
        now = monotonic()
        if os.getpid() == self.caller.runtime.pid and now - self._pinned > PIN_AGAIN:
            self._pinned = now
            self._pin_for(PINNED)

    def _pin_for(self, seconds: float) -> None:
        self.send((int(Entry.PIN), self.uid, self.incarnation, seconds), None)

    def attribute(self, method: str, *args: Any) -> Result:
        """Read or set an attribute."""
        return self.call(method, args, {}).result()


def _of_incarnation(entry: tuple[Any, ...], incarnation: int) -> tuple[Any, ...]:
    """Return an entry that waited, for the incarnation that is there now."""
    if entry[0] in (Entry.RELEASE, Entry.PIN):
        return (*entry[:2], incarnation, *entry[3:])
    return (*entry[:3], incarnation, *entry[4:])


class RemoteAttribute:
    """An attribute of a tessera: called, it is a method; awaited, its value."""

    __slots__ = ("_name", "_proxy")

    def __init__(self, proxy: TesseraProxy, name: str) -> None:
        self._proxy = proxy
        self._name = name

    def __call__(self, *args: Any, max_retries: int | None = None, **kwargs: Any) -> Task:
        """Call the method; return the task at once."""
        return self._proxy._seat.call(self._name, args, kwargs, max_retries)  # noqa: SLF001 - its own class's neighbour

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the value of the attribute."""
        return self._proxy.get_attr(self._name).__await__()

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the value of the attribute; return it."""
        return self._proxy.get_attr(self._name).wait(timeout)

    get = wait

    def __repr__(self) -> str:
        """Return which it is."""
        return f"<{self._name} of {self._proxy!r}>"


class TesseraProxy:
    """A reference to a tessera; made by `remote` of its class. Thread-safe.

    `await proxy` waits for its construction and gives the proxy. `proxy.method(...)` calls at once
    and returns a `Task`; `await proxy.attribute` reads. It travels; a tessera lives as long as it has
    proxies, or calls that have not ended.
    """

    __slots__ = ("__weakref__", "_bound", "_facts", "_same")
    type = "tessera_proxy"

    def __init__(self, seat: Seat | None, facts: tuple[Any, ...] = ()) -> None:
        self._bound = seat
        self._facts = facts
        self._same: TesseraProxy | None = None

    @property
    def _seat(self) -> Seat:
        """Where the tessera lives, as far as this process knows.

        Found at first use where the proxy arrived too early for that.

        Raises:
            NoApplicationError: It is still too early.
        """
        if self._bound is None:
            caller_here()
            self._same = proxy_of(*self._facts)
            self._bound = self._same._seat  # noqa: SLF001 - of its own class
        return self._bound

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to set what would not be set at the tessera.

        Raises:
            AttributeError: Says how to do that.
        """
        if name not in TesseraProxy.__slots__:
            message = f"set attributes of a tessera with `await proxy.set_attr({name!r}, value)`"
            raise AttributeError(message)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> RemoteAttribute:
        """Return a method or attribute of the tessera, whichever it is."""
        if name.startswith("__"):
            raise AttributeError(name)
        return RemoteAttribute(self, name)

    def __await__(self) -> Generator[Any, None, TesseraProxy]:
        """Wait until it is constructed."""
        yield from self._seat.wait_ready().__await__()
        return self

    def wait(self, timeout: float | None = None) -> TesseraProxy:
        """Wait until it is constructed; return the proxy."""
        self._seat.wait_ready().wait(timeout)
        return self

    def __repr__(self) -> str:
        """Return whose it is."""
        if self._bound is None:
            return f"<TesseraProxy of {self._facts[1].__qualname__} {self._facts[0]}>"
        seat = self._bound
        return f"<TesseraProxy of {seat.cls.__qualname__} {seat.uid}>"

    def __copy__(self) -> TesseraProxy:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TesseraProxy:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a reference to the same tessera."""
        seat = self._bound
        if seat is None:
            return proxy_of, self._facts
        if not keep(self):
            seat.pin()
        restarts = seat._restarts  # noqa: SLF001 - its own class's neighbour
        place = (seat.address, seat.worker, seat.incarnation)
        return proxy_of, (seat.uid, seat.cls, seat.retries, restarts, *place, seat.is_parameter)

    def __del__(self) -> None:
        seat = self._bound
        if seat is not None and self._same is None:
            seat.caller.sweep(("proxy", seat.release))

    @property
    def runtime_id(self) -> str:
        """Uid of the worker where it lives; empty before that is known."""
        return self._seat.worker

    @property
    def remote_runtime(self) -> RuntimeProxy | None:
        """Proxy of the worker where it lives; None before that is known."""
        return RuntimeProxy(uid=self._seat.worker) if self._seat.worker else None

    @classmethod
    def remote_cls(cls) -> Any:
        """Return the class of what it stands for."""
        from concurro_tessera.residents import Tessera  # noqa: PLC0415 - it uses proxies

        return Tessera

    @staticmethod
    def select_worker(runtime: Any = None) -> Answer[str]:
        """Return an awaitable of the uid of a worker.

        That of the given one, or that of the monitor's choice.
        """
        if runtime is not None:
            return Answer.of(runtime if isinstance(runtime, str) else runtime.uid)
        return Answer.of_future(caller_here().runtime.ask("select_worker"), name="a worker")

    async def init(self, *args: Any, **kwargs: Any) -> TesseraProxy:  # noqa: ARG002 - the seed's signature
        """Wait until it is constructed, with what it was made with."""
        return await self

    @property
    def collectable(self) -> bool:
        """Whether it refers to nothing any more.

        Never, as long as there is somebody to ask.
        """
        return False

    @property
    def is_parameter(self) -> bool:
        """Whether it stands for the root of a parameter."""
        return self._seat.is_parameter

    def make_parameter(self, *args: Any, **kwargs: Any) -> Any:
        """Return a local instance that is linked to this tessera as its root.

        Constructed with the arguments given; without any, with those of the tessera where they are
        known, else with nothing: `await obj.pull()` fills it.
        """
        return parameter_for(self, args, kwargs)

    def get_attr(self, item: str) -> Result:
        """Return an awaitable of an attribute's value.

        As it is after the calls made before.
        """
        return self._seat.attribute(GET, item)

    def set_attr(self, item: str, value: Any) -> Result:
        """Set an attribute, after the calls made before; sent at once, awaitable."""
        return self._seat.attribute(SET, item, value)


def parameter_for(proxy: TesseraProxy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a parameter that is linked to a tessera."""
    from concurro_tessera.parameters import linked  # noqa: PLC0415 - it uses proxies

    constructor = proxy._seat.constructor  # noqa: SLF001 - as above
    if not args and not kwargs and constructor is not None:
        given, kwargs = unpack_arguments(constructor[0].payload)
        args = tuple(given[1:])
    proxy._seat.is_parameter = True  # noqa: SLF001 - as above
    proxy._seat.call(BECOME_PARAMETER, (), {})  # noqa: SLF001 - as above
    return linked(proxy, args, kwargs)


def proxy_of(  # noqa: PLR0913 - the facts of a proxy
    uid: str,
    cls: type,
    retries: int,
    restarts: int,
    address: str,
    worker: str,
    incarnation: int,
    is_parameter: bool = False,  # noqa: FBT001, FBT002 - as it travels
) -> TesseraProxy:
    """Return the proxy of a tessera in this process."""
    try:
        caller = caller_here()
    except NoApplicationError:
        # The state of a task system is loaded before its callbacks may call anybody.
        early = TesseraProxy(None, (uid, cls, retries, restarts, address, worker, incarnation, is_parameter))
        as_soon_as_possible(lambda: early._seat)  # noqa: SLF001 - of its own class
        return early
    with caller.lock:
        known = caller.proxies.get(uid)
        if known is not None:
            return known
        seat = Seat(caller, uid, cls, retries)
        seat.incarnation = incarnation
        seat.is_parameter = is_parameter
        seat._restarts = restarts  # noqa: SLF001 - as above
        proxy = caller.proxies[uid] = TesseraProxy(seat)
    if address:
        seat.settle_at(address, worker, incarnation)
        seat.hold()
    else:
        seat.locate()
    return proxy
