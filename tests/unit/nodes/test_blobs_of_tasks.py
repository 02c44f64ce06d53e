"""The master forgets who has the large parts of a task once no open task uses them."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome
from concurro.nodes.relay import BlobRelay
from concurro.scheduling.commands import DropBlobs, DropUnused, OfferBlobs
from concurro.wire.blobs import BlobStore
from concurro.wire.messages import Kind, Message
from tests.unit.scheduling.cluster import task_class
from tests.unit.scheduling.journal_driver import KeptMaster, finish, replayed
from tests.unit.scheduling.system_driver import ALICE, DONE, HOST, Master

SIZE = 80_000
NORTH = ("slave", "north")


class Blobs:
    """A master's relay, and who was asked for what."""

    def __init__(self):
        self.asked = []
        self.relay = BlobRelay(BlobStore(), self.send)

    def send(self, peer, kind, body, frames):
        del frames
        self.asked.append((peer, kind, body[0]))
        return True

    def carry_out(self, commands):
        actions = {
            OfferBlobs: lambda one: self.relay.offer(one.peer, one.blobs, one.owner),
            DropBlobs: lambda one: self.relay.drop(one.owner),
            DropUnused: lambda one: self.relay.drop_some(one.owner, one.digests),
        }
        for one in commands:
            if type(one) in actions:
                actions[type(one)](one)

    def holder_of(self, digest):
        """Return who is asked for a blob; None: nobody is known to have it."""
        self.asked.clear()
        self.relay.handle(NORTH, Message(Kind.BLOB_GET, 0, 0, [digest, SIZE, 0, SIZE]))
        ((peer, kind, _),) = self.asked
        return peer if kind == Kind.BLOB_GET else None

    def entries(self):
        """Return how many entries all tables have together."""
        relay = self.relay
        tables = (relay._holders, relay._owned, relay._wanted, relay._awaited, relay._asked_by)
        return sum(len(table) for table in tables) + sum(len(owned) for owned in relay._owned.values())


class Carrying:
    """A master whose relay does what the table commands, whenever that is looked at."""

    def __init__(self, *arguments, **options):
        self.blobs = Blobs()
        super().__init__(*arguments, **options)

    def take(self, kind=None):
        self.log = super().take()
        self.blobs.carry_out(self.log)
        return super().take(kind)

    def turn(self):
        self.pass_time()
        self.take()

    def emit(self, n, numbers, parts=None, **more):
        """Let a host emit tasks, each with a part of its own unless it is said which."""
        tasks = [[0, b"", [part(number)]] for number in parts or numbers]
        self.out(n, tasks=tasks, first=numbers[0], **more)
        self.turn()

    def finish(self, count=1):
        """Let the slave end the oldest tasks that it has."""
        leases = list(self.core.slaves["north"].leases)[:count]
        self.core.results("north", [[lease, 0, b"", None, 1000] for lease in leases])


class CarryingMaster(Carrying, Master):
    """One without a journal."""


class CarryingKeptMaster(Carrying, KeptMaster):
    """One with a journal."""


def part(number):
    """Return the large part of a task, as it travels."""
    return [0, b"digest-%d" % number, SIZE]


def started(**options):
    """Return a master with one system that has a class of tasks."""
    master = CarryingMaster()
    master.join(workers=8)
    master.start(**options)
    master.pass_time()
    master.out(1, classes=[task_class()])
    master.turn()
    return master


@pytest.fixture
def master():
    return started()


def test_tables_are_as_small_after_ten_thousand_tasks_with_arguments_of_their_own():
    master = CarryingMaster()
    master.join(workers=100)
    master.table.open(ALICE, 1, "plain", "application", master.now)
    master.out(1, peer=ALICE, classes=[task_class()])
    master.turn()
    before = master.blobs.entries()
    most = 0

    for n, first in enumerate(range(0, 10_000, 100), 2):
        master.emit(n, range(first, first + 100), peer=ALICE)
        most = max(most, master.blobs.entries())
        while master.core.slaves["north"].leases:
            master.finish(100)
            master.turn()

    assert master.table.find("plain").record.done == 10_000
    assert most >= 300
    assert master.blobs.entries() == before


def test_a_part_stays_while_another_open_task_uses_it(master):
    before = master.blobs.entries()
    master.emit(2, [0, 1], parts=[7, 7])

    master.finish()
    master.turn()
    with_one_left = master.blobs.holder_of(part(7)[1])
    master.blobs.relay.peer_left(NORTH)
    master.finish()
    master.turn()

    assert with_one_left == HOST
    assert part(7)[1] not in master.blobs.relay._wanted
    assert master.blobs.relay._holders == {}
    assert before == 0


def test_a_part_that_a_new_task_uses_in_the_turn_of_the_last_one_stays(master):
    master.emit(2, [0], parts=[7])

    master.finish()
    master.emit(3, [1], parts=[7])

    assert master.table.find("job").record.done == 1
    assert master.blobs.holder_of(part(7)[1]) == HOST


def test_a_task_that_is_emitted_and_cancelled_at_once_leaves_nothing(master):
    master.emit(2, [0], cancelled=[0])

    assert master.table.find("job").record.cancelled == 1
    assert master.blobs.entries() == 0


def test_a_task_that_is_tried_again_keeps_its_parts_until_it_is_final(master):
    master.emit(2, [0])
    (lease,) = master.core.slaves["north"].leases

    master.core.results("north", [[lease, int(Outcome.LOST), ["WorkerLost", "killed", "", None], None, 0]])
    master.turn()
    when_lost = part(0)[1] in master.blobs.relay._wanted
    master.now += 60.0
    master.turn()
    master.finish()
    master.turn()

    assert when_lost
    assert master.table.find("job").record.done == 1
    assert master.blobs.entries() == 0


def test_the_end_of_a_system_drops_what_its_open_tasks_had(master):
    master.emit(2, range(4))
    before = master.blobs.entries()

    master.out(3, end=["complete", DONE])
    master.turn()

    assert before > 0
    assert master.blobs.entries() == 0


def test_a_host_that_is_started_again_offers_nothing_of_final_tasks():
    master = started(restarts=1)
    master.emit(2, range(3))
    master.finish(2)
    master.turn()
    life = master.table.find("job")
    answers = [{}, {"classes": [task_class()]}, {"tasks": [[0, b"", [part(number)]] for number in range(3)]}]

    master.table.host_lost(1, "killed", master.now)
    master.table.host_started(1, 4712, master.now, 1e9)
    for n, answer in enumerate(answers):
        master.out(n, **answer)
        master.take()
    master.out(3)
    master.turn()

    assert (life.restarted, life.rerun, life.record.open.keys()) == (1, None, {2})
    assert master.blobs.relay._wanted.keys() == {part(2)[1]}


def test_a_replay_leaves_the_parts_of_open_tasks_only():
    entries = [[0, b"", [part(number)]] for number in range(3)]
    before = KeptMaster()
    before.join(workers=8)
    before.submit()
    before.commit()
    before.table.host_started(1, 4711, before.now, 1e9)
    before.out(0)
    before.pass_time()
    before.out(1, classes=[task_class()], tasks=entries, exhausted=True)
    before.pass_time()
    finish(before, 0)
    before.out(2)
    before.commit()

    after = CarryingKeptMaster([before.kept()])
    replayed(after, [{}, {"classes": [task_class()], "tasks": entries}, {}])
    after.turn()

    assert after.table.find("job").record.open.keys() == {1, 2}
    assert after.blobs.relay._wanted.keys() == {part(1)[1], part(2)[1]}


def test_a_system_that_is_run_again_drops_what_its_first_run_offered():
    entries = [[0, b"", [part(number)]] for number in range(3)]
    before = KeptMaster()
    before.join(workers=8)
    before.submit()
    before.commit()
    before.table.host_started(1, 4711, before.now, 1e9)
    before.out(0)
    before.pass_time()
    before.out(1, classes=[task_class()], tasks=entries, exhausted=True)
    before.commit()

    after = CarryingKeptMaster([before.kept()])
    replayed(after, [{}, {"classes": [task_class()], "tasks": [[0, b"", [part(8)]]]}])
    after.turn()

    assert after.table.find("job").record.generation == 2
    assert after.blobs.entries() == 0
