"""Drives a table of systems: a master's core, a clock, and what they command."""

from __future__ import annotations

from concurro.records import SlaveRecord
from concurro.scheduling.commands import Send
from concurro.scheduling.core import SchedulerCore
from concurro.scheduling.systems import SystemTable
from concurro.wire.messages import Kind
from tests.unit.scheduling.cluster import rated

ALICE = ("application", 1)
BOB = ("application", 2)
HOST = ("host", 1)
LARGE = [[0, b"digest", 100_000]]
DONE = [0, b"result", None]


class Master:
    """A table, its core and a clock; notes what it commands."""

    def __init__(self, grace=60.0, table=SystemTable):
        self.core = SchedulerCore(rated())
        self.table = table(self.core, grace=grace)
        self.now = 100.0
        self.log = []
        self.token = 0

    def take(self, kind=None):
        """Return the commands since the last call, of one type or kind of message."""
        self.log.extend(self.table.take_commands())
        taken, self.log = self.log, []
        if kind is None:
            return taken
        if isinstance(kind, Kind):
            return [one for one in taken if isinstance(one, Send) and one.kind == kind]
        return [one for one in taken if isinstance(one, kind)]

    def submit(self, peer=ALICE, system_id="job", blobs=None, **options):
        self.token += 1
        self.table.submit(peer, self.token, system_id, "Job", b"pickled", blobs, options, self.now, 7)

    def start(self, peer=ALICE, system_id="job", **options):
        """Submit a system and let its host answer START."""
        self.submit(peer, system_id, **options)
        number = self.table.find(system_id).record.number
        self.table.host_started(number, 4711, self.now, 1e9)
        self.out(0, number=number)
        self.take()
        return self.table.find(system_id)

    def out(self, n, peer=None, number=1, tasks=(), classes=(), end=None, publications=(), progress=None, **facts):
        body = [number, n, facts.pop("first", 0), list(classes), list(tasks), facts.pop("cancelled", [])]
        body += [list(publications), progress, end, facts]
        self.table.output(peer or ("host", number), body, self.now)

    def pass_time(self, seconds=0.0):
        self.now += seconds
        self.core.tick(self.now)
        commands = self.core.take_commands()
        for number, entries in commands.finished.items():
            self.table.finished(number, entries, commands.leases_of.get(number, []))
        for number, text in commands.warnings:
            self.table.notice(number, text, self.now)
        self.table.advance(self.now, 1e9 + self.now)

    def inputs(self, number=1):
        """Return the IN messages for a host."""
        return [send.body for send in self.take(Kind.IN) if send.body[0] == number]

    def join(self, name="north", workers=2):
        self.core.slave_joined(SlaveRecord(name, f"{name}.example", workers))
        self.table.cluster_changed(self.now)

    def finish_all(self, name="north"):
        leases = list(self.core.slaves[name].leases)
        self.core.results(name, [[lease, 0, b"result", None, 1000] for lease in leases])
        return leases
