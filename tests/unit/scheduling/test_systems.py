"""How task systems live in a master: submitted, hosted, ended, fetched."""

from __future__ import annotations

import pytest

from concurro.errors import ProtocolError
from concurro.ids import Outcome, SlaveRecord, SystemState
from concurro.scheduling.core import SchedulerCore
from concurro.scheduling.systems import (
    CANCEL_PATIENCE,
    Acknowledge,
    DropBlobs,
    OfferBlobs,
    Send,
    Spool,
    StartHost,
    StopHost,
    SystemTable,
)
from concurro.wire.messages import Kind
from tests.unit.scheduling.cluster import rated, task_class

ALICE = ("application", 1)
BOB = ("application", 2)
HOST = ("host", 1)
LARGE = [[0, b"digest", 100_000]]
DONE = [0, b"result", None]


class Master:
    """A table, its core and a clock; notes what it commands."""

    def __init__(self, grace=60.0):
        self.core = SchedulerCore(rated())
        self.table = SystemTable(self.core, grace=grace)
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


@pytest.fixture
def master():
    return Master()


# Submission


def test_a_submission_is_accepted_and_its_host_started(master):
    master.submit()

    assert master.take() == [Send(ALICE, Kind.SUBMITTED, [1, 1, "job", None, None]), StartHost(1)]


def test_a_host_that_started_gets_its_system(master):
    master.submit()
    master.take()

    master.table.host_started(1, 4711, master.now, 1e9)

    (send,) = master.take()
    assert (send.peer, send.kind) == (HOST, Kind.START)
    assert send.body[:5] == [1, "job", b"pickled", None, 7]
    assert master.table.find("job").host_pid == 4711


def test_the_same_submission_twice_is_one_system(master):
    master.submit()
    master.take()

    master.submit()

    assert master.take() == [Send(ALICE, Kind.SUBMITTED, [2, 1, "job", None, None])]
    assert len(list(master.table.lives())) == 1


def test_a_submission_of_an_ended_system_brings_its_result(master):
    master.start()
    master.out(1, end=["complete", DONE])
    master.take()

    master.submit()

    assert [send.kind for send in master.take(Send)] == [Kind.SUBMITTED, Kind.ENDED]


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), "heavy", None])
def test_a_submission_with_an_impossible_weight_is_refused(master, weight):
    master.submit(weight=weight)

    (send,) = master.take()
    assert send.body[:3] == [1, 0, "job"]
    assert send.body[4] == "options"
    assert "weight" in send.body[3]
    assert master.table.find("job") is None


def test_large_parts_are_spooled_before_the_submission_is_accepted(master):
    master.submit(blobs=LARGE)
    (spool,) = master.take()
    assert (spool.peer, spool.blobs, spool.owner) == (ALICE, LARGE, 1)

    master.table.spooled(spool.token, None, master.now)

    assert master.take() == [Send(ALICE, Kind.SUBMITTED, [1, 1, "job", None, None]), StartHost(1)]


def test_a_submission_whose_parts_do_not_arrive_is_refused_and_forgotten(master):
    master.submit(blobs=LARGE)
    (spool,) = master.take()

    master.table.spooled(spool.token, "its holder left", master.now)

    send, drop = master.take()
    assert send.body[:3] == [1, 0, "job"]
    assert "its holder left" in send.body[3]
    assert drop == DropBlobs(1)
    assert master.table.find("job") is None


def test_a_resubmission_over_a_new_connection_brings_the_parts_itself(master):
    master.submit(ALICE, blobs=LARGE)
    (first,) = master.take()
    master.submit(BOB, blobs=LARGE)
    (second,) = master.take()

    master.table.spooled(first.token, "its holder left", master.now)
    master.table.spooled(second.token, None, master.now)

    assert [one for one in master.take() if isinstance(one, StartHost) or one.peer == BOB] == [
        Send(BOB, Kind.SUBMITTED, [2, 1, "job", None, None]),
        StartHost(1),
    ]


def test_parts_that_arrive_twice_start_one_host(master):
    master.submit(ALICE, blobs=LARGE)
    master.submit(BOB, blobs=LARGE)
    spools = master.take(Spool)

    for spool in spools:
        master.table.spooled(spool.token, None, master.now)

    assert master.take(StartHost) == [StartHost(1)]


def test_a_system_cancelled_while_its_parts_travel_never_starts(master):
    master.submit(blobs=LARGE)
    (spool,) = master.take()
    master.table.cancel("job", "no longer wanted", master.now)
    master.take()

    master.table.spooled(spool.token, None, master.now)

    assert master.take(StartHost) == []


# Inputs and outputs


def test_a_host_is_asked_for_tasks_when_nothing_is_open(master):
    master.start()

    master.pass_time()

    ((number, n, _, entries, pull, budget, cancel, _),) = master.inputs()
    assert (number, n, entries, cancel) == (1, 1, [], None)
    assert pull > 0
    assert budget > 0


def test_emitted_tasks_are_leased(master):
    master.join()
    master.start()
    master.pass_time()
    master.out(1, classes=[task_class()], tasks=[[0, b"a"], [0, b"b"]], exhausted=True)

    master.core.tick(master.now)

    assert len(master.core.slaves["north"].leases) == 2


def test_results_go_to_the_host_and_are_acknowledged_after_its_answer(master):
    master.join()
    master.start()
    master.pass_time()
    master.out(1, classes=[task_class()], tasks=[[0, b"a"]], exhausted=True)
    master.pass_time()
    leases = master.finish_all()
    master.take()

    master.pass_time()
    taken = master.take()
    assert [send.body[3][0][:3] for send in taken if isinstance(send, Send) and send.kind == Kind.IN] == [
        [0, 0, b"result"]
    ]
    assert [one for one in taken if isinstance(one, Acknowledge)] == []

    master.out(2)
    assert master.take(Acknowledge) == [Acknowledge("north", leases)]


def test_an_output_in_pieces_is_answered_by_its_last(master):
    master.start()
    master.pass_time()
    life = master.table.find("job")

    master.out(1, classes=[task_class()], tasks=[[0, b"a"]], more=True)
    assert not life.flow.idle

    master.out(1, tasks=[[0, b"b"]], first=1)
    assert life.flow.idle
    assert list(life.record.open) == [0, 1]


@pytest.mark.parametrize("peer", [ALICE, ("host", 2), ("slave", "north")])
def test_an_output_of_somebody_else_is_ignored(master, peer):
    master.start()

    master.out(1, peer=peer, classes=[task_class()], tasks=[[0, b"a"]], end=["complete", DONE])

    life = master.table.find("job")
    assert life.record.open == {}
    assert life.record.state is SystemState.RUNNING


def test_an_output_for_an_ended_system_is_ignored(master):
    master.start()
    master.out(1, end=["complete", DONE])
    master.take()

    master.out(2, classes=[task_class()], tasks=[[0, b"a"]], end=["failed", DONE])

    assert master.take() == []
    assert master.table.find("job").record.state is SystemState.COMPLETE


def test_open_tasks_fill_a_window_and_no_more(master):
    master.join()
    master.start()
    emitted = 0

    for n in range(1, 60):
        master.pass_time(0.001)
        pull = sum(body[4] for body in master.inputs())
        master.out(n, classes=[task_class()], tasks=[[0, b"x"]] * pull, first=emitted)
        emitted += pull

    assert 128 <= emitted <= 512


def test_hosts_hear_of_slaves_that_came(master):
    master.start()
    master.join()

    master.pass_time()

    ((*_, view),) = master.inputs()
    assert [slave[0] for slave in view] == ["north"]


def test_cancels_of_a_host_reach_the_slave(master):
    master.join()
    master.start()
    master.pass_time()
    master.out(1, classes=[task_class()], tasks=[[0, b"a"]])
    master.pass_time()
    (lease,) = master.core.slaves["north"].leases

    master.out(2, cancelled=[0])

    assert master.core.take_commands().orders["north"].kills == [lease]


def test_blobs_of_tasks_and_results_are_offered(master):
    master.join()
    master.start()
    master.pass_time()
    master.out(1, classes=[task_class()], tasks=[[0, b"", LARGE]])
    assert OfferBlobs(HOST, LARGE, 1) in master.take()
    master.pass_time()
    (lease,) = master.core.slaves["north"].leases

    master.core.results("north", [[lease, 0, b"", LARGE, 1]])
    master.pass_time()

    assert master.take(OfferBlobs) == [OfferBlobs(("slave", "north"), LARGE, 1)]


# News


def test_progress_reaches_the_followers(master):
    master.start()
    master.table.attach(BOB, 9, "job")
    master.take()

    master.out(1, progress=[3, 10, "halfway"])

    events = master.take(Kind.EVENT)
    assert {send.peer for send in events} == {ALICE, BOB}
    assert all(send.body[2] == [3, 10, "halfway"] for send in events)


def test_counts_reach_the_followers_when_they_changed(master):
    master.start()
    master.pass_time()
    master.take()
    master.out(1, classes=[task_class()], tasks=[[0, b"a"]])
    master.pass_time(1.0)
    (event,) = master.take(Kind.EVENT)
    assert event.body[3] == {"queued": 1, "leased": 0, "done": 0, "failed": 0, "cancelled": 0}

    master.pass_time(1.0)

    assert master.take(Kind.EVENT) == []


def test_partial_results_keep_their_order_although_one_is_large(master):
    master.start()

    master.out(1, publications=[[b"", LARGE]])
    master.out(2, publications=[[b"small", None]])
    commands = master.take()
    assert [one for one in commands if isinstance(one, Send)] == []
    (spool,) = commands
    master.table.spooled(spool.token, None, master.now)

    assert [send.body[1] for send in master.take(Kind.EVENT)] == [[[b"", LARGE]], [[b"small", None]]]


def test_the_end_waits_for_the_partial_results_before_it(master):
    master.start()

    master.out(1, publications=[[b"", LARGE]], end=["complete", DONE])
    (spool,) = master.take()
    assert isinstance(spool, Spool)
    master.table.spooled(spool.token, None, master.now)

    taken = master.take()
    published = [one.body[1] for one in taken if isinstance(one, Send) and one.kind == Kind.EVENT]
    assert [[b"", LARGE]] in published
    assert [one.kind for one in taken if isinstance(one, Send)][-1] == Kind.ENDED
    assert StopHost(1) in taken


def test_a_partial_result_that_is_lost_does_not_hold_up_the_end(master):
    master.start()
    master.out(1, publications=[[b"", LARGE]], end=["complete", DONE])
    (spool,) = master.take()

    master.table.host_lost(1, "killed by SIGKILL", master.now)
    master.table.spooled(spool.token, "its holder left", master.now)

    (ended,) = master.take(Kind.ENDED)
    assert ended.body[:3] == [1, "complete", DONE]


# Ends


def test_the_end_reaches_the_followers_and_stops_the_host(master):
    master.start()

    master.out(1, end=["complete", DONE])

    taken = master.take()
    assert [one.body for one in taken if isinstance(one, Send) and one.kind == Kind.ENDED] == [
        [1, "complete", DONE, "job"]
    ]
    assert StopHost(1) in taken


def test_a_large_result_is_spooled_before_the_end_is_told(master):
    master.start()
    result = [0, b"", LARGE]
    master.out(1, end=["complete", result])
    (spool,) = master.take()
    assert (spool.peer, spool.blobs) == (HOST, LARGE)

    master.table.spooled(spool.token, None, master.now)

    (ended,) = master.take(Kind.ENDED)
    assert ended.body[1:3] == ["complete", result]


def test_a_result_that_is_lost_with_its_host_fails_the_system(master):
    master.start()
    master.out(1, end=["complete", [0, b"", LARGE]])
    (spool,) = master.take()
    master.table.host_lost(1, "killed by SIGKILL", master.now)

    master.table.spooled(spool.token, "its holder left", master.now)

    (ended,) = master.take(Kind.ENDED)
    assert ended.body[1] == "failed"
    assert "its holder left" in ended.body[2][1][1]


def test_a_host_that_dies_fails_its_system_with_the_reason(master):
    master.start()

    master.table.host_lost(1, "killed by SIGSEGV", master.now)

    (ended,) = master.take(Kind.ENDED)
    assert ended.body[1] == "failed"
    assert ended.body[2][1][0] == "HostLost"
    assert "killed by SIGSEGV" in ended.body[2][1][1]


def test_results_of_an_ended_system_are_acknowledged_at_once(master):
    master.start()
    master.out(1, end=["complete", DONE])
    master.take()

    master.table.finished(1, [[0, 0, b"late", None, "north", 1, 1]], [("north", 5)])

    assert master.take() == [Acknowledge("north", [5])]


def test_what_waited_for_the_host_is_acknowledged_when_it_ends(master):
    master.join()
    master.start()
    master.pass_time()
    master.out(1, classes=[task_class()], tasks=[[0, b"a"]])
    master.pass_time()
    leases = master.finish_all()
    master.pass_time()
    master.take()

    master.out(2, end=["complete", DONE])

    assert Acknowledge("north", leases) in master.take()


def test_a_host_that_starts_after_the_end_is_stopped(master):
    master.submit()
    master.table.cancel("job", "no longer wanted", master.now)
    master.take()

    master.table.host_started(1, 4711, master.now, 1e9)

    assert master.take() == [StopHost(1)]


# Cancel


def test_a_cancel_kills_the_tasks_and_asks_the_host_to_gather(master):
    master.join()
    master.start()
    master.pass_time()
    master.out(1, classes=[task_class()], tasks=[[0, b"a"]])
    master.pass_time()
    master.take()

    assert master.table.cancel("job", "no longer wanted", master.now)
    master.pass_time()

    ((*_, pull, _, reason, _),) = master.inputs()
    assert (pull, reason) == (0, "no longer wanted")
    assert master.core.slaves["north"].leases == {}


def test_what_a_cancelled_system_gathers_is_its_result(master):
    master.start()
    master.table.cancel("job", "no longer wanted", master.now)
    master.pass_time()
    master.take()

    master.out(1, end=["complete", DONE])

    (ended,) = master.take(Kind.ENDED)
    assert ended.body[1:3] == ["cancelled", DONE]


def test_a_host_that_does_not_gather_in_time_is_ended(master):
    master.start()
    master.table.cancel("job", "no longer wanted", master.now)
    master.pass_time()

    master.pass_time(CANCEL_PATIENCE + 1)

    taken = master.take()
    assert StopHost(1) in taken
    assert [one.body[1] for one in taken if isinstance(one, Send) and one.kind == Kind.ENDED] == ["cancelled"]


def test_a_cancelled_system_takes_no_more_tasks(master):
    master.start()
    master.pass_time()
    master.table.cancel("job", "no longer wanted", master.now)

    master.out(1, classes=[task_class()], tasks=[[0, b"a"]])

    assert master.table.find("job").record.open == {}


def test_a_cancel_of_an_ended_or_unknown_system_says_no(master):
    master.start()
    master.out(1, end=["complete", [0, b"", LARGE]])

    assert not master.table.cancel("job", "too late", master.now)
    assert not master.table.cancel("another", "never was", master.now)


# Applications that come and go


def test_attach_follows_a_running_system(master):
    master.start()

    master.table.attach(BOB, 5, "job")

    assert master.take() == [Send(BOB, Kind.SUBMITTED, [5, 1, "job", None, None])]


def test_attach_to_an_ended_system_brings_its_result(master):
    master.start(detach=True)
    master.out(1, end=["complete", DONE])
    master.take()

    master.table.attach(BOB, 5, "job")

    assert [send.kind for send in master.take()] == [Kind.SUBMITTED, Kind.ENDED]


def test_attach_finds_a_system_by_a_unique_beginning_of_its_id(master):
    master.start(system_id="abcdef")
    master.start(system_id="abcxyz", peer=BOB)

    assert master.table.find("abcd").record.system_id == "abcdef"
    assert master.table.find("abc") is None


def test_attach_to_an_unknown_system_says_so(master):
    master.table.attach(BOB, 5, "nowhere")

    (send,) = master.take()
    assert send.body[1] == 0
    assert send.body[4] == "unknown"


def test_a_fetched_result_is_forgotten(master):
    master.start()
    master.out(1, end=["complete", DONE])

    master.table.release(ALICE, "job")

    assert master.table.find("job") is None
    assert master.take(DropBlobs) == [DropBlobs(1)]


def test_a_result_stays_until_every_follower_has_it(master):
    master.start()
    master.table.attach(BOB, 5, "job")
    master.out(1, end=["complete", DONE])

    master.table.release(ALICE, "job")
    assert master.table.find("job") is not None

    master.table.release(BOB, "job")
    assert master.table.find("job") is None


def test_a_running_system_is_not_released(master):
    master.start()

    master.table.release(ALICE, "job")

    assert master.table.find("job") is not None


def test_a_detached_result_is_kept_for_its_ttl(master):
    master.start(detach=True, ttl=1000.0)
    master.out(1, end=["complete", DONE])
    master.table.release(ALICE, "job")

    master.pass_time(999.0)
    assert master.table.find("job") is not None

    master.pass_time(2.0)
    assert master.table.find("job") is None


def test_a_system_goes_on_for_a_grace_after_its_application_left():
    master = Master(grace=30.0)
    master.start()
    master.table.peer_left(ALICE, master.now)

    master.pass_time(29.0)
    assert master.table.find("job").cancel_by is None

    master.pass_time(2.0)
    assert master.table.find("job").cancel_by is not None


def test_an_application_that_comes_back_in_time_keeps_its_system():
    master = Master(grace=30.0)
    master.start()
    master.table.peer_left(ALICE, master.now)
    master.pass_time(20.0)

    master.submit(BOB)
    master.pass_time(100.0)

    assert master.table.find("job").cancel_by is None


def test_a_detached_system_goes_on_without_its_application():
    master = Master(grace=30.0)
    master.start(detach=True)
    master.table.peer_left(ALICE, master.now)

    master.pass_time(10_000.0)

    assert master.table.find("job").record.state is SystemState.RUNNING


def test_a_result_that_nobody_fetches_is_forgotten_after_the_grace():
    master = Master(grace=120.0)
    master.start()
    master.table.peer_left(ALICE, master.now)
    master.out(1, end=["complete", DONE])

    master.pass_time(119.0)
    assert master.table.find("job") is not None

    master.pass_time(2.0)
    assert master.table.find("job") is None


# Plain tasks


def open_plain(master):
    master.table.open(ALICE, 3, "plain", "tasks", master.now)
    master.take()
    return master.table.find("plain")


def test_an_application_hosts_its_plain_tasks_itself(master):
    master.table.open(ALICE, 3, "plain", "tasks", master.now)

    assert master.take() == [Send(ALICE, Kind.SUBMITTED, [3, 1, "plain", None, None])]


def test_plain_tasks_run_and_their_results_go_to_the_application(master):
    master.join()
    open_plain(master)
    master.out(0, peer=ALICE, classes=[task_class()], tasks=[[0, b"a"]])
    master.pass_time()
    master.finish_all()

    master.pass_time()

    (send,) = master.take(Kind.IN)
    assert send.peer == ALICE
    assert send.body[3][0][:3] == [0, 0, b"result"]
    assert send.body[4] == 0


def test_plain_tasks_end_with_their_application(master):
    master.join()
    life = open_plain(master)
    master.out(0, peer=ALICE, classes=[task_class()], tasks=[[0, b"a"]])
    master.pass_time()

    master.table.peer_left(ALICE, master.now)

    assert life.record.state is SystemState.CANCELLED
    assert master.table.find("plain") is None
    assert master.core.slaves["north"].leases == {}
    assert master.take(StopHost) == []


def test_nobody_attaches_to_plain_tasks(master):
    open_plain(master)

    master.table.attach(BOB, 5, "plain")

    (send,) = master.take()
    assert send.body[4] == "unknown"


def test_refuses_plain_tasks_under_the_id_of_a_system(master):
    life = master.start()

    with pytest.raises(ProtocolError, match="job"):
        master.table.open(BOB, 5, "job", "tasks", master.now)

    assert master.table.find("job") is life


def test_refuses_a_submission_under_the_id_of_plain_tasks(master):
    life = open_plain(master)

    with pytest.raises(ProtocolError, match="plain"):
        master.submit(BOB, "plain")

    assert master.table.find("plain") is life


def test_failed_tasks_are_told_without_an_acknowledgement(master):
    master.join()
    open_plain(master)
    master.out(0, peer=ALICE, classes=[task_class()], tasks=[[0, b"a"]])
    master.pass_time()
    (lease,) = master.core.slaves["north"].leases
    master.core.results("north", [[lease, int(Outcome.RAISED), ["ValueError", "wrong"], None, 1]])
    master.pass_time()
    assert [entry[1] for send in master.take(Kind.IN) for entry in send.body[3]] == [int(Outcome.RAISED)]

    master.out(1, peer=ALICE)

    assert master.take(Acknowledge) == []
