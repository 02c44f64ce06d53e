"""Runs a journalled system step by step, so that master or host can be killed after each.

    application <-- EVENT, ENDED -- | table, core |  == START, IN / OUT ==  host
                                    |  rows, rows |  -- LEASES, KILL / RESULTS --  slave

The table, the core and the host's core are the real ones; the disk, the slave and the links
are lists. A step is one message that arrives, one commit, or one start of a host.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from functools import cache

from concurro.errors import NotPicklableError
from concurro.ids import Outcome
from concurro.nodes.host_core import HostCore
from concurro.nodes.snapshot import fault_of, owner_of, pickle_state
from concurro.records import SlaveRecord
from concurro.scheduling.commands import Acknowledge, Record, Reread, Send, StartHost, StopHost, acknowledgements
from concurro.scheduling.core import SchedulerCore
from concurro.scheduling.rows import (
    AttemptCrashed,
    AttemptIntended,
    CancelAsked,
    GenerationBegun,
    HostRestarted,
    InputApplied,
    KeptSystem,
    PublicationsTaken,
    SnapshotTaken,
    SystemAccepted,
    SystemEnded,
)
from concurro.scheduling.systems import SystemTable
from concurro.wire.blobs import BlobStore
from concurro.wire.messages import Kind
from concurro.wire.payload import Packer
from concurro.wire.stamps import stamp_of
from concurro.wire.travelling import Travelling
from tests.unit.scheduling.cluster import rated

MOST_STEPS = 5000
ENDS = "slave ends"
CRASHING = "crashes"
"""A task of which the name says so takes its worker with it, the first time."""


@cache
def _packer():
    """Return what pickles in every world: what it learns of classes costs more than a run."""
    return Packer(BlobStore(), Travelling())


class Journal:
    """What is on disk, row by row."""

    def __init__(self):
        self.kept = None

    def write(self, rows):
        for row in rows:
            _WRITERS[type(row)](self, row)

    def _accept(self, row):
        self.kept = KeptSystem(row)

    def _begin(self, row):
        kept = self.kept
        kept.generation = row.generation
        if kept.snapshot is not None and kept.snapshot.n > row.after:
            kept.snapshot = None
        kept.inputs[:] = [one for one in kept.inputs if one.n <= row.after]
        emitted = kept.snapshot.emitted if kept.snapshot is not None else 0
        for known in (kept.intents, kept.crashes, kept.counted):
            for number in [number for number in known if number >= emitted]:
                del known[number]
        kept.taken = min(kept.taken, kept.snapshot.published) if kept.snapshot is not None else 0

    def _restart_from(self, row):
        self.kept.snapshot = row
        self.kept.inputs[:] = [one for one in self.kept.inputs if one.n > row.n]

    def _count_crash(self, row):
        self.kept.crashes[row.number] = row.crashes
        if row.lease:
            self.kept.counted[row.number] = row.lease

    @property
    def emitted(self):
        """How many tasks were emitted, as far as it knows."""
        if self.kept is None:
            return 0
        before = self.kept.snapshot.emitted if self.kept.snapshot is not None else 0
        return before + sum(row.note.emitted for row in self.kept.inputs)

    def read(self):
        """Return a system as a new master gets it; it shares nothing with this."""
        kept = self.kept
        return replace(
            kept,
            inputs=list(kept.inputs),
            intents=dict(kept.intents),
            crashes=dict(kept.crashes),
            counted=dict(kept.counted),
        )


_WRITERS = {
    SystemAccepted: Journal._accept,
    GenerationBegun: Journal._begin,
    InputApplied: lambda journal, row: journal.kept.inputs.append(row),
    AttemptIntended: lambda journal, row: journal.kept.intents.__setitem__(row.number, row.attempt),
    AttemptCrashed: Journal._count_crash,
    CancelAsked: lambda journal, row: setattr(journal.kept, "cancel", row.reason),
    PublicationsTaken: lambda journal, row: setattr(journal.kept, "taken", row.count),
    HostRestarted: lambda journal, row: setattr(journal.kept, "restarted", row.count),
    SnapshotTaken: Journal._restart_from,
    SystemEnded: lambda journal, row: setattr(journal.kept, "ended", row),
}


class World:
    """One system, its master, host, slave and application.

    Args:
        make: Returns the system; its result must not depend on the order in which tasks end.
        options: Of its submission.
        journalled: Whether the master has a journal.

    Attributes:
        steps: What happened so far, by name.
        ran: Task number to how often the slave began it.
        known: How many tasks the journal knew of when the master was killed.
        published: Partial results by their number, as the application has them.
        outcome: State and result, once the application was told.
        thawed: How many hosts began with a snapshot.
        safe: The tasks that were final in the last snapshot when master or host was killed.
    """

    def __init__(self, make, *, journalled=True, **options):
        self.steps = []
        self.ran = Counter()
        self.known = 0
        self.published = {}
        self.outcome = None
        self.thawed = 0
        self.safe = set()
        self._packer = _packer()
        self._system = self._packer.dumps(make())[0]
        self._journal = Journal() if journalled else None
        self._options = options
        self._queue = deque()
        self._now = 100.0
        self._epoch = 0
        self._codes = {}
        self._held = {}
        self._results = {}
        self._host = None
        self._start_master()

    # Running

    def run(self, kill_master_after=None, kill_host_after=None):
        """Run until the application has the result; kill master or host after so many steps."""
        self._submit()
        self._turn()
        while self.outcome is None and len(self.steps) < MOST_STEPS:
            if not self._queue:
                self._now += 0.5
                self._turn()
                if not self._queue:
                    message = f"nothing happens any more after {self.steps[-5:]}"
                    raise AssertionError(message)
                continue
            name, act = self._queue.popleft()
            self.steps.append(name)
            act()
            self._turn()
            if len(self.steps) == kill_master_after:
                self._kill_master()
            if len(self.steps) == kill_host_after:
                self._kill_host()
        return self

    def _start_master(self):
        self._epoch += 1
        self.core = SchedulerCore(rated(), epoch=self._epoch, journalled=self._journal is not None)
        self.table = SystemTable(self.core, journalled=self._journal is not None, first=1 if self._epoch == 1 else 2)
        self.core.begin(self._now)

    def _submit(self):
        self._join()
        number = len(self.steps)
        self.table.peer_joined(self._peer, "alice")
        self.table.submit(self._peer, number, "job", "Job", self._system, None, dict(self._options), self._now, 7)

    @property
    def _peer(self):
        return ("application", self._epoch)

    def _join(self):
        self.core.slave_joined(SlaveRecord("north", "north.example", 2))
        self.table.cluster_changed(self._now)

    def _kill_master(self):
        """Let a new master start on what is on disk; slave and application come back."""
        self._queue = deque(one for one in self._queue if one[0].startswith(ENDS))
        self._host = None
        self.known = self._journal.emitted
        self._note_safe()
        self._start_master()
        if self._journal.kept is None:
            self._held.clear()
            self._results.clear()
            self._codes.clear()
            self._submit()
            return
        self.table.recovery.settled = False
        self.table.recover(self._journal.read(), self._now, 1e9)
        self.table.peer_joined(self._peer, "alice")
        self.table.attach(self._peer, 1, "job", self._now)
        self._later("slave is back", self._come_back)
        self._turn()

    def _come_back(self):
        """Tell what is held once the system is there again."""
        if self.table.recovery.is_coming(1):
            self._later("slave is back", self._come_back)
            return
        self._join()
        held = []
        for lease, entry in self._held.items():
            name, content, parts, generation = self._codes[entry[2]]
            stamp = stamp_of(name, (content, parts), entry[5], entry[6])
            held.append([lease, entry[1], generation, entry[3], entry[4], stamp])
        for lease in self.table.recovery.adopt("north", held):
            self._forget(lease)
        self.table.recovery.settle()
        for result in list(self._results.values()):
            self._tell(result)

    def _kill_host(self):
        if self._host is not None:
            self._note_safe()
            self._host = None
            self._queue = deque(one for one in self._queue if not one[0].startswith("host"))
            self.table.host_lost(1, "killed by SIGKILL", self._now)
            self._turn()

    def _note_safe(self):
        kept = self._journal.kept if self._journal is not None else self.table.find("job").history
        snapshot = kept.snapshot if kept is not None else None
        if snapshot is not None:
            self.safe = set(range(snapshot.emitted)) - {number for number, *_ in snapshot.open_tasks}

    # A turn of the master

    def _turn(self):
        self.core.begin(self._now)
        for _ in range(4):
            self.core.tick(self._now)
            self._put_out_core(self.core.take_commands())
            self.table.advance(self._now, 1e9 + self._now)
            self._put_out_table()

    def _put_out_core(self, commands):
        for number, entries in commands.finished.items():
            self.table.finished(number, entries, commands.leases_of[number])
        for leases in commands.settled.values():
            self._later("slave is told that results are safe", lambda leases=leases: self._acknowledged(leases))
        if commands.crashed:
            rows = [
                AttemptCrashed(system, number, crashes, lease) for system, number, crashes, _, lease in commands.crashed
            ]
            told = acknowledgements([crashed[3:] for crashed in commands.crashed])
            self._commit(rows, lambda: [self._acknowledged(one.leases) for one in told])
        for orders in commands.orders.values():
            self._put_out_orders(orders)

    def _put_out_orders(self, orders):
        if orders.classes:
            self._later("slave gets classes", lambda: self._learn(orders.classes))
        if orders.leases:
            self._later("slave gets leases", lambda: self._begin(orders.leases))
        if orders.held:
            rows = [
                AttemptCrashed(entry[1], entry[3], crashes)
                if crashes
                else AttemptIntended(entry[1], entry[3], entry[4])
                for entry, crashes in orders.held
            ]
            leases = [entry for entry, _ in orders.held]
            self._commit(rows, lambda: self._later("slave gets leases", lambda: self._begin(leases)))
        for lease in orders.kills:
            self._later("slave kills", lambda lease=lease: self._forget(lease))
        assert not orders.recalls

    def _put_out_table(self):
        while commands := self.table.take_commands():
            for command in commands:
                self._carry_out(command)

    def _carry_out(self, command):
        if isinstance(command, Record):
            token, table = command.token, self.table
            self._commit(command.rows, lambda: table.recorded(token, self._now))
        elif isinstance(command, StartHost):
            self._later("host starts", self._start_host)
        elif isinstance(command, StopHost):
            self._host = None
            self._queue = deque(one for one in self._queue if not one[0].startswith("host"))
        elif isinstance(command, Reread):
            self._later("journal is read", self._reread)
        elif isinstance(command, Acknowledge):
            leases = command.leases
            self._later("slave is told that results are safe", lambda: self._acknowledged(leases))
        elif isinstance(command, Send) and command.peer == ("host", 1):
            self._to_host(command.kind, command.body)
        elif isinstance(command, Send):
            self._later(f"application gets {command.kind.name}", lambda: self._told(command.kind, command.body))

    def _commit(self, rows, then):
        def written():
            if self._journal is not None:
                self._journal.write(rows)
            then()

        self._later(f"commit of {', '.join(type(row).__name__ for row in rows)}", written)

    def _later(self, name, act):
        self._queue.append((name, act))

    # The host

    def _start_host(self):
        self._host = object()
        self.table.host_started(1, 4711, self._now, 1e9 + self._now)

    def _to_host(self, kind, body):
        if kind == Kind.START:
            self._later("host gets START", lambda: self._load(body))
        elif kind == Kind.IN:
            self._later(f"host gets IN {body[1]}", lambda: self._answer(self._host.take_input(body)))
        elif kind == Kind.SNAPSHOT_GET:
            self._later(f"host gets SNAPSHOT_GET {body[1]}", lambda: self._freeze(body[1]))

    def _load(self, body):
        number, system_id, payload, _, seed, facts = body
        state = self._packer.loads(payload, None)
        n = facts.get("snapshot")
        system = state if n is None else state["system"]
        system.system_id = system_id
        self._host = HostCore(number, system, system_id, self._packer, seed=seed, view=facts.get("view"))
        self.thawed += n is not None
        self._answer(self._host.start(facts["time"]) if n is None else self._host.thaw(n, state))

    def _freeze(self, n):
        """Pickle the host as its child would, as soon as that is."""
        fault, state = fault_of(self._host), b""
        if not fault:
            try:
                state, parts = pickle_state(self._host, self._packer, owner_of(n))
                assert parts is None
            except (ValueError, NotPicklableError) as error:
                fault = str(error)
        body = [1, n, state, None, self._host.published, fault]
        self._later(f"host's SNAPSHOT {n} arrives", lambda: self.table.snapshot(1, body, self._now))

    def _reread(self):
        self.table.reread(1, list(self._journal.kept.inputs), self._journal.kept.snapshot)

    def _answer(self, body):
        self._later(f"host's OUT {body[1]} arrives", lambda: self.table.output(("host", 1), body, self._now))

    # The slave

    def _learn(self, classes):
        for _, number, name, _, _, content, parts, _, generation, *_ in classes:
            self._codes[number] = name, content, parts, generation

    def _begin(self, entries):
        for entry in entries:
            lease, _, class_number, number, _, payload, blobs = entry
            self._held[lease] = entry
            self.ran[number] += 1
            _, content, parts, _ = self._codes[class_number]
            task = self._packer.load_task(self._packer.load_task_class(content, parts), payload, blobs)
            self._later(
                f"{ENDS} task {number}", lambda lease=lease, end=(task, self.ran[number]): self._end(lease, *end)
            )

    def _end(self, lease, task, run):
        if lease not in self._held:
            return
        if CRASHING in task.name and run == 1:
            self._results[lease] = [lease, int(Outcome.LOST), ["WorkerLost", "killed by SIGSEGV"], None, 0]
        else:
            value, blobs = self._packer.dumps(task())
            self._results[lease] = [lease, 0, value, blobs, 1000]
        self._tell(self._results[lease])

    def _tell(self, result):
        self._later("a result arrives", lambda: self.core.results("north", [result]))

    def _acknowledged(self, leases):
        for lease in leases:
            self._forget(lease)

    def _forget(self, lease):
        self._held.pop(lease, None)
        self._results.pop(lease, None)

    # The application

    def _told(self, kind, body):
        if kind == Kind.ENDED:
            self.outcome = body[1], self._packer.loads(body[2][1], body[2][2]) if body[2][0] == 0 else body[2][1]
        elif kind == Kind.EVENT:
            for offset, (payload, blobs) in enumerate(body[1]):
                self.published.setdefault(body[7] + offset, self._packer.loads(payload, blobs))
            self.table.taken(self._peer, body[0], body[6], self._now)
