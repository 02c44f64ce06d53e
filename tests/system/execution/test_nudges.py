"""Results before a long task do not wait for it, whatever tasks do to the signal for that."""

from __future__ import annotations

import os
import signal

import pytest

from concurro.execution.agent import SlaveAgent
from concurro.ids import Outcome
from concurro.wire.messages import Kind
from tests.system.execution import tasks
from tests.system.execution.agent_driver import SYSTEM, AgentDriver

SHORT = [1000] * 1000
"""Durations after which a class is known to be short, whatever it took before [ns]."""


class Chunks(AgentDriver):
    """Leases calls that a worker gets as one chunk."""

    def __init__(self):
        super().__init__(lambda loop, send: SlaveAgent(loop, send=send, workers=1, name="slave-1"))
        self.result(self.lease(tasks.square, 1))
        self.agent.core._supplies.codes[SYSTEM, 0].measure(SHORT)

    def lease_together(self, *calls):
        """Lease calls in one message; return the leases."""
        entries = []
        for function, *arguments in calls:
            self.leases += 1
            payload, blobs = self.packer.dump_task(tasks.Call(function, *arguments), self.leases)
            entries.append([self.leases, SYSTEM, 0, self.leases, 1, payload, blobs])
        self.tell(Kind.LEASES, entries)
        self.loop.turn(0)
        [worker] = self.agent.core._crew
        assert [len(chunk.entries) for chunk in worker.chunks] == [len(calls)]
        return [entry[0] for entry in entries]


@pytest.fixture
def chunks(leaves_nothing_behind):
    chunks = Chunks()
    yield chunks
    chunks.close()


def test_results_before_a_long_task_of_the_same_chunk_arrive_while_it_runs(chunks, tmp_path):
    *short, long = chunks.lease_together((tasks.square, 2), (tasks.square, 3), (tasks.wait_for, str(tmp_path / "go")))

    values = [chunks.result(lease)[1] for lease in short]
    runs = long not in chunks.results
    (tmp_path / "go").touch()

    assert (values, runs) == ([4, 9], True)
    assert chunks.result(long)[0] == Outcome.DONE


@pytest.mark.parametrize("how", ["ignore", "default", "take"])
def test_results_arrive_before_a_long_task_although_a_task_took_the_signal(chunks, tmp_path, how):
    first, taker, second, long = chunks.lease_together(
        (tasks.square, 2), (tasks.take_the_nudge, how), (tasks.square, 3), (tasks.wait_for, str(tmp_path / "go"))
    )

    values = [chunks.result(lease)[1] for lease in (first, second)]
    worker = chunks.result(taker)[1]
    runs = long not in chunks.results
    (tmp_path / "go").touch()

    assert (values, runs) == ([4, 9], True)
    assert chunks.result(long) == (Outcome.DONE, worker)


@pytest.mark.parametrize("how", ["ignore", "default", "take", "block"])
def test_the_next_task_does_not_see_that_one_took_the_signal(chunks, how):
    before = chunks.result(chunks.lease(tasks.look_at_the_nudge))[1]

    changed = chunks.result(chunks.lease(tasks.take_the_nudge, how))[1]
    after = chunks.result(chunks.lease(tasks.look_at_the_nudge))[1]

    assert changed == before[0] != after[0]
    assert after[1:] == before[1:] == ("Worker._report_held_back", False)


def test_a_task_that_takes_the_signal_before_it_is_long_ends_as_it_would_without(chunks, tmp_path):
    go = str(tmp_path / "go")
    first, taker = chunks.lease_together((tasks.square, 2), (tasks.take_the_nudge_and_wait, go))
    chunks.turn_until((tmp_path / "go.started").exists, "the task to start")
    os.kill(int((tmp_path / "go.started").read_text()), signal.SIGURG)

    (tmp_path / "go").touch()

    assert chunks.result(first) == (Outcome.DONE, 4)
    assert chunks.result(taker)[0] == Outcome.DONE


@pytest.mark.parametrize("how", ["python", "native"])
def test_a_child_of_a_task_that_gets_the_signal_answers_nothing(chunks, tmp_path, how):
    go = str(tmp_path / "go")
    first, forking, last = chunks.lease_together(
        (tasks.square, 2), (tasks.fork_and_nudge_the_child, how, go), (tasks.square, 3)
    )

    values = [chunks.result(lease)[1] for lease in (first, forking, last)]
    (tmp_path / "go").touch()
    after = chunks.result(chunks.lease(tasks.square, 4))

    assert values == [4, "served", 9]
    assert after == (Outcome.DONE, 16)
