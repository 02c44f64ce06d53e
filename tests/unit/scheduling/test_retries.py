"""What is tried again: every outcome under every `max_retries`."""

from __future__ import annotations

import pytest

from concurro.ids import Outcome
from tests.unit.scheduling.cluster import Cluster, task_class

OWN_FAULTS = (Outcome.RAISED, Outcome.TIMEOUT, Outcome.MEMORY)
HOPELESS = (Outcome.NOT_PICKLABLE, Outcome.NOT_LOADED, Outcome.CANCELLED)

TABLE = [
    *[(outcome, None, 1) for outcome in OWN_FAULTS],
    *[(outcome, 0, 1) for outcome in OWN_FAULTS],
    *[(outcome, 2, 3) for outcome in OWN_FAULTS],
    *[(outcome, limit, 1) for outcome in HOPELESS for limit in (None, 0, 2)],
    (Outcome.LOST, None, 3),
    (Outcome.LOST, 0, 1),
    (Outcome.LOST, 1, 2),
    (Outcome.LOST, 9, 3),
    (Outcome.SLAVE_LOST, None, 10),
    (Outcome.SLAVE_LOST, 0, 1),
    (Outcome.SLAVE_LOST, 2, 3),
    (Outcome.SLAVE_LOST, 99, 10),
]


def attempts_until_final(cluster, fail):
    """Run a task until it is final; return how many attempts it took."""
    for attempt in range(1, 200):
        cluster.step()
        fail()
        cluster.step()
        if cluster.finished[1]:
            return attempt
    return None


@pytest.mark.parametrize(("outcome", "max_retries", "attempts"), TABLE)
def test_an_attempt_is_repeated_as_often_as_promised(outcome, max_retries, attempts):
    cluster = Cluster()
    cluster.join("north")
    system = cluster.system(classes=[task_class(max_retries=max_retries)])
    (task,) = cluster.emit(system)

    needed = attempts_until_final(cluster, lambda: cluster.end(task, outcome))

    assert needed == attempts
    assert cluster.finished[1] == [
        [0, int(outcome), ["ValueError", "wrong", "Traceback ...", None], None, "north", attempts, 0]
    ]
    assert system.open == {}


@pytest.mark.parametrize(("limit", "value"), [("crash_limit", 5), ("crash_limit", 1)])
def test_the_crash_limit_is_an_option(limit, value):
    cluster = Cluster(**{limit: value})
    cluster.join("north")
    (task,) = cluster.emit(cluster.system())

    needed = attempts_until_final(cluster, lambda: cluster.end(task, Outcome.LOST))

    assert needed == value


def test_a_task_ends_when_ten_slaves_were_lost_with_it():
    cluster = Cluster()
    (task,) = cluster.emit(cluster.system())
    lost = 0

    while not cluster.finished[1]:
        lost += 1
        cluster.join(f"slave-{lost}")
        cluster.step()
        cluster.leave(f"slave-{lost}")
        cluster.step()

    assert lost == 10
    number, outcome, failure, _, slave_id, _, _ = cluster.finished[1][0]
    assert (number, outcome, slave_id) == (0, int(Outcome.SLAVE_LOST), "slave-10")
    assert failure[:2] == ["WorkerLost", "slave slave-10 was lost: it was killed"]
    assert task.crashes == 0


def test_the_loss_of_a_slave_is_not_charged_to_the_crash_budget():
    cluster = Cluster()
    (task,) = cluster.emit(cluster.system())
    for index in range(5):
        cluster.join(f"slave-{index}")
        cluster.step()
        cluster.leave(f"slave-{index}")
    cluster.join("north")

    needed = attempts_until_final(cluster, lambda: cluster.end(task, Outcome.LOST))

    assert needed == 3


def test_a_task_that_succeeds_at_last_is_done():
    cluster = Cluster()
    cluster.join("north")
    system = cluster.system(classes=[task_class(max_retries=2)])
    (task,) = cluster.emit(system)
    for _ in range(2):
        cluster.step()
        cluster.end(task, Outcome.RAISED)
    cluster.step()

    cluster.end(task)
    cluster.step()

    assert [entry[:3] + entry[5:6] for entry in cluster.finished[1]] == [[0, int(Outcome.DONE), b"result", 3]]
    assert (system.done, system.failed) == (1, 0)


def test_failed_attempts_are_settled_at_once():
    cluster = Cluster()
    cluster.join("north")
    (task,) = cluster.emit(cluster.system(classes=[task_class(max_retries=1)]))
    cluster.step()
    lease = task.lease

    cluster.end(task, Outcome.RAISED)
    cluster.step()

    assert cluster.settled["north"] == [lease]
