"""Services over a bad network: once, in order, or an error."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from concurro import ServiceLostError
from tests.support.far_cluster import far_cluster
from tests.support.waiting import has_ended, wait_until

PLUGINS = [str(Path(__file__).parents[1] / "support" / "service_plugins" / "tally.py")]
LIMIT = 30.0
CALLS = 1500


@pytest.fixture
def far(tmp_path, runtime_folder):
    """Give a master, a slave of two workers and an application, with a bad network in between."""
    with far_cluster(tmp_path, runtime_folder, workers=2, plugins=PLUGINS) as far:
        yield far


@pytest.mark.slow
@pytest.mark.parametrize("cut_off", ["slave", "caller", "both"])
def test_calls_run_once_and_in_order_over_connections_that_are_cut(far, cut_off):
    shelf = far.node.service("shelf", far.node.workers()[0].address)
    nets = {"slave": [far.slave_net], "caller": [far.node_net], "both": [far.slave_net, far.node_net]}[cut_off]

    answers = []
    for index in range(CALLS):
        answers.append(shelf.count_up(index))
        if index % 500 == 250:
            for net in nets:
                net.cut()
            time.sleep(0.05)  # some of the next calls meet no connection

    assert [answer.result(LIMIT) for answer in answers] == list(range(1, CALLS + 1))


@pytest.mark.slow
def test_a_large_value_arrives_whole_over_connections_that_are_cut(far):
    first, second = (worker.address for worker in far.node.workers())
    shelves = [far.node.service("shelf", address) for address in (first, second)]
    array = np.arange(4_000_000.0)
    shelves[0].echo(1).result(LIMIT)

    storing = shelves[0].put("array", array)
    far.node_net.cut()
    storing.result(LIMIT)
    fetching = shelves[1].fetch("array", first)
    far.slave_net.cut()
    fetching.result(LIMIT)

    assert (shelves[1].get("array").result(LIMIT) == array).all()


@pytest.mark.slow
def test_calls_to_a_slave_that_is_cut_off_fail_in_time_and_its_workers_never_come_back(far):
    worker = far.node.workers()[0]
    shelf, tally = far.node.service("shelf", worker.address), far.node.service("tally")
    tally.add(0).result(LIMIT)
    waiting = shelf.wait(120)
    shelf.echo(1).result(LIMIT)
    began = time.monotonic()

    far.slave_net.hold(0, 1)

    with pytest.raises(ServiceLostError, match=r"silent|left"):
        waiting.result(30)
    assert time.monotonic() - began < 60
    assert tally.peers().result(LIMIT) == []
    far.slave_net.release()
    far.slave_net.cut()
    wait_until(lambda: tally.peers().result(LIMIT), LIMIT, "the workers of the slave that is back")
    assert worker.address not in tally.peers().result(LIMIT)
    wait_until(lambda: has_ended(worker.pid), LIMIT, "the end of the old worker")
    with pytest.raises(ServiceLostError, match="has ended"):
        far.node.service("shelf", worker.address).echo(1).result(LIMIT)
