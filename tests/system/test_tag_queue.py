"""The tag queue of a master: killed takers, killed masters, large values."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from concurro import ClosedError, ConfigError, MasterUnreachable, ServiceFailedError, current_application
from concurro_tagqueue import QueueLostError, TakerLostError, TaskManager, TaskManagerTermination, TaskRaisedException
from tests.support.nodes import master_process
from tests.support.waiting import wait_until

LIMIT = 30.0
LABELS = itertools.count()

TAKER = """
import sys, threading
from concurro_tagqueue import TaskManager, TaskManagerTermination

def work(process_id):
    try:
        while True:
            task_id, tag, number = tasks.get_any_task(process_id)
            tasks.store_result(task_id, [number, sys.argv[3]])
    except TaskManagerTermination:
        pass

with TaskManager.connect(sys.argv[1], sys.argv[2]) as tasks:
    registered = tasks.register_process(watchdog_period=60, info=f"taker {sys.argv[3]}")
    threads = [threading.Thread(target=work, args=(process_id,)) for process_id in (registered, None)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""

INTERRUPTED = """
import sys
from concurro_tagqueue import TaskManager

tasks = TaskManager.connect(sys.argv[1], sys.argv[2]) if len(sys.argv) > 1 else TaskManager()
try:
    print("waits", flush=True)
    tasks.get_any_task()
except KeyboardInterrupt:
    pass
task_id = tasks.add_task_request("a", 1)
assert tasks.get_any_task(timeout=30) == (task_id, "a", 1)
tasks.return_task(task_id)
print("went on", flush=True)
sys.stdin.read()
"""

HOLDER = """
import sys
from concurro_tagqueue import TaskManager

tasks = TaskManager.connect(sys.argv[1], sys.argv[2])
if sys.argv[3] == "registered":
    process_id = tasks.register_process(info="holder")
    tasks.get_any_task(process_id)
else:
    tasks.get_any_task()
print("holds", flush=True)
tasks.get_task_with_tag("never")
"""


@pytest.fixture
def tasks(shared_cluster):
    """Give a task manager of a master that nobody used."""
    with TaskManager.connect(shared_cluster, f"label {next(LABELS)}") as proxy:
        yield proxy


@contextlib.contextmanager
def program(code, *arguments):
    """Run a program of its own; kill it at the end."""
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def kill(process):
    """Kill a process and wait for its end."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def journalled(folder, journal, **options):
    """Start a master on the journal of a folder, the same one each time."""
    return master_process(folder, master={"journal": str(journal / "journal")}, **options)


def gone(folder, master, *, kindly=False):
    """Kill a master, and remove the address that it cannot; or stop it kindly."""
    if kindly:
        master.terminate()
        master.wait(LIMIT)
    else:
        kill(master)
        (folder / "master").unlink()


@pytest.mark.parametrize("how", ["registered", "by its connection alone"])
def test_the_task_of_a_taker_that_is_killed_returns_to_the_front(shared_cluster, tasks, how):
    added = [tasks.add_task_request("a", number) for number in range(3)]

    with program(HOLDER, shared_cluster.master_url, tasks.label, how) as holder:
        assert holder.stdout.readline() == "holds\n"
        assert tasks.number_of_tasks() == ({"a": 2}, {"a": 1}, {})
        kill(holder)

    wait_until(lambda: tasks.number_of_tasks()[0] == {"a": 3}, LIMIT, "the return of the task")
    assert tasks.active_processes() == {}
    assert [tasks.get_any_task()[0] for _ in added] == added
    never = tasks.add_task_request("never", None)
    assert tasks.get_task_with_tag("never", timeout=LIMIT) == (never, None)


def test_a_task_that_takes_three_takers_with_it_fails_and_names_itself(shared_cluster, tasks):
    task_id = tasks.add_task_request("a", None)

    for _ in range(3):
        with program(HOLDER, shared_cluster.master_url, tasks.label, "registered") as holder:
            assert holder.stdout.readline() == "holds\n"
            kill(holder)

    with pytest.raises(TaskRaisedException, match=rf"task {task_id} with tag 'a'.*\(holder\)") as raised:
        tasks.get_any_result(timeout=LIMIT)
    assert isinstance(raised.value.exception, TakerLostError)
    assert tasks.number_of_tasks() == ({}, {}, {})


@pytest.mark.parametrize("where", ["in process", "at a master"])
def test_an_interrupt_ends_a_wait_and_loses_nothing(shared_cluster, tasks, where):
    arguments = (shared_cluster.master_url, tasks.label) if where == "at a master" else ()

    with program(INTERRUPTED, *arguments) as waiting:
        assert waiting.stdout.readline() == "waits\n"
        waiting.send_signal(signal.SIGINT)

        assert waiting.stdout.readline() == "went on\n"
        if arguments:
            assert tasks.number_of_tasks() == ({"a": 1}, {}, {})


@pytest.mark.slow
def test_takers_that_are_killed_at_any_moment_lose_nothing(shared_cluster, tasks):
    count, crew = 240, 3
    names = itertools.count()
    dice = random.Random(4)
    tasks.add_task_requests("a", range(count // 2))
    tasks.add_task_requests("b", range(count // 2, count))
    with contextlib.ExitStack() as programs:

        def start():
            return programs.enter_context(program(TAKER, shared_cluster.master_url, tasks.label, next(names)))

        takers = [start() for _ in range(crew)]
        numbers = Counter()
        for done in range(count):
            _, _, (number, _) = tasks.get_any_result(timeout=LIMIT)
            numbers[number] += 1
            if done % 40 == 20:
                victim = dice.randrange(crew)
                kill(takers[victim])
                takers[victim] = start()
        tasks.terminate()
        for taker in takers:
            taker.wait(LIMIT)

    assert numbers == Counter(range(count))
    assert tasks.number_of_tasks() == ({}, {}, {})


def test_what_a_closed_proxy_held_returns_to_the_front(shared_cluster, tasks, request):
    task_id = tasks.add_task_request("a", "parameters")
    with TaskManager.connect(shared_cluster.master_url, tasks.label) as other:
        other.register_process(info="other")
        other.get_any_task()

    assert tasks.get_any_task(timeout=LIMIT) == (task_id, "a", "parameters")
    wait_until(lambda: tasks.number_of_active_processes() == 0, LIMIT, "the end of the registration")
    with pytest.raises(ClosedError):
        other.get_any_task()


def test_a_proxy_that_is_closed_ends_its_waits(shared_cluster):
    label = f"label {next(LABELS)}"
    with ThreadPoolExecutor(2) as threads:
        proxy = TaskManager.connect(shared_cluster, label)
        waiting = [threads.submit(proxy.get_any_task), threads.submit(proxy.get_any_result)]
        proxy.add_task_request("a", None)
        waiting.pop(0).result(LIMIT)

        proxy.close()

        with pytest.raises(ClosedError, match=f"'{label}' was closed"):
            waiting[0].result(LIMIT)


def test_labels_are_task_managers_of_their_own(shared_cluster, tasks):
    with TaskManager.connect(shared_cluster, f"{tasks.label}/b") as other:
        other.add_task_request("a", None)
        other.register_process(info="x")

        assert tasks.number_of_tasks() == ({}, {}, {})
        known = {record.label: record for record in TaskManager.labels(shared_cluster)}

    assert known[tasks.label][1:] == ({}, {}, {}, {}, False)
    assert known[other.label][1:] == ({"a": 1}, {}, {}, {0: "x"}, False)
    assert other.label in [record.label for record in TaskManager.labels(shared_cluster.master_url)]


def test_a_task_manager_is_forgotten_when_it_was_terminated_and_everybody_left(shared_cluster):
    label = f"label {next(LABELS)}"
    with TaskManager.connect(shared_cluster, label) as first:
        first.add_task_request("a", None)
        first.terminate()

    wait_until(lambda: label not in [record.label for record in TaskManager.labels(shared_cluster)], LIMIT, "its end")
    with TaskManager.connect(shared_cluster, label) as second:
        assert second.number_of_tasks() == ({}, {}, {})
        second.add_task_request("a", None)


def test_large_parameters_results_and_data_travel(tasks):
    array = np.arange(700_000.0)  # 5.6 MB
    text = "x" * 3_000_000

    task_id, small = tasks.add_task_requests("a", [array, 1])
    tasks.store_data(text=text, small=2)
    taken = tasks.get_any_task()
    tasks.store_result(task_id, taken[2] * 2)

    assert (taken[2] == array).all()
    assert (tasks.get_any_result()[2] == array * 2).all()
    assert tasks.retrieve_data("text") == text
    assert tasks.get_any_task()[0] == small
    tasks.return_task(small)
    tasks.add_task_request("a", text)
    assert [len(str(parameters)) for _, parameters in tasks.drain_tag("a")] == [1, 3_000_000]


class Local:
    """A class that only this module has."""

    def __init__(self, number):
        self.number = number


def test_classes_of_the_program_travel(shared_cluster, tasks):
    class Inner(Local):
        pass

    tasks.add_task_request("a", Inner(3))
    with TaskManager.connect(shared_cluster.master_url, tasks.label) as other:
        task_id, _, parameters = other.get_any_task()
        other.store_result(task_id, parameters.number + 1)

    assert tasks.get_any_result() == (task_id, "a", 4)


class Unloadable:
    """Pickles, and does not unpickle."""

    def __reduce__(self):
        return int, ("no number",)


class AwkwardError(Exception):
    """Does not unpickle."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def test_a_task_whose_parameters_cannot_be_rebuilt_fails_and_is_not_handed_on_for_ever(tasks):
    broken = tasks.add_task_request("a", Unloadable())
    good = tasks.add_task_request("a", 5)

    assert tasks.get_any_task() == (good, "a", 5)

    with pytest.raises(TaskRaisedException, match="no number") as caught:
        tasks.get_any_result()
    assert caught.value.task_id == broken


def test_tasks_whose_parameters_cannot_be_rebuilt_stay_in_line_when_they_are_drained(tasks):
    tasks.add_task_requests("a", [1, Unloadable(), 3])

    with pytest.raises(ValueError, match="no number"):
        tasks.drain_tag("a")

    assert tasks.number_of_tasks() == ({"a": 3}, {}, {})
    assert tasks.get_any_task()[2] == 1


def test_the_master_learns_what_has_come_while_an_older_request_waits(shared_cluster, tasks):
    untold = []
    with TaskManager.connect(shared_cluster, tasks.label) as other, ThreadPoolExecutor(1) as threads:
        connection = other._connection
        waiting = threads.submit(other.get_task_with_tag, "b")
        wait_until(lambda: connection._open)
        for number in range(100):
            other.add_task_request("a", number)
            untold.append(list(connection._came))
        tasks.add_task_request("b", None)
        waiting.result(LIMIT)

    assert untold == [[number] for number in range(untold[0][0], untold[0][0] + 100)]


def test_a_result_that_cannot_be_rebuilt_is_told_with_its_task(tasks):
    task_id = tasks.add_task_request("a", None)
    tasks.get_any_task()
    tasks.store_result(task_id, Unloadable())

    with pytest.raises(TaskRaisedException, match="no number") as caught:
        tasks.get_any_result()

    assert caught.value.task_id == task_id


def test_an_exception_that_does_not_travel_arrives_as_its_text(tasks):
    task_id = tasks.add_task_request("a", None)
    tasks.get_any_task()
    tasks.store_exception(task_id, AwkwardError("this", "that"), "Traceback: line 3")

    with pytest.raises(TaskRaisedException, match="AwkwardError: this and that") as caught:
        tasks.get_any_result()

    assert isinstance(caught.value.exception, ServiceFailedError)
    assert caught.value.traceback == "Traceback: line 3"


def test_a_wait_at_the_master_holds_nobody_up(tasks):
    waits = 50
    with ThreadPoolExecutor(waits) as threads:
        waiting = [threads.submit(tasks.get_task_with_tag, f"tag {number}") for number in range(waits)]
        task_id = tasks.add_task_request("a", None)
        assert tasks.get_task_with_tag("a") == (task_id, None)

        added = [tasks.add_task_request(f"tag {number}", number) for number in reversed(range(waits))]

        assert [call.result(LIMIT) for call in waiting] == list(zip(reversed(added), range(waits), strict=True))


def test_tasks_of_the_cluster_use_it_too(shared_cluster, tasks):
    tasks.add_task_request("a", 20)
    label = tasks.label

    def work():
        with TaskManager.connect(current_application(), label) as inner:
            task_id, _, number = inner.get_any_task()
            inner.store_result(task_id, number + 1)

    shared_cluster.executor().submit(work).result(LIMIT)

    assert tasks.get_any_result(timeout=LIMIT)[2] == 21


@pytest.mark.parametrize("label", ["", 3])
def test_a_label_is_a_text(shared_cluster, label):
    with pytest.raises(ConfigError):
        TaskManager.connect(shared_cluster, label)


def test_a_master_that_nobody_runs_is_told(tmp_path):
    config = {"application": {"connect_timeout": 0.2}}

    with pytest.raises(MasterUnreachable):
        TaskManager.connect(f"ipc://{tmp_path}/nobody", config=config)


@pytest.mark.slow
def test_with_a_journal_everything_survives_the_end_of_the_master(runtime_folder, tmp_path):
    count = 60
    done, results = [], []
    with contextlib.ExitStack() as stack:
        master, url = stack.enter_context(journalled(runtime_folder, tmp_path))
        requester = stack.enter_context(TaskManager.connect(url, "jobs"))
        taker = stack.enter_context(TaskManager.connect(url, "jobs"))
        requester.store_data(shared=[1, 2, 3])
        held = requester.add_task_request("held", "kept", priority=1)
        process_id = taker.register_process(info="taker")
        assert taker.get_task_with_tag("held", process_id) == (held, "kept")

        def take():
            with contextlib.suppress(TaskManagerTermination):
                while True:
                    task_id, number = taker.get_task_with_tag("a", process_id)
                    done.append(number)
                    taker.store_result(task_id, number)

        def collect():
            results.extend(requester.get_result_with_tag("a")[1] for _ in range(count))

        threads = [threading.Thread(target=call) for call in (take, collect)]
        for thread in threads:
            thread.start()
        for number in range(count):
            requester.add_task_request("a", number)
            if number in (20, 40):
                gone(runtime_folder, master, kindly=number == 40)
                master, _ = stack.enter_context(journalled(runtime_folder, tmp_path))
        threads[1].join(LIMIT)

        assert sorted(results) == list(range(count))
        assert sorted(done) == list(range(count))
        assert requester.retrieve_data("shared") == [1, 2, 3]
        assert taker.active_process_info(process_id) == "taker"
        taker.store_result(held, "at last")
        assert requester.get_any_result() == (held, "held", "at last")
        requester.terminate()
        threads[0].join(LIMIT)
        assert not threads[0].is_alive()


@pytest.mark.slow
def test_who_does_not_come_back_to_the_next_master_loses_its_tasks(runtime_folder, tmp_path):
    with contextlib.ExitStack() as stack:
        master, url = stack.enter_context(journalled(runtime_folder, tmp_path))
        tasks = stack.enter_context(TaskManager.connect(url, "jobs"))
        task_id = tasks.add_task_request("a", np.arange(300_000.0))
        holder = stack.enter_context(program(HOLDER, url, "jobs", "registered"))
        assert holder.stdout.readline() == "holds\n"
        kill(holder)
        gone(runtime_folder, master)

        stack.enter_context(journalled(runtime_folder, tmp_path, prelude=SHORT_GRACE))

        taken = tasks.get_any_task(timeout=LIMIT)
        assert taken[0] == task_id
        assert taken[2][-1] == 299_999.0
        assert tasks.active_processes() == {}


SHORT_GRACE = "import concurro_tagqueue.service as it; it.TagQueueService.grace.default = 0.5"


@pytest.mark.slow
def test_without_a_journal_the_death_of_the_master_is_told_to_everybody(runtime_folder):
    with contextlib.ExitStack() as stack:
        master, url = stack.enter_context(master_process(runtime_folder))
        tasks = stack.enter_context(TaskManager.connect(url, "jobs"))
        tasks.add_task_request("a", None)
        threads = stack.enter_context(ThreadPoolExecutor(2))
        waiting = [threads.submit(tasks.get_any_result), threads.submit(tasks.get_task_with_tag, "b")]
        tasks.get_any_task()
        gone(runtime_folder, master)

        stack.enter_context(master_process(runtime_folder))

        for call in waiting:
            with pytest.raises(QueueLostError, match="connect again"):
                call.result(LIMIT)
        with pytest.raises(QueueLostError):
            tasks.number_of_tasks()
        with TaskManager.connect(url, "jobs") as fresh:
            assert fresh.number_of_tasks() == ({}, {}, {})


@pytest.mark.slow
def test_a_master_that_stays_away_is_told_after_our_patience(runtime_folder):
    with contextlib.ExitStack() as stack:
        master, url = stack.enter_context(master_process(runtime_folder))
        tasks = stack.enter_context(TaskManager.connect(url, "jobs", patience=0.5))
        threads = stack.enter_context(ThreadPoolExecutor(1))
        waiting = threads.submit(tasks.get_any_task)
        tasks.number_of_tasks()

        gone(runtime_folder, master)
        later = [threads.submit(tasks.number_of_tasks) for _ in range(2)]

        for call in (waiting, *later):  # by the time that a connection has by itself, this would take 45 s
            with pytest.raises(MasterUnreachable):
                call.result(LIMIT - 10)
