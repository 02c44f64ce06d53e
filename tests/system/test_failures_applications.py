"""Applications that cancel, repeat themselves or never come back: lines 67, 68, 79, 80 and 83 of the failure matrix."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError, ThreadPoolExecutor

import psutil
import pytest

from concurro import ApplicationNode, NotPicklableError, TaskCancelled, TaskSystem, UnknownSystemError
from tests.support.jobs import SHIPPED, Mixture, Square, Traced, Waiting, open_gate, read_trace, traced, wait_for_gate
from tests.support.nodes import master_process, slave_process
from tests.support.programs import ROOT
from tests.support.waiting import wait_until

MIB = 1 << 20


def application(url, **settings):
    return ApplicationNode(url, config={"application": {**SHIPPED["application"], **settings}})


def ended(node, system_id):
    states = {system["system_id"]: system["state"] for system in node.status()["systems"]}
    return states.get(system_id) not in ("running", "starting")


class Hardening(TaskSystem):
    """Has state that does not pickle from its first callback on, and a generator that reads it."""

    def __init__(self, folder, count):
        super().__init__()
        self.folder = str(folder)
        self.count = count
        self.seen = []
        self.lock = None

    def init_system(self, master):
        self.lock = threading.Lock()
        self.add = lambda result: self.seen.append(result)  # noqa: PLW0108 - a lambda does not pickle

    def generate_tasks(self, master):
        for number in range(self.count):
            with self.lock:
                yield Step(number, self.folder, waits=number >= self.count - 2)

    def task_finished(self, master, task, result, error):
        self.add(result)
        master.publish(result)

    def is_complete(self, master):
        return len(self.seen) == self.count

    def gather_result(self, master):
        return sorted(self.seen), None


class Step(Traced):
    """Says that it ran; its number is its result; the last ones wait at the gate."""

    def __init__(self, number, folder, *, waits):
        super().__init__(str(number), folder)
        self.waits = waits

    def __call__(self):
        super().__call__()
        if self.waits:
            wait_for_gate(self.folder)
        return int(self.name)


@pytest.mark.slow
def test_f67_a_system_whose_state_stops_pickling_survives_its_master(tmp_path, runtime_folder):
    journal = {"journal": str(tmp_path / "journal")}
    with (
        master_process(runtime_folder, master=journal) as (master, url),
        slave_process(url, workers=2),
        application(url, connect_timeout=60) as node,
    ):
        handle = node.submit(Hardening(tmp_path, 20))
        published = handle.partial_results()
        assert sorted(next(published) for _ in range(18)) == list(range(18))

        master.kill()
        master.wait(30)
        open_gate(tmp_path)
        with master_process(runtime_folder, master=journal):
            seen = handle.result(60)

    assert seen == list(range(20))
    assert {name: count for name, count in traced(tmp_path).items() if int(name) < 18} == {
        str(number): 1 for number in range(18)
    }


class GathersItself(Mixture):
    """Its result does not pickle."""

    def gather_result(self, master):
        return {"report": self.report, "locks": [threading.Lock()]}, None


def test_f67_a_result_that_does_not_pickle_is_named_with_its_path_and_others_go_on(shared_cluster):
    other = shared_cluster.submit(Mixture(*map(Square, range(50))))

    with pytest.raises(NotPicklableError, match=r"\['locks'\]\[0\]") as caught:
        shared_cluster.run(GathersItself(Square(3)), timeout=30)

    assert "gather_result" in str(caught.value.__notes__)
    assert other.result(30).errors == []


class Regretting(TaskSystem):
    """Emits many tasks, and cancels all but one of them when that has finished, each of them several times."""

    def __init__(self, folder, count):
        super().__init__()
        self.folder = str(folder)
        self.count = count
        self.ids = []
        self.kept = None
        self.endings = []

    def init_system(self, master):
        self.ids = master.push_tasks(Waiting(f"stuck-{n}", self.folder) for n in range(self.count))
        self.kept = master.push_task(Prompt("kept", self.folder))

    def generate_tasks(self, master):
        return ()

    def task_finished(self, master, task, result, error):
        self.endings.append((task.task_id, type(error).__name__))
        if task.task_id == self.kept:
            for _ in range(3):
                for task_id in self.ids:
                    master.cancel_task(task_id)

    def is_complete(self, master):
        return len(self.endings) > self.count

    def gather_result(self, master):
        return (self.ids, self.kept, self.endings), None


class Prompt(Traced):
    """Goes before the others."""

    priority = 10


def test_f68_a_storm_of_cancelled_tasks_ends_each_of_them_once(shared_cluster, tmp_path):
    ids, kept, endings = shared_cluster.run(Regretting(tmp_path, 5000), timeout=60)

    assert dict(endings) == {**dict.fromkeys(ids, TaskCancelled.__name__), kept: "NoneType"}
    assert len(endings) == 5001


@pytest.mark.slow
def test_f68_a_storm_of_cancelled_systems_and_futures_leaves_the_others_alone(shared_cluster, tmp_path):
    patient = shared_cluster.submit(Mixture(*(Traced(f"patient-{n}", tmp_path) for n in range(200))))
    systems = [shared_cluster.submit(Mixture(Waiting(f"stuck-{n}", tmp_path))) for n in range(10)]
    futures = shared_cluster.push_tasks(Waiting(f"pushed-{n}", tmp_path) for n in range(1000))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda one: one.cancel(), [*systems * 50, *futures * 3]))
    outcomes = Counter(outcome_of(one) for one in [*systems, *futures])
    report = patient.result(60)

    assert outcomes == {"CancelledError": len(systems) + len(futures)}
    assert report.errors == []
    assert {name: count for name, count in traced(tmp_path).items() if "patient" in name} == dict.fromkeys(
        (f"patient-{n}" for n in range(200)), 1
    )
    assert all(ended(shared_cluster, handle.system_id) for handle in systems)


def outcome_of(future):
    try:
        future.result(30)
    except CancelledError as error:
        return type(error).__name__
    return "a result"


@pytest.mark.slow
def test_f79_a_result_that_nobody_fetches_is_forgotten_after_its_time(runtime_folder, tmp_path):
    with (
        master_process(runtime_folder, master={"standalone": True}, slave={"workers": 1}) as (_, url),
        application(url) as witness,
    ):
        system_id = submit_and_leave(url, tmp_path, 0.5)
        wait_until(lambda: read_trace(tmp_path), 30, "the task")
        kept = witness.attach(system_id)  # whoever follows a system keeps it
        open_gate(tmp_path)
        report = kept.result(30)

        wait_until(lambda: system_id not in known_systems(witness), 30, "the result to be forgotten")
        with pytest.raises(UnknownSystemError, match=f"{system_id}.*expired"):
            witness.attach(system_id)

    assert report.finished == ["waiting"]


def explained(node):
    """Return where the one system is."""
    [system_id] = known_systems(node)
    return node.request("explain", [system_id]).result(30)


def known_systems(node):
    return {system["system_id"] for system in node.status()["systems"]}


SUBMITS_AND_LEAVES = """
import sys
sys.path.insert(0, {root!r})
from concurro import ApplicationNode
from tests.support.jobs import SHIPPED, Mixture, Waiting
with ApplicationNode({url!r}, config=SHIPPED) as application:
    print(application.submit(Mixture(Waiting("waiting", {folder!r})), detach=True, ttl={ttl}).system_id)
"""


def submit_and_leave(url, folder, ttl):
    code = SUBMITS_AND_LEAVES.format(root=str(ROOT), url=url, folder=str(folder), ttl=ttl)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return run.stdout.strip()


class Publishing(TaskSystem):
    """Publishes much."""

    def __init__(self, count, size):
        super().__init__()
        self.count = count
        self.size = size
        self.done = 0

    def generate_tasks(self, master):
        return map(Square, range(self.count))

    def task_finished(self, master, task, result, error):
        self.done += 1
        master.publish(os.urandom(self.size))

    def is_complete(self, master):
        return self.done == self.count

    def gather_result(self, master):
        return self.done, None


TAKES_NOTHING = """
import hashlib, sys
sys.path.insert(0, {root!r})
from concurro import ApplicationNode
from tests.support.jobs import SHIPPED
from tests.system.test_failures_applications import Publishing
with ApplicationNode({url!r}, config=SHIPPED) as application:
    handle = application.submit(Publishing({count}, {size}))
    print("submitted", flush=True)
    count = sum(1 for value in handle.partial_results() if len(value) == {size})
    print(count, handle.result(60), flush=True)
"""


@pytest.mark.slow
def test_f79_what_an_application_does_not_take_waits_at_its_host_and_memory_is_bounded(runtime_folder):
    count, size = 500, MIB
    with (
        master_process(runtime_folder, master={"standalone": True}, slave={"workers": 1}) as (master, url),
        application(url) as witness,
    ):
        code = TAKES_NOTHING.format(root=str(ROOT), url=url, count=count, size=size)
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as taker:
            assert taker.stdout.readline() == "submitted\n"
            os.kill(taker.pid, signal.SIGSTOP)
            before = resident(master.pid)
            sentence = wait_until(lambda: "were not taken" in (said := explained(witness)) and said, 60, "a full host")
            after = resident(master.pid)
            os.kill(taker.pid, signal.SIGCONT)
            said, _ = taker.communicate(timeout=100)

    assert float(re.search(r"([\d.]+) MiB of its partial results were not taken", sentence)[1]) <= 64
    assert after - before < 300 * MIB
    assert said.split() == [str(count), str(count)]


def resident(pid):
    """Return the memory of a process and of all below it [B]."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(process.memory_info().rss for process in tree)


def test_f80_the_same_submission_from_many_sides_is_one_system_even_once_it_has_ended(shared_cluster, tmp_path):
    system = Mixture(Waiting("gate", tmp_path), *(Traced(f"task-{n}", tmp_path) for n in range(10)))
    with application(shared_cluster.master_url) as other, ThreadPoolExecutor(8) as pool:
        handles = list(pool.map(lambda node: node.submit(system, detach=True), [shared_cluster, other] * 4))
        open_gate(tmp_path)
        reports = [handle.result(30) for handle in handles]
        again = other.submit(system, detach=True).result(30)

    assert {handle.system_id for handle in handles} == {system.system_id}
    assert all(report.results == again.results for report in reports)
    assert set(traced(tmp_path).values()) == {1}
    assert len(read_trace(tmp_path)) == 11


@pytest.mark.slow
def test_f80_a_submission_repeated_to_the_master_that_was_restarted_is_one_system(tmp_path, runtime_folder):
    journal = {"journal": str(tmp_path / "journal")}
    system = Mixture(Waiting("gate", tmp_path), *(Prompt(f"task-{n}", tmp_path) for n in range(10)))
    with (
        master_process(runtime_folder, master=journal) as (master, url),
        slave_process(url),
        application(url, connect_timeout=60) as first,
        application(url, connect_timeout=60) as second,
    ):
        handle = first.submit(system, detach=True)
        wait_until(lambda: traced(tmp_path)["gate"], 30, "the last task")

        master.kill()
        master.wait(30)
        with master_process(runtime_folder, master=journal):
            again = second.submit(system, detach=True)
            open_gate(tmp_path)
            reports = [handle.result(60), again.result(60)]

    assert reports[0].results == reports[1].results
    assert sorted(reports[0].finished) == sorted(task.name for task in system.tasks)
    assert {name: count for name, count in traced(tmp_path).items() if name != "gate"} == dict.fromkeys(
        (f"task-{n}" for n in range(10)), 1
    )


@pytest.mark.slow
def test_f83_a_cancel_that_races_the_end_of_a_system_has_one_outcome_for_everybody(shared_cluster):
    with application(shared_cluster.master_url) as other:
        began = time.monotonic()
        shared_cluster.run(Mixture(Square(2)), timeout=30)
        usual = time.monotonic() - began
        outcomes = []
        for attempt in range(12):
            handle = shared_cluster.submit(Mixture(Square(2)), detach=True)
            witness = other.attach(handle.system_id)
            canceller = threading.Timer(usual * (0.4 + attempt / 12), handle.cancel)  # somewhere around its end
            canceller.start()
            seen = [ending_of(handle), ending_of(witness)]
            canceller.join()
            seen += [ending_of(other.attach(handle.system_id)), ending_of(handle)]
            outcomes.append(seen)

    assert all(len(set(seen)) == 1 for seen in outcomes), outcomes
    assert {seen[0] for seen in outcomes} <= {"square-2", "cancelled"}


def ending_of(handle):
    try:
        return ",".join(handle.result(30).finished)
    except CancelledError:
        return "cancelled"


def test_f83_a_cancel_that_races_the_end_of_a_task_has_one_outcome(shared_cluster, tmp_path):
    futures = shared_cluster.push_tasks(Traced(f"task-{n}", tmp_path) for n in range(2000))
    heard = Counter()
    for future in futures:
        future.add_done_callback(lambda done: heard.update([done]))

    wait_until(lambda: len(read_trace(tmp_path)) >= 20, 30, "tasks that run")
    with ThreadPoolExecutor(2) as pool:
        order = random.Random(7).sample(range(len(futures)), len(futures))
        answers = dict(zip(order, pool.map(lambda n: futures[n].cancel(), order), strict=True))
    cancelled = [outcome_of(future) == "CancelledError" for future in futures]
    wait_until(lambda: len(heard) == len(futures), 30, "every callback")

    assert [future.cancelled() for future in futures] == cancelled == [answers[n] for n in range(len(futures))]
    assert set(heard.values()) == {1}
    assert max(traced(tmp_path).values()) == 1
    kept = {f"task-{n}" for n, was_cancelled in enumerate(cancelled) if not was_cancelled}
    assert kept <= traced(tmp_path).keys()
