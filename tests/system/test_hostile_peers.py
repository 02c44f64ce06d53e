"""Peers that say what no peer says: the master outlives them, and so do the jobs of others."""

from __future__ import annotations

import gc
import os

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concurro import HostLost, TaskSystem
from concurro.nodes.peer import PROTOCOL_ERROR_LIMIT
from concurro.transport.framing import pack_single
from concurro.transport.stream import StreamLink
from concurro.wire.messages import Kind, pack_message
from concurro.wire.schema import Sender
from tests.support.jobs import Mixture, Square
from tests.support.messages import SAMPLES, hello_body, mutated
from tests.support.raw_peer import RawPeer

MIB = 1024 * 1024


def assert_alive(cluster):
    """Prove that the master works: a job of another application completes."""
    assert psutil.Process(cluster.master_pid).status() != psutil.STATUS_ZOMBIE
    report = cluster.submit(Mixture(*map(Square, range(5)))).result(30)
    assert sorted(report.results.values()) == [0, 1, 4, 9, 16]


def out(system, **fields):
    body = {"classes": [], "tasks": [], "cancelled": [], "publications": [], "progress": None, "end": None}
    return [system, 1, 0, *(body | {"facts": {}} | fields).values()]


@pytest.mark.parametrize(
    "hello",
    [
        [],
        [*hello_body()[:7], 5],
        hello_body(workers="x"),
        hello_body(workers=-1),
        hello_body(resources="abc"),
        hello_body("host"),
        hello_body("king"),
        [None] * 8,
    ],
    ids=str,
)
def test_a_stranger_whose_hello_is_nonsense_is_hung_up_on(shared_cluster, hello):
    with RawPeer(shared_cluster.master_url) as peer:
        peer.send(Kind.HELLO, hello)
        peer.wait_until_closed()

    assert_alive(shared_cluster)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.SLAVE_STATE, ["x", [], "", {}]),
        (Kind.SLAVE_STATE, [1, [], "", {"gpu": float("nan")}]),
        (Kind.RESULTS, [[1, 0, b"", [5], "soon"]]),
        (Kind.RETURNED, [[[]], ""]),
        (Kind.SUBMIT, [1, "system", "n", b"x", None, {}]),
        (Kind.START, [1, "system", b"", None, 0, {}]),
    ],
)
def test_a_slave_that_breaks_the_protocol_ten_times_is_hung_up_on(shared_cluster, kind, body):
    with RawPeer(shared_cluster.master_url).hello("slave", workers=0) as peer:
        for _ in range(PROTOCOL_ERROR_LIMIT):
            assert not peer.closed
            peer.send(kind, body)
        peer.wait_until_closed()

    assert_alive(shared_cluster)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.SUBMIT, [1, "job-x", "n", b"x", [5], {}]),
        (Kind.SUBMIT, [1, "job-y", "n", b"x", None, []]),
        (Kind.OUT, out(1, facts=[])),
        (Kind.OUT, out(1, classes=[[0, "c", "high", None, None, None, b"x", [5]]])),
        (Kind.OUT, out(1, classes=[[0, "c", 0, "soon", None, {}, b"x", None]], tasks=[[0, b"x"]])),
        (Kind.RESULTS, [[1, 0, b"", None, 5]]),
        (Kind.START, [1, "system", b"", None, 0, {}]),
        (99, []),
    ],
)
def test_an_application_that_breaks_the_protocol_once_is_heard_on(shared_cluster, kind, body):
    with RawPeer(shared_cluster.master_url).hello("application") as peer:
        peer.send(kind, body)

        assert peer.status()["pid"] == shared_cluster.master_pid


def test_an_application_that_breaks_the_protocol_ten_times_is_hung_up_on(shared_cluster):
    with RawPeer(shared_cluster.master_url).hello("application") as peer:
        for _ in range(PROTOCOL_ERROR_LIMIT):
            peer.send(Kind.OPEN, [1, ["no text"], "tasks"])
        peer.wait_until_closed()

    assert_alive(shared_cluster)


def test_a_peer_that_sends_millions_of_empty_values_fills_no_memory_and_is_hung_up_on(shared_cluster):
    master = psutil.Process(shared_cluster.master_pid)
    before = master.memory_info().rss
    values = 24 * MIB
    frame = b"\x95\x01\x11\x00\x00\xdd" + values.to_bytes(4) + b"\x90" * values

    with RawPeer(shared_cluster.master_url).hello("slave", workers=0) as peer:
        for _ in range(PROTOCOL_ERROR_LIMIT):
            peer.say(frame)
        peer.wait_until_closed()

    assert_alive(shared_cluster)
    assert master.memory_info().rss - before < 8 * values


SPOKEN = {
    Sender.SLAVE: [sample for sample in SAMPLES if sample.sender is Sender.SLAVE and sample.kind is not Kind.GOODBYE],
    Sender.APPLICATION: [
        sample for sample in SAMPLES if sample.sender is Sender.APPLICATION or sample.kind is Kind.OUT
    ],
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(role=st.sampled_from(list(SPOKEN)), data=st.data())
def test_no_mutated_message_ends_the_master(shared_cluster, role, data):
    with (
        RawPeer(shared_cluster.master_url).hello("application") as witness,
        RawPeer(shared_cluster.master_url).hello(role.value, workers=0) as peer,
    ):
        number = peer.open_plain_tasks() if role is Sender.APPLICATION else 0
        for sample in data.draw(st.lists(st.sampled_from(SPOKEN[role]), min_size=1, max_size=5)):
            body = data.draw(mutated(sample.body))
            if sample.kind is Kind.OUT:
                body[:1] = [number]
            if packable(body):
                peer.send(sample.kind, body, *sample.frames)

        assert witness.status()["pid"] == shared_cluster.master_pid
        assert witness.status() is not None


def packable(body):
    try:
        pack_message(Kind.OUT, body)
    except (ValueError, OverflowError, RecursionError):
        return False
    return True


class Vandal(TaskSystem):
    """Writes to its host's channel what no host writes."""

    def __init__(self, kind, body):
        super().__init__()
        self.message = pack_single(pack_message(kind, body))

    def init_system(self, master):
        links = [each for each in gc.get_objects() if isinstance(each, StreamLink) and each.peer == "master"]
        os.write(links[0]._fd, self.message)

    def generate_tasks(self, master):
        return ()


@pytest.mark.parametrize(
    ("kind", "body", "fault"),
    [
        (Kind.OUT, out(1, facts=[]), "OUT.facts must be a table"),
        (Kind.SUBMIT, [1, "job", "n", b"x", None, {}], "SUBMIT is no message of a peer that is host"),
        (99, [], "there is no message of kind 99"),
    ],
)
def test_a_host_that_sends_nonsense_fails_only_its_own_system(shared_cluster, kind, body, fault):
    other = shared_cluster.submit(Mixture(*map(Square, range(50))))

    with pytest.raises(HostLost) as caught:
        shared_cluster.run(Vandal(kind, body), timeout=20)

    assert fault in str(caught.value)
    assert len(other.result(30).results) == 50
