"""What a journal makes wait, and how a system comes back from it."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome, SystemState
from concurro.scheduling.commands import Acknowledge, Record, Send, Spool, StartHost, StopHost
from concurro.scheduling.news import END_PATIENCE
from concurro.scheduling.rows import GenerationBegun, InputApplied, SystemEnded, SystemForgotten
from concurro.wire.messages import Kind
from tests.unit.scheduling.journal_driver import ONCE, SQUARE, KeptMaster, answers, finish, replayed, running
from tests.unit.scheduling.system_driver import ALICE, DONE, LARGE, Master


def test_a_submission_is_accepted_once_it_is_on_disk():
    master = KeptMaster()

    master.submit()
    before = master.take()
    master.submit()
    master.commit()

    commands = master.take()
    assert before == []
    assert [send.body[0] for send in commands if getattr(send, "kind", None) == Kind.SUBMITTED] == [1, 2]
    assert sum(isinstance(one, StartHost) for one in commands) == 1


def test_results_are_acknowledged_once_their_input_and_its_answer_are_on_disk():
    master = running()
    lease = finish(master, 0)
    n = master.inputs()[-1][1]
    master.out(n)

    before = master.take(Acknowledge)
    rows = master.commit()

    assert before == []
    assert [(row.n, row.body[3][0][0]) for row in rows] == [(n, 0)]
    assert master.take(Acknowledge) == [Acknowledge("north", [lease])]


def test_publications_are_told_once_they_cannot_come_twice():
    master = running()
    finish(master, 0)
    master.out(master.inputs()[-1][1], publications=[[b"partial", None]])

    before = [send for send in master.take(Kind.EVENT) if send.body[1]]
    master.commit()

    assert before == []
    assert [send.body[1] for send in master.take(Kind.EVENT) if send.body[1]] == [[[b"partial", None]]]


def test_what_a_system_publishes_last_is_told_before_its_end():
    master = running(tasks=2)
    finish(master, 0)
    master.out(master.inputs()[-1][1], publications=[[b"first", None]])
    finish(master, 1)
    master.out(master.inputs()[-1][1], publications=[[b"last", None]], end=["complete", DONE])

    master.commit()
    told = [send.body[1] for send in master.take(Kind.EVENT) if send.body[1]]
    too_early = master.take(Kind.ENDED)
    master.table.taken(ALICE, 1, 99, master.now)
    master.commit()

    assert told == [[[b"first", None]], [[b"last", None]]]
    assert too_early == []
    assert [send.body[1] for send in master.take(Kind.ENDED)] == ["complete"]


def test_an_end_is_told_once_it_is_on_disk():
    master = running(tasks=1)
    finish(master, 0)
    master.out(master.inputs()[-1][1], end=["complete", DONE])

    before = master.take(Kind.ENDED)
    master.commit()

    assert before == []
    assert [send.body[1] for send in master.take(Kind.ENDED)] == ["complete"]


def test_an_end_is_told_after_the_partial_results_of_the_same_answer():
    master = running(tasks=1)
    finish(master, 0)
    master.out(master.inputs()[-1][1], publications=[[b"", LARGE]], end=["complete", DONE])

    before = [one for one in master.take() if isinstance(one, Spool)]
    master.commit()
    (spool,) = master.take(Spool)
    master.table.spooled(spool.token, None, master.now)
    master.commit()

    told = [one for one in master.take() if isinstance(one, Send) and one.kind in (Kind.EVENT, Kind.ENDED)]
    assert before == []
    assert [[b"", LARGE]] in [one.body[1] for one in told]

    master.table.taken(ALICE, 1, told[-1].body[6], master.now)
    master.commit()

    assert master.take(Kind.ENDED)


@pytest.fixture
def publishes_at_its_end():
    """Return a master whose system published something as it ended, which nobody has taken yet."""
    master = running(tasks=1)
    finish(master, 0)
    master.out(master.inputs()[-1][1], publications=[[b"partial", None]], end=["complete", DONE])
    master.commit()
    return master


def ends(master):
    """Return the ends that are on disk by now."""
    master.commit()
    return [row for row in master.rows if isinstance(row, SystemEnded)]


def test_partial_results_that_nobody_took_outlive_the_master_although_the_system_has_ended(publishes_at_its_end):
    master = publishes_at_its_end
    [told] = [send for send in master.take(Kind.EVENT) if send.body[1]]

    untaken = ends(master)
    master.table.taken(ALICE, 1, told.body[6], master.now)

    assert untaken == []
    assert [row.state for row in ends(master)] == ["complete"]


def test_an_end_does_not_wait_for_a_follower_that_left(publishes_at_its_end):
    master = publishes_at_its_end

    master.table.peer_left(ALICE, master.now)

    assert [row.state for row in ends(master)] == ["complete"]


def test_an_end_waits_for_a_frozen_follower_only_so_long(publishes_at_its_end):
    master = publishes_at_its_end

    master.pass_time(END_PATIENCE - 1)
    before = ends(master)
    master.pass_time(2)

    assert before == []
    assert [row.state for row in ends(master)] == ["complete"]


def test_a_system_whose_end_waits_for_the_disk_is_not_cancelled_any_more():
    master = running(tasks=1)
    finish(master, 0)
    master.out(master.inputs()[-1][1], end=["complete", DONE])
    master.table.peer_left(ALICE, master.now)

    accepted = master.table.cancel("job", "enough of it", master.now)
    master.table.host_lost(1, "killed by SIGKILL", master.now)
    master.pass_time(1000.0)
    master.commit()

    assert not accepted
    assert master.table.find("job").record.state is SystemState.COMPLETE


def test_a_system_that_nobody_wants_any_more_leaves_the_journal():
    master = running(tasks=1)
    finish(master, 0)
    master.out(master.inputs()[-1][1], end=["complete", DONE])
    master.commit()

    master.table.release(ALICE, "job")

    assert master.commit() == [SystemForgotten(1)]


def test_without_a_journal_nothing_is_recorded():
    master = Master()
    master.start()

    assert master.take(Record) == []


def test_hosts_wait_when_the_disk_is_slower_than_they_are(monkeypatch):
    master = running()
    monkeypatch.setattr("concurro.scheduling.recording.BACKLOG", 1)
    finish(master, 0)
    master.out(master.inputs()[-1][1])
    finish(master, 1)

    before = master.inputs()
    master.commit()
    master.pass_time()

    assert before == []
    assert [entry[0] for body in master.inputs() for entry in body[3]] == [1]


@pytest.mark.parametrize("crashed", [False, True])
def test_a_lease_that_must_not_be_given_twice_waits_for_the_disk(crashed):
    master = running(SQUARE if crashed else ONCE, tasks=0)
    master.out(2, first=0, tasks=[[0, b"payload"]])
    master.core.tick(master.now)
    orders = master.core.take_commands().orders["north"]
    if crashed:
        lease = orders.leases[0][0]
        master.core.results("north", [[lease, int(Outcome.LOST), ["WorkerLost", "died"], None, 0]])
        master.core.tick(master.now)
        orders = master.core.take_commands().orders["north"]

    assert orders.leases == []
    assert [(entry[3], crashes) for entry, crashes in orders.held] == [(0, int(crashed))]


def test_plain_tasks_leave_nothing_in_the_journal():
    master = KeptMaster()
    master.join(workers=8)
    master.table.open(ALICE, 1, "plain", "Plain", master.now)
    master.out(0, peer=ALICE, classes=[ONCE], tasks=[[0, b"payload"]])

    master.core.tick(master.now)

    orders = master.core.take_commands().orders["north"]
    assert (len(orders.leases), orders.held) == (1, [])


def test_the_slave_of_a_crash_is_told_that_it_is_known_once_it_is_on_disk():
    master = running(tasks=1)
    (lease,) = master.core.slaves["north"].leases

    master.core.results("north", [[lease, int(Outcome.LOST), ["WorkerLost", "died"], None, 0]])

    commands = master.core.take_commands()
    assert (commands.crashed, commands.settled) == ([(1, 0, 1, "north", lease)], {})


def test_a_crash_that_is_final_is_acknowledged_with_the_input_that_tells_of_it():
    master = running(ONCE, tasks=1)
    (lease,) = master.core.slaves["north"].leases
    master.core.results("north", [[lease, int(Outcome.LOST), ["WorkerLost", "died"], None, 0]])
    master.pass_time()
    master.out(master.inputs()[-1][1])

    before = master.take(Acknowledge)
    master.commit()

    assert before == []
    assert master.take(Acknowledge) == [Acknowledge("north", [lease])]


def test_a_recovered_system_goes_on_where_its_journal_ends():
    before = running()
    finish(before, 0)
    n = before.inputs()[-1][1]
    before.out(n)
    before.commit()
    master = KeptMaster([before.kept()], first=2)
    master.join(workers=8)

    inputs = replayed(master, [*answers(), {}])
    master.pass_time()

    life = master.table.find("job")
    assert [body[1] for body in inputs[1:]] == [1, 2]
    assert sorted(life.record.open) == [1, 2]
    assert (life.record.done, life.record.leased, life.replay) == (1, 2, None)


def test_a_recovered_system_ends_as_it_would_have():
    before = running(tasks=2)
    finish(before, 0)
    before.out(before.inputs()[-1][1])
    before.commit()
    master = KeptMaster([before.kept()], first=2)
    master.join(workers=8)
    replayed(master, [*answers(2), {}])
    master.pass_time()

    finish(master, 1)
    following = master.inputs()[-1]
    master.out(following[1], end=["complete", DONE])
    rows = master.commit()

    assert [entry[0] for entry in following[3]] == [1]
    assert [type(row) for row in rows] == [InputApplied, SystemEnded]
    assert master.table.find("job").record.state is SystemState.COMPLETE


def test_an_unanswered_input_is_not_replayed_and_its_result_is_wanted_again():
    before = running()
    finish(before, 0)
    before.commit()
    master = KeptMaster([before.kept()], first=2)
    master.join(workers=8)

    replayed(master, answers())
    master.pass_time()

    assert sorted(task.number for task in master.core.slaves["north"].leases.values()) == [0, 1, 2]


def test_a_system_that_emits_other_tasks_is_run_again_as_a_new_generation():
    before = running()
    master = KeptMaster([before.kept()], first=2)
    master.join(workers=8)
    other = [{}, {"classes": [SQUARE], "tasks": [[0, b"something else"]]}]

    replayed(master, other[:1])
    master.out(1, **other[1])
    commands = master.take()
    rows = master.commit()

    life = master.table.find("job")
    assert rows == [GenerationBegun(1, 2, -1)]
    assert [type(one) for one in commands if isinstance(one, StopHost | StartHost)] == [StopHost, StartHost]
    assert (life.record.generation, life.record.open) == (2, {})
    assert "emitted other tasks when it was replayed" in life.notices[0]


def test_a_task_that_may_have_run_and_must_not_twice_is_reported_lost():
    before = running(ONCE, tasks=2)
    kept = before.kept()
    kept.intents[1] = 1
    master = KeptMaster([kept], first=2)
    master.join(workers=8)

    replayed(master, answers(2, ONCE))
    master.pass_time()

    entries = [entry for body in master.inputs() for entry in body[3]]
    assert [(entry[0], entry[1]) for entry in entries] == [(1, int(Outcome.SLAVE_LOST))]
    assert "the master was restarted while the task may have been running" in entries[0][2][1]
    assert list(master.table.find("job").record.open) == [0]


def test_crashes_of_a_task_are_counted_over_a_restart():
    before = running(tasks=1)
    kept = before.kept()
    kept.crashes[0] = 2
    master = KeptMaster([kept], first=2)
    master.join(workers=8)

    replayed(master, answers(1))
    master.pass_time()
    lease = next(iter(master.core.slaves["north"].leases))
    master.core.results("north", [[lease, int(Outcome.LOST), ["WorkerLost", "died"], None, 0]])
    master.pass_time()

    assert [entry[1] for body in master.inputs() for entry in body[3]] == [int(Outcome.LOST)]


def test_a_cancel_that_no_recorded_input_told_of_is_told_after_the_replay():
    before = running()
    finish(before, 0)
    before.out(before.inputs()[-1][1], cancelled=[2])
    before.commit()
    master = KeptMaster([before.kept()], first=2)
    master.join(workers=8)

    replayed(master, [*answers(), {"cancelled": [2]}])
    master.pass_time()

    entries = [entry for body in master.inputs() for entry in body[3]]
    assert [(entry[0], entry[1]) for entry in entries] == [(2, int(Outcome.CANCELLED))]


def test_the_result_of_a_system_that_ended_before_is_there_for_who_asks():
    before = running(tasks=1)
    finish(before, 0)
    before.out(before.inputs()[-1][1], end=["complete", DONE])
    before.commit()
    master = KeptMaster([before.kept()], first=2)

    master.table.attach(ALICE, 9, "job", master.now)

    assert master.take(StartHost) == []
    master.table.attach(ALICE, 10, "job", master.now)
    assert [send.body[1:3] for send in master.take(Kind.ENDED)] == [["complete", DONE]]


def test_a_system_number_is_never_used_again():
    master = KeptMaster(first=8)

    master.submit()

    assert master.table.find("job").record.number == 8
