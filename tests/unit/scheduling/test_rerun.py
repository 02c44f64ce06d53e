"""Hosts that die and are started again: nothing of their systems is lost or done twice."""

from __future__ import annotations

import pytest

from concurro.ids import SystemState
from concurro.scheduling.commands import Acknowledge, HostBack, KeepBlobs, Reread, Send, StartHost, StopHost
from concurro.scheduling.rows import GenerationBegun, HostRestarted, InputApplied
from concurro.wire.messages import Kind
from tests.unit.scheduling.journal_driver import SQUARE, KeptMaster, answers, finish, running
from tests.unit.scheduling.system_driver import ALICE, DONE, LARGE, Master

DIED = "killed by SIGKILL"


def started(*, restarts=1, journalled=False, tasks=3, task_class=SQUARE):
    """Return a master whose only system has emitted tasks."""
    if journalled:
        master = running(tasks=tasks)
        master.table.find("job").options["restarts"] = restarts
        return master
    master = Master()
    master.join(workers=8)
    master.start(restarts=restarts)
    master.pass_time()
    master.out(1, classes=[task_class], tasks=[[0, b"%d" % n] for n in range(tasks)], exhausted=True)
    master.pass_time()
    master.take()
    return master


def lose_host(master):
    """Let the host die; return what is commanded, once the journal was read."""
    master.table.host_lost(1, DIED, master.now)
    commands = master.take()
    if any(isinstance(one, Reread) for one in commands):
        master.commit()
        rows = [row for row in master.rows if isinstance(row, InputApplied)]
        master.table.reread(1, rows)
        commands += master.take()
    return commands


def give_again(master, answers):
    """Start the host again and let it answer the recorded inputs; return what it was sent."""
    master.table.host_started(1, 4712, master.now, 1e9)
    sent = [send.body for send in master.take(Kind.START)]
    for n, answer in enumerate(answers):
        master.out(n, **answer)
        sent += master.inputs()
    return sent


@pytest.fixture(params=[False, True], ids=["in memory", "journalled"])
def master(request):
    return started(journalled=request.param)


def test_a_host_that_dies_is_started_again_and_given_its_inputs(master):
    commands = lose_host(master)

    sent = give_again(master, answers())
    master.pass_time()

    assert [one.system for one in commands if isinstance(one, StartHost)] == [1]
    assert [body[1] for body in sent[1:]] == [1]
    life = master.table.find("job")
    assert (life.record.state, life.record.leased, life.rerun, life.restarted) == (SystemState.RUNNING, 3, None, 1)


def test_its_tasks_go_on_meanwhile_and_what_ends_is_told_to_the_new_host(master):
    lose_host(master)
    lease = finish(master, 1)
    too_early = master.inputs()

    give_again(master, answers())
    master.pass_time()
    (following,) = master.inputs()
    master.out(following[1])
    if isinstance(master, KeptMaster):
        master.commit()

    assert too_early == []
    assert (following[1], [entry[0] for entry in following[3]]) == (2, [1])
    assert master.take(Acknowledge) == [Acknowledge("north", [lease])]


def test_an_input_that_was_not_answered_is_given_once_more(master):
    finish(master, 0)
    (unanswered,) = master.inputs()
    lose_host(master)

    sent = give_again(master, answers())

    assert sent[-1] == unanswered
    master.out(2, end=["complete", DONE])
    if isinstance(master, KeptMaster):
        master.commit()
    assert master.table.find("job").record.state is SystemState.COMPLETE


def test_the_host_that_was_asked_for_blobs_is_asked_again_once_it_has_them(master):
    lose_host(master)
    master.table.host_started(1, 4712, master.now, 1e9)
    master.out(0)
    before = master.take(HostBack)

    master.out(1, **answers()[1])

    assert before == []
    assert master.take(HostBack) == [HostBack(1)]


def test_a_host_that_dies_too_often_fails_its_system_naming_host_and_reason(master):
    lose_host(master)
    give_again(master, answers())

    master.table.host_lost(1, "exit code 3", master.now)
    if isinstance(master, KeptMaster):
        master.commit()

    (ended,) = master.take(Kind.ENDED)
    name, message = ended.body[2][1][:2]
    assert name == "HostLost"
    assert "job (Job) died: exit code 3, while it waited for input 2" in message
    assert "it was started again once before, as often as it may" in message


def test_followers_are_told_of_every_restart(master):
    finish(master, 0)
    master.take()

    commands = lose_host(master)

    (notice,) = [note for one in commands if getattr(one, "kind", None) == Kind.EVENT for note in one.body[5]]
    assert "died: killed by SIGKILL, while it worked on input 2 (task_finished of 1 task" in notice
    assert "started again, restart 1 of 1" in notice


def test_a_new_host_that_emits_other_tasks_runs_the_system_from_its_start(master):
    lease = finish(master, 0)
    lose_host(master)
    give_again(master, [{}])

    master.out(1, classes=[SQUARE], tasks=[[0, b"something else"]])

    commands = master.take()
    assert [type(one) for one in commands if isinstance(one, StopHost | StartHost)] == [StopHost, StartHost]
    assert Acknowledge("north", [lease]) in commands
    life = master.table.find("job")
    assert (life.record.generation, life.record.open, life.rerun) == (2, {}, None)
    if isinstance(master, KeptMaster):
        assert GenerationBegun(1, 2, -1) in master.commit()


def test_a_system_that_was_run_again_may_lose_its_host_once_more():
    master = started(restarts=2)
    lose_host(master)
    give_again(master, [{}])
    master.out(1, classes=[SQUARE], tasks=[[0, b"something else"]])
    master.take()
    give_again(master, [{}])
    master.pass_time()
    master.out(1, classes=[SQUARE], tasks=[[0, b"something else"]])

    lose_host(master)
    give_again(master, [{}])
    master.out(1, classes=[SQUARE], tasks=[[0, b"something else"]])

    life = master.table.find("job")
    assert (life.record.generation, len(life.record.open), life.rerun) == (2, 1, None)


def test_what_the_dead_host_told_of_an_unanswered_input_is_not_told_twice(master):
    finish(master, 0)
    master.take()
    pieces = {"tasks": [[0, b"3"]], "first": 3, "publications": [[b"part-0", None]]}
    master.out(2, **pieces, more=True)
    master.pass_time()
    lose_host(master)
    give_again(master, answers())

    master.out(2, **pieces, more=True)
    master.out(2, tasks=[[0, b"4"]], first=4, publications=[[b"part-1", None]])
    if isinstance(master, KeptMaster):
        master.commit()

    events = [send.body[1] for send in master.take(Kind.EVENT) if send.body[1]]
    assert sorted(master.table.find("job").record.open) == [1, 2, 3, 4]
    assert events == [[[b"part-1", None]]]


def test_a_host_that_dies_before_its_first_answer_is_started_again():
    master = Master()
    master.submit(restarts=1)
    master.table.host_started(1, 4711, master.now, 1e9)
    (first,) = master.take(Kind.START)

    lose_host(master)
    (second,) = give_again(master, [])
    master.out(0)
    master.pass_time()

    assert second == first.body
    assert [body[1] for body in master.inputs()] == [1]


def test_a_host_that_could_not_be_started_is_tried_again():
    master = Master()
    master.submit(restarts=1)
    master.take()

    commands = lose_host(master)
    master.table.host_started(1, 4712, master.now, 1e9)
    told = master.take()

    assert StartHost(1) in commands
    assert [one.body[1] for one in told if isinstance(one, Send)] == ["job"]
    assert HostBack(1) in told


def test_large_parts_of_results_stay_for_the_next_host():
    master = started()
    lease = next(lease for lease, task in master.core.slaves["north"].leases.items() if task.number == 0)
    master.core.results("north", [[lease, 0, b"", LARGE, 1000]])
    master.pass_time()
    master.take()

    master.out(2)

    assert master.take(KeepBlobs) == [KeepBlobs(("input", 1, 2), [b"digest"])]


def test_a_host_with_too_many_inputs_for_the_memory_is_not_started_again(monkeypatch):
    monkeypatch.setattr("concurro.scheduling.history.HISTORY_BYTES", 1000)
    master = started()
    finish(master, 0)
    master.out(2)

    master.table.host_lost(1, DIED, master.now)

    (ended,) = master.take(Kind.ENDED)
    assert "not started again: its inputs are too many to keep without a journal" in ended.body[2][1][1]


def test_without_restarts_nothing_is_kept():
    master = started(restarts=0)

    master.table.host_lost(1, DIED, master.now)

    life = master.table.find("job")
    assert (life.history, life.inputs) == (None, {})
    (ended,) = master.take(Kind.ENDED)
    assert ended.body[2][1][1].endswith("killed by SIGKILL, while it waited for input 2")


def test_a_cancel_while_the_host_is_started_again_is_not_forgotten(master):
    lose_host(master)
    master.table.cancel("job", "enough of it", master.now)

    give_again(master, answers())
    master.pass_time()
    (cancel,) = master.inputs()
    master.out(cancel[1], end=["cancelled", DONE])
    if isinstance(master, KeptMaster):
        master.commit()

    assert cancel[6] == "enough of it"
    assert master.table.find("job").record.state is SystemState.CANCELLED


def test_how_often_a_host_was_started_again_outlives_the_master():
    master = started(journalled=True)
    lose_host(master)
    assert HostRestarted(1, 1) in master.rows
    kept = master.kept()
    kept.restarted = 1
    kept.accepted.options["restarts"] = 1

    again = KeptMaster([kept], first=2)
    again.table.attach(ALICE, 9, "job", again.now)
    again.table.host_started(1, 4712, again.now, 1e9)
    again.table.host_lost(1, DIED, again.now)
    again.commit()

    (ended,) = again.take(Kind.ENDED)
    assert ended.body[2][1][0] == "HostLost"


def test_a_host_that_dies_during_a_replay_begins_that_replay_again():
    before = running()
    finish(before, 0)
    before.out(before.inputs()[-1][1])
    before.commit()
    kept = before.kept()
    kept.accepted.options["restarts"] = 1
    master = KeptMaster([kept], first=2)
    master.join(workers=8)
    give_again(master, answers())
    master.table.host_lost(1, DIED, master.now)
    assert master.take(Reread) == [Reread(1)]
    master.table.reread(1, kept.inputs)

    sent = give_again(master, answers())
    master.out(2)
    back = master.take(HostBack)
    master.pass_time()

    life = master.table.find("job")
    assert [body[1] for body in sent[1:]] == [1, 2]
    assert back == [HostBack(1)]  # who wants its blobs waits so long
    assert (life.record.done, sorted(life.record.open), life.record.leased) == (1, [1, 2], 2)
