"""Which slave was sent which blob."""

from __future__ import annotations

from concurro.scheduling.holders import MOST_BLOBS
from tests.unit.scheduling.cluster import task_class


def emit_with_blobs(cluster, system, *digests):
    """Emit one task that carries blobs of these digests."""
    first = len(system.open) + system.done
    cluster.core.emit(system, first, [[0, b"payload", [[0, digest, 10] for digest in digests]]])
    return system.open[first]


def test_a_slave_is_known_to_hold_what_its_tasks_carried(cluster):
    cluster.join("north")
    emit_with_blobs(cluster, cluster.system(), b"one", b"two")

    cluster.step()

    assert cluster.core.slaves["north"].blobs == {b"one", b"two"}
    assert cluster.core.holders == {b"one": {"north"}, b"two": {"north"}}


def test_a_slave_is_known_to_hold_what_the_class_carries(cluster):
    cluster.join("north")
    entry = task_class()
    entry[7] = [[0, b"code", 100]]
    cluster.emit(cluster.system(classes=[entry]))

    cluster.step()

    assert cluster.core.holders == {b"code": {"north"}}


def test_a_slave_that_left_holds_nothing(cluster):
    cluster.join("north")
    emit_with_blobs(cluster, cluster.system(), b"one")
    cluster.step()

    cluster.leave("north")

    assert cluster.core.holders == {}


def test_the_oldest_blobs_of_a_slave_are_forgotten(cluster):
    cluster.join("north")
    system = cluster.system()
    task = emit_with_blobs(cluster, system, b"first")
    cluster.step()
    cluster.end(task)

    emit_with_blobs(cluster, system, *(f"blob-{number}".encode() for number in range(MOST_BLOBS)))
    cluster.step()

    assert len(cluster.core.slaves["north"].blobs) == MOST_BLOBS
    assert b"first" not in cluster.core.holders
