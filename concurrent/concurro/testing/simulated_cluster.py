"""A cluster in one thread: real nodes in a simulated world.

    ApplicationNode --+                                   +-- SlaveNode, SlaveAgent -- workers (modelled)
    (Peer, Dialer)    +-- Network --> MasterNode ---------+   (Peer, Dialer)
                                       |  Door, Peer, cores, Keeper -- SimulatedWriter -- journal (real)
                                       +-- Host, HostCore (real)

What runs is what runs in processes of their own elsewhere, glue included. Replaced is what
would leave the process: loops, sockets, clocks, random numbers, process ids; see `_replacements`.

Not covered: tasks that print or submit, the panel, keys, workers' own code, framing of bytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import logging
import os
import random
import types
import uuid
from typing import TYPE_CHECKING, Any, Self

from concurro.execution.inside import this_process
from concurro.nodes.application import ApplicationNode
from concurro.nodes.handle import SystemHandle
from concurro.nodes.master import MasterNode
from concurro.nodes.peer import keep_beating
from concurro.nodes.slave import SlaveNode
from concurro.scheduling.snapshots import SNAPSHOT_ENTRIES
from concurro.testing.simulated_agent import ObservedAgent
from concurro.testing.simulated_disk import Disk, SimulatedWriter, make_folder
from concurro.testing.simulated_hosts import SimulatedHosts
from concurro.testing.simulated_network import Network
from concurro.testing.simulated_processes import Process, Processes, SimulatedLauncher
from concurro.testing.simulated_time import Agenda
from concurro.testing.simulated_workers import SimulatedWorkerLink, Witness
from concurro.transport.link import Identity
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.segments import MAP_THRESHOLD
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro.ids import Role
    from concurro.system import TaskSystem
    from concurro.testing.simulated_network import SimulatedLink
    from concurro.testing.simulated_time import SimulatedLoop

MASTER = "master"
BEGINNING = 1000.0
"""The monotonic time when the world begins [s]."""

WALL = 1_700_000_000.0
"""What clocks on walls say then [s]."""


class SimulatedCluster:
    """Machines with a master, slaves and applications. Not thread-safe.

    Use it as a context manager: within, the modules of the nodes see this world.

    Args:
        seed: Of delays, and of everything that draws random numbers.
        ordered: Whether peers dial over AF_UNIX (all on one machine), else over TCP.
        journalled: Whether the master has a journal.
        settings: More of the master's configuration, by table.
        snapshot_after: Finished tasks of a system after which a snapshot of it is taken; None: as many as elsewhere.

    Attributes:
        agenda: The time.
        network: What connects them.
        processes: Who lives.
        disk: Of the master.
        witness: What ran where.
        master: The master's process; None while there is none.
        masters: How many there were so far.
        faults: What must not have happened, in words.
        trace: A digest of all that arrived.
    """

    def __init__(
        self,
        seed: int,
        *,
        ordered: bool = False,
        journalled: bool = False,
        settings: dict[str, dict[str, Any]] | None = None,
        snapshot_after: int | None = None,
    ) -> None:
        self.agenda = Agenda(BEGINNING)
        self.trace = hashlib.blake2b(digest_size=16)
        self.network = Network(self.agenda, seed, self._arrived)
        self.processes = Processes(self.agenda, self.network, seed)
        self.processes.on_fault = self._faulty
        self.random = random.Random(f"{seed} world")
        self.disk = Disk(random.Random(f"{seed} disk"))
        self.witness = Witness()
        self.faults: list[str] = []
        self.master: Process | None = None
        self.masters = 0
        self.ordered = ordered
        self.journalled = journalled
        self.messages = 0
        self._settings = settings or {}
        self._snapshot_after = SNAPSHOT_ENTRIES if snapshot_after is None else snapshot_after
        self._listener: tuple[Process, Callable[[Any], None]] | None = None
        self._stack = contextlib.ExitStack()
        self._folder = ""
        self._log = _Log(self.faults)

    def __enter__(self) -> Self:
        """Let the modules of the nodes see this world."""
        for place, replacement in self._replacements():
            module_name, _, name = place.rpartition(".")
            module = importlib.import_module(module_name)
            self._stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, replacement)
        self._stack.callback(setattr, this_process, "door", this_process.door)
        logger = logging.getLogger("concurro")
        before = logger.level, logger.propagate
        logger.addHandler(self._log)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        self._stack.callback(_restore, logger, self._log, before)
        if self.journalled:
            self._folder = self._stack.enter_context(make_folder())
        return self

    def __exit__(self, *facts: object) -> None:
        """Let them see the real one again."""
        self.end()
        self._stack.close()

    # Nodes

    def start_master(self) -> Process:
        """Start a master; the one before must be gone."""
        self.masters += 1
        journal = f"{self._folder}/journal" if self.journalled else ""
        own = {"listen": "tcp://127.0.0.1:8081", "journal": journal}
        config = {**self._settings, "master": {**own, **self._settings.get("master", {})}}

        def run(process: Process) -> None:
            node = process.node = MasterNode(config)
            process.on_stop = node._close  # noqa: SLF001 - what the node's own thread does
            node._open()  # noqa: SLF001

        process = self.master = self.processes.start(f"{MASTER} {self.masters}", MASTER, run)
        process.on_end = lambda status: self._master_ended(process, status)
        return process

    def start_slave(self, name: str, workers: int, resources: dict[str, float] | None = None) -> Process:
        """Start a slave on a machine of its own."""
        config = {
            "slave": {
                "master": "tcp://127.0.0.1:8081",
                "workers": workers,
                "resources": resources or {},
                "connect_timeout": 0.0,
            }
        }

        def run(process: Process) -> None:
            node = process.node = SlaveNode(config)
            process.on_stop = node._close  # noqa: SLF001 - what the node's own thread does
            node._open()  # noqa: SLF001

        return self.processes.start(name, name, run)

    def start_application(self, name: str, ready: Callable[[SimulatedApplication], None]) -> Process:
        """Start an application; `ready` is called in its first turn."""

        def run(process: Process) -> None:
            process.node = SimulatedApplication()
            process.node.begin()
            ready(process.node)

        return self.processes.start(name, name, run)

    def step(self) -> bool:
        """Let the next thing happen; return whether there was one."""
        return self.agenda.step()

    def end(self) -> None:
        """End every process."""
        self.processes.on_ended = _nothing
        for process in list(self.processes.living.values()):
            process.on_end = _nothing if process is not self.master else process.on_end
            process.kill()

    # What is replaced

    def _replacements(self) -> Iterator[tuple[str, Any]]:
        """Yield what the nodes' modules see: where, and what stands there."""
        here = self._here
        clock = types.SimpleNamespace(time=self.wall, time_ns=lambda: int(self.wall() * 1e9), monotonic=self._now)
        system = _Delegate(
            os,
            getpid=lambda: here().pid,
            urandom=self._entropy,
            uname=lambda: types.SimpleNamespace(nodename=here().machine),
        )
        ids = _Delegate(uuid, uuid4=self._uuid)
        # No memory is passed from one to another here: large values come in chunks, which messages may lose.
        yield "concurro.wire.blobs.SHARE_THRESHOLD", MAP_THRESHOLD
        yield "concurro.wire.transfer.SHARE_THRESHOLD", MAP_THRESHOLD
        yield "concurro.system.uuid", ids
        yield "concurro.journal.store.uuid", ids
        yield "concurro.journal.store.time", clock
        yield "concurro.nodes.keeper.time", clock
        yield "concurro.nodes.keeper.JournalWriter", lambda store, post: SimulatedWriter(self.disk, here().loop, store)  # noqa: ARG005
        yield "concurro.nodes.node.Loop", lambda: here().loop
        yield "concurro.nodes.application.Loop", lambda: here().loop
        yield "concurro.nodes.application.uuid", ids
        yield "concurro.nodes.application.os", system
        yield "concurro.nodes.application.platform", types.SimpleNamespace(node=lambda: here().machine)
        yield "concurro.nodes.slave.os", system
        yield "concurro.nodes.slave.platform", types.SimpleNamespace(node=lambda: here().machine)
        yield "concurro.nodes.dialer.connect", self._connect
        yield "concurro.nodes.dialer.uuid", ids
        yield "concurro.nodes.dialer.random", types.SimpleNamespace(random=self._random)
        yield "concurro.nodes.dialer.machine_id", lambda: here().machine
        yield "concurro.nodes.door.os", system
        yield "concurro.nodes.door.Listener", self._listen
        yield "concurro.nodes.door.has_ended", self._has_ended
        yield "concurro.nodes.master.os", system
        yield "concurro.nodes.master.time", clock
        yield "concurro.nodes.master.Launcher", lambda loop, **_: SimulatedLauncher(self.processes, loop)
        yield "concurro.nodes.master.HostProcesses", self._hosts
        at_hand = types.SimpleNamespace(of_main=lambda *_: _travelling())
        yield "concurro.nodes.application.Travelling", at_hand
        yield "concurro.nodes.host.Travelling", lambda *_: _travelling()
        yield "concurro.execution.task_runner.Travelling", lambda *_: _travelling()
        yield "concurro.nodes.host.StreamLink", lambda loop, stream, peer: stream  # noqa: ARG005
        yield "concurro.execution.agent.SlaveAgent", lambda loop, **more: ObservedAgent(loop, self.witness, **more)
        yield "concurro.execution.agent.Launcher", lambda loop, **_: SimulatedLauncher(self.processes, loop)
        yield "concurro.execution.agent.WorkerLink", self._worker_link
        yield "concurro.execution.agent.KernelKills", lambda: types.SimpleNamespace(look=lambda: None)
        yield "concurro.execution.agent.explain_kill", lambda peak, kills: ""  # noqa: ARG005
        yield "concurro.execution.agent.is_ending", lambda pid: pid not in self.processes.living
        yield "concurro.execution.worker_watch.state_of", self._state_of
        yield "concurro.scheduling.snapshots.SNAPSHOT_ENTRIES", self._snapshot_after

    def wall(self) -> float:
        """Return what clocks on walls say [s]."""
        return self.agenda.now - BEGINNING + WALL

    def _now(self) -> float:
        return self.agenda.now

    def _here(self) -> Process:
        current = self.processes.current
        assert current is not None  # noqa: S101 - code of nodes runs in the turns of processes
        return current

    def _random(self) -> float:
        return self._here().random.random()

    def _entropy(self, count: int) -> bytes:
        return self._here().random.randbytes(count)

    def _uuid(self) -> uuid.UUID:
        current = self.processes.current
        source = self.random if current is None else current.random
        return uuid.UUID(bytes=source.randbytes(16), version=4)

    def _hosts(self, *arguments: Any) -> SimulatedHosts:
        hosts = SimulatedHosts(*arguments)
        hosts.network = self.network
        return hosts

    def _worker_link(self, loop: Any, worker_id: int, on_output: Any) -> SimulatedWorkerLink:
        del on_output
        return SimulatedWorkerLink(self.network, self.witness, loop, worker_id)

    def _state_of(self, pid: int) -> str:
        process = self.processes.living.get(pid)
        return "X" if process is None else "T" if process.loop.frozen else "S"

    def _has_ended(self, machine: str, pid: int) -> bool:
        return machine == self._here().machine and pid not in self.processes.living

    # The way to the master

    def _listen(self, loop: Any, url: str, knock: Callable[[Any], None], *_: Any) -> Any:
        del loop
        listener = self._listener = (self._here(), knock)

        def close() -> None:
            if self._listener is listener:
                self._listener = None

        return types.SimpleNamespace(url=url, own_folder=None, on_failed=None, close=close)

    def _connect(self, loop: SimulatedLoop, url: str, keys: Any, role: Role, *, probe: bool = True) -> SimulatedLink:
        del url, keys
        dialling, listener = self._here(), self._listener
        if listener is None and (probe or self.ordered):
            raise ConnectionRefusedError(111, "Connection refused")
        cut = max(
            self.network.way(dialling.machine, MASTER).cut_until, self.network.way(MASTER, dialling.machine).cut_until
        )
        if probe and not self.ordered and cut > self.agenda.now:
            raise TimeoutError(110, "timed out")
        identity = Identity(dialling.machine, frozenset({role}), f"key of {dialling.machine}")
        loops = (loop, None if listener is None else listener[0].loop)
        machines = (dialling.machine, MASTER)
        ours, theirs = self.network.connect(
            loops, machines, f"{dialling.name}-{MASTER}", ordered=self.ordered, identity=identity
        )
        if listener is None:
            theirs.close()
            return ours
        knock = listener[1]

        def first(frames: list[Any]) -> None:
            knock(theirs)
            theirs.on_message(frames)

        theirs.on_message = first
        return ours

    # What happens

    def _master_ended(self, process: Process, status: int) -> None:
        keeper = getattr(process.node, "_keeper", None)
        if self._listener is not None and self._listener[0] is process:
            self._listener = None
        if self.master is process:
            self.master = None
        if keeper is not None and status:
            keeper._writer.crash()  # noqa: SLF001 - what the kernel does to a process
            keeper._store.close()  # noqa: SLF001
            keeper._folder.close()  # noqa: SLF001

    def _arrived(self, name: str, frames: list[Any]) -> None:
        self.messages += 1
        self.trace.update(f"{self.agenda.now:.7f} {name} ".encode())
        for frame in frames:
            self.trace.update(frame)

    def _faulty(self, process: Process, fault: BaseException) -> None:
        trace = fault.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        self.faults.append(f"the loop of {process.name} failed: {type(fault).__name__}: {fault}{where}")
        process.end(256)


class SimulatedApplication(ApplicationNode):
    """An application without a thread: its loop is that of its process."""

    def __init__(self) -> None:
        super().__init__("tcp://127.0.0.1:8081", config={}, main_file=None)
        self.handles: dict[str, SystemHandle] = {}
        self.on_welcome: Callable[[], None] = _nothing

    def _build(self, master: str, packer: Packer) -> None:
        del packer
        super()._build(master, Packer(BlobStore(), _travelling()))

    def begin(self) -> None:
        """Dial, and serve."""
        loop: Any = self._loop
        self._state = "open"
        loop.on_flush(self._flush)
        keep_beating(loop, lambda: [self._peer] if self._peer is not None else [])
        self._dial()

    def _join(self, peer: Any, welcome: list[Any]) -> None:
        super()._join(peer, welcome)
        welcomed, self.on_welcome = self.on_welcome, _nothing
        welcomed()

    def hand_in(self, system: TaskSystem, options: dict[str, Any]) -> SystemHandle:
        """Submit a system without waiting."""
        name = type(system).__qualname__
        handle = SystemHandle(system.system_id, name, self)
        payload, blobs = self._packer.dumps(system, ("system", system.system_id), name)
        body = [system.system_id, name, payload, blobs, options]
        self.handles[system.system_id] = handle
        self._post(lambda: self._core.submit(handle, body))
        return handle

    def follow(self, system_id: str) -> SystemHandle:
        """Attach to a system without waiting."""
        handle = self.handles[system_id] = SystemHandle(system_id, "attached", self)
        self._post(lambda: self._core.attach(handle))
        return handle


class _Delegate:
    """A module with some of its functions replaced."""

    def __init__(self, module: types.ModuleType, **replaced: Any) -> None:
        self.__dict__.update(replaced)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class _Log(logging.Handler):
    """Takes what the nodes log: an unforeseen error is a fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__()
        self._faults = faults
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note an error that was caught and logged."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None:
            self._faults.append(f"{record.getMessage()}: {type(error).__name__}: {error}")


@functools.cache
def _travelling() -> Travelling:
    """Return what says that nothing travels by value.

    Looking at every module takes its time.
    """
    return Travelling()


def _restore(logger: logging.Logger, handler: logging.Handler, before: tuple[int, bool]) -> None:
    logger.removeHandler(handler)
    logger.level, logger.propagate = before[0], before[1]
    logger.setLevel(before[0])


def _nothing(*facts: Any) -> None:
    """Do nothing."""
