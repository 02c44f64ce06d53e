"""What must be true at every moment, looked at from outside the cores.

a master   every open task has one lease or none, known to one slave; sums of resources and counts fit
a slave    every lease is in one place; results are kept until acknowledged
a session  never more acknowledged than sent; what is kept is bounded
a host     each task finished once
all        `Ledger`: a lease is of one attempt for ever; max_retries=0 runs once; crashes are bounded
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from concurro.records import BlobUse
from concurro.wire.session import KEPT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from concurro.nodes.peer import Peer
    from concurro.testing.simulated_workers import Execution

# The point is to look at what nobody may look at.
# ruff: noqa: SLF001

MOST_UNDER_WAY = 2
CRASH_LIMIT = 3


def check_master(node: Any) -> Iterator[str]:
    """Yield what is wrong with a master, in words."""
    core = node._core
    held: Counter[tuple[int, int]] = Counter()
    for slave in core.slaves.values():
        taken: dict[str, float] = {}
        for lease, task in slave.leases.items():
            number = task.number
            held[task.system.number, number] += 1
            copy = task.copy.lease if task.copy is not None else 0
            if lease not in (task.lease, copy):
                yield f"slave {slave.id} holds lease {lease} of task {task.id}, whose lease is {task.lease}"
            if task.system.open.get(number) is not task:
                yield f"slave {slave.id} holds lease {lease} of task {task.id}, which is final"
            for name, amount in task.requires.items():
                taken[name] = taken.get(name, 0.0) + amount
        for name, offered in slave.resources.items():
            free = slave.free.get(name, 0.0)
            if abs(free - (offered - taken.get(name, 0.0))) > 1e-9:  # noqa: PLR2004 - rounding
                yield f"slave {slave.id} has {free:g} of {name} free, offered {offered:g}, taken {taken.get(name, 0):g}"
    for life in node._table.lives():
        yield from _check_life(life, held)
    yield from _check_parts(node)
    for peer in node._peers.values():
        yield from _check_session(peer)


def _check_life(life: Any, held: Counter[tuple[int, int]]) -> Iterator[str]:
    record = life.record
    leased = size = 0
    use = BlobUse()
    for task in record.open.values():
        size += len(task.payload) + use.add(task.blobs or [])
        count = held[record.number, task.number]
        if task.lease:
            leased += 1
        wanted = (1 if task.lease else 0) + (1 if task.copy is not None else 0)
        if count != wanted:
            yield f"task {task.id} has {wanted} leases, slaves hold {count}"
    if leased != record.leased:
        yield f"system {record.system_id} counts {record.leased} leased tasks, {leased} have a lease"
    if size != record.open_bytes:
        yield f"system {record.system_id} counts {record.open_bytes} B of open tasks, they have {size} B"
    if len(life.flow._under_way) > MOST_UNDER_WAY:
        yield f"system {record.system_id} has {len(life.flow._under_way)} inputs under way"
    if min(record.done, record.failed, record.cancelled) < 0:
        yield f"system {record.system_id} has counts below zero"


def _check_parts(node: Any) -> Iterator[str]:
    """Yield what the relay keeps of tasks that are over, in words."""
    for owner, digests in node._relay._owned.items():
        if not isinstance(owner, tuple) or owner[0] != "tasks":
            continue
        life = node._table.life(owner[1])
        if life is None:
            yield f"the relay knows parts of tasks of system {owner[1]}, which is forgotten"
            continue
        record = life.record
        over = [digest for digest in digests if digest not in record.blob_use and digest not in record.unused]
        if over:
            yield f"the relay knows {len(over)} parts that no open task of system {record.system_id} uses"


def check_slave(node: Any) -> Iterator[str]:
    """Yield what is wrong with a slave, in words."""
    agent = node._agent
    if agent is None:
        return
    core = agent.core
    twice = [lease for lease, count in Counter(core.inventory()).items() if count > 1]
    if twice:
        yield f"the slave holds leases {twice} in two places"
    both = core._outbox.kept.keys() & set(core.inventory())
    if both:
        yield f"the slave holds leases {sorted(both)}, and has results of them"
    if node._peer is not None:
        yield from _check_session(node._peer)


def check_application(node: Any) -> Iterator[str]:
    """Yield what is wrong with an application, in words."""
    if node._peer is not None:
        yield from _check_session(node._peer)
    plain = node._core.plain
    if plain.sent < 0 or plain.sent > node._core.credit:
        yield f"an application has {plain.sent} plain tasks under way, its credit is {node._core.credit}"


def check_host(node: Any) -> Iterator[str]:
    """Yield what is wrong with a host and its job, in words."""
    core = node._core
    if core is not None:
        yield from core._system.faults


def _check_session(peer: Peer) -> Iterator[str]:
    session: Any = peer.session
    if not session.lasting:
        return
    if session.acknowledged > session.sent:
        yield f"{peer.id or 'a master'} acknowledged {session.acknowledged} messages, {session.sent} were sent"
    kept = sum(size for _, size in session._kept)
    if kept != session.kept_bytes or len(session._kept) != session.sent - session.acknowledged:
        yield f"the session with {peer.id or 'a master'} keeps {len(session._kept)} messages of {kept} B, counts differ"
    if kept > 2 * KEPT_LIMIT:
        yield f"the session with {peer.id or 'a master'} keeps {kept} B"


class Ledger:
    """What was seen to run, and whether it might."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int], list[Execution]] = {}
        self._heard: set[int] = set()
        self._of_lease: dict[int, tuple[str, int, int]] = {}

    def started(self, execution: Execution) -> Iterator[str]:
        """Yield what is wrong with a task that begins, in words."""
        key = (execution.system, execution.number)
        name = f"task {key[0]}:{key[1]}"
        before = self._runs.setdefault(key, [])
        who = (*key, execution.attempt)
        if self._of_lease.setdefault(execution.lease, who) != who:
            yield f"lease {execution.lease} is of {self._of_lease[execution.lease]} and of {who}"
        if any(run.lease == execution.lease for run in before):
            yield f"{name} runs twice under lease {execution.lease}"
        if execution.plan.max_retries == 0 and before:
            yield f"{name} has max_retries=0 and runs {len(before) + 1} times"
        crashes = sum(run.end == "crashed" and run.lease in self._heard for run in before)
        if crashes >= CRASH_LIMIT:
            yield f"{name} took {crashes} workers with it, and runs again"
        before.append(execution)

    def check(self) -> Iterator[str]:
        """Yield which tasks took too many workers with them, in words."""
        for (system, number), runs in self._runs.items():
            crashes = sum(run.end == "crashed" and run.lease in self._heard for run in runs)
            if crashes > CRASH_LIMIT:
                yield f"task {system}:{number} took {crashes} workers with it"

    def acknowledged(self, leases: Collection[int]) -> None:
        """Note that a master has results; crashes among them count."""
        self._heard.update(leases)

    def killed(self, leases: Collection[int]) -> None:
        """Note that a master does not know leases: it counts no crash of them."""
        for lease in leases:
            if lease in self._of_lease and lease not in self._heard:
                system, number, _ = self._of_lease[lease]
                for run in self.runs(system, number):
                    if run.lease == lease and run.end == "crashed":
                        run.end = "lost"

    def forgive(self, system: str, numbers: range) -> None:
        """Let crashes of tasks not count, as nobody can know of them."""
        for number in numbers:
            for run in self.runs(system, number):
                run.end = "lost" if run.end == "crashed" else run.end

    def runs(self, system: str, number: int) -> list[Execution]:
        """Return the executions of a task."""
        return self._runs.get((system, number), [])
