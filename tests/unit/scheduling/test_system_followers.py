"""Applications that come and go, and their plain tasks."""

from __future__ import annotations

import pytest

from concurro.errors import ProtocolError
from concurro.ids import Outcome, SystemState
from concurro.scheduling.commands import Acknowledge, DropBlobs, Send, StopHost
from concurro.wire.messages import Kind
from tests.unit.scheduling.cluster import task_class
from tests.unit.scheduling.system_driver import ALICE, BOB, DONE, Master


def test_attach_follows_a_running_system(master):
    master.start()

    master.table.attach(BOB, 5, "job", master.now)

    assert master.take() == [Send(BOB, Kind.SUBMITTED, [5, 1, "job", None, None])]


def test_attach_to_an_ended_system_brings_its_result(master):
    master.start(detach=True)
    master.out(1, end=["complete", DONE])
    master.take()
    master.now += 7

    master.table.attach(BOB, 5, "job", master.now)

    told = master.take()
    assert [send.kind for send in told] == [Kind.SUBMITTED, Kind.EVENT, Kind.ENDED]
    assert told[1].body[3:5] == [{"queued": 0, "leased": 0, "done": 0, "failed": 0, "cancelled": 0}, 0.0]


def test_attach_finds_a_system_by_a_unique_beginning_of_its_id(master):
    master.start(system_id="abcdef")
    master.start(system_id="abcxyz", peer=BOB)

    assert master.table.find("abcd").record.system_id == "abcdef"
    assert master.table.find("abc") is None


def test_attach_to_an_unknown_system_says_so(master):
    master.table.attach(BOB, 5, "nowhere", master.now)

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
    master.table.attach(BOB, 5, "job", master.now)
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


def test_an_application_that_attaches_over_a_new_connection_keeps_its_system():
    master = Master(grace=30.0)
    master.table.peer_joined(ALICE, "the application")
    master.start()
    master.table.peer_left(ALICE, master.now)

    master.table.peer_joined(BOB, "the application")
    master.table.attach(BOB, 9, "job", master.now)
    master.pass_time(100.0)

    assert master.table.find("job").cancel_by is None


def test_somebody_who_only_looks_keeps_no_system_alive():
    master = Master(grace=30.0)
    master.table.peer_joined(ALICE, "the application")
    master.start()
    master.table.peer_left(ALICE, master.now)

    master.table.peer_joined(BOB, "another one")
    master.table.attach(BOB, 9, "job", master.now)
    master.pass_time(100.0)

    assert master.table.find("job").cancel_by is not None


def test_a_system_without_any_slave_is_told_so_once():
    master = Master()
    master.start()
    master.pass_time()
    master.out(1, classes=[task_class()], tasks=[[0, b"a"]])
    for _ in range(3):
        master.pass_time(3.0)

    notices = [notice for event in master.take(Kind.EVENT) for notice in event.body[5]]

    assert notices == ["1 task waits: no slave is connected to the master"]


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

    master.table.attach(BOB, 5, "plain", master.now)

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


def test_failed_tasks_are_acknowledged_once_their_system_was_told(master):
    master.join()
    open_plain(master)
    master.out(0, peer=ALICE, classes=[task_class()], tasks=[[0, b"a"]])
    master.pass_time()
    (lease,) = master.core.slaves["north"].leases
    master.core.results("north", [[lease, int(Outcome.RAISED), ["ValueError", "wrong"], None, 1]])
    master.pass_time()
    before = master.take()
    assert [entry[1] for send in before if send.kind == Kind.IN for entry in send.body[3]] == [int(Outcome.RAISED)]

    master.out(1, peer=ALICE)

    assert master.take(Acknowledge) == [Acknowledge("north", [lease])]
