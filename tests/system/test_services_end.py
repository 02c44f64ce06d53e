"""How services end: killed workers, slaves, masters, callers; nothing hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from concurro import ApplicationNode, ClosedError, LocalCluster, MasterUnreachable, ServiceLostError
from tests.support.jobs import SHIPPED, Square
from tests.support.nodes import master_process, slave_process
from tests.support.waiting import has_ended, wait_until

PLUGINS = [str(Path(__file__).parents[1] / "support" / "service_plugins" / "tally.py")]
LIMIT = 30.0


def test_the_death_of_a_worker_fails_its_calls_and_another_one_takes_its_place():
    with LocalCluster(workers=1, plugins=PLUGINS, config=SHIPPED) as cluster:
        worker = cluster.application.workers()[0]
        shelf = cluster.service("shelf", worker.address)
        lost = []
        shelf.on_lost(lost.append)
        shelf.echo(1).result(LIMIT)
        waiting = [shelf.wait(30) for _ in range(3)]

        os.kill(worker.pid, signal.SIGKILL)

        for call in waiting:
            with pytest.raises(ServiceLostError, match=f"{worker.address} .* killed by SIGKILL"):
                call.result(30)
        assert shelf.lost is lost[0]
        with pytest.raises(ServiceLostError):
            shelf.echo(1).result(30)
        with pytest.raises(ServiceLostError, match="has ended"):
            cluster.service("shelf", worker.address).echo(1).result(30)
        (another,) = cluster.application.workers()
        assert another.address != worker.address
        assert cluster.service("shelf", another.address).echo(2).result(LIMIT) == 2
        assert cluster.push_task(Square(3)).result(LIMIT) == 9


def test_a_worker_that_ends_by_itself_is_told_with_its_exit_code():
    with LocalCluster(workers=1, plugins=PLUGINS) as cluster:
        worker = cluster.application.workers()[0]

        with pytest.raises(ServiceLostError, match="exit code 3"):
            cluster.service("shelf", worker.address).leave(3).result(30)


@pytest.mark.slow
def test_a_worker_that_is_stopped_for_too_long_is_given_up():
    with LocalCluster(workers=1, plugins=PLUGINS) as cluster:
        worker = cluster.application.workers()[0]
        shelf = cluster.service("shelf", worker.address)
        shelf.echo(1).result(LIMIT)

        os.kill(worker.pid, signal.SIGSTOP)

        with pytest.raises(ServiceLostError, match="stopped for 10 s"):
            shelf.echo(2).result(30)


def test_the_death_of_a_caller_is_told_to_the_service():
    program = (
        "import os, sys\n"
        "from concurro import ApplicationNode\n"
        "with ApplicationNode(sys.argv[1]) as node:\n"
        "    node.service('shelf', sys.argv[2]).echo(1).result(20)\n"
        "    node.service('tally').add(0).result(20)\n"
        "    os._exit(1)\n"
    )
    with LocalCluster(workers=1, plugins=PLUGINS) as cluster:
        worker = cluster.application.workers()[0]
        shelf, tally = cluster.service("shelf", worker.address), cluster.service("tally")

        subprocess.run([sys.executable, "-P", "-c", program, cluster.master_url, worker.address], check=False)

        wait_until(lambda: shelf.seen().result(LIMIT), LIMIT, "the shelf's notice")
        wait_until(lambda: ["peer left"] in [event[:1] for event in tally.events().result(LIMIT)], LIMIT, "the tally's")


def test_the_end_of_the_master_fails_every_call_and_ends_the_workers(runtime_folder):
    with (
        master_process(runtime_folder, plugins=PLUGINS) as (master, url),
        slave_process(url, workers=1, plugins=PLUGINS),
        ApplicationNode(url, config={"application": {"connect_timeout": 2}}) as node,
    ):
        wait_until(lambda: node.status()["slaves"], LIMIT, "the slave")
        worker = node.workers()[0]
        calls = [node.service("shelf", worker.address).wait(60), node.service("tally").later(60, 1)]
        node.service("shelf", worker.address).echo(1).result(LIMIT)

        master.kill()

        for call in calls:
            with pytest.raises((MasterUnreachable, ServiceLostError)):
                call.result(30)
        wait_until(lambda: has_ended(worker.pid), LIMIT, "the end of the worker")
        master.wait()
        (runtime_folder / "master").unlink()  # a killed master cannot


def test_the_death_of_a_slave_fails_calls_of_its_services(runtime_folder):
    with (
        master_process(runtime_folder, plugins=PLUGINS) as (_, url),
        slave_process(url, workers=1, plugins=PLUGINS) as slave,
        ApplicationNode(url) as node,
    ):
        wait_until(lambda: node.status()["slaves"], LIMIT, "the slave")
        worker = node.workers()[0]
        shelf, tally = node.service("shelf", worker.address), node.service("tally")
        tally.add(0).result(LIMIT)
        waiting = shelf.wait(60)
        shelf.echo(1).result(LIMIT)

        slave.kill()

        with pytest.raises(ServiceLostError, match=f"slave {worker.slave_id} left|is gone"):
            waiting.result(30)
        wait_until(lambda: "worker left" in [event[0] for event in tally.events().result(LIMIT)], LIMIT, "the news")
        assert tally.peers().result(LIMIT) == []


def test_over_tcp_everything_works_as_well(tmp_path, runtime_folder):
    with (
        master_process(runtime_folder, master={"listen": "tcp://127.0.0.1:0"}, plugins=PLUGINS) as (_, url),
        slave_process(url, workers=2, plugins=PLUGINS),
        ApplicationNode(url, config=SHIPPED) as node,
    ):
        wait_until(lambda: node.status()["slaves"], LIMIT, "the slave")
        first, second = (worker.address for worker in node.workers())
        shelves = [node.service("shelf", address) for address in (first, second)]
        array = np.arange(1_000_000.0)

        answers = [shelves[0].count_up(index) for index in range(2000)]
        shelves[0].put("array", array).result(LIMIT)
        shelves[1].fetch("array", first).result(LIMIT)

        assert [answer.result(LIMIT) for answer in answers] == list(range(1, 2001))
        assert (shelves[1].get("array").result(LIMIT) == array).all()
        assert shelves[0].tally(3).result(LIMIT) == 3
        assert shelves[0].submit(Square(5)).result(LIMIT) == 25


def test_calls_after_the_application_was_closed_fail():
    with LocalCluster(workers=1, plugins=PLUGINS) as cluster:
        tally = cluster.service("tally")
        tally.add(1).result(LIMIT)
        waiting = tally.later(30, 1)

    with pytest.raises(ClosedError):
        waiting.result(30)
    with pytest.raises(ClosedError):
        tally.add(1).result(30)
    with pytest.raises(ClosedError):
        cluster.service("tally")


def test_many_threads_call_one_service_at_once():
    with LocalCluster(workers=1, plugins=PLUGINS) as cluster:
        shelf = cluster.service("shelf", cluster.application.workers()[0].address)
        failed = []

        def ask(thread):
            asked = [(thread, index) for index in range(200)]
            failed.extend(one for one in asked if shelf.echo(one).result(LIMIT) != one)

        threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)

        assert failed == []
        assert not any(thread.is_alive() for thread in threads)


@pytest.mark.slow
def test_what_a_service_keeps_survives_the_death_of_its_master(tmp_path, runtime_folder):
    journal = {"journal": str(tmp_path / "journal")}

    def ask(amount, *, save):
        with (
            master_process(runtime_folder, master=journal, plugins=PLUGINS) as (master, url),
            ApplicationNode(url) as node,
        ):
            tally = node.service("tally")
            total = tally.add(amount).result(LIMIT)
            durable = save and tally.save().result(LIMIT)
            master.kill()
            master.wait()
            (runtime_folder / "master").unlink()  # a killed master cannot
        return total, durable

    assert ask(5, save=True) == (5, True)
    assert ask(7, save=False) == (12, False)
    assert ask(0, save=False) == (5, False)


def test_without_a_journal_what_a_service_keeps_is_done_at_once():
    with LocalCluster(workers=1, plugins=PLUGINS) as cluster:
        cluster.service("tally").add(2).result(LIMIT)

        assert cluster.service("tally").save().result(LIMIT) is False
