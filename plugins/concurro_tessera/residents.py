r"""A tessera where it lives.

Its object, its mailbox, what runs its methods.

    arrive --> mailbox --next that is ready--> thread of the tessera (plain methods)
                  ^                       \-> the worker's asyncio loop (coroutine methods)
                  \------ ended <-------------/

One method at a time. Calls of one caller run in the order in which they arrived; one whose
arguments are still awaited holds up only those of its own caller. Nothing runs before the
constructor, which fails all of them when it raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import queue
import threading
from collections import deque
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from concurro_monitor import ProfiledCall
from concurro_tessera.arguments import unpack_arguments
from concurro_tessera.failures import CallCancelledError, MailboxFullError, MultiError, rebuild
from concurro_tessera.parameters import as_root, root, state_of, update
from concurro_tessera.proxies import BECOME_PARAMETER, GET, READY, SET, STATE, UPDATE, TesseraProxy
from concurro_tessera.records import pack_failure, pack_result, running_call, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro_tessera.home import Home
    from concurro_tessera.records import Call, Outbox

INIT = "__init__"
CALLS_TOLD = 32
"""So many calls that wait for one tessera are told by name."""

_SPECIAL = frozenset({INIT, GET, SET, STATE, UPDATE, BECOME_PARAMETER, READY})


class Tessera:
    """An object that lives in this worker and is called from anywhere.

    `arrive`, `advance` and `remove` are thread-safe; holders are the service's loop's.

    Attributes:
        uid: Its name.
        incarnation: How often it was constructed.
        creator: Who had it constructed.
        restarts: How often it may be constructed again.
        obj: The object; None before it is constructed.
        holders: Outbox to how many proxies its process has.
        unfinished: How many calls have not ended.
        running: The call that runs.
    """

    type = "tessera"
    obj: Any = None

    def __init__(self, home: Home, uid: str, incarnation: int, options: dict[str, Any], creator: Outbox) -> None:
        self.uid = uid
        self.incarnation = incarnation
        self.creator = creator
        self.cls: Any = None
        self.holders: dict[Outbox, int] = {}
        self.unfinished = 0
        self._home = home
        self.restarts = int(options.get("restarts", 0))
        self._max_pending: int | None = options.get("max_pending")
        self._is_parameter = bool(options.get("parameter"))
        self._lock = threading.Lock()
        self._mailbox: deque[Call] = deque()
        self._held_up: set[Outbox] = set()  # when nothing runs: who has a call here that cannot run yet
        self._running = False
        self.running: Call | None = None
        self._constructed = False
        self._fault: BaseException | None = None
        self._inbox: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_coroutine: dict[str, bool] = {}

    @property
    def address(self) -> str:
        """Address of this worker."""
        return self._home.address

    @property
    def is_parameter(self) -> bool:
        """Whether it is the root of a parameter."""
        return self._is_parameter

    @property
    def collectable(self) -> bool:
        """Whether nothing refers to it."""
        return not self.holders and not self.unfinished and not self._home.runtime.references(self.uid)

    def deregister(self) -> None:
        """Notice that the runtime counts no references any more."""
        self._home.look_whether_needed(self)

    def calls(self) -> list[tuple[Call, str]]:
        """Return the calls that are here, the first of them, with their states."""
        running = self.running
        with self._lock:
            waiting = list(islice(self._mailbox, CALLS_TOLD))
        here = [] if running is None else [(running, "running")]
        return here + [(call, "queued") for call in waiting]

    # The mailbox

    def arrive(self, call: Call) -> None:
        """Take a call."""
        with self._lock:
            full = self._max_pending is not None and len(self._mailbox) >= self._max_pending and call.method is not INIT
            self.unfinished += 1
            held_up = call.blocked or call.outbox in self._held_up
            if not full:
                self._mailbox.append(call)
        if full:
            message = (
                f"tessera {shown(self.uid)} has {self._max_pending} calls waiting, as many as its max_pending allows"
            )
            self._fail(call, MailboxFullError(message))
        elif not held_up:
            self.advance()

    def advance(self) -> None:
        """Run what can run, unless something runs."""
        with self._lock:
            if self._running:
                return
        call = self._next(was_running=False)
        if call is not None:
            self._dispatch(call)

    def remove(self, call: Call) -> bool:
        """Take a call out of the mailbox; return whether it was there."""
        with self._lock:
            try:
                self._mailbox.remove(call)
            except ValueError:
                return False
            return True

    def _next(self, *, was_running: bool) -> Call | None:
        """Return the call whose turn it is; nothing else runs then."""
        with self._lock:
            if self._running and not was_running:
                return None
            self._running = False
            self._held_up = set()
            mailbox = self._mailbox
            if not mailbox:
                return None
            first = mailbox[0]
            if not first.blocked and (self._constructed or first.method is INIT) and self._fits(first):
                self._running = True
                return mailbox.popleft()
            if not self._constructed:  # the first is its constructor
                return None
            held_up: set[Outbox] = set()
            for place, call in enumerate(mailbox):
                if call.outbox in held_up:
                    continue
                if call.blocked or not self._fits(call):
                    held_up.add(call.outbox)
                else:
                    self._running = True
                    del mailbox[place]
                    return call
            self._held_up = held_up  # who calls once more waits too: nobody looks through all of them again
            return None

    def _fits(self, call: Call) -> bool:
        """Say whether there is room for the arguments of a call.

        One that has none waits.
        """
        payload = call.payload
        if not call.fetched and (payload is None or payload.__class__ is tuple):
            return True
        return self._home.admission.admit(call, self)

    @property
    def is_busy(self) -> bool:
        """Whether a call of it runs, or is about to."""
        return self._running

    def _dispatch(self, call: Call) -> None:
        if call.failed is None and self._runs_in_loop(call):
            self._home.loop.call_soon_threadsafe(self._begin, call)
            return
        self.listen()
        self._inbox.put(call)

    def _runs_in_loop(self, call: Call) -> bool:
        method = call.method
        known = self._is_coroutine.get(method)
        if known is None:
            found = inspect.getattr_static(type(self.obj), method, None)
            found = getattr(found, "__func__", found)
            known = self._is_coroutine[method] = inspect.iscoroutinefunction(found)
        return known and self._fault is None

    # As the seed names it

    queue_task = arrive

    def listen(self) -> None:
        """Start the thread of plain methods. Idempotent."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=f"tessera {self.uid}", daemon=True)
            self._thread.start()

    async def listen_async(self) -> None:
        """Let calls whose arguments are here run."""
        self.advance()

    run_async = listen_async

    async def call_safe(self, sender_id: str, method: Callable[..., Any], task: Call) -> None:
        """Call a method; whoever made the call is told what it returns or raises."""
        with self.send_exception(sender_id, method, task):
            value = method()
            value = await value if inspect.isawaitable(value) else value
            self._home.ended(task, pack_result(task, value, self._home.pack, self._home.inline), now=True)

    @contextlib.contextmanager
    def send_exception(
        self,
        sender_id: str | None = None,  # noqa: ARG002 - the seed's signature; the call knows who made it
        method: Callable[..., Any] | None = None,  # noqa: ARG002 - as above
        task: Call | None = None,
    ) -> Iterator[None]:
        """Tell whoever made a call what the block raises."""
        try:
            yield
        except Exception as error:
            if task is None:
                raise
            self._home.ended(task, pack_failure(task, error, self._home.pack), now=True)

    def get_attr(self, item: str) -> Any:
        """Return an attribute of the object."""
        return getattr(self.obj, item)

    def set_attr(self, item: str, value: Any) -> None:
        """Set an attribute of the object."""
        setattr(self.obj, item, value)

    def make_parameter(self) -> Any:
        """Make the object the root of a parameter; return it."""
        if not self._is_parameter:
            self._is_parameter = True
            self.obj = as_root(self.obj, self)
        return self.obj

    @classmethod
    def remote_cls(cls) -> Any:
        """Return the class of what stands for it elsewhere."""
        return TesseraProxy

    @property
    def remote_runtime(self) -> set[str]:
        """Who has proxies of it."""
        return {outbox.peer.name for outbox in self.holders}

    # Running

    def _serve(self) -> None:
        """Run plain methods, in the tessera's thread."""
        while True:
            call = self._inbox.get()
            if call is None:
                self.obj = None
                return
            while call is not None:
                self.running = call
                running_call.set(call)
                began = monotonic()
                entry = self._construct(call) if call.method is INIT else self._run(call)
                self._measure(call, began, entry)
                self.running = None
                following = self._next(was_running=True)
                here = following is not None and not self._runs_in_loop(following)
                self._end(call, entry, now=not here)
                call = following if here else None
                if following is not None and not here:
                    self._home.loop.call_soon_threadsafe(self._begin, following)
                following = None
                del entry
                running_call.set(None)  # it keeps what its result refers to

    def _measure(self, call: Call, began: float, entry: tuple[Any, ...]) -> None:
        """Note how long a method ran, where that is wanted."""
        profile = self._home.runtime.profile
        if profile is not None:
            took = monotonic() - began
            profile.add(ProfiledCall(call.uid, call.tessera, call.method, began, took, entry[1]))

    def _construct(self, call: Call) -> tuple[Any, ...]:
        """Run the constructor; what it raises fails every call."""
        entry = self._run(call)
        if not entry[1]:
            self._fault = rebuild(entry[2])
        self._constructed = True
        return entry

    def _run(self, call: Call) -> tuple[Any, ...]:
        pack = self._home.pack
        if call.cancelled:
            return pack_failure(call, _cancelled(call), pack)
        if call.failed is not None:
            return pack_failure(call, MultiError(call.failed, f"{call.method}() of {shown(self.uid)}"), pack)
        if call.refused is not None:
            return pack_failure(call, call.refused, pack)
        if self._fault is not None:
            return pack_failure(call, self._fault, pack)
        left = call.retries
        while True:
            try:
                return pack_result(call, self._invoke(call), pack, self._home.inline)
            except BaseException as error:  # noqa: BLE001 - code of users; its caller is told
                if left <= 0 or call.cancelled:
                    return pack_failure(call, error, pack)
            left -= 1

    def _arguments(self, call: Call) -> tuple[list[Any], dict[str, Any]]:
        args, kwargs = unpack_arguments(call.payload)
        for at, opened in call.values or ():
            if isinstance(at, int):
                args[at] = opened()
            elif at is not None:
                kwargs[at] = opened()
        return args, kwargs

    def _invoke(self, call: Call) -> Any:
        method = call.method
        args, kwargs = self._arguments(call)
        if method in _SPECIAL:
            return self._special(method, args, kwargs)
        value = getattr(self.obj, method)(*args, **kwargs)
        if inspect.iscoroutine(value):
            value = asyncio.run_coroutine_threadsafe(_awaited(value, call), self._home.loop).result()
        return value

    def _special(self, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Do what is no method of the class."""
        if method is INIT:
            self.cls = args[0]
            self.obj = (
                root(args[0], tuple(args[1:]), kwargs, self) if self._is_parameter else args[0](*args[1:], **kwargs)
            )
        elif method == GET:
            return getattr(self.obj, *args)
        elif method == SET:
            setattr(self.obj, *args)
        elif method == STATE:
            return state_of(self.obj, *args)
        elif method == UPDATE:
            update(self.obj, *args)
        elif method == BECOME_PARAMETER:
            self.make_parameter()
        return None

    def _begin(self, call: Call) -> None:
        """Run coroutine methods, in the worker's loop."""
        call.coroutine = self._home.loop.create_task(self._run_in_loop(call))

    async def _run_in_loop(self, call: Call) -> None:
        task: Any = call.coroutine
        following: Call | None = call
        while following is not None:
            call = following
            call.coroutine = task
            self.running = call
            running_call.set(call)
            began = monotonic()
            entry = await self._run_coroutine(call)
            while task.cancelling():  # that was for this call
                task.uncancel()
            self._measure(call, began, entry)
            self.running = None
            following = self._next(was_running=True)
            here = following is not None and following.failed is None and self._runs_in_loop(following)
            self._end(call, entry, now=not here)
            if following is not None and not here:
                self._dispatch(following)
                following = None

    async def _run_coroutine(self, call: Call) -> tuple[Any, ...]:
        pack = self._home.pack
        left = call.retries
        while True:
            try:
                if call.cancelled:
                    raise _cancelled(call)  # noqa: TRY301 - one way out for every fault
                args, kwargs = self._arguments(call)
                return pack_result(call, await getattr(self.obj, call.method)(*args, **kwargs), pack, self._home.inline)
            except BaseException as error:  # noqa: BLE001 - code of users; its caller is told
                if left <= 0 or call.cancelled:
                    return pack_failure(call, error, pack)
            left -= 1

    def _fail(self, call: Call, error: BaseException) -> None:
        self._end(call, pack_failure(call, error, self._home.pack), now=False)

    def fail_waiting(self, call: Call, error: BaseException) -> None:
        """End a call that waits, without running it."""
        if self.remove(call):
            self._fail(call, error)

    def _end(self, call: Call, entry: tuple[Any, ...], *, now: bool) -> None:
        with self._lock:
            self.unfinished -= 1
        self._home.ended(call, entry, now=now)
        if not self.unfinished and not self.holders:
            self._home.look_whether_needed(self)

    def close(self) -> None:
        """End its thread, and let the object go."""
        if self._thread is not None:
            self._inbox.put(None)
        else:
            self.obj = None


def _cancelled(call: Call) -> CallCancelledError:
    return CallCancelledError(f"{call.method}() of {shown(call.tessera)}")


async def _awaited(value: Any, call: Call) -> Any:
    running_call.set(call)
    return await value
