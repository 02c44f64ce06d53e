"""Processes in virtual time: born, frozen, ended.

Processes.start(name, machine, run) --> Process: a loop, connections, children
    crash: its loop turns no more, its connections end, its children end with it
    freeze, thaw: time passes, and it does not turn

node --fork_worker, execute_host, kill--> SimulatedLauncher --on_started, on_ended--> node
"""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING, Any

from concurro.testing.simulated_time import SimulatedLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.testing.simulated_network import Network
    from concurro.testing.simulated_time import Agenda

BIRTH = 0.002
"""What it takes to fork a worker [s]."""

HOST_BIRTH = 0.03
"""What it takes to execute a host [s]."""


class Process:
    """A process.

    Attributes:
        name: Unique among the living.
        machine: Where it runs.
        pid: Its number; never used again.
        loop: Its loop.
        random: What is random in it.
        node: What runs in it.
        alive: Whether it has not ended.
        on_end: Called with the wait status when it has ended.
        on_stop: Called in its last turn when it ends by itself.
    """

    def __init__(self, processes: Processes, name: str, machine: str, pid: int) -> None:
        self.name = name
        self.machine = machine
        self.pid = pid
        self.alive = True
        self.node: Any = None
        self.children: list[Process] = []
        self.random = random.Random(f"{processes.seed} {name} {pid}")
        self.on_end: Callable[[int], None] = _nothing
        self.on_stop: Callable[[], None] = _nothing
        self.loop = SimulatedLoop(processes.agenda, processes.turn_cost, lambda turn: processes.turn(self, turn))
        self.loop.process = self  # type: ignore[attr-defined]  # the tests of a world look it up
        self._processes = processes

    def __repr__(self) -> str:
        return f"{self.name} ({self.pid})"

    def end(self, status: int = 0) -> None:
        """End, and let everybody notice. Idempotent.

        Args:
            status: As `wait` gives it.
        """
        self._processes.end(self, status)

    def kill(self) -> None:
        """End by SIGKILL."""
        self.end(int(signal.SIGKILL))


class Processes:
    """Every living process.

    Args:
        agenda: The time.
        network: Whose connections end with their processes.
        seed: Of what is random in processes.

    Attributes:
        current: Whose turn it is; None between turns.
        living: By pid.
        turn_cost: What a turn takes at least [s].
        on_fault: Called with a process and what its loop raised.
        on_turn: Called behind each turn with its process.
        on_ended: Called with each process that has ended.
    """

    def __init__(self, agenda: Agenda, network: Network, seed: int) -> None:
        self.agenda = agenda
        self.network = network
        self.seed = seed
        self.turn_cost = 1e-5
        self.current: Process | None = None
        self.living: dict[int, Process] = {}
        self.on_fault: Callable[[Process, BaseException], None] = _raise
        self.on_turn: Callable[[Process], None] = _nothing
        self.on_ended: Callable[[Process], None] = _nothing
        self._pids = 0

    def start(self, name: str, machine: str, run: Callable[[Process], None], parent: Process | None = None) -> Process:
        """Start a process that calls `run` in its first turn."""
        self._pids += 1
        process = Process(self, name, machine, 1000 + self._pids)
        self.living[process.pid] = process
        if parent is not None:
            parent.children.append(process)
        process.loop.post(lambda: run(process))
        return process

    def turn(self, process: Process, turn: Callable[[], None]) -> None:
        """Let a process have its turn."""
        self.current = process
        try:
            turn()
            if process.loop.stopping:
                process.on_stop()
        except Exception as fault:  # noqa: BLE001 - whatever it is, the real process would end with it
            self.on_fault(process, fault)
        finally:
            self.current = None
        if process.loop.stopping and process.alive:
            self.end(process, 0)
        self.on_turn(process)

    def end(self, process: Process, status: int) -> None:
        """End a process and its children; what they have is closed by the kernel."""
        if not process.alive:
            return
        process.alive = False
        process.loop.end()
        self.living.pop(process.pid, None)
        for connection, end in self.network.of_loop(process.loop):
            # What was sent and not taken by the kernel is lost with the process.
            connection.break_off(end, keep=process.random.randrange(4) if status else None)
        for child in process.children:
            self.end(child, int(signal.SIGKILL))
        process.on_end(status)
        self.on_ended(process)


class SimulatedLauncher:
    """Stands for `Launcher` and `Nursery`.

    Starts children of the process that has it. Loop thread only. `fds` are what the child gets: objects here.
    """

    def __init__(self, processes: Processes, loop: SimulatedLoop) -> None:
        self.on_started: Callable[[int, int], None] = _nothing
        self.on_ended: Callable[[int, int, int, int], None] = _nothing
        self.on_failed: Callable[[int, str], None] = _nothing
        self.on_lost: Callable[[str], None] = _nothing
        self.running = False
        self.pid: int | None = None
        self._processes = processes
        self._loop = loop
        self._owner: Process = loop.process  # type: ignore[attr-defined]
        self._children: dict[int, Process] = {}

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the living children, by child id."""
        return {child_id: child.pid for child_id, child in self._children.items()}

    def start(self) -> None:
        """Run; orders may be given at once."""
        self.running = True

    def fork_worker(self, child_id: int, fds: Sequence[Any]) -> None:
        """Start a worker: the first of `fds` makes it."""
        self._start(child_id, f"{self._owner.name} worker {child_id}", fds[0], BIRTH)

    def execute_host(self, child_id: int, argv: Sequence[str], fds: Sequence[Any] = ()) -> None:
        """Start a host of the system `argv[0]`: the first of `fds` makes it."""
        self._start(child_id, f"host {argv[0]}", fds[0], HOST_BIRTH)

    def prepare(self, module: str) -> None:
        """Do nothing: everything is imported here."""

    def kill(self, child_id: int, number: int = signal.SIGKILL, *, group: bool = True) -> None:
        """Send a signal to a child."""
        del group
        child = self._children.get(child_id)
        if child is None:
            return
        if number == signal.SIGKILL:
            self._processes.agenda.after(1e-4, child.kill)
        else:
            child.loop.post(child.node.nudge)

    def stop(self) -> None:
        """End every child. Idempotent."""
        self.running = False
        for child in list(self._children.values()):
            child.on_end = _nothing
            child.kill()
        self._children.clear()

    def lose(self, reason: str) -> None:
        """End as if a task had killed it: every child ends, and the node is told."""
        self.stop()
        self._loop.arrive(lambda: self.on_lost(reason))

    def _start(self, child_id: int, name: str, make: Callable[[Process], None], birth: float) -> None:
        if not self.running:
            return
        child = self._processes.start(name, self._owner.machine, _nothing, self._owner)
        self._children[child_id] = child
        child.on_end = lambda status: self._ended(child_id, child.pid, status)
        child.loop.freeze()
        child.loop.post(lambda: make(child))
        self._processes.agenda.after(birth, child.loop.thaw)
        self._processes.agenda.after(birth / 2, lambda: self._loop.arrive(lambda: self.on_started(child_id, child.pid)))

    def _ended(self, child_id: int, pid: int, status: int) -> None:
        self._children.pop(child_id, None)
        self._loop.arrive(lambda: self.on_ended(child_id, pid, status, 0))


def _nothing(*facts: Any) -> None:
    """Do nothing: nobody listens."""


def _raise(process: Process, fault: BaseException) -> None:
    del process
    raise fault
