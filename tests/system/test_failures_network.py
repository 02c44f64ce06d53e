"""Connections that are cut, slow, one-way or dead: lines 37 to 54 and 70 of the failure matrix, over TCP."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter

import pytest

from concurro.wire.session import SILENCE_LIMIT
from tests.support.far_cluster import far_cluster, far_node
from tests.support.fault_proxy import FROM_MASTER, TO_MASTER
from tests.support.jobs import (
    Mixture,
    Square,
    Traced,
    Waiting,
    assert_ran_once,
    brief_tasks,
    open_gate,
    read_trace,
    traced,
)
from tests.support.nodes import slave_process
from tests.support.waiting import wait_until


def cut(net):
    net.cut()


def end(net):
    net.cut(reset=False)


def refuse_for_a_while(net):
    net.refuse()
    net.cut()
    time.sleep(1.0)
    net.refuse(refusing=False)


def hold_for_a_while(net):
    net.hold()
    time.sleep(1.0)
    net.release()


@pytest.mark.slow
@pytest.mark.parametrize("fault", [cut, end, refuse_for_a_while, hold_for_a_while])
def test_f48_a_cut_shorter_than_the_limit_loses_nothing_and_runs_nothing_twice(far, tmp_path, fault):
    slave_id = far.wait_for_slave()
    tasks = brief_tasks(tmp_path)
    handle = far.node.submit(Mixture(*tasks))
    futures = far.node.push_tasks(map(Square, range(2000)))
    for count in (10, 60):
        wait_until(lambda count=count: len(read_trace(tmp_path)) >= count, 30, "tasks that run")
        faults = [threading.Thread(target=fault, args=[net]) for net in (far.slave_net, far.node_net)]
        for thread in faults:
            thread.start()
        for thread in faults:
            thread.join()

    report = handle.result(30)
    squares = [future.result(30) for future in futures]

    assert_ran_once(report, tmp_path, tasks)
    assert squares == [n * n for n in range(2000)]
    assert far.wait_for_slave() == slave_id
    assert far.node.status()["stale_results"] == 0


@pytest.mark.slow
def test_f48_a_slave_without_a_connection_gets_nothing_new_and_explain_says_why(far, tmp_path):
    slave_id = far.wait_for_slave()
    far.slave_net.refuse()
    far.slave_net.cut()
    wait_until(lambda: far.slaves()[0]["sick"], 30, "the master to notice")

    handle = far.node.submit(Mixture(*brief_tasks(tmp_path, 3)))
    [slave] = far.slaves()
    sentence = wait_until(lambda: explained(handle), 30, "a reason")
    queued = slave["running"] + slave["queued"]
    far.slave_net.refuse(refusing=False)
    report = handle.result(30)

    assert queued == 0
    assert "its connection was lost" in slave["sick"]
    assert slave_id in sentence
    assert "its connection was lost" in sentence
    assert report.errors == []
    assert far.wait_for_slave() == slave_id


def explained(handle):
    text = handle.explain()
    return text if "connection" in text else None


@pytest.mark.slow
def test_f49_a_slave_cut_off_longer_than_the_limit_is_lost_and_joins_again(far, tmp_path):
    first = far.wait_for_slave()
    handle = far.node.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(4))))
    wait_until(lambda: len(read_trace(tmp_path)) == 2, 30, "both workers")

    began = time.monotonic()
    far.slave_net.refuse()
    far.slave_net.cut()
    wait_until(lambda: not far.slaves(), 30, "the slave to be lost")
    elapsed = time.monotonic() - began
    far.slave_net.refuse(refusing=False)
    second = far.wait_for_slave()
    open_gate(tmp_path)
    report = handle.result(30)

    assert elapsed > 8
    assert second != first
    assert report.errors == []
    assert set(Counter(report.finished).values()) == {1}
    assert set(report.slaves.values()) == {second}


@pytest.mark.slow
def test_f49_an_application_without_a_connection_for_its_grace_is_gone(tmp_path, runtime_folder):
    with far_cluster(tmp_path, runtime_folder, master={"grace": 2.0}) as far:
        handle = far.node.submit(Mixture(Waiting("stuck", tmp_path)))
        wait_until(lambda: read_trace(tmp_path), 30, "the task")

        far.node_net.refuse()
        far.node_net.cut()
        with far_node(far) as witness:
            wait_until(lambda: ended(witness, handle.system_id), 30, "the system to be cancelled")
            sick = [slave["sick"] for slave in witness.status()["slaves"]]
        far.node_net.refuse(refusing=False)

    assert sick == [""]


def ended(node, system_id):
    states = {system["system_id"]: system["state"] for system in node.status()["systems"]}
    return states.get(system_id) not in ("running", "starting")


@pytest.mark.slow
@pytest.mark.parametrize("direction", [TO_MASTER, FROM_MASTER])
def test_f50_a_one_way_cut_shorter_than_the_limit_loses_nothing(far, tmp_path, direction):
    slave_id = far.wait_for_slave()
    tasks = brief_tasks(tmp_path, 300)
    handle = far.node.submit(Mixture(*tasks))
    wait_until(lambda: len(read_trace(tmp_path)) >= 10, 30, "tasks that run")

    for net in (far.slave_net, far.node_net):
        net.hold(direction)
    time.sleep(7.0)
    for net in (far.slave_net, far.node_net):
        net.release()
    report = handle.result(30)

    assert_ran_once(report, tmp_path, tasks)
    assert far.wait_for_slave() == slave_id


@pytest.mark.slow
@pytest.mark.parametrize("direction", [TO_MASTER, FROM_MASTER])
def test_f50_a_long_one_way_cut_costs_the_slave_and_nothing_else(far, tmp_path, direction):
    far.wait_for_slave()
    handle = far.node.submit(Mixture(*(Waiting(f"task-{n}", tmp_path) for n in range(4))))
    wait_until(lambda: len(read_trace(tmp_path)) == 2, 30, "both workers")

    far.slave_net.hold(direction)
    with slave_process(far.url, workers=2, security=far.security):
        wait_until(lambda: len(far.slaves()) == 2, 30, "another slave")
        open_gate(tmp_path)
        report = handle.result(45)
    far.slave_net.release()

    assert report.errors == []
    assert set(Counter(report.finished).values()) == {1}
    far.wait_for_slave()


@pytest.mark.slow
def test_f51_connections_that_died_silently_are_replaced_in_time(far, tmp_path):
    slave_id = far.wait_for_slave()
    tasks = brief_tasks(tmp_path, 300)
    handle = far.node.submit(Mixture(*tasks))
    future = far.node.push_task(Square(9))
    wait_until(lambda: len(read_trace(tmp_path)) >= 10, 30, "tasks that run")

    for net in (far.slave_net, far.node_net):
        net.swallow()
    report = handle.result(30)

    assert future.result(30) == 81
    assert_ran_once(report, tmp_path, tasks)
    assert far.wait_for_slave() == slave_id
    assert far.node.status()["stale_results"] == 0


class Sends(Traced):
    """Returns many bytes."""

    def __init__(self, name, folder, size):
        super().__init__(name, folder)
        self.size = size

    def __call__(self):
        super().__call__()
        return os.urandom(self.size)


@pytest.mark.parametrize(
    ("rate", "count", "size"),
    [(4e6, 1, 6_000_000), pytest.param(1e7, 20, 6_400_000, marks=pytest.mark.slow)],
)
def test_f52_heartbeats_flow_and_nobody_is_lost_while_much_moves_over_a_slow_link(
    tmp_path, runtime_folder, rate, count, size
):
    with far_cluster(tmp_path, runtime_folder, workers=count + 1) as far:
        slave_id = far.wait_for_slave()
        far.slave_net.throttle(rate)
        futures = far.node.push_tasks(Sends(f"large-{n}", tmp_path, size) for n in range(count))
        wait_until(lambda: far.slave_net.passed[TO_MASTER] > 2 * 512 * 1024, 30, "bytes that move")

        rounds = []
        while not all(future.done() for future in futures):
            began = time.monotonic()
            far.node.run(Mixture(Square(3)), timeout=60)
            rounds.append(time.monotonic() - began)
        sizes = [len(future.result(30)) for future in futures]

        assert sizes == [size] * count
        assert far.wait_for_slave() == slave_id
    assert set(traced(tmp_path).values()) == {1}
    assert len(rounds) > 2
    assert max(rounds) < SILENCE_LIMIT / 2


@pytest.mark.slow
def test_f52_a_transfer_goes_on_when_its_connection_is_cut(far, tmp_path):
    size = 6_000_000
    far.slave_net.throttle(4e6)
    far.node_net.throttle(4e6)
    future = far.node.push_task(Sends("large", tmp_path, size))
    for moved in (1_000_000, 3_000_000):
        wait_until(lambda moved=moved: far.slave_net.passed[TO_MASTER] > moved, 30, "bytes that move")
        far.slave_net.cut()
    wait_until(lambda: far.node_net.passed[FROM_MASTER] > 1_000_000, 30, "bytes that move on")
    far.node_net.cut()

    assert len(future.result(30)) == size
    assert traced(tmp_path) == {"large": 1}


@pytest.mark.slow
def test_f54_what_was_swallowed_before_a_cut_is_said_again(far, tmp_path):
    tasks = brief_tasks(tmp_path, 100)
    handle = far.node.submit(Mixture(*tasks))
    wait_until(lambda: len(read_trace(tmp_path)) >= 10, 30, "tasks that run")

    for net in (far.slave_net, far.node_net):
        net.swallow()
    wait_until(lambda: len(read_trace(tmp_path)) >= 12, 30, "results that are lost on the way")
    time.sleep(0.5)
    for net in (far.slave_net, far.node_net):
        net.cut()
    report = handle.result(30)

    assert_ran_once(report, tmp_path, tasks)
