"""How task systems end: told, cancelled, failed."""

from __future__ import annotations

from concurro.scheduling.commands import Acknowledge, Send, Spool, StopHost
from concurro.scheduling.life import MOST_NOTICES
from concurro.scheduling.systems import CANCEL_PATIENCE
from concurro.wire.messages import Kind
from tests.unit.scheduling.cluster import task_class
from tests.unit.scheduling.system_driver import ALICE, BOB, DONE, HOST, LARGE


def test_progress_reaches_the_followers(master):
    master.start()
    master.table.attach(BOB, 9, "job", master.now)
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


def test_a_second_cancel_changes_nothing(master):
    master.start()
    master.table.cancel("job", "no longer wanted", master.now)
    master.pass_time(CANCEL_PATIENCE - 1)
    assert [body[6] for body in master.inputs()] == ["no longer wanted"]

    assert master.table.cancel("job", "again", master.now)
    master.pass_time(2.0)

    assert [send.body[1] for send in master.take(Kind.ENDED)] == ["cancelled"]
    assert master.inputs() == []


def test_a_system_that_is_starting_is_cancelled_once(master):
    master.submit()
    master.take()

    assert master.table.cancel("job", "no longer wanted", master.now)
    assert not master.table.cancel("job", "again", master.now)
    master.table.host_started(1, 4711, master.now, 1e9)

    taken = master.take()
    assert [one.body[1] for one in taken if isinstance(one, Send) and one.kind == Kind.ENDED] == ["cancelled"]
    assert [one for one in taken if isinstance(one, Send) and one.kind == Kind.START] == []


def test_a_cancel_of_plain_tasks_tells_their_application_once(master):
    master.table.open(ALICE, 3, "plain", "tasks", master.now)
    master.out(0, peer=ALICE, classes=[task_class()], tasks=[[0, b"a"]])
    master.take()

    assert master.table.cancel("plain", "cancelled by an operator", master.now)
    assert not master.table.cancel("plain", "again", master.now)

    (ended,) = master.take(Kind.ENDED)
    assert (ended.peer, ended.body[1]) == (ALICE, "cancelled")
    assert "cancelled by an operator" in str(ended.body[2])


# Notices


def test_the_same_notice_is_told_once(master):
    master.start()

    for _ in range(3):
        master.table.notice(1, "nobody can run task job:1", master.now)

    assert [event.body[5] for event in master.take(Kind.EVENT)] == [["nobody can run task job:1"]]


def test_a_notice_about_plain_tasks_reaches_their_application(master):
    master.table.open(ALICE, 3, "plain", "tasks", master.now)
    master.take()

    master.table.notice(1, "nobody can run task plain:1", master.now)

    (event,) = master.take(Kind.EVENT)
    assert (event.peer, event.body[5]) == (ALICE, ["nobody can run task plain:1"])


def test_a_notice_waits_for_the_next_follower(master):
    master.start(detach=True)
    master.table.peer_left(ALICE, master.now)
    master.table.notice(1, "nobody can run task job:1", master.now)
    assert master.take(Kind.EVENT) == []

    master.table.attach(BOB, 5, "job", master.now)
    master.pass_time(1.0)

    assert [event.body[5] for event in master.take(Kind.EVENT)] == [["nobody can run task job:1"]]


def test_notices_without_end_are_cut_short(master):
    master.start()

    for number in range(1000):
        master.table.notice(1, f"nobody can run task job:{number}", master.now)

    notices = [notice for event in master.take(Kind.EVENT) for notice in event.body[5]]
    assert len(notices) == MOST_NOTICES + 1
    assert notices[-1] == "system job has more to say, which is not shown"
