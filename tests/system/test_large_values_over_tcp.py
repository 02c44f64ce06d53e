"""Large values over TCP: damaged on their way, or one end of the way is killed."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from concurro import MasterUnreachable, TaskError
from concurro.testing.fault_proxy import FROM_MASTER, TO_MASTER
from tests.support.doubling import Doubling, is_right
from tests.support.far_cluster import far_cluster
from tests.support.journalled import kill
from tests.support.nodes import master_process, slave_process
from tests.support.waiting import wait_until

COUNT = 2**20
"""Of float64: 8 MiB."""

SLOW = 4e6
"""So many bytes per second take seconds for an array [B/s]."""


def total(array):
    return float(array.sum())


def doubled(array):
    return array * 2


def size_of(value):
    return len(value)


def wait_for_a_part(net, direction, size=2**20):
    """Wait until part of an array has passed a network."""
    before = net.passed[direction]
    wait_until(lambda: net.passed[direction] > before + size, 30, f"{size} B to pass")


@pytest.mark.slow
def test_a_bit_that_flips_on_its_way_is_noticed_and_the_value_arrives(far):
    executor = far.node.executor()
    random = np.random.default_rng(3)

    for net, direction in ((far.node_net, TO_MASTER), (far.slave_net, FROM_MASTER), (far.slave_net, TO_MASTER)):
        connections, garbled = len(net.accepted), net.garbled
        array = random.random(COUNT)
        net.garble(direction)

        assert np.array_equal(executor.submit(doubled, array).result(60), array * 2)
        assert net.garbled == garbled + 1
        # Noticed: the connection was given up for a new one.
        wait_until(lambda net=net, before=connections: len(net.accepted) > before, 30, "another connection")


@pytest.mark.slow
def test_a_value_whose_bytes_are_not_those_of_its_name_fails_its_task_and_says_so(far, monkeypatch):
    blobs = far.node._packer.blobs
    read, damaged = blobs.read, []

    def damage(digest, offset, length):
        chunk = bytes(read(digest, offset, length))
        if not damaged and len(chunk) > 100_000:
            damaged.append(digest)
            return chunk[:-1] + bytes([chunk[-1] ^ 1])
        return chunk

    monkeypatch.setattr(blobs, "read", damage)
    executor = far.node.executor()
    value = os.urandom(700_000)

    future = executor.submit(size_of, value)

    with pytest.raises(TaskError, match=r"the bytes of blob [0-9a-f]* are not those of its digest"):
        future.result(60)
    assert len(damaged) == 1
    assert executor.submit(size_of, value).result(60) == len(value)


@pytest.mark.slow
def test_a_slave_killed_while_it_gets_an_array_leaves_the_task_to_another(far):
    far.slave_net.throttle(SLOW)
    array = np.arange(float(COUNT))
    future = far.node.executor().submit(total, array)
    wait_for_a_part(far.slave_net, FROM_MASTER)

    far.slave.kill()
    with slave_process(far.url, security=far.security):
        assert future.result(60) == array.sum()


@pytest.mark.slow
def test_a_slave_killed_while_its_array_is_sent_leaves_the_task_to_another(far):
    array = np.arange(float(COUNT))
    assert far.node.executor().submit(total, array).result(60) == array.sum()
    far.slave_net.throttle(SLOW)
    future = far.node.executor().submit(doubled, array)
    wait_for_a_part(far.slave_net, TO_MASTER)

    far.slave.kill()
    with slave_process(far.url, security=far.security):
        assert np.array_equal(future.result(60), array * 2)


@pytest.mark.slow
def test_an_application_whose_master_is_killed_in_the_middle_of_arrays_is_told(far, monkeypatch):
    monkeypatch.setattr("concurro.nodes.dialer.LINK_LIMIT", 0.5)
    monkeypatch.setattr("concurro.nodes.dialer.HELLO_PATIENCE", 0.5)
    monkeypatch.setattr(far.node._dialer, "_resume_patience", 1.0)
    executor = far.node.executor()
    array = np.arange(float(COUNT))
    assert executor.submit(total, array).result(60) == array.sum()
    far.node_net.throttle(SLOW)
    futures = [executor.submit(doubled, array), executor.submit(doubled, array + 1)]
    wait_for_a_part(far.node_net, TO_MASTER)
    wait_for_a_part(far.node_net, FROM_MASTER)

    far.master.kill()
    far.slave.kill()

    for future in futures:
        with pytest.raises(MasterUnreachable):
            future.result(60)
    blobs = far.node._packer.blobs
    wait_until(lambda: blobs.total - blobs.cached < 100_000, 30, "nothing to be kept of what was lost")


@pytest.mark.slow
def test_a_journalled_system_goes_on_when_its_master_is_killed_in_the_middle_of_an_array(tmp_path, runtime_folder):
    journal = {"journal": str(tmp_path / "journal")}
    (tmp_path / "gate").touch()
    with far_cluster(tmp_path, runtime_folder, workers=1, master=journal) as far:
        far.slave_net.throttle(SLOW)
        handle = far.node.submit(Doubling(4, 2, tmp_path))
        wait_for_a_part(far.slave_net, FROM_MASTER)

        kill(far.master)
        far.slave_net.throttle(float("inf"))
        with master_process(runtime_folder, master={"listen": far.url, **journal}, security=far.security):
            assert is_right(handle.result(60), 4)


@pytest.mark.slow
def test_an_application_killed_while_its_array_is_sent_holds_nothing_up(far, tmp_path):
    far.slave_net.throttle(SLOW)
    child = os.fork()
    if child == 0:  # an application of its own, which no test's fixture knows
        from concurro import ApplicationNode

        with ApplicationNode(far.url, config={"security": far.security}) as node:
            node.executor().submit(len, os.urandom(8 * COUNT)).result(60)
        os._exit(0)
    wait_for_a_part(far.slave_net, FROM_MASTER)

    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    far.slave_net.throttle(float("inf"))

    array = np.ones(COUNT)
    assert far.node.executor().submit(total, array).result(60) == COUNT
