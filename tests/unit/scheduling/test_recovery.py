"""What comes back with a system: its cancel, its partial results, its result."""

from __future__ import annotations

from concurro.ids import SystemState
from concurro.scheduling.commands import StartHost, StopHost
from concurro.scheduling.rows import CancelAsked, GenerationBegun, PublicationsTaken, SystemEnded
from concurro.wire.messages import Kind
from tests.unit.scheduling.journal_driver import SQUARE, KeptMaster, answers, finish, replayed, running
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
