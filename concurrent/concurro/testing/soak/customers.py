"""Applications that submit system after system, and check each result."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from concurro.errors import ClosedError, ConcurroError, HostLost, MasterUnreachable
from concurro.nodes.application import ApplicationNode
from concurro.testing.soak.jobs import Once
from concurro.testing.soak.menu import fault_of_once, make_job
from concurro.testing.soak.tasks import Number

if TYPE_CHECKING:
    import random

    from concurro.nodes.handle import SystemHandle
    from concurro.testing.soak.account import Account
    from concurro.testing.soak.faults import Killer
    from concurro.testing.soak.menu import Job
    from concurro.testing.soak.nodes import Nodes

RESULT_LIMIT = 150.0
"""How long a system may take, whatever strikes [s]."""

CONNECT_LIMIT = 60.0
PLAIN_TASKS = 30


class Desk:
    """An application of the soak; another one when it had to give up.

    Thread-safe.

    Args:
        nodes: The cluster.
        name: For people.
    """

    def __init__(self, nodes: Nodes, name: str) -> None:
        self.name = name
        self._url = nodes.add_net(name).url
        table = {"connect_timeout": CONNECT_LIMIT, "output": False}
        self._config = {"application": table, "security": nodes.security}
        self._lock = threading.Lock()
        self._node: ApplicationNode | None = None

    def node(self) -> ApplicationNode:
        """Return the application."""
        with self._lock:
            if self._node is None:
                self._node = ApplicationNode(self._url, config=self._config)
            return self._node

    def give_up(self, node: ApplicationNode) -> None:
        """Close an application that lost its master."""
        with self._lock:
            if self._node is node:
                self._node = None
        node.close()

    def close(self) -> None:
        """Close it."""
        with self._lock:
            node, self._node = self._node, None
        if node is not None:
            node.close()


class Customer(threading.Thread):
    """Runs jobs until it is told to stop.

    Args:
        desks: Applications; the first is its own, another one takes detached results.
        killer: Knows which faults excuse which end.
        chance: Decides.
        account: Takes what is wrong.
        closing: Set when it is to begin nothing new.

    Attributes:
        done: How many jobs of each kind ended well.
        busy: What it waits for, and since when, monotonic [s]; None when for nothing.
        system_id: Of the system that it waits for.
        dismissed: Whether nobody wants to know any more how its job ends.
    """

    def __init__(  # noqa: PLR0913 - what it needs
        self,
        number: int,
        desks: tuple[Desk, Desk],
        killer: Killer,
        chance: random.Random,
        account: Account,
        closing: threading.Event,
    ) -> None:
        super().__init__(name=f"soak-customer-{number}", daemon=True)
        self.done: Counter[str] = Counter()
        self.lost_hosts = 0
        self.busy: tuple[str, float] | None = None
        self.system_id = ""
        self.dismissed = False
        self._number = number
        self._desk, self._other = desks
        self._killer = killer
        self._chance = chance
        self._account = account
        self._closing = closing
        self._count = 0

    def run(self) -> None:
        """Run jobs."""
        while not self._closing.is_set():
            self._count += 1
            try:
                self._next()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what the soak looks for
                what = self.busy[0] if self.busy else "between two jobs"
                self._blame(f"{self.name}, {what}: {type(error).__name__}: {error}")
            self.busy = None

    def _next(self) -> None:
        if self._chance.random() < 0.1:  # noqa: PLR2004 - one of ten
            self._push_plain_tasks()
            return
        job = make_job(self._chance, str(self._account.folder), 1000 * self._number + self._count)
        began = time.monotonic()
        self.system_id = job.system.system_id
        self.busy = f"{job.name}, system {self.system_id}", began
        fault = self._run(job, began)
        if fault:
            self._blame(f"{job.name}, system {self.system_id}: {fault}")
        else:
            self.done[type(job.system).__name__] += 1

    def _blame(self, text: str) -> None:
        if not self.dismissed:
            self._account.blame(text)

    # Systems

    def _run(self, job: Job, began: float) -> str:
        """Run a job; return what is wrong with how it ended."""
        deadline = began + RESULT_LIMIT
        desk, accepted, moved = self._desk, False, False
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return f"did not end within {RESULT_LIMIT:g} s"
            node = desk.node()
            try:
                if accepted:
                    handle = node.attach(self.system_id)
                else:
                    handle = node.submit(job.system, detach=job.detached, restarts=job.restarts)
                    accepted = True
                if job.detached and desk is self._desk:
                    desk, moved = self._other, True
                    continue
                return self._check(job, handle, left, whole=not moved)
            except (MasterUnreachable, ClosedError):
                moved = True
                desk.give_up(node)
            except TimeoutError as error:
                return f"{error or 'no result in time'}"
            except HostLost as error:
                if job.restarts or not self._killer.excuse_lost_host(began):
                    return f"it ended with its host: {error}"
                self.lost_hosts += 1
                return ""

    def _check(self, job: Job, handle: SystemHandle, left: float, *, whole: bool) -> str:
        if job.cancel_after is not None:
            return _check_cancelled(job, handle, left)
        result = handle.result(left)
        if isinstance(job.system, Once):
            return fault_of_once(job, result)
        if result != job.system.expected:
            return f"gave {result!r} instead of {job.system.expected!r}"
        if job.published is not None and whole:
            published = sorted(handle.partial_results())
            if published != job.published:
                return f"published {published!r} instead of {job.published!r}"
        return ""

    # Plain tasks

    def _push_plain_tasks(self) -> None:
        """Push tasks without a system: a lost connection takes them with it."""
        began = time.monotonic()
        self.system_id = ""
        self.busy = "plain tasks", began
        node = self._desk.node()
        try:
            futures = node.push_tasks(Number(number, 0.01) for number in range(PLAIN_TASKS))
        except (MasterUnreachable, ClosedError):
            self._desk.give_up(node)
            return
        for number, future in enumerate(futures):
            try:
                value = future.result(max(1.0, began + RESULT_LIMIT - time.monotonic()))
            except (MasterUnreachable, ClosedError) as error:
                if not any(at > began - CONNECT_LIMIT for at in self._killer.master_struck):
                    self._blame(f"a plain task was lost although the master was not touched: {error}")
                return
            except ConcurroError as error:
                if getattr(error, "type_name", "") != "WorkerLost" and type(error).__name__ != "WorkerLost":
                    self._blame(f"plain task {number}: {error!r}")
                continue
            if value != number:
                self._blame(f"plain task {number} gave {value!r}")
        self.done["plain tasks"] += 1


def _check_cancelled(job: Job, handle: SystemHandle, left: float) -> str:
    time.sleep(job.cancel_after or 0.0)
    handle.cancel()
    try:
        result: Any = handle.result(left)
    except CancelledError:
        return ""
    return f"gave {result!r} although it was cancelled"
