"""Tasks of a millisecond, of which many wait, are reported several at once, and nothing is lost by that."""

from __future__ import annotations

import pytest

from concurro.execution.agent import SlaveAgent
from concurro.ids import Outcome
from concurro.wire.messages import Kind
from tests.system.execution import tasks
from tests.system.execution.agent_driver import SYSTEM, AgentDriver

MILLISECOND = 1_000_000
MANY = 40


class Millisecond(AgentDriver):
    """Leases many calls whose class is known to take a millisecond."""

    def __init__(self):
        super().__init__(lambda loop, send: SlaveAgent(loop, send=send, workers=1, name="slave-1"))
        self.result(self.lease(tasks.square, 1))
        core = self.agent.core
        core._supplies.codes[SYSTEM, 0].duration = MILLISECOND
        self.ended = []
        take = core.worker_results

        def note_ends(worker, results, ended, now):
            self.ended.append(ended)
            take(worker, results, ended, now)

        core.worker_results = note_ends

    def lease_many(self, *calls):
        """Lease these calls, and squares behind them, in one message; return the leases."""
        entries = []
        for function, *arguments in (*calls, *[(tasks.square, number) for number in range(MANY - len(calls))]):
            self.leases += 1
            payload, blobs = self.packer.dump_task(tasks.Call(function, *arguments), self.leases)
            entries.append([self.leases, SYSTEM, 0, self.leases, 1, payload, blobs])
        self.tell(Kind.LEASES, entries)
        self.loop.turn(0)
        [worker] = self.agent.core._crew
        assert [chunk.joined for chunk in worker.chunks][:4] == [True, True, True, False]
        return [entry[0] for entry in entries]


@pytest.fixture
def many(leaves_nothing_behind):
    driver = Millisecond()
    yield driver
    driver.close()


def test_several_chunks_are_reported_in_one_message(many):
    leases = many.lease_many()

    values = [many.result(lease)[1] for lease in leases]

    assert values == [number * number for number in range(MANY)]
    assert many.ended[0] == 4


def test_results_before_a_long_task_arrive_while_it_runs(many, tmp_path):
    first, second, long, *_ = many.lease_many(
        (tasks.square, 2), (tasks.square, 3), (tasks.wait_for, str(tmp_path / "go"))
    )

    values = [many.result(lease)[1] for lease in (first, second)]
    runs = long not in many.results
    (tmp_path / "go").touch()

    assert (values, runs) == ([4, 9], True)
    assert many.result(long)[0] == Outcome.DONE


def test_a_task_that_dies_costs_no_other_one_an_attempt_that_crashed(many):
    first, second, dying, *rest = many.lease_many((tasks.square, 2), (tasks.square, 3), (tasks.exit_at_once, 0))

    outcomes = [many.result(lease)[0] for lease in (first, second, dying, *rest)]

    assert outcomes[2] == Outcome.LOST
    assert set(outcomes[:2]) <= {Outcome.DONE, Outcome.SLAVE_LOST}
    assert set(outcomes[3:]) == {Outcome.DONE}


def test_the_next_task_runs_in_a_worker_that_none_has_changed(many):
    first, changing, looking, *_ = many.lease_many(
        (tasks.process_id,), (tasks.change_the_process,), (tasks.process_id,)
    )

    before, after = many.result(first)[1], many.result(looking)[1]

    assert many.result(changing)[0] == Outcome.DONE
    assert before != after


def test_output_belongs_to_the_task_that_wrote_it(many):
    leases = many.lease_many((tasks.square, 2), (tasks.print_much, 3), (tasks.square, 3), (tasks.print_much, 2))

    for lease in leases:
        many.result(lease)
    many.turn_until(lambda: len({entry[0] for entry in many.output}) == 2, "the output of two tasks")

    assert {entry[0] for entry in many.output} == {leases[1], leases[3]}
