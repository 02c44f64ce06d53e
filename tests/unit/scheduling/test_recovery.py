"""What comes back with a system: its cancel, its partial results, its result."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome, SystemState
from concurro.nodes.answers import describe_system, explain
from concurro.scheduling.commands import StartHost, StopHost
from concurro.scheduling.rows import CancelAsked, GenerationBegun, PublicationsTaken, SystemEnded
from concurro.wire.messages import Kind
from concurro.wire.stamps import stamp_of
from tests.unit.scheduling.journal_driver import ONCE, SQUARE, KeptMaster, answers, finish, replayed, running
from tests.unit.scheduling.system_driver import ALICE, DONE

PARTS = [[b"part-%d" % number, None] for number in range(3)]


def back(before):
    """Return a master that was started on what another one had on disk."""
    master = KeptMaster([before.kept()], first=2)
    master.join(workers=8)
    return master


def published(master):
    """Return what followers are told: the number of the first partial result, and all of them."""
    told = [send.body for send in master.take(Kind.EVENT) if send.body[1]]
    return [(body[7] & (1 << 40) - 1, [value for value, _ in body[1]]) for body in told]


def publishing():
    """Return a master whose system has published three parts, all of it on disk."""
    master = running()
    finish(master, 0)
    master.out(master.inputs()[-1][1], publications=PARTS)
    master.commit()
    return master


def test_a_cancel_that_the_host_has_not_answered_is_not_forgotten():
    before = running()
    before.table.cancel("job", "enough of it", before.now)
    before.pass_time()
    rows = before.commit()
    master = back(before)

    replayed(master, answers())
    master.pass_time()

    inputs = master.inputs()
    assert rows == [CancelAsked(1, "enough of it")]
    assert [body[6] for body in inputs] == ["enough of it"]
    assert master.core.slaves["north"].leases == {}
    master.out(inputs[0][1], end=["cancelled", DONE])
    master.commit()
    assert master.table.find("job").record.state is SystemState.CANCELLED


def test_a_system_that_is_cancelled_during_its_replay_is_replayed_and_then_cancelled():
    before = running()
    finish(before, 0)
    before.out(before.inputs()[-1][1])
    before.commit()
    master = back(before)
    replayed(master, answers())
    master.table.cancel("job", "enough of it", master.now)
    master.pass_time(4)

    master.out(2)
    master.pass_time(4)

    life = master.table.find("job")
    assert [body[6] for body in master.inputs()] == ["enough of it"]
    assert (life.record.done, life.record.cancelled, life.record.leased) == (1, 2, 0)


def test_a_system_that_ends_where_it_did_not_before_is_run_again():
    before = running()
    for number in (0, 1):
        finish(before, number)
        before.out(before.inputs()[-1][1])
    before.commit()
    master = back(before)
    replayed(master, answers())
    failure = [1, ["ValueError", "the file is not there"], None]

    master.out(2, end=["failed", failure])
    commands = master.take()

    assert [type(one) for one in commands if isinstance(one, StopHost | StartHost)] == [StopHost, StartHost]
    assert master.commit() == [GenerationBegun(1, 2, -1)]


def test_a_result_is_there_for_a_while_after_the_restart_however_old_it_is():
    before = running(tasks=1)
    finish(before, 0)
    before.out(before.inputs()[-1][1], end=["complete", DONE])
    before.commit()
    kept = before.kept()
    kept.ended = SystemEnded(1, kept.ended.state, kept.ended.result, ended_at=1e6)
    master = KeptMaster([kept], first=2)
    master.pass_time(30)

    master.table.attach(ALICE, 9, "job", master.now)

    assert [send.body[1:3] for send in master.take(Kind.ENDED)] == [["complete", DONE]]


def test_an_ended_system_still_says_after_the_restart_how_many_tasks_it_had_and_how_long_it_took():
    before = running(tasks=3)
    before.pass_time(5)
    finish(before, 0)
    before.out(before.inputs()[-1][1], end=["complete", DONE])
    before.commit()
    told = describe_system(before.table.find("job"), before.now)
    master = KeptMaster([before.kept()], first=2)

    later = describe_system(master.table.find("job"), master.now)

    assert {key: later[key] for key in ("done", "failed", "cancelled")} == {"done": 1, "failed": 0, "cancelled": 2}
    assert later["elapsed"] == pytest.approx(told["elapsed"]) == pytest.approx(5)
    assert "1 task done, 0 failed" in explain(master.core, master.table, "job", master.now)


def test_partial_results_that_nobody_took_are_told_after_the_restart():
    before = publishing()
    first = published(before)
    master = back(before)
    replayed(master, [*answers(), {"publications": PARTS}])
    too_early = published(master)

    master.table.attach(ALICE, 9, "job", master.now)
    master.pass_time()

    assert first == [(0, [b"part-0", b"part-1", b"part-2"])]
    assert too_early == []
    master.table.stop_waiting(master.now)
    assert published(master) == first


def test_partial_results_that_were_taken_are_not_told_again():
    before = publishing()
    event = next(send.body[6] for send in before.take(Kind.EVENT) if send.body[1])
    before.table.taken(ALICE, 1, event, before.now)
    rows = before.commit()
    master = back(before)
    master.table.attach(ALICE, 9, "job", master.now)

    replayed(master, [*answers(), {"publications": PARTS}])
    master.pass_time()
    after = published(master)
    finish(master, 1)
    master.out(master.inputs()[-1][1], publications=PARTS[:1])
    master.commit()

    assert rows == [PublicationsTaken(1, 3)]
    assert after == []
    assert published(master) == [(3, [b"part-0"])]


def test_partial_results_of_another_generation_are_other_ones():
    before = publishing()
    numbers = [send.body[7] for send in before.take(Kind.EVENT) if send.body[1]]
    master = back(before)
    master.table.attach(ALICE, 9, "job", master.now)
    replayed(master, [{}])
    master.out(1, classes=[SQUARE], tasks=[[0, b"something else"]])
    master.table.host_started(1, 4713, master.now, 1e9)

    master.out(0, publications=PARTS)
    master.commit()

    again = [send.body[7] for send in master.take(Kind.EVENT) if send.body[1]]
    assert again[0] > numbers[0] + 1000


def test_hosts_wait_when_too_many_bytes_wait_for_the_disk(monkeypatch):
    master = running()
    monkeypatch.setattr("concurro.scheduling.recording.BACKLOG_BYTES", 10)
    finish(master, 0)
    master.out(master.inputs()[-1][1])
    finish(master, 1)

    before = master.inputs()
    master.commit()
    master.pass_time()

    assert before == []
    assert [entry[0] for body in master.inputs() for entry in body[3]] == [1]


OLD_LEASE = 1


def held(number, payload=b"", lease=OLD_LEASE, generation=1, code=b"code"):
    """Return what a slave says of a lease that it holds."""
    return [lease, 1, generation, number, 2, stamp_of("Square", (code, []), payload or b"%d" % number, None)]


def missing(before, task_class=SQUARE):
    """Return a master that has replayed its system and misses a slave of before."""
    master = KeptMaster([before.kept()], first=2)
    master.core.epoch = 5
    master.table.recovery.settled = False
    master.join(workers=8)
    replayed(master, answers(task_class=task_class))
    master.pass_time()
    return master


def leases(master):
    return {lease: task.number for lease, task in master.core.slaves["north"].leases.items()}


def test_what_a_slave_holds_goes_on_under_its_lease_and_the_rest_is_queued_after_it():
    master = missing(running())
    before = leases(master)

    unwanted = master.table.recovery.adopt("north", [held(1)])
    adopted = leases(master)
    master.table.recovery.settle()
    master.pass_time()

    assert (before, unwanted, adopted) == ({}, [], {OLD_LEASE: 1})
    assert sorted(leases(master).values()) == [0, 1, 2]
    master.core.results("north", [[OLD_LEASE, 0, b"result", None, 1000]])
    master.pass_time()
    life = master.table.find("job")
    assert (life.record.done, sorted(life.record.open), life.record.leased) == (1, [0, 2], 2)


def notices(master):
    return [notice for send in master.take(Kind.EVENT) for notice in send.body[5]]


@pytest.mark.parametrize("finished", [False, True], ids=["slaves awaited", "replay under way"])
def test_that_there_is_no_slave_is_told_only_once_the_slaves_of_before_are_missed_no_more(finished):
    before = running()
    if finished:
        finish(before, 0)
        before.out(before.inputs()[-1][1])
        before.commit()
    master = KeptMaster([before.kept()], first=2)
    master.table.recovery.settled = False
    replayed(master, answers())
    master.table.attach(ALICE, 9, "job", master.now)
    master.pass_time(3.0)
    master.pass_time(3.0)
    told_meanwhile = notices(master)

    if finished:
        master.out(3)
    master.table.recovery.settle()
    master.pass_time(3.0)
    master.pass_time(3.0)

    waiting = 2 if finished else 3
    assert told_meanwhile == []
    assert notices(master) == [f"{waiting} tasks wait: no slave is connected to the master"]


def test_what_is_not_equal_is_not_adopted():
    master = missing(running())
    other_system = [OLD_LEASE, 7, *held(0)[2:]]
    of_this_epoch = held(0, lease=5 << 40 | 1)
    different = [held(0, payload=b"x"), held(0, code=b"y"), held(9), held(0, generation=2), other_system, of_this_epoch]

    unwanted = master.table.recovery.adopt("north", different)

    assert unwanted == [entry[0] for entry in different]
    assert leases(master) == {}


def test_a_task_is_adopted_from_one_slave_only():
    master = missing(running())

    unwanted = master.table.recovery.adopt("north", [held(1, lease=7), held(1, lease=8)])

    assert (unwanted, leases(master)) == ([8], {7: 1})


def test_a_task_that_may_run_once_goes_on_where_it_runs_and_is_lost_elsewhere():
    before = running(ONCE)
    kept = before.kept()
    kept.intents.update({0: 1, 1: 1})
    before.kept = lambda: kept
    master = missing(before, ONCE)

    unwanted = master.table.recovery.adopt("north", [held(1)])
    master.table.recovery.settle()
    master.pass_time()

    entries = [entry for body in master.inputs() for entry in body[3]]
    assert (unwanted, [(entry[0], entry[1]) for entry in entries]) == ([], [(0, int(Outcome.SLAVE_LOST))])
    assert sorted(leases(master).values()) == [1, 2]


@pytest.mark.parametrize("counted", [True, False])
def test_a_crash_that_is_told_again_counts_once(counted):
    before = running()
    kept = before.kept()
    kept.crashes[1] = 2
    kept.counted[1] = held(1)[0] if counted else 99
    before.kept = lambda: kept
    master = missing(before)

    master.table.recovery.adopt("north", [held(1)])
    master.core.results("north", [[held(1)[0], int(Outcome.LOST), ["WorkerLost", "died"], None, 0]])

    open_tasks = master.table.find("job").record.open
    assert (1 in open_tasks) is counted
    assert not counted or open_tasks[1].crashes == 2


def test_a_slave_that_is_lost_after_it_came_back_gives_its_tasks_to_others():
    master = missing(running())
    master.table.recovery.adopt("north", [held(1)])
    master.table.recovery.settle()
    master.join("south", workers=8)

    master.core.slave_left("north", "its power failed")
    master.pass_time()

    assert sorted(task.number for task in master.core.slaves["south"].leases.values()) == [0, 1, 2]
