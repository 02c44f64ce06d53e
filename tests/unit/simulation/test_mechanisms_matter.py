"""With one mechanism switched off, the simulator finds what it is there for."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome
from concurro.nodes.keeper import Keeper
from concurro.scheduling import rated
from concurro.scheduling.core import SchedulerCore
from concurro.scheduling.recording import Recorder
from concurro.testing.simulated_run import Run
from concurro.testing.simulated_scenario import Mode, draw
from concurro.wire.messages import unpack_message
from concurro.wire.session import OF_A_CONNECTION, LastingSession

MOST_RUNS = 150
KILLS = frozenset({"kill_master"})


def first_fault(kinds=frozenset()):
    """Return what is wrong in the first run where anything is; of the seeds, those with one of these faults."""
    runs = seed = 0
    while runs < MOST_RUNS:
        scenario = draw(seed, Mode.LIVENESS)
        seed += 1
        if kinds and kinds.isdisjoint(fault.kind for fault in scenario.faults):
            continue
        runs += 1
        wrong = Run(scenario).verdict().faults
        if wrong:
            return wrong[0]
    return f"nothing in {runs} runs"


def test_without_resends_a_job_does_not_end(monkeypatch):
    monkeypatch.setattr(LastingSession, "_again", lambda self: [])

    assert "has not ended" in first_fault(frozenset({"lose", "reset"}))


def test_duplicates_that_are_not_dropped_put_a_lease_in_two_places(monkeypatch):
    accept = LastingSession.accept

    def accept_again(self, frames, now):
        message = accept(self, frames, now)
        again = unpack_message(frames)
        is_old = 0 < again.seq <= self.received and again.kind not in OF_A_CONNECTION
        return again if message is None and is_old else message

    monkeypatch.setattr(LastingSession, "accept", accept_again)

    assert "in two places" in first_fault(frozenset({"repeat", "reset"}))


@pytest.mark.slow
def test_a_result_that_is_not_fenced_ends_a_task_that_somebody_else_runs(monkeypatch):
    lease_run, results = SchedulerCore.lease_run, SchedulerCore.results
    given = {}

    def note(self, tasks, slave_id):
        lease_run(self, tasks, slave_id)
        given.update((task.lease, task) for task in tasks)

    def take_all(self, slave_id, entries):
        results(self, slave_id, entries)
        for lease, outcome, value, blobs, nanoseconds in entries:
            task = given.get(lease)
            if outcome == Outcome.DONE and task is not None and task.system.open.get(task.number) is task:
                self._end_task(task, outcome, value, blobs, nanoseconds)

    monkeypatch.setattr(SchedulerCore, "lease_run", note)
    monkeypatch.setattr(SchedulerCore, "results", take_all)

    assert "which is final" in first_fault(frozenset({"cut", "cut_to_master", "freeze_slave"}))


def test_news_told_before_their_commit_are_taken_back_by_a_restart(monkeypatch):
    answered = Recorder.answered

    def at_once(self, life, n, now, then):
        answered(self, life, n, now, lambda later: None)
        then(now)

    monkeypatch.setattr(Recorder, "answered", at_once)

    assert "was told" in first_fault(KILLS)


@pytest.mark.slow
def test_a_submission_acknowledged_before_its_commit_is_forgotten(monkeypatch):
    accepted = Recorder.accepted

    def at_once(self, life, wall, now, then):
        then(now)
        accepted(self, life, wall, now, lambda later: None)

    monkeypatch.setattr(Recorder, "accepted", at_once)

    assert "UnknownSystemError" in first_fault(KILLS)


def test_without_a_crash_budget_a_task_takes_worker_after_worker(monkeypatch):
    decide = rated.is_tried_again

    def again(task, crash_limit, slave_loss_limit):
        return decide(task, 1000, slave_loss_limit)

    monkeypatch.setattr(rated, "is_tried_again", again)

    assert "took 3 workers with it, and runs again" in first_fault()


def test_crashes_that_are_not_in_the_journal_do_not_count_after_a_restart(monkeypatch):
    hold = Keeper.hold

    def acknowledge_only(self, attempts, acknowledge):
        for *_, slave_id, lease in attempts:
            acknowledge(slave_id, [lease])

    def hold_intents_only(self, entries, send):
        hold(self, [entry for entry in entries if not entry[1]], send)

    monkeypatch.setattr(Keeper, "crashed", acknowledge_only)
    monkeypatch.setattr(Keeper, "hold", hold_intents_only)

    assert "took 3 workers with it, and runs again" in first_fault(KILLS)


@pytest.mark.slow
def test_without_intents_a_task_of_at_most_once_runs_twice(monkeypatch):
    monkeypatch.setattr(Keeper, "hold", lambda self, entries, send: send())

    assert "has max_retries=0 and runs 2 times" in first_fault(KILLS)
