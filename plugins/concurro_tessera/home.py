"""What lives in a worker: tesserae, and the calls whose results are kept.

    take(entries) --> Tessera.arrive        WATCH, FORGET: who asks for the result of a call
    dependencies --watched at their homes, fetched--> the call is ready

Loop thread of the service only, but where it is said.
"""

from __future__ import annotations

import gc
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

from concurro_monitor import Reporter, RuntimeDisconnectedError, worker_runtime
from concurro_tessera.admission import Admission
from concurro_tessera.arguments import Dependency
from concurro_tessera.callers import Caller
from concurro_tessera.failures import CallCancelledError, MultiError, RemoteError, pack_error
from concurro_tessera.proxies import PINNED, READY
from concurro_tessera.records import ACKNOWLEDGE_AFTER, Call, Outbox, is_of_run, pack_failure, shown
from concurro_tessera.residents import INIT, Tessera
from concurro_tessera.states import HomeStates
from concurro_tessera.ways import Entry

if TYPE_CHECKING:
    import asyncio

    from concurro import Config, IServicePeer, IWorkerServiceHost, Parcel
    from concurro_tessera.shelf import Shelf

UNKNOWN_PATIENCE = 5.0
"""A call or tessera that is asked for may still be on its way for so long [s]."""

COLLECT_AFTER = 0.3
"""A tessera that nothing refers to is kept for so long [s]."""


TELL_AFTER = 0.05
"""Collected tesserae are told of, and what they leave is cleaned up, so long after the first of them [s]."""


class _Unknown:
    """Whoever will unpickle what was pickled for somebody who is not known."""

    name = "somebody for whom a proxy was pickled"
    gone = ""


class Home:
    """The tesserae of a worker.

    Attributes:
        loop: The worker's asyncio loop.
        runtime: Of this process.
        inline: Results up to so long travel with the news that a call ended [B].
        shelf: The others.
    """

    def __init__(self, host: IWorkerServiceHost, config: Config, inline: int, shelf: Shelf) -> None:
        self.runtime = worker_runtime(host, config)
        self.loop: asyncio.AbstractEventLoop = self.runtime.loop.loop
        self.inline = inline
        self.shelf = shelf
        self._host = host
        self._outboxes: dict[IServicePeer, Outbox] = {}
        self._tesserae: dict[str, Tessera] = {}
        self._calls: dict[str, Call] = {}
        self._early: dict[str, list[Call]] = {}
        self._early_holds: dict[str, list[Outbox]] = {}
        self._early_watchers: dict[str, list[Outbox]] = {}
        self._awaited: dict[str, list[Future[None]]] = {}
        self._unknown = Outbox(cast("IServicePeer", _Unknown()), host.post)
        self._unacknowledged: set[Outbox] = set()
        self._collected: list[tuple[str, int]] = []
        self._caller: Caller | None = None
        self.states = HomeStates(self._tesserae, self.runtime)
        self.runtime.residence = self.states
        self._reporter = self.runtime.part(Reporter)
        self.admission = Admission(self.runtime, self._tesserae.values, host.post, host.after, gc.collect)
        # The first call from here would wait for a connection, in whichever thread makes it.
        threading.Thread(target=self._connect, name="concurro-connect", daemon=True).start()

    def _connect(self) -> None:
        self._caller = self.runtime.part(Caller)

    @property
    def address(self) -> str:
        """Address of this worker."""
        return str(self._host.address)

    def pack(self, value: Any) -> Parcel:
        """Return a parcel. Thread-safe."""
        parcel: Parcel = self._host.pack(value)
        return parcel

    # From callers

    def outbox(self, peer: IServicePeer) -> Outbox:
        """Return the way back to a caller."""
        found = self._outboxes.get(peer)
        if found is None:
            found = self._outboxes[peer] = Outbox(peer, self._host.post)
        return found

    def take(self, peer: IServicePeer, number: int, entries: list[tuple[Any, ...]]) -> None:
        """Take a batch of entries."""
        outbox = self.outbox(peer)
        outbox.received = number
        if not self._unacknowledged:
            self._host.after(ACKNOWLEDGE_AFTER, self._acknowledge)
        self._unacknowledged.add(outbox)
        if not self._reporter.due:
            self._reporter.wake()
        calls = self._calls
        tesserae = self._tesserae
        mine = outbox.calls
        for entry in entries:
            kind = entry[0]
            try:
                if kind == 0:
                    _, uid, tessera_uid, incarnation, method, payload, dependencies, retries = entry
                    call = calls[uid] = Call(uid, outbox, tessera_uid, method, payload, retries)
                    mine.add(uid)
                    tessera = tesserae.get(tessera_uid)
                    if tessera is None or tessera.incarnation != incarnation or dependencies:
                        self._arrive_elsewhere(call, incarnation, dependencies)
                    else:
                        tessera.arrive(call)
                else:
                    handle: Any = self._HANDLERS[kind]
                    handle(self, outbox, *entry[1:])
            except Exception as error:
                self._host.log.exception("an entry of %s could not be taken", peer.name)
                outbox.put((entry[1], False, pack_error(error, self.pack)), now=False)

    def _arrive_elsewhere(self, call: Call, incarnation: int, dependencies: Any) -> None:
        """Take a call that waits for something, or whose tessera is not here."""
        if dependencies:
            call.blocked = len(dependencies)
            call.values = []
        tessera = self._tesserae.get(call.tessera)
        if tessera is None:
            self._early.setdefault(call.tessera, []).append(call)
            self._host.after(UNKNOWN_PATIENCE, lambda: self._nobody_came(call))
        elif tessera.incarnation != incarnation:
            message = (
                f"tessera {shown(call.tessera)} was constructed again: this call was for another incarnation of it"
            )
            self.ended(call, pack_failure(call, RuntimeDisconnectedError(message), self.pack), now=False)
            return
        else:
            tessera.arrive(call)
        if dependencies:
            self.loop.call_soon_threadsafe(self._depend, call, dependencies)

    def _nobody_came(self, call: Call) -> None:
        waiting = self._early.get(call.tessera, [])
        if call in waiting:
            waiting.remove(call)
            if not waiting:
                del self._early[call.tessera]
            message = f"no tessera {shown(call.tessera)} lives on {self._host.address}"
            self.ended(call, pack_failure(call, RuntimeDisconnectedError(message), self.pack), now=False)

    def _create(  # noqa: PLR0913 - as it travels
        self,
        outbox: Outbox,
        uid: str,
        tessera_uid: str,
        incarnation: int,
        payload: Any,
        dependencies: Any,
        options: Any,
    ) -> None:
        call = self._calls[uid] = Call(uid, outbox, tessera_uid, INIT, payload, 0)
        outbox.calls.add(uid)
        before = self._tesserae.get(tessera_uid)
        if before is not None:
            self.runtime.deregister(before)
        tessera = self._tesserae[tessera_uid] = Tessera(self, tessera_uid, incarnation, options, outbox)
        self.runtime.register(tessera)
        for holder in (outbox, *self._early_holds.pop(tessera_uid, ())):
            if holder is outbox or not holder.peer.gone:
                tessera.holders[holder] = tessera.holders.get(holder, 0) + 1
        if dependencies:
            call.blocked = len(dependencies)
            call.values = []
        tessera.arrive(call)
        if dependencies:
            self.loop.call_soon_threadsafe(self._depend, call, dependencies)
        for early in self._early.pop(tessera_uid, ()):
            tessera.arrive(early)

    def _wait_for(self, outbox: Outbox, uid: str, tessera_uid: str, incarnation: int) -> None:
        """Answer once a tessera is constructed: a call that does nothing."""
        call = self._calls[uid] = Call(uid, outbox, tessera_uid, READY, None, 0)
        outbox.calls.add(uid)
        tessera = self._tesserae.get(tessera_uid)
        if tessera is None or tessera.incarnation != incarnation:
            self._arrive_elsewhere(call, incarnation, None)
        else:
            tessera.arrive(call)

    def watch(self, peer: IServicePeer, uid: str) -> None:
        """Tell a caller, too, when a call ends, and keep its result for it."""
        self._watch(self.outbox(peer), uid)

    def _watch(self, outbox: Outbox, uid: str) -> None:
        call = self._calls.get(uid)
        if call is None:
            self._early_watchers.setdefault(uid, []).append(outbox)
            self._host.after(UNKNOWN_PATIENCE, lambda: self._end_watch(uid, outbox))
            return
        outbox.calls.add(uid)
        _keep_for(call, outbox)
        if call.watchers is None:
            call.watchers = []
        call.watchers.append(outbox)
        if call.ended is not None:
            outbox.put(call.ended, now=False)

    def _end_watch(self, uid: str, outbox: Outbox) -> None:
        watchers = self._early_watchers.get(uid, [])
        if outbox not in watchers:
            return
        watchers.remove(outbox)
        if not watchers:
            del self._early_watchers[uid]
        if uid in self._calls:
            self._watch(outbox, uid)
        else:
            outbox.put((uid, False, pack_error(_forgotten(uid, self._host.address), self.pack)), now=False)

    def _forget(self, outbox: Outbox, uid: str, *, entirely: bool = False) -> None:
        """Notice that a caller has a task less; or none any more."""
        call = self._calls.get(uid)
        holders = None if call is None else call.holders
        left = 0 if entirely or holders is None else holders.get(outbox, 0) - 1
        if holders is not None and left > 0:
            holders[outbox] = left
            return
        outbox.calls.discard(uid)
        if call is None:
            return
        if holders is not None:
            holders.pop(outbox, None)
            if holders:
                return
        elif call.outbox is not outbox:
            return
        call.holders = {}
        if call.ended is not None:
            self._drop(call)

    def _cancel(self, outbox: Outbox, uid: str) -> None:
        call = self._calls.get(uid)
        if call is None or call.outbox is not outbox or call.ended is not None:
            return
        call.cancelled = True
        tessera = self._tesserae.get(call.tessera)
        if tessera is not None:
            tessera.fail_waiting(call, CallCancelledError(f"{call.method}() of {shown(call.tessera)}"))
            tessera.advance()  # it may have held up others of its caller
        if call.coroutine is not None:
            self.loop.call_soon_threadsafe(_cancel_coroutine, call)

    def _probe(self, outbox: Outbox, uid: str, origin: str) -> None:  # noqa: ARG002 - every entry has its outbox
        """Look whether a call waits, in the end, for the call `origin`.

        Break the circle then.
        """
        call = self._calls.get(uid)
        tessera = self._tesserae.get(call.tessera) if call is not None else None
        running = tessera.running if tessera is not None else None
        if tessera is not None and self.admission.waiting and not tessera.is_busy:
            self.admission.probe(tessera, origin)
            return
        if call is None or call.ended is not None or running is None or running.ended is not None:
            return
        for task in running.waits or ():
            if running.uid == origin:
                task.break_cycle()
            else:
                task.probe(origin)

    def _release(self, outbox: Outbox, uid: str, incarnation: int) -> None:
        tessera = self._tesserae.get(uid)
        if tessera is not None and tessera.incarnation == incarnation:
            self._let_go(tessera, outbox, 1)
        elif tessera is None and outbox in self._early_holds.get(uid, ()):
            self._early_holds[uid].remove(outbox)

    def _pin(self, outbox: Outbox, uid: str, incarnation: int, seconds: float) -> None:  # noqa: ARG002 - every entry has its outbox
        """Note a proxy that was pickled for somebody unknown."""
        tessera = self._tesserae.get(uid)
        if tessera is not None and tessera.incarnation == incarnation:
            tessera.holders[self._unknown] = tessera.holders.get(self._unknown, 0) + 1
            self._host.after(seconds, lambda: self._let_go(tessera, self._unknown, 1))

    def _pin_result(self, outbox: Outbox, uid: str) -> None:  # noqa: ARG002 - as above
        """Note a task that was pickled for somebody unknown."""
        call = self._calls.get(uid)
        if call is not None:
            _keep_for(call, self._unknown)
            self._host.after(PINNED, lambda: self._forget(self._unknown, uid))

    def hold(self, peer: IServicePeer, uid: str, incarnation: int) -> bool:
        """Note a proxy more; return whether the tessera is here."""
        tessera = self._tesserae.get(uid)
        outbox = self.outbox(peer)
        if tessera is None:
            # Somebody else's line is faster than that of its creator.
            self._early_holds.setdefault(uid, []).append(outbox)
            self._host.after(UNKNOWN_PATIENCE, lambda: self._early_holds.pop(uid, None))
            return False
        if tessera.incarnation != incarnation:
            return False
        tessera.holders[outbox] = tessera.holders.get(outbox, 0) + 1
        return True

    def end_of(self, uid: str) -> Future[None] | None:
        """Return a future of the end of a call; None when it has ended."""
        call = self._calls.get(uid)
        if call is None:
            return None
        future: Future[None] = Future()
        self._awaited.setdefault(uid, []).append(future)
        if call.ended is not None:  # looked at last: it ends in another thread
            self._tell_watchers(call)
        return future

    def barrier(self, run: str, prefix: str, mark: int) -> Future[int]:
        """Return a future of how many calls had not ended here.

        It comes once they have.

        Args:
            run: Only of tesserae that may be of that run.
            prefix: What the names of the calls begin with that whoever asks has made.
            mark: What their numbers are below that count.
        """
        waits: list[Any] = []
        if self._caller is not None:
            waits += self._caller.unfinished(run)
        for part in self.runtime.parts(Caller):
            waits += getattr(part, "unfinished", list)()
        calls = [call for call in self._calls.copy().values() if is_of_run(call.tessera, run)]
        for call in calls:
            late = call.uid.startswith(prefix) and int(call.uid.removeprefix(prefix)) > mark
            ended = None if late or call.ended is not None else self.end_of(call.uid)
            if ended is not None:
                waits.append(ended)
        return _all_over(waits)

    def fetch(self, uid: str) -> Any:
        """Return the parts of a result.

        Raises:
            RemoteError: It is not here.
        """
        call = self._calls.get(uid)
        if call is None or call.parts is None:
            raise _forgotten(uid, self._host.address)
        self.shelf.want(uid)
        return call.parts

    @property
    def kept(self) -> list[int]:
        """What results hold in memory, and in the file [B]."""
        return [self.shelf.held, self.shelf.spilled]

    def peer_left(self, peer: IServicePeer) -> None:
        """Let go what a caller held."""
        outbox = self._outboxes.pop(peer, None)
        if outbox is None:
            return
        for tessera in list(self._tesserae.values()):
            if outbox in tessera.holders:
                self._let_go(tessera, outbox, tessera.holders[outbox])
        for uid in list(outbox.calls):
            self._forget(outbox, uid, entirely=True)

    _HANDLERS = {  # noqa: RUF012 - a table, never changed
        int(Entry.CREATE): _create,
        int(Entry.RELEASE): _release,
        int(Entry.WATCH): _watch,
        int(Entry.FORGET): _forget,
        int(Entry.CANCEL): _cancel,
        int(Entry.WAIT_FOR): _wait_for,
        int(Entry.PROBE): _probe,
        int(Entry.PIN): _pin,
        int(Entry.PIN_RESULT): _pin_result,
    }

    def _acknowledge(self) -> None:
        outboxes, self._unacknowledged = self._unacknowledged, set()
        for outbox in outboxes:
            outbox.flush()

    # The end of calls

    def ended(self, call: Call, entry: tuple[Any, ...], *, now: bool) -> None:
        """Tell everybody of the end of a call. Thread-safe."""
        call.ended = entry
        self.states.ended.append((call.uid, call.tessera, call.method, entry[1]))
        call.payload = call.values = call.coroutine = None
        call.fetched = 0
        if call.committed or self.admission.waiting:
            self.admission.release(call)
        caller = self._caller
        if caller is not None and caller.holds_pending:
            caller.when_held(lambda: call.outbox.put(entry, now=False))
        else:
            call.outbox.put(entry, now=now)
        if entry[1] and entry[3] is None:
            self._host.post(lambda: self._shelve(call))
        if call.watchers or call.holders is not None or call.uid in self._early_watchers or call.uid in self._awaited:
            self._host.post(lambda: self._tell_watchers(call))

    def _tell_watchers(self, call: Call) -> None:
        for outbox in call.watchers or ():
            if call.ended is not None:
                outbox.put(call.ended, now=False)
        for outbox in self._early_watchers.pop(call.uid, ()):
            self._watch(outbox, call.uid)
        for future in self._awaited.pop(call.uid, ()):
            future.set_result(None)
        if call.holders is not None and not call.holders:
            self._drop(call)

    def _shelve(self, call: Call) -> None:
        """Count a result that is kept here."""
        if call.parts is not None:
            self.shelf.put(call.uid, call.parts)

    def _drop(self, call: Call) -> None:
        """Let go the result of a call."""
        self._calls.pop(call.uid, None)
        self.shelf.drop(call.uid)
        call.parts = call.kept = None

    # What calls wait for; in the asyncio loop's thread

    def _depend(self, call: Call, dependencies: list[tuple[Any, ...]]) -> None:
        for facts in dependencies:
            dependency = Dependency(*facts)
            try:
                self._depend_on(call, dependency)
            except Exception as error:  # noqa: BLE001 - the call is told
                self._came(call, None, error)

    def _depend_on(self, call: Call, dependency: Dependency) -> None:
        caller = self.runtime.part(Caller)
        if not dependency.task:
            value = self.runtime.get(dependency.tessera)
            value.then(lambda: self._came(call, (dependency.at, lambda: value.wait(0)), value._error))  # noqa: SLF001 - of this very family
            return
        task = caller.foreign(dependency.task, dependency.tessera, "a call", dependency.address, dependency.incarnation)

        def ended() -> None:
            error = task._error  # noqa: SLF001 - as above
            if error is not None or dependency.at is None:
                self._came(call, (dependency.at, task), error)
                return
            parts = task.parts()
            if parts is None:
                fetched()
            else:
                parts.then(fetched)

        def fetched() -> None:
            def opened() -> Any:
                return task.value(dependency.key, whole=dependency.whole)

            size = task.packed_size()
            self._came(call, (dependency.at, opened), None, size)

        task.then(ended)

    def _came(self, call: Call, value: Any, error: BaseException | None, size: int = 0) -> None:
        """Notice that a dependency is here. Thread-safe."""
        self._host.post(lambda: self._count_down(call, value, error, size))

    def _count_down(self, call: Call, value: Any, error: BaseException | None, size: int) -> None:
        call.fetched += size
        if error is not None:
            call.failed = [*(call.failed or ()), error]
        elif call.values is not None:
            call.values.append(value)
        call.blocked -= 1
        tessera = self._tesserae.get(call.tessera)
        if call.blocked or tessera is None:
            return
        if call.failed and call.method is not INIT:
            tessera.fail_waiting(call, MultiError(call.failed, f"{call.method}() of {shown(call.tessera)}"))
        tessera.advance()

    # Whether they are needed

    def _let_go(self, tessera: Tessera, outbox: Outbox, count: int) -> None:
        left = tessera.holders.get(outbox, 0) - count
        if left > 0:
            tessera.holders[outbox] = left
        else:
            tessera.holders.pop(outbox, None)
        if tessera.collectable:
            self._host.after(COLLECT_AFTER, lambda: self._collect(tessera))

    def look_whether_needed(self, tessera: Tessera) -> None:
        """Collect it when nothing refers to it. Thread-safe."""
        if self._tesserae.get(tessera.uid) is tessera:
            self._host.post(lambda: self._host.after(COLLECT_AFTER, lambda: self._collect(tessera)))

    def _collect(self, tessera: Tessera) -> None:
        if not tessera.collectable or self._tesserae.get(tessera.uid) is not tessera:
            return
        del self._tesserae[tessera.uid]
        self.runtime.deregister(tessera)
        tessera.close()
        if tessera.restarts and not tessera.creator.peer.gone:
            tessera.creator.peer.tell("gone", tessera.uid)
        if not self._collected:
            self._host.after(TELL_AFTER, self._tell_collected)
        self._collected.append((tessera.uid, tessera.incarnation))

    def _tell_collected(self) -> None:
        collected, self._collected = self._collected, []
        self.loop.call_soon_threadsafe(self._clean_up, collected)

    def _clean_up(self, collected: list[tuple[str, int]]) -> None:
        """Let go what collected tesserae referred to; tell the monitor.

        In the asyncio loop's thread.
        """
        gc.collect()
        for uid, incarnation in collected:
            self.runtime.ask("collected", uid, incarnation)


def _keep_for(call: Call, outbox: Outbox) -> None:
    """Note a task more of a call that a caller has."""
    if call.holders is None:
        call.holders = {call.outbox: 1}
    call.holders[outbox] = call.holders.get(outbox, 0) + 1


def _forgotten(uid: str, address: str) -> RemoteError:
    """Return what is said to whoever asks for a result too late."""
    text = (
        f"the result of call {uid} is not kept on worker {address} any more: everybody who had its task had forgotten"
        " it; keep the task where it was made until others have it"
    )
    return RemoteError("KeyError", text)


def _all_over(waits: list[Any]) -> Future[int]:
    """Return a future of their number, which comes once they have ended."""
    over: Future[int] = Future()
    left = len(waits)
    lock = threading.Lock()

    def one_less(_: object = None) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            over.set_result(len(waits))

    if not waits:
        over.set_result(0)
    for wait in waits:
        wait.add_done_callback(one_less) if isinstance(wait, Future) else wait.then(one_less)
    return over


def _cancel_coroutine(call: Call) -> None:
    if call.coroutine is not None and call.ended is None:
        call.coroutine.cancel()
