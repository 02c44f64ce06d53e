"""What a soak does to a cluster: fault after fault, each undone in time."""

from __future__ import annotations

import heapq
import itertools
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import psutil

from concurro.testing.fault_proxy import FROM_MASTER, TO_MASTER

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from concurro.testing.soak.account import Account
    from concurro.testing.soak.nodes import NodeProcess, Nodes

GROUPS = ("slave", "master", "network")

SHORT, LONG = (0.1, 2.5), (10.5, 13.0)
"""How long something is stopped or cut off: shorter, or longer than a slave may be silent [s]."""

SHARE_LONG = 0.08
LAUNCHERS_PER_MINUTE = 3
"""A node that loses more of them in a minute gives up, and says so."""


STARTING = 8
"""As many hosts may be ordered of a launcher, and not be there yet."""


class Fault(NamedTuple):
    """A kind of fault.

    Attributes:
        group: Which of `GROUPS`.
        weight: How often, beside the others.
        strike: Does it; returns what it did, or an empty text when there was nobody to do it to.
    """

    group: str
    weight: int
    strike: Callable[[], str]


class Killer:
    """Strikes. One thread.

    Args:
        nodes: At whom.
        groups: With what.
        chance: Decides.
        account: Is told.

    Attributes:
        counts: How often, by the name of the fault.
        master_struck: When the master was killed or ended, monotonic [s].
    """

    def __init__(self, nodes: Nodes, groups: tuple[str, ...], chance: random.Random, account: Account) -> None:
        self.counts: Counter[str] = Counter()
        self._hosts_struck: list[float] = []  # when, for each host that was killed, monotonic [s]
        self._lock = threading.Lock()
        self.master_struck: list[float] = []
        self._nodes = nodes
        self._chance = chance
        self._account = account
        self._undoing: list[tuple[float, int, str, Callable[[], None]]] = []
        self._order = itertools.count()
        self._launchers: list[tuple[int, float]] = []
        faults = {
            "kill a worker": Fault("slave", 5, lambda: self._signal_worker(signal.SIGKILL)),
            "stop a worker": Fault("slave", 2, lambda: self._signal_worker(signal.SIGSTOP)),
            "kill a slave": Fault("slave", 3, lambda: self._end_node(self._slave(), signal.SIGKILL)),
            "stop a slave": Fault("slave", 2, lambda: self._stop_node(self._slave())),
            "end a slave": Fault("slave", 2, lambda: self._end_node(self._slave(), signal.SIGTERM)),
            "kill a slave's launcher": Fault("slave", 2, lambda: self._kill_launcher(self._slave())),
            "kill a host": Fault("master", 2, lambda: self._signal_host(signal.SIGKILL)),
            "stop a host": Fault("master", 2, lambda: self._signal_host(signal.SIGSTOP)),
            "kill the master": Fault("master", 4, lambda: self._end_node(nodes.master, signal.SIGKILL)),
            "stop the master": Fault("master", 2, lambda: self._stop_node(nodes.master)),
            "end the master": Fault("master", 2, lambda: self._end_node(nodes.master, signal.SIGTERM)),
            "kill the master's launcher": Fault("master", 1, lambda: self._kill_launcher(nodes.master)),
            "cut": Fault("network", 3, self._cut),
            "delay": Fault("network", 2, self._delay),
            "slow down": Fault("network", 1, self._throttle),
            "one way": Fault("network", 2, self._hold),
            "half open": Fault("network", 2, self._swallow),
            "refuse": Fault("network", 2, self._refuse),
        }
        self._faults = {name: fault for name, fault in faults.items() if fault.group in groups}

    def strike(self) -> None:
        """Do something bad."""
        weights = [fault.weight for fault in self._faults.values()]
        [name] = self._chance.choices(list(self._faults), weights)
        done = self._faults[name].strike()
        if done:
            self.counts[name] += 1
            self._account.say(f"{name}: {done}")

    def undo_due(self) -> None:
        """End what has lasted long enough."""
        while self._undoing and self._undoing[0][0] <= time.monotonic():
            self._undo()

    def undo_all(self) -> None:
        """End everything that lasts."""
        while self._undoing:
            self._undo()

    def _undo(self) -> None:
        _, _, text, undo = heapq.heappop(self._undoing)
        undo()
        self._account.say(text)

    def _later(self, seconds: float, text: str, undo: Callable[[], None]) -> None:
        heapq.heappush(self._undoing, (time.monotonic() + seconds, next(self._order), text, undo))

    def _a_while(self) -> float:
        return self._chance.uniform(*(LONG if self._chance.random() < SHARE_LONG else SHORT))

    def excuse_lost_host(self, began: float) -> bool:
        """Say whether a host was killed since then that nobody missed yet."""
        with self._lock:
            for at in self._hosts_struck:
                if at >= began:
                    self._hosts_struck.remove(at)
                    return True
        return False

    # Processes

    def _note_hosts(self, count: int) -> None:
        with self._lock:
            self._hosts_struck += [time.monotonic()] * count

    def _slave(self) -> NodeProcess | None:
        there = [slave for slave in self._nodes.slaves if slave.may_be_touched]
        return self._chance.choice(there) if there else None

    def _end_node(self, node: NodeProcess | None, number: int) -> str:
        pid = None if node is None else node.pid
        if node is None or pid is None or not node.strike(number):
            return ""
        if node is self._nodes.master:
            self.master_struck.append(time.monotonic())
        return f"{node.name}, process {pid}, {signal.Signals(number).name}"

    def _stop_node(self, node: NodeProcess | None) -> str:
        pid = None if node is None else node.pid
        if node is None or pid is None or not node.may_be_touched:
            return ""
        return self._stop(pid, f"{node.name}, process {pid}")

    def _signal_worker(self, number: int) -> str:
        node = self._slave()
        workers = [] if node is None else _grandchildren(node)
        if node is None or not workers:
            return ""
        return self._signal(self._chance.choice(workers), number, f"worker of {node.name}")

    def _signal_host(self, number: int) -> str:
        hosts = _grandchildren(self._nodes.master)
        if not hosts:
            return ""
        if number == signal.SIGKILL:
            self._note_hosts(1)
        return self._signal(self._chance.choice(hosts), number, "host")

    def _kill_launcher(self, node: NodeProcess | None) -> str:
        launchers = [] if node is None else _children(node.pid)
        now = time.monotonic()
        self._launchers = [(pid, at) for pid, at in self._launchers if at > now - 60.0]
        if node is None or node.pid is None or len(launchers) != 1:
            return ""
        if sum(pid == node.pid for pid, _ in self._launchers) >= LAUNCHERS_PER_MINUTE:
            return ""
        self._launchers.append((node.pid, now))
        if node is self._nodes.master:
            self._note_hosts(max(STARTING, len(_children(launchers[0]))))
        return self._signal(launchers[0], signal.SIGKILL, f"launcher of {node.name}")

    def _signal(self, pid: int, number: int, who: str) -> str:
        if number == signal.SIGSTOP:
            return self._stop(pid, f"{who}, process {pid}")
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return ""
        return f"{who}, process {pid}, {signal.Signals(number).name}"

    def _stop(self, pid: int, who: str) -> str:
        process = psutil.Process(pid)  # remembers when it began: another one of that number is left alone
        seconds = self._a_while()
        try:
            process.suspend()
        except psutil.NoSuchProcess:
            return ""

        def go_on() -> None:
            with suppress(psutil.NoSuchProcess):
                process.resume()

        self._later(seconds, f"goes on: {who}", go_on)
        return f"{who}, for {seconds:.1f} s"

    # Networks

    def _net(self) -> str:
        return self._chance.choice(list(self._nodes.nets))

    def _cut(self) -> str:
        name, reset = self._net(), self._chance.random() < 0.5  # noqa: PLR2004 - one half
        self._nodes.nets[name].cut(reset=reset)
        return f"of {name}, {'RST' if reset else 'FIN'}"

    def _swallow(self) -> str:
        name = self._net()
        self._nodes.nets[name].swallow()
        return f"of {name}"

    def _delay(self) -> str:
        name, delay, seconds = self._net(), self._chance.uniform(0.01, 0.5), self._a_while()
        net = self._nodes.nets[name]
        net.delay(delay)
        self._later(seconds, f"no longer delayed: {name}", lambda: net.delay(0.0))
        return f"of {name} by {delay:.2f} s, for {seconds:.1f} s"

    def _throttle(self) -> str:
        name, rate, seconds = self._net(), self._chance.uniform(1e5, 5e6), self._a_while()
        net = self._nodes.nets[name]
        net.throttle(rate)
        self._later(seconds, f"no longer slow: {name}", lambda: net.throttle(float("inf")))
        return f"{name} to {rate / 1e6:.1f} MB/s, for {seconds:.1f} s"

    def _hold(self) -> str:
        name, direction, seconds = self._net(), self._chance.choice([TO_MASTER, FROM_MASTER]), self._a_while()
        net = self._nodes.nets[name]
        net.hold(direction)
        self._later(seconds, f"no longer one way: {name}", net.release)
        way = "to the master" if direction == TO_MASTER else "from the master"
        return f"{name}, nothing {way} for {seconds:.1f} s"

    def _refuse(self) -> str:
        name, seconds = self._net(), self._a_while()
        net = self._nodes.nets[name]
        net.refuse()
        net.cut()
        self._later(seconds, f"no longer refused: {name}", lambda: net.refuse(refusing=False))
        return f"{name}, for {seconds:.1f} s"


def _children(pid: int | None) -> list[int]:
    try:
        return [] if pid is None else [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


def _grandchildren(node: NodeProcess) -> list[int]:
    return sorted(pid for launcher in _children(node.pid) for pid in _children(launcher))
