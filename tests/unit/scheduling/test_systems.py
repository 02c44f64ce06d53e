"""How task systems begin and are fed: submitted, hosted, pulled."""

from __future__ import annotations

import pytest

from concurro.ids import SystemState
from concurro.scheduling.commands import Acknowledge, DropBlobs, OfferBlobs, Send, Spool, StartHost
from concurro.wire.messages import Kind
from tests.unit.scheduling.cluster import task_class
from tests.unit.scheduling.system_driver import ALICE, BOB, DONE, HOST, LARGE


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

    assert [send.kind for send in master.take(Send)] == [Kind.SUBMITTED, Kind.EVENT, Kind.ENDED]


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


def test_what_was_asked_for_and_not_emitted_yet_takes_room_in_the_window(master):
    master.join()
    master.start()
    master.pass_time()
    asked = sum(body[4] for body in master.inputs())
    master.out(1, classes=[task_class()], tasks=[[0, b"x"]] * asked)
    master.pass_time(0.001)
    asked += sum(body[4] for body in master.inputs())
    master.finish_all()

    master.pass_time(0.001)

    asked += sum(body[4] for body in master.inputs())
    life = master.table.find("job")
    assert len(life.flow._under_way) == 2
    assert asked - life.record.done <= master.table.window(life, 0.0)


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


def test_blobs_of_tasks_are_offered(master):
    master.join()
    master.start()
    master.pass_time()
    master.out(1, classes=[task_class()], tasks=[[0, b"", LARGE]])
    assert OfferBlobs(HOST, LARGE, ("tasks", 1)) in master.take()
