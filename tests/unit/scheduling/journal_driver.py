"""Drives a master with a journal, and one that comes back from it."""

from __future__ import annotations

from concurro.scheduling.commands import Record, StartHost
from concurro.scheduling.core import SchedulerCore
from concurro.scheduling.rows import (
    AttemptCrashed,
    CancelAsked,
    GenerationBegun,
    InputApplied,
    KeptSystem,
    PublicationsTaken,
    SnapshotTaken,
    SystemAccepted,
    SystemEnded,
)
from concurro.scheduling.systems import SystemTable
from concurro.wire.messages import Kind
from tests.unit.scheduling.cluster import rated
from tests.unit.scheduling.system_driver import Master

SQUARE = [0, "Square", 0, None, None, {}, b"code", []]
ONCE = [0, "Square", 0, None, 0, {}, b"code", []]


class KeptMaster(Master):
    """A master with a journal that is on disk when the test says so."""

    def __init__(self, kept=(), first=1):
        super().__init__()
        self.core = SchedulerCore(rated(), journalled=True)
        self.table = SystemTable(self.core, journalled=True, first=first)
        self.rows = []
        self.records = []
        self.table.advance(self.now, 1e9 + self.now)
        for one in kept:
            self.table.recover(one, self.now, 1e9 + self.now)

    def take(self, kind=None):
        """Return commands as any master; records stay until they are committed."""
        self.gather()
        return super().take(kind)

    def gather(self):
        for command in self.table.take_commands():
            (self.records if isinstance(command, Record) else self.log).append(command)

    def commit(self):
        """Let everything that was recorded be on disk; return the rows."""
        rows = []
        self.gather()
        while self.records:
            record = self.records.pop(0)
            rows += record.rows
            self.table.recorded(record.token, self.now)
            self.gather()
        self.rows += rows
        return rows

    def kept(self):  # noqa: C901 - a branch for each kind of row
        """Return the one system as a journal has it that got every committed row."""
        kept = None
        for row in self.rows:
            if isinstance(row, SystemAccepted):
                kept = KeptSystem(row)
            elif isinstance(row, InputApplied):
                kept.inputs.append(row)
            elif isinstance(row, GenerationBegun):
                snapshot = kept.snapshot if row.after >= 0 else None
                kept = KeptSystem(kept.accepted, row.generation, cancel=kept.cancel, snapshot=snapshot)
            elif isinstance(row, SnapshotTaken):
                kept.snapshot = row
                kept.inputs = [one for one in kept.inputs if one.n > row.n]
            elif isinstance(row, CancelAsked):
                kept.cancel = row.reason
            elif isinstance(row, PublicationsTaken):
                kept.taken = row.count
            elif isinstance(row, AttemptCrashed):
                kept.crashes[row.number] = row.crashes
                if row.lease:
                    kept.counted[row.number] = row.lease
            elif isinstance(row, SystemEnded):
                kept = KeptSystem(kept.accepted, kept.generation, ended=row)
        return kept


def running(task_class=SQUARE, tasks=3):
    """Return a master whose only system has emitted tasks, all of it on disk."""
    master = KeptMaster()
    master.join(workers=8)
    master.submit()
    master.commit()
    master.table.host_started(1, 4711, master.now, 1e9)
    master.out(0)
    master.pass_time()
    master.out(1, classes=[task_class], tasks=[[0, b"%d" % n] for n in range(tasks)], exhausted=True)
    master.pass_time()
    master.commit()
    master.take()
    return master


def finish(master, number, slave="north"):
    """Let a slave report the result of a task."""
    lease = next(lease for lease, task in master.core.slaves[slave].leases.items() if task.number == number)
    master.core.results(slave, [[lease, 0, b"result-%d" % number, None, 1000]])
    master.pass_time()
    return lease


def replayed(master, answers):
    """Let the host of a recovered system answer its recorded inputs; return the inputs."""
    assert [one.system for one in master.take(StartHost)] == [1]
    master.table.host_started(1, 4712, master.now, 1e9)
    inputs = [master.take(Kind.START)[0].body]
    for n, answer in enumerate(answers):
        master.out(n, **answer)
        inputs += master.inputs()
    return inputs


def answers(tasks=3, task_class=SQUARE):
    return [{}, {"classes": [task_class], "tasks": [[0, b"%d" % n] for n in range(tasks)]}]
