"""Snapshots: what replaces old inputs, when it is taken, and what goes on from it."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome, SystemState
from concurro.scheduling.commands import DropBlobs, Reread, Spool, StartHost
from concurro.scheduling.rows import GenerationBegun, SnapshotTaken
from concurro.scheduling.snapshots import SNAPSHOT_BYTES, SNAPSHOT_ENTRIES, SnapshotCourse
from concurro.wire.messages import Kind
from tests.unit.scheduling.journal_driver import ONCE, SQUARE, KeptMaster, finish, running
from tests.unit.scheduling.system_driver import ALICE, DONE, LARGE
from tests.unit.scheduling.test_rerun import started

STATE = b"state"


@pytest.fixture
def often(monkeypatch):
    """Let a snapshot be taken after every input that told of a task."""
    monkeypatch.setattr(SnapshotCourse, "is_due", lambda course, now: course.entries > 0)


def asked(master):
    return [send.body for send in master.take(Kind.SNAPSHOT_GET)]


def pickled(master, n, state=STATE, parts=None, published=0, fault=""):
    """Let the host tell what it pickled."""
    master.table.snapshot(1, [1, n, state, parts, published, fault], master.now)


def told(master, *numbers):
    """Let tasks end and their host answer; return the number of the input."""
    for number in numbers:
        finish(master, number)
    n = master.inputs()[-1][1]
    master.out(n, exhausted=True)
    master.commit()
    return n


def snapshots(rows):
    return [row for row in rows if isinstance(row, SnapshotTaken)]


def test_one_is_due_after_many_entries_or_large_ones():
    courses = [SnapshotCourse() for _ in range(3)]

    courses[0].count(SNAPSHOT_ENTRIES, 0)
    courses[1].count(1, SNAPSHOT_BYTES)
    courses[2].count(SNAPSHOT_ENTRIES - 1, SNAPSHOT_BYTES - 1)

    assert [course.is_due(0.0) for course in courses] == [True, True, False]


def test_the_host_is_asked_behind_the_input_that_it_has_answered(often):
    master = running()
    n = told(master, 0)

    master.pass_time()

    assert asked(master) == [[1, n]]


def test_it_has_the_tasks_that_are_open_and_those_of_whose_end_the_host_was_not_told(often):
    master = running(tasks=4)
    n = told(master, 0)
    master.pass_time()
    finish(master, 1)
    (later,) = master.inputs()
    master.out(later[1], cancelled=[2], exhausted=True)
    master.commit()
    master.pass_time()

    pickled(master, n)

    (row,) = snapshots(master.commit())
    assert (row.n, row.generation, row.state) == (n, 1, STATE)
    assert row.open_tasks == [[number, 0, b"%d" % number, None] for number in (1, 2, 3)]
    assert (row.counts, row.cancelled, row.emitted) == ([1, 0, 0], [], 4)
    assert row.classes == [SQUARE]


def test_what_ends_while_the_host_works_on_that_input_is_open_for_it(often):
    master = running(tasks=4)
    told(master, 0)
    finish(master, 1)
    (sent,) = [body for body in master.inputs() if body[3]]
    finish(master, 2)

    master.out(sent[1], cancelled=[3], exhausted=True)
    pickled(master, sent[1])
    rows = snapshots(master.commit())

    if not rows:  # it was asked behind the input before
        pytest.fail("no snapshot was taken behind the input that was under way")
    assert [entry[0] for entry in rows[0].open_tasks] == [2, 3]
    assert (rows[0].cancelled, rows[0].counts) == ([3], [2, 0, 0])


def test_it_waits_until_the_host_was_told_what_was_final_before(often):
    master = running(tasks=4)
    told(master, 0)
    life = master.table.find("job")
    life.flow.units = 1
    for number in (1, 2):
        lease = next(lease for lease, task in master.core.slaves["north"].leases.items() if task.number == number)
        master.core.results("north", [[lease, 0, b"result", None, 1000]])

    master.pass_time()
    first = master.take()
    master.pass_time()
    second = master.take()

    names = [[send.kind for send in sent if getattr(send, "peer", None) == ("host", 1)] for sent in (first, second)]
    assert Kind.SNAPSHOT_GET not in names[0]
    assert names[1] == [Kind.IN, Kind.SNAPSHOT_GET]


def test_it_waits_until_followers_have_what_was_published(often):
    master = running()
    finish(master, 0)
    n = master.inputs()[-1][1]
    master.out(n, publications=[[b"part", None]], exhausted=True)
    master.commit()
    (event,) = [send for send in master.take(Kind.EVENT) if send.body[1]]
    master.pass_time()

    pickled(master, n, published=1)
    before = snapshots(master.commit())
    master.table.taken(ALICE, 1, event.body[6], master.now)
    master.pass_time()

    assert before == []
    assert [row.published for row in snapshots(master.commit())] == [1]


def test_one_that_failed_is_tried_again_after_twice_as_much_and_a_rest():
    master = running()
    course = master.table.find("job").snapshots
    course.count(SNAPSHOT_ENTRIES, 0)
    n = told(master, 0)
    master.now += 2.0

    pickled(master, n, fault="a lock does not pickle")
    told(master, 1)
    too_little = course.is_due(master.now + 60.0)
    course.count(SNAPSHOT_ENTRIES, 0)
    told(master, 2)

    assert snapshots(master.commit()) == []
    assert not too_little
    assert [course.is_due(master.now + rest) for rest in (30.0, 40.0)] == [False, True]


def test_one_that_is_due_after_a_rest_is_taken_although_nothing_else_happens():
    master = running()
    course = master.table.find("job").snapshots
    course.not_before = master.now + 30.0
    course.count(SNAPSHOT_ENTRIES, 0)
    n = told(master, 0)

    master.pass_time(29.0)
    early = asked(master)
    master.pass_time(2.0)

    assert (early, asked(master)) == ([], [[1, n]])


def test_there_are_never_two_at_once(often):
    master = running()
    told(master, 0)
    master.pass_time()
    first = asked(master)
    told(master, 1)

    master.pass_time()

    assert len(first) == 1
    assert asked(master) == []


def test_a_state_that_nobody_waits_for_is_dropped(often):
    master = running()
    master.table.find("job").options["restarts"] = 1
    n = told(master, 0)
    master.pass_time()
    master.table.host_lost(1, "killed by SIGKILL", master.now)
    master.take()

    pickled(master, n)

    assert [send.body for send in master.take(Kind.SNAPSHOT_DONE)] == [[1, n]]
    assert snapshots(master.commit()) == []


def test_large_parts_are_in_the_spool_until_they_are_on_disk(often):
    master = running()
    n = told(master, 0)
    master.pass_time()

    pickled(master, n, b"", LARGE)
    (spool,) = master.take(Spool)
    before = snapshots(master.commit())
    master.table.spooled(spool.token, None, master.now)
    during = [one for one in master.take(DropBlobs) if one.owner == spool.owner]
    (record,) = master.records
    rows = snapshots(master.commit())

    assert (spool.blobs, before, during) == (LARGE, [], [])
    assert record.blobs == [b"digest"]
    assert [row.parts for row in rows] == [LARGE]
    assert DropBlobs(spool.owner) in master.take(DropBlobs)


def kept_with_snapshot(task_class=SQUARE):
    """Return what the journal has of a system with a snapshot behind input 2 and an input after it."""
    master = running(task_class)
    n = told(master, 0)
    master.pass_time()
    pickled(master, n, published=0)
    master.commit()
    told(master, 1)
    return master.kept()


def test_a_restarted_master_gives_a_new_host_the_state_and_the_later_inputs(often):
    kept = kept_with_snapshot()
    master = KeptMaster([kept], first=2)
    master.join(workers=8)
    master.take(StartHost)
    master.table.host_started(1, 4712, master.now, 1e9)
    (start,) = [send.body for send in master.take(Kind.START)]

    master.out(2, exhausted=True)
    (given,) = master.inputs()
    master.out(given[1], exhausted=True)
    master.pass_time()

    life = master.table.find("job")
    assert (start[2], start[5]) == (STATE, {"snapshot": 2})
    assert (given[1], [entry[0] for entry in given[3]]) == (3, [1])
    assert (life.replay, life.record.done, sorted(life.record.open), life.record.leased) == (None, 2, [2], 1)
    assert life.record.open[2].payload == b"2"


def test_the_number_of_the_next_input_follows_a_snapshot_without_later_inputs(often):
    kept = kept_with_snapshot()
    kept.inputs.clear()
    master = KeptMaster([kept], first=2)
    master.join(workers=8)
    master.table.host_started(1, 4712, master.now, 1e9)
    master.out(2, exhausted=True)
    master.pass_time()
    finish(master, 1)

    assert [body[1] for body in master.inputs() if body[3]] == [3]


def test_a_state_that_cannot_be_loaded_runs_the_system_from_its_start(often):
    kept = kept_with_snapshot()
    master = KeptMaster([kept], first=2)
    master.join(workers=8)
    master.take()
    master.table.host_started(1, 4712, master.now, 1e9)

    master.out(2, end=["failed", [1, ["UnpicklingError", "broken", ""], None]])

    assert StartHost(1) in master.take(StartHost)
    assert GenerationBegun(1, 2, -1) in master.commit()
    master.table.host_started(1, 4713, master.now, 1e9)
    (start,) = [send.body for send in master.take(Kind.START)]
    assert (start[2], "snapshot" in start[5]) == (b"pickled", False)


def differing(kept):
    """Return a restarted master whose system answers the input after its snapshot otherwise."""
    master = KeptMaster([kept], first=2)
    master.join(workers=8)
    master.take()
    master.table.host_started(1, 4712, master.now, 1e9)
    master.out(2, exhausted=True)
    master.take()
    master.out(3, first=3, tasks=[[0, b"something else"]], exhausted=True)
    return master


def test_a_system_that_differs_after_a_snapshot_is_run_again_from_there(often):
    master = differing(kept_with_snapshot())

    rows = master.commit()
    master.table.host_started(1, 4713, master.now, 1e9)
    (start,) = [send.body for send in master.take(Kind.START)]
    master.out(2, exhausted=True)
    master.pass_time()
    finish(master, 2)

    life = master.table.find("job")
    assert rows == [GenerationBegun(1, 2, 2)]
    assert (start[2], start[5]) == (STATE, {"snapshot": 2})
    assert [[body[1], [entry[0] for entry in body[3]]] for body in master.inputs() if body[3]] == [[3, [2]]]
    assert (life.record.done, sorted(life.record.open), life.record.generation) == (2, [1], 2)
    assert "it is run again from its last snapshot" in life.notices[0]


def test_a_system_that_was_run_again_from_a_snapshot_comes_back_once_more(often):
    before = differing(kept_with_snapshot())
    before.rows[:0] = [
        running().rows[0],
        SnapshotTaken(1, 2, 1, STATE, [[1, 0, b"1", None], [2, 0, b"2", None]], [SQUARE]),
    ]
    before.commit()

    kept = before.kept()

    assert (kept.generation, kept.snapshot.n, kept.inputs) == (2, 2, [])
    master = KeptMaster([kept], first=2)
    master.table.host_started(1, 4714, master.now, 1e9)
    master.out(2, exhausted=True)
    master.pass_time()
    assert sorted(master.table.find("job").record.open) == [1, 2]


def test_a_task_that_may_run_once_is_not_run_again_from_a_snapshot(often):
    kept = kept_with_snapshot(ONCE)
    kept.intents |= {1: 1, 4: 1}
    kept.crashes[2] = 2
    master = differing(kept)

    master.table.host_started(1, 4713, master.now, 1e9)
    master.out(2, exhausted=True)
    master.pass_time()

    (entry,) = [entry for body in master.inputs() for entry in body[3]]
    life = master.table.find("job")
    assert entry[:2] == [1, Outcome.SLAVE_LOST]
    assert "run again from a snapshot" in entry[2][1]
    assert {number: task.crashes for number, task in life.record.open.items()} == {2: 2}


def test_without_a_journal_a_task_that_may_run_once_is_not_run_again_from_a_snapshot_either(often):
    master = in_memory(task_class=ONCE)
    finish(master, 1)
    master.out(3, exhausted=True)
    master.table.host_lost(1, "killed by SIGKILL", master.now)
    master.table.host_started(1, 4712, master.now, 1e9)
    master.out(2, exhausted=True)

    master.out(3, first=3, tasks=[[0, b"something else"]], exhausted=True)
    master.table.host_started(1, 4713, master.now, 1e9)
    master.take()
    master.out(2, exhausted=True)
    master.pass_time()

    assert [entry[:2] for body in master.inputs() for entry in body[3]] == [
        [1, Outcome.SLAVE_LOST],
        [2, Outcome.SLAVE_LOST],
    ]


def test_a_host_that_dies_begins_with_the_last_snapshot(often):
    master = running()
    master.table.find("job").options["restarts"] = 1
    n = told(master, 0)
    master.pass_time()
    pickled(master, n)
    (row,) = snapshots(master.commit())
    told(master, 1)

    master.table.host_lost(1, "killed by SIGKILL", master.now)
    assert Reread(1) in master.take(Reread)
    master.table.reread(1, master.kept().inputs, row)
    master.table.host_started(1, 4712, master.now, 1e9)
    (start,) = [send.body for send in master.take(Kind.START)]
    master.out(n, exhausted=True)
    (given,) = master.inputs()
    master.out(given[1], exhausted=True)

    life = master.table.find("job")
    assert (start[2], start[5], given[1]) == (STATE, {"snapshot": n}, n + 1)
    assert (life.rerun, life.record.state, sorted(life.record.open)) == (None, SystemState.RUNNING, [2])


def test_none_is_taken_of_a_system_that_is_being_cancelled(often):
    master = running()
    told(master, 0)
    master.table.cancel("job", "enough", master.now)

    master.pass_time()

    assert asked(master) == []
    master.out(master.table.find("job").flow.number, end=["cancelled", DONE])


def test_none_is_taken_while_very_many_tasks_are_open(often, monkeypatch):
    monkeypatch.setattr("concurro.scheduling.snapshots.MOST_OPEN", 1)
    master = running(tasks=3)

    course = master.table.find("job").snapshots

    told(master, 0)
    master.pass_time()
    before = course.pending
    told(master, 1)
    master.pass_time()

    assert before is None
    assert course.pending is not None


def in_memory(state=STATE, parts=None, **emitted):
    """Return a master without a journal whose system has a snapshot behind input 2."""
    master = started(restarts=1, **emitted)
    life = master.table.find("job")
    lease = next(lease for lease, task in master.core.slaves["north"].leases.items() if task.number == 0)
    master.core.results("north", [[lease, 0, b"r" * 5000, LARGE, 1000]])
    master.pass_time()
    master.out(2, exhausted=True)
    master.pass_time()
    pickled(master, life.snapshots.pending.n, state, parts)
    if parts:
        (spool,) = master.take(Spool)
        master.table.spooled(spool.token, None, master.now)
    return master


def test_without_a_journal_it_takes_the_place_of_the_inputs_in_memory(often):
    master = in_memory()

    history = master.table.find("job").history
    assert (history.rows, history.snapshot.n, history.snapshot.state) == ([], 2, STATE)
    assert master.take(DropBlobs) == [DropBlobs(("input", 1, 2))]


def test_without_a_journal_a_new_host_begins_with_it_as_well(often):
    master = in_memory(b"", [[2, b"state", 1000]])

    master.table.host_lost(1, "killed by SIGKILL", master.now)
    master.table.host_started(1, 4712, master.now, 1e9)
    (start,) = [send.body for send in master.take(Kind.START)]
    master.out(2, exhausted=True)
    finish(master, 1)

    assert (start[2:4], start[5]) == ([b"", [[2, b"state", 1000]]], {"snapshot": 2})
    assert [[body[1], [entry[0] for entry in body[3]]] for body in master.inputs() if body[3]] == [[3, [1]]]


def test_without_a_journal_one_that_is_larger_than_the_inputs_is_not_kept(often):
    master = in_memory(b"", [[2, b"state", 10_000_000]])

    history = master.table.find("job").history
    assert ([row.n for row in history.rows], history.snapshot) == ([0, 1, 2], None)
    assert master.take(DropBlobs) == [DropBlobs(("snapshot", 1, 2))]


def test_none_is_prepared_any_more_once_the_inputs_are_too_many_to_keep(often, monkeypatch):
    master = started(restarts=1, tasks=8)
    life = master.table.find("job")
    finish(master, 0)
    master.out(2, exhausted=True)
    life.flow.units = 1
    for number in (1, 2, 3, 4):
        lease = next(lease for lease, task in master.core.slaves["north"].leases.items() if task.number == number)
        master.core.results("north", [[lease, 0, b"result", None, 1000]])
    master.pass_time()
    prepared = life.snapshots.pending is not None

    monkeypatch.setattr("concurro.scheduling.history.HISTORY_BYTES", 0)
    master.out(3, exhausted=True)
    master.pass_time()
    for number in (5, 6, 7):
        finish(master, number)

    assert prepared
    assert (life.history, life.snapshots.pending, life.record.retained) == (None, None, None)


def test_its_large_parts_go_when_the_system_is_forgotten(often):
    master = in_memory(b"", [[2, b"state", 1000]])
    finish(master, 1)
    master.out(3, end=["complete", DONE])
    master.take()

    master.table.release(ALICE, "job")

    assert DropBlobs(("snapshot", 1, 2)) in master.take(DropBlobs)
