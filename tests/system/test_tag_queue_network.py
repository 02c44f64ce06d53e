"""The tag queue behind a bad network: requests are done once, who was cut off goes on."""

from __future__ import annotations

import random
import threading

import pytest

from concurro import ApplicationNode
from concurro_tagqueue import TaskManager, TaskManagerTermination, UnknownProcessError
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

LIMIT = 60.0


@pytest.fixture
def near(far):
    """Give a task manager to somebody right beside the master."""
    with (
        ApplicationNode(far.url, config={"security": far.security}) as node,
        TaskManager.connect(node, "far") as tasks,
    ):
        yield tasks


def test_requests_are_done_once_over_connections_that_are_cut(far, near):
    count = 300
    taken, added, results = [], [], []
    with TaskManager.connect(far.node, "far") as tasks:

        def add():
            added.extend(tasks.add_task_request("a", number) for number in range(count))

        def take():
            try:
                while True:
                    task_id, number = tasks.get_task_with_tag("a")
                    taken.append(number)
                    tasks.store_result(task_id, number)
            except TaskManagerTermination:
                pass

        def collect():
            results.extend(tasks.get_result_with_tag("a")[1] for _ in range(count))

        threads = [threading.Thread(target=call, daemon=True) for call in (add, take, collect)]
        for thread in threads:
            thread.start()
        dice = random.Random(1)
        for least in range(20, count, 40):
            wait_until(lambda least=least: len(results) >= least, LIMIT, "results")
            far.node_net.cut(reset=dice.random() < 0.5)
        for thread in (threads[0], threads[2]):
            thread.join(LIMIT)
        near.terminate()
        threads[1].join(LIMIT)

    assert len(set(added)) == count
    assert sorted(taken) == list(range(count))
    assert sorted(results) == list(range(count))
    assert near.number_of_tasks() == ({}, {}, {})


def test_who_is_cut_off_and_misses_its_pings_loses_what_it_held_and_goes_on(far, near):
    task_id = near.add_task_request("a", None)
    answered = []
    with TaskManager.connect(far.node, "far") as tasks:
        process_id = tasks.register_process(watchdog_period=2.5, info="far")
        assert tasks.get_any_task(process_id)[0] == task_id
        waiting = threading.Thread(target=lambda: answered.append(tasks.get_task_with_tag("b")), daemon=True)
        waiting.start()

        far.node_net.hold(0, 1)
        assert near.get_any_task(timeout=LIMIT)[0] == task_id
        assert near.active_processes() == {}
        far.node_net.release()

        with pytest.raises(UnknownProcessError):
            tasks.ping(process_id)
        late = near.add_task_request("b", "late")
        waiting.join(LIMIT)
        assert answered == [(late, "late")]
        near.store_result(task_id, "by another one")
        tasks.store_result(late, "by who came back")
        assert {near.get_any_result()[2] for _ in range(2)} == {"by another one", "by who came back"}
