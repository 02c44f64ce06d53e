"""An application: submits task systems and tasks to a master.

    users' threads --- wishes, pushed tasks ---> loop thread --- messages ---> master
                  <--- handles, futures ------              <---------------

Wishes cross by `Loop.post`; pushed tasks go into the ledger under a lock, and one wake
byte tells the loop about any number of them. One that is pushed alone needs no other thread.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import uuid
from typing import TYPE_CHECKING, Any, Self

from concurro.errors import ClosedError, ConfigError, MasterUnreachable
from concurro.execution.tidying import keep_tidy
from concurro.ids import Role
from concurro.kernel import Environment
from concurro.nodes.application_core import ApplicationCore
from concurro.nodes.arguments import check_flag, check_system, check_system_id, check_timeout
from concurro.nodes.departures import Departures
from concurro.nodes.dialer import Dialer
from concurro.nodes.failed_attempts import FailedAttempts, save_failures_of
from concurro.nodes.futures import LoopFuture
from concurro.nodes.handle import SystemHandle
from concurro.nodes.loop_thread import LoopThread
from concurro.nodes.peer import keep_beating
from concurro.nodes.printer import Printer
from concurro.nodes.program import Program
from concurro.nodes.pushed import new_task
from concurro.nodes.service_lines import ServiceCaller, ServiceLines
from concurro.nodes.waiting import wait_with_progress
from concurro.scheduling.options import fault_of_options
from concurro.task import each_task
from concurro.transport.loop import Loop
from concurro.wire.blobs import store_with_segments
from concurro.wire.importing import refuse_while_importing
from concurro.wire.messages import Farewell
from concurro.wire.payload import Packer
from concurro.wire.session import SILENCE_LIMIT
from concurro.wire.transfer import BlobTransfer
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from concurro.errors import TaskError
    from concurro.nodes.embedded import EmbeddedCluster
    from concurro.nodes.futures import TaskFuture
    from concurro.nodes.peer import Peer
    from concurro.nodes.waiting import Progress
    from concurro.system import TaskSystem
    from concurro.task import Task
    from concurro.wire.code import CodeTable
    from concurro.wire.messages import Kind

log = logging.getLogger("concurro.application")

ACCEPT_LIMIT = 60.0
REQUEST_LIMIT = 30.0
FAULT_PATIENCE = 5.0
"""How long the master of our own cluster may take to say why it failed [s]."""

UNSENT_BYTES = 64 * 1024 * 1024
"""Pushed bytes that may wait to be sent; beyond it `push_task` waits [B]."""


class ApplicationNode(ServiceCaller):
    """Runs task systems and tasks on a master.

    Use it directly, or subclass it and call `main()`. Thread-safe.

    Args:
        master: Address of the master. None: `[application] master`; when that is empty too, a
            local cluster that lives as long as the application.
        config: What `Config.load` takes, or an environment.
        main_file: The script whose neighbours travel with the code; None finds it.

    Attributes:
        resume_patience: How long a connection that was lost is tried again before what went on over it ends, from
            the last that was heard of the master, but never less than some seconds; set it before `connect` [s].
        tried_again_for: The same, once it was in vain; 0 for a master that took its leave [s].
    """

    resume_patience = SILENCE_LIMIT
    tried_again_for = 0.0

    def __init__(self, master: str | None = None, *, config: Any = None, main_file: str | None = None) -> None:
        self._env = config if isinstance(config, Environment) else Environment(config, kind="application")
        self.resume_patience = max(float(self._env.config["application.connect_timeout"]), SILENCE_LIMIT)
        ship = self._env.config["application.ship"]
        travelling = Travelling(main_file, ship) if main_file is not None else Travelling.of_main(ship)
        packer = Packer(store_with_segments(), travelling)
        self._build(master or str(self._env.config["application.master"] or ""), packer)
        self.lines.meets = bool(self._env.config["application.straight"])
        self._save_failed = str(self._env.config["application.save_failed"] or "")
        self._core.failed = FailedAttempts(self._save_failed)

    def _build(self, master: str, packer: Packer) -> None:
        """Make the parts; nothing runs yet."""
        self.client_id = str(uuid.uuid4())
        self._master = master
        self._packer = packer
        self._core = ApplicationCore(self._packer, self._send, self.client_id, lambda: str(uuid.uuid4()))
        self._loop = Loop()
        self._transfer = BlobTransfer(self._packer.blobs, self._send, self._loop.request_flush)
        self._transfer.maps = lambda: self._peer is not None and self._peer.passes_descriptors
        self._core.use_transfer(self._transfer)
        self._core.lines = self.lines = ServiceLines(self, self._loop, packer, self._send, self._transfer.maps)
        self._save_failed = ""
        self._printer = Printer(self._core.task_name)
        self._core.on_output = self._printer.show
        self._core.before_news = self._printer.settle
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)
        self._state = "new"
        self._start_lock = threading.Lock()
        self._embedded: EmbeddedCluster | None = None
        self._thread: threading.Thread | None = None
        self._loop_thread: LoopThread = LoopThread()
        self._joined = threading.Event()
        self._was_welcome = False
        self._fault: Exception | None = None
        self._peer: Peer | None = None
        self._dialer: Dialer | None = None
        self._departures = Departures(self._loop, self._core)
        self._program = Program()

    def __enter__(self) -> Self:
        """Connect."""
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    # Connection

    @property
    def master_url(self) -> str:
        """Address of the master."""
        return self._master

    @property
    def code(self) -> CodeTable:
        """What travels by value from here."""
        return self._packer.code

    def connect(self) -> None:
        """Connect to the master; wait until it answers. Idempotent.

        Raises:
            MasterUnreachable: No master answered within `[application] connect_timeout`.
            RefusedError: The master does not want us.
            ClosedError: The application was closed.
            WaitInCallbackError: It is not connected, and this is one of its own callbacks.
        """
        with self._start_lock:
            if self._state == "new":
                self._open()
        if not self._joined.is_set():
            self.refuse_to_wait("connect()")
        self._joined.wait()
        if self._fault is not None:
            if not self._was_welcome:
                self.close()  # nobody else will: a `with` block is not entered
            raise self._fault
        if self._state == "closed":
            message = "the application was closed"
            raise ClosedError(message)

    def own(self, cluster: EmbeddedCluster) -> None:
        """Let a local cluster live as long as this, and tell when its master ends.

        Call it before `connect`.
        """
        self._embedded = cluster

    def close(self) -> None:
        """Leave the master; what is unfinished and not detached ends. Idempotent."""
        if self._loop_thread.is_elsewhere():
            return  # it is the parent's
        self.let_guests_end()
        with self._start_lock:
            if self._state in ("closed", "new"):
                self._state = "closed"
                self._loop.close()
                return
            self._state = "closed"
        self._loop.post(self._leave)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._joined.set()
        self._printer.close()
        if self._embedded is not None:
            self._embedded.stop()

    # Systems

    def submit(
        self,
        system: TaskSystem,
        *,
        detach: bool = False,
        ttl: float = 86400.0,
        weight: float = 1.0,
        restarts: int = 0,
    ) -> SystemHandle:
        """Submit a task system; return once the master has accepted it.

        Args:
            system: The system; submitting it twice is one system.
            detach: Whether it goes on when this application leaves. Otherwise it is cancelled
                `[master] grace` after the application is gone.
            ttl: How long the result of a detached system is kept after its end, 0 or more [s].
            weight: Its share of the workers against other systems, above 0: with 2 it gets twice
                the time of one with 1, while both have tasks to run.
            restarts: How often its host, the process with its callbacks, is started again after it
                died by itself. It gets its inputs again and goes on; its tasks run meanwhile.

        Raises:
            ValueError: `ttl`, `weight` or `restarts` is none that can be kept.
            NotPicklableError: It cannot travel; names the culprit.
            MasterUnreachable: No master answered.
            WaitInCallbackError: Called in a callback of this application.
        """
        check_flag("detach", detach)
        self.refuse_to_wait("submit()")
        check_system(system)
        fault = fault_of_options({"ttl": ttl, "weight": weight, "restarts": restarts})
        if fault:
            raise ConfigError(fault)
        name = type(system).__qualname__
        handle = SystemHandle(system.system_id, name, self)
        save_failures_of(system, self._save_failed)
        payload, blobs = self._packer.dumps(system, ("system", system.system_id), name)
        options = {
            "detach": detach,
            "ttl": float(ttl),
            "weight": float(weight),
            "restarts": int(restarts),
            "speculate": bool(system.speculate),
        }
        self.connect()
        body = [system.system_id, name, payload, blobs, options]
        self._post(lambda: self._core.submit(handle, body))
        handle.wait_accepted(ACCEPT_LIMIT)
        return handle

    def attach(self, system_id: str) -> SystemHandle:
        """Return a handle on a system that runs, or whose result is kept.

        Its id, or a beginning of at least four characters that no other has, is enough.

        Raises:
            UnknownSystemError: The master does not know it.
            ConfigError: It is no id.
            WaitInCallbackError: Called in a callback of this application.
        """
        self.refuse_to_wait("attach()")
        check_system_id(system_id)
        self.connect()
        handle = SystemHandle(system_id, "attached", self)
        self._post(lambda: self._core.attach(handle))
        handle.wait_accepted(ACCEPT_LIMIT)
        return handle

    def run(
        self,
        system: TaskSystem,
        timeout: float | None = None,
        progress: Progress = False,  # noqa: FBT002 - the fixed public signature
    ) -> Any:
        """Run a task system to its result.

        Args:
            system: The system.
            timeout: Cancels the system and raises after so long [s]; None waits for ever.
            progress: False, True (a live bar, or lines), a callable that takes a progress record, or a bar
                with `update(n)`, `total` and `close()` such as `tqdm.tqdm()`, which is closed at the end.

        Raises:
            TimeoutError: After `timeout`.
            Exception: What `gather_result` gave as its error, or what a callback raised.
            WaitInCallbackError: Called in a callback of this application.
        """
        self.refuse_to_wait("run()")
        timeout = check_timeout(timeout, least=0.0)
        return wait_with_progress(self.submit(system), timeout, progress)

    def cancel_system(self, system_id: str) -> None:
        """Ask the master to cancel a system."""
        self._post(lambda: self._core.cancel_system(system_id))

    def cancel_task(self, system_id: str, number: int, *, started: bool = True) -> None:
        """Ask the master to cancel a pushed task; see `Control`."""
        self.refuse_elsewhere()
        with self._lock:
            plain = self._core.plain
            if system_id == plain.system_id and number in plain.open:
                plain.unwant(number, started=started)
                self._departures.dirty = True
        self._loop.wake()

    def output_of(self, task_id: str) -> str:
        """Return the last lines that a pushed task wrote.

        Raises:
            LookupError: Nothing is known of it any more.
        """
        self.refuse_to_wait("output()")
        try:
            return str(self.request("output", [task_id]).result(REQUEST_LIMIT))
        except LookupError:
            if self._core.plain.number_of(task_id) is not None:
                return ""  # it has not come to the master yet
            raise

    # Tasks

    def push_task(self, task: Task) -> TaskFuture:
        """Push one task; return its future.

        The future raises the original exception with the remote traceback as its cause.

        Raises:
            InvalidTaskError: It is no usable task.
            NotPicklableError: It cannot travel; names the culprit.
            WaitInCallbackError: So much waits to be sent that it would wait, in a callback.
        """
        if not self._joined.is_set():
            self.connect()
        return self._push(task)

    def push_tasks(self, tasks: Iterable[Task]) -> list[TaskFuture]:
        """Push tasks; return their futures in order. Raises as `push_task` does."""
        self.connect()
        return [self._push(task) for task in each_task(tasks)]

    def push_call(self, task_class: type[Task], fields: dict[str, Any], pusher: object) -> TaskFuture:
        """Push a task of this class and these fields, which nobody else has.

        For executors. Raises as `push_task` does, and has no hooks but `__call__`.
        """
        if not self._joined.is_set():
            self.connect()
        self.refuse_elsewhere()  # before any lock, which a thread may have held at the fork
        pickled = self._packer.dump_fields(fields)
        if pickled is None:
            return self._push(new_task(task_class, fields), pusher)
        if self._core.plain.waiting_bytes > UNSENT_BYTES:
            self._wait_for_room()
        with self._lock:
            self._check_open()
            future = self._core.plain.push_call(self, task_class, fields, pickled, pusher)
            wake = self._departures.push(self._peer)
        if wake:
            self._loop.wake()
        return future

    def futures_of(self, pusher: object) -> list[TaskFuture]:
        """Return the futures of what somebody pushed and is not final."""
        return self._core.plain.futures_of(pusher)

    def executor(self) -> Any:
        """Return a `ClusterExecutor` that shares this application."""
        from concurro.executor import ClusterExecutor  # noqa: PLC0415 - it lies a layer above

        return ClusterExecutor.sharing(self)

    # Questions

    def request(self, name: str, arguments: list[Any]) -> LoopFuture:
        """Ask the master a question; the future has its answer as plain values."""
        self.connect()
        future = LoopFuture(self)
        self._post(lambda: self._core.request(future, name, arguments))
        return future

    def status(self) -> dict[str, Any]:
        """Return the state of the master as `concurrent status --json` prints it.

        `slaves` and `systems` are lists of dicts, `url` and `pid` are the master's, `uptime` [s].

        Raises:
            TimeoutError: It did not answer within 30 s.
            WaitInCallbackError: Called in a callback of this application.
        """
        self.refuse_to_wait("status()")
        answer: dict[str, Any] = self.request("status", []).result(REQUEST_LIMIT)
        return answer

    # For subclasses

    def main(self) -> None:
        """Run `get_task_system()` or `start_processing()` until it is done."""
        self._core.on_task = self._program.task_ended
        with self:
            self._program.run(self)

    def shutdown(self) -> None:
        """Let `main` return. Thread-safe."""
        self._program.shut_down()

    def get_task_system(self) -> TaskSystem | None:
        """Return the system to run; None to call `start_processing` instead."""
        return None

    def start_processing(self) -> None:
        """Push tasks. Called by `main` when there is no task system."""

    def work_finished(self, result: tuple[Any, Any], system_id: str) -> None:
        """Take `(result, error)` of the system. Called by `main`."""

    def task_finished(self, task: Task, result: Any, error: TaskError | None) -> None:
        """Take a pushed task that is final. Called by `main`."""

    # Loop

    def _open(self) -> None:
        refuse_while_importing("an application")
        if not self._master:
            from concurro.nodes.embedded import EmbeddedCluster  # noqa: PLC0415 - only who embeds pays for it

            self._embedded = EmbeddedCluster.start(self._env.config)
            self._master = self._embedded.url
        self._state = "open"
        self._thread = threading.Thread(target=self._main, name="concurro-application", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        self._loop_thread.enter()
        self._loop.on_flush(self._flush)
        try:
            keep_beating(self._loop, lambda: [self._peer] if self._peer is not None else [])
            stop_tidying = keep_tidy(self._loop, self._packer.blobs)
            self._dial()
            self._loop.run()
            stop_tidying()
        except BaseException as fault:
            # Nothing hangs silently: whoever waits for this thread is told.
            log.exception("the application's loop failed")
            self._break_off(ClosedError(f"the application's loop failed: {type(fault).__name__}: {fault}"))
        finally:
            self._loop_thread.leave()
            self._loop.close()

    def _break_off(self, error: Exception) -> None:
        """End everything without the loop, which failed.

        The master is told, and keeps nothing for us.
        """
        dialer, peer = self._dialer, self._peer
        self._fail(error)
        if dialer is not None:
            dialer.stop()
        if peer is not None:
            peer.close(str(error))
            self._loop.flush_now()

    def _dial(self) -> None:
        config = self._env.config
        facts = {"pid": os.getpid(), "client_id": self.client_id, "output": bool(config["application.output"])}
        patience = float(config["application.connect_timeout"])
        dialer = self._dialer = Dialer(
            self._loop,
            self._master,
            Role.APPLICATION,
            platform.node(),
            facts,
            patience=min(patience, self.resume_patience) if self._was_welcome else patience,
            resume_patience=self.resume_patience,
            keys=config["security.keys"],
        )
        dialer.on_joined = self._join
        dialer.on_failed = self._fail
        dialer.fate = self._fate
        dialer.start()

    def _join(self, peer: Peer, welcome: list[Any]) -> None:
        self._peer = peer
        peer.on_chunks_lost = self._transfer.restart
        peer.on_message = self._core.handle
        peer.on_closed = self._lost
        self._was_welcome = True
        self._transfer.restart()
        self._core.joined(int(welcome[3]), int(welcome[4]))
        self._joined.set()

    def _lost(self, reason: str) -> None:
        farewell = self._peer.farewell if self._peer is not None else ""
        self._peer = None
        fault = self._fate(FAULT_PATIENCE) if farewell == Farewell.FAILED else None
        gave_up = self._dialer is not None and self._dialer.gave_up
        if gave_up:
            self.tried_again_for = self.resume_patience
        if self._dialer is not None:
            self._dialer.stop()
        if fault is not None:
            self._fail(fault)
            return
        with self._lock:
            self._core.lost(reason)
            self._room.notify_all()
        if farewell in (Farewell.STOPPED, Farewell.FAILED):
            self._fail(MasterUnreachable(f"{reason} ({self._master})"))
        elif gave_up:
            self._fail(MasterUnreachable(reason))
        else:
            self._dial()

    def _fate(self, patience: float = 0.0) -> Exception | None:
        """Return why the master of our own cluster ended; None if it did not."""
        return None if self._embedded is None else self._embedded.fault(patience)

    def _fail(self, error: Exception) -> None:
        self._dialer = None
        with self._lock:
            self._fault = error
            self._core.close(error)
            self._room.notify_all()
        self._joined.set()

    def _leave(self) -> None:
        if self._dialer is not None:
            self._dialer.stop()
        with self._lock:
            self._core.close(ClosedError("the application was closed before this ended"))
        self._transfer.fail_all("the application was closed")
        with self._lock:
            self._room.notify_all()
        self._hang_up()

    def _hang_up(self) -> None:
        """Say goodbye, and end the loop."""
        if self._peer is not None:
            self._peer.close("the application left")
        self._loop.stop()

    def _send(self, kind: Kind, body: list[Any], frames: tuple[Any, ...] = ()) -> None:
        if self._peer is not None:
            self._peer.send(kind, body, frames)

    def _flush(self) -> None:
        if self._departures.due() and (self._peer is None or self._peer.may_send()):
            with self._lock:
                self._departures.leave()
                self._room.notify_all()

    def _post(self, wish: Callable[[], None]) -> None:
        self.refuse_elsewhere()
        if self._state == "closed":
            message = "the application was closed"
            raise ClosedError(message)
        if self._fault is not None:
            raise self._fault
        self._loop.post(lambda: self._take_wish(wish))

    def _take_wish(self, wish: Callable[[], None]) -> None:
        """Do what a user asked for; what came in too late ends as all did."""
        wish()
        if self._fault is not None:
            with self._lock:
                self._core.close(self._fault)

    def _has_room(self) -> bool:
        return self._core.plain.waiting_bytes <= UNSENT_BYTES or self._fault is not None or self._state != "open"

    def _wait_for_room(self) -> None:
        self.refuse_to_wait("push_task()")
        with self._room:
            self._room.wait_for(self._has_room)

    def _push(self, task: Task, pusher: object = None) -> TaskFuture:
        self.refuse_elsewhere()
        if self._core.plain.waiting_bytes > UNSENT_BYTES:
            self._wait_for_room()
        with self._lock:
            self._check_open()
            future = self._core.plain.push(self, task, pusher)
            wake = self._departures.push(self._peer)
        if wake:
            self._loop.wake()
        return future

    def _check_open(self) -> None:
        if self._fault is not None:
            raise self._fault
        if self._state != "open":
            message = "the application was closed"
            raise ClosedError(message)
