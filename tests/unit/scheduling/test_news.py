"""What followers are told: in order, as fast as they take it, and nothing lost without a word."""

from __future__ import annotations

import pytest

from concurro.scheduling import news
from concurro.scheduling.commands import DropBlobs, Send, Spool, StopHost
from concurro.scheduling.news import MOST_DELIVERIES, MOST_UNANSWERED, NEWS_BYTES
from concurro.wire.messages import Kind
from tests.unit.scheduling.cluster import task_class
from tests.unit.scheduling.system_driver import ALICE, BOB, DONE, HOST

MIB = 1024 * 1024


def large(number, size=20 * MIB):
    """Return a publication of one blob."""
    return [b"", [[0, number.to_bytes(32, "big"), size]]]


def small(number, size=100):
    return [number.to_bytes(4, "big") * (size // 4), None]


class Follower:
    """An application that takes what it is told, when it is asked to."""

    def __init__(self, master, peer=ALICE):
        self.master = master
        self.peer = peer
        self.published = []
        self.notices = []
        self.counts = []
        self.heard = 0
        self.ended = False

    def hear(self, commands):
        for one in commands:
            if isinstance(one, Send) and one.peer == self.peer and one.kind == Kind.EVENT:
                self.published += one.body[1]
                self.counts.append(one.body[3])
                self.notices += one.body[5]
                self.heard = one.body[6]
            self.ended = self.ended or (isinstance(one, Send) and (one.peer, one.kind) == (self.peer, Kind.ENDED))

    def take_all(self):
        self.master.table.taken(self.peer, 1, self.heard, self.master.now)


class Stage:
    """A running system, its follower, and a relay that fetches at once unless it is told otherwise."""

    def __init__(self, master):
        self.master = master
        master.start()
        self.alice = Follower(master)
        self.followers = [self.alice]
        self.n = 0
        self.spooled = {}
        self.dropped = []
        self.safe = 0
        self.inputs = 0
        self.faults = {}

    def publish(self, *publications, **more):
        self.n += 1
        self.master.out(self.n, publications=publications, **more)
        self.settle()

    def settle(self):
        while commands := self.master.take():
            for follower in self.followers:
                follower.hear(commands)
            for one in commands:
                if isinstance(one, Spool):
                    self.spooled[one.owner] = one.blobs
                    fault = self.faults.get(one.blobs[0][1])
                    self.master.table.spooled(one.token, fault, self.master.now)
                elif isinstance(one, DropBlobs):
                    self.dropped.append(one.owner)
                elif isinstance(one, Send) and one.kind == Kind.PUBLISHED:
                    assert one.peer == HOST
                    self.safe = one.body[1]
                elif isinstance(one, Send) and one.kind == Kind.IN:
                    self.inputs += 1

    def take_all(self):
        """Let every follower take what it hears, until nothing new comes."""
        before = -1
        while before != self.master.table.find("job").news.number:
            before = self.master.table.find("job").news.number
            for follower in self.followers:
                follower.take_all()
            self.settle()

    @property
    def kept(self):
        """Bytes of partial results in the spool."""
        owners = [owner for owner in self.spooled if owner not in self.dropped and isinstance(owner, tuple)]
        return sum(blob[2] for owner in owners for blob in self.spooled[owner])


@pytest.fixture
def stage(master):
    return Stage(master)


# Bounds


def test_no_more_is_fetched_than_followers_take(stage):
    publications = [large(number) for number in range(50)]

    stage.publish(*publications)

    assert stage.kept <= NEWS_BYTES
    assert stage.alice.published == publications[:3]

    stage.take_all()

    assert stage.alice.published == publications
    assert stage.kept == 0


def test_a_single_value_may_be_larger_than_all_that_may_be_under_way(stage):
    stage.publish(large(1, 2 * NEWS_BYTES), small(2))

    stage.take_all()

    assert stage.alice.published == [large(1, 2 * NEWS_BYTES), small(2)]


def test_a_host_gets_no_input_while_its_followers_do_not_take_what_it_publishes(stage):
    stage.publish(*[large(number) for number in range(5)])
    stage.inputs = 0

    stage.master.pass_time(1.0)
    stage.settle()
    assert stage.inputs == 0

    stage.take_all()
    stage.master.pass_time(1.0)
    stage.settle()
    assert stage.inputs == 1


def test_a_cancel_reaches_a_host_whose_followers_take_nothing(stage):
    stage.publish(*[large(number) for number in range(5)])
    stage.master.table.cancel("job", "enough", stage.master.now)

    stage.master.pass_time()

    ((*_, reason, _),) = stage.master.inputs()
    assert reason == "enough"


def test_small_values_travel_together_while_a_follower_is_slow(stage):
    for number in range(20 * MOST_DELIVERIES):
        stage.publish(small(number))
    heard = stage.alice.heard

    stage.take_all()

    assert heard == MOST_DELIVERIES
    assert stage.alice.heard - heard < 10
    assert stage.alice.published == [small(number) for number in range(20 * MOST_DELIVERIES)]


def test_counts_and_progress_are_merged_for_a_follower_that_is_slow(stage):
    bob = Follower(stage.master, BOB)
    stage.followers.append(bob)
    stage.master.table.attach(BOB, 9, "job", stage.master.now)
    for done in range(1000):
        stage.publish(progress=[done, None, ""])
        bob.take_all()
        stage.settle()
    assert stage.alice.heard <= MOST_UNANSWERED

    stage.alice.take_all()
    last = stage.master.take(Kind.EVENT)

    assert [(one.peer, one.body[2]) for one in last] == [(ALICE, [999, None, ""])]
    assert bob.heard == 1000


def test_the_last_counts_reach_even_a_slow_follower_before_the_end(stage):
    stage.publish(classes=[task_class()], tasks=[[0, b"a"]])
    for done in range(100):
        stage.publish(progress=[done, None, ""])

    stage.publish(end=["complete", DONE])

    assert stage.alice.counts[-1]["cancelled"] == 1
    assert stage.alice.ended


# Who keeps what, and how long


def test_the_host_is_told_what_is_safe_in_order(stage):
    stage.publish(small(1), large(2), large(3), large(4), large(5))

    assert stage.safe == 4

    stage.take_all()

    assert stage.safe == 5


def test_blobs_stay_until_the_last_follower_has_taken_them(stage):
    bob = Follower(stage.master, BOB)
    stage.followers.append(bob)
    stage.master.table.attach(BOB, 9, "job", stage.master.now)
    stage.publish(large(1))

    stage.alice.take_all()
    stage.settle()
    assert stage.dropped == []

    bob.take_all()
    stage.settle()
    assert stage.dropped == [("news", 1, 1)]


def test_a_follower_that_leaves_holds_nothing_up(stage):
    bob = Follower(stage.master, BOB)
    stage.followers.append(bob)
    stage.master.table.attach(BOB, 9, "job", stage.master.now)
    publications = [large(number) for number in range(10)]
    stage.publish(*publications, end=["complete", DONE])
    stage.alice.take_all()
    stage.settle()
    assert not stage.alice.ended

    stage.master.table.peer_left(BOB, stage.master.now)
    stage.settle()
    stage.take_all()

    assert stage.alice.published == publications
    assert stage.alice.ended
    assert stage.kept == 0


def test_a_system_that_is_forgotten_lets_go_of_everything(stage):
    stage.publish(large(1), large(2), end=["complete", DONE])

    stage.master.table.release(ALICE, "job")
    stage.settle()

    assert set(stage.dropped) == {("news", 1, 1), ("news", 1, 2), 1}


def test_blobs_that_arrive_after_their_system_was_forgotten_are_dropped(master):
    master.start()
    master.out(1, publications=[large(1)])
    (spool,) = master.take(Spool)
    master.table.host_lost(1, "killed by SIGKILL", master.now)
    master.table.spooled(spool.token, "gone", master.now)
    master.table.release(ALICE, "job")
    master.take()

    master.table.spooled(spool.token, None, master.now)

    assert master.take() == [DropBlobs(spool.owner)]


# Losses


def test_of_several_values_only_the_one_that_cannot_be_had_is_missing_and_that_is_told(stage):
    stage.faults[large(2)[1][0][1]] = "nobody has it any more"

    stage.publish(large(1), large(2), large(3), small(4))
    stage.take_all()

    assert stage.alice.published == [large(1), large(3), small(4)]
    assert stage.alice.notices == ["a partial result of system job was lost: nobody has it any more"]


def test_what_a_dead_host_took_along_is_told_before_the_end(master):
    master.start()
    master.out(1, publications=[large(1), small(2)])
    (spool,) = master.take(Spool)

    master.table.host_lost(1, "killed by SIGKILL", master.now)
    assert StopHost(1) in master.take()
    master.table.spooled(spool.token, "its holder left", master.now)

    follower = Follower(master)
    commands = master.take()
    follower.hear(commands)
    assert follower.published == [small(2)]
    assert follower.notices == ["a partial result of system job was lost: its holder left"]
    assert follower.ended


@pytest.mark.parametrize("untaken", [0, 2])
def test_what_was_published_while_nobody_was_there_is_told_to_who_comes_back(stage, untaken):
    stage.publish(*[large(number) for number in range(untaken)])
    stage.master.table.peer_left(ALICE, stage.master.now)
    stage.publish(large(8), small(9))
    assert (stage.kept, stage.safe) == (0, untaken + 1)
    bob = Follower(stage.master, BOB)
    stage.followers.append(bob)

    stage.master.table.attach(BOB, 9, "job", stage.master.now)
    stage.publish(small(10))

    assert bob.published == [small(10)]
    assert bob.notices == [
        f"{untaken + 2} partial results of system job may be missing: no application was there to take them"
    ]


def test_nobody_is_told_of_losses_when_there_were_none(stage):
    stage.publish(large(1))
    stage.take_all()
    stage.master.table.peer_left(ALICE, stage.master.now)

    stage.master.table.attach(BOB, 9, "job", stage.master.now)

    assert stage.master.take(Kind.EVENT) == []


def test_one_that_takes_more_than_it_was_told_is_given_no_more_credit_than_others(stage):
    stage.master.table.taken(ALICE, 1, 1 << 60, stage.master.now)
    stage.master.table.taken(BOB, 1, 5, stage.master.now)
    stage.master.table.taken(ALICE, 99, 5, stage.master.now)

    stage.publish(*[large(number) for number in range(5)])

    assert len(stage.alice.published) == 3


def test_the_bounds_are_what_the_text_says():
    assert "64 MiB and 256 deliveries" in news.__doc__
    assert (NEWS_BYTES, MOST_DELIVERIES) == (64 * MIB, 256)
