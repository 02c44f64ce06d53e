"""Masters and slaves of a job as threads of one process."""

from __future__ import annotations

import threading
import traceback
import types
from contextlib import contextmanager

import pytest

from concurro import ConfigError
from concurro_tagqueue import (
    GlobalStateValue,
    LabelInUseError,
    MasterProcess,
    SlaveProcess,
    TaskManager,
    TaskManagerTermination,
    TaskRaisedException,
    registration,
    run_job,
)
from concurro_tagqueue.launching import describe_end

LIMIT = 30.0


class Roots(SlaveProcess):
    def do_sqrt(self, number):
        if number < 0:
            raise ValueError(number)
        return number**0.5

    def do_echo(self, *parameters):
        return parameters


class Doubles(SlaveProcess):
    def do_double(self, number):
        return 2 * number


class Counting(TaskManager):
    """Counts how often each data item is fetched."""

    def __init__(self):
        super().__init__()
        self.fetched = []

    def retrieve_data(self, label):
        value = super().retrieve_data(label)
        self.fetched.append(label)
        return value


@pytest.fixture
def manager():
    return Counting()


@pytest.fixture
def master(manager):
    with MasterProcess("job", manager) as master:
        yield master


@contextmanager
def working(slave, namespace=None):
    """Let a slave work in a thread; it must have ended a while after the block, which ends the job."""
    thread = threading.Thread(target=slave.start, args=(namespace,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        slave.task_manager.terminate()
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_a_slave_does_a_task_by_the_method_of_its_tag(master, manager):
    with working(Roots("job", manager)):
        task_id = master.request_task("sqrt", 9.0)

        assert master.retrieve_result("sqrt", LIMIT) == (task_id, "sqrt", 3.0)


def test_the_names_of_scientific_python_do_the_same(master, manager):
    with working(Roots("job", manager)):
        state = master.setGlobalState(a=1)
        task_id = master.requestTask("echo", GlobalStateValue(state, "a"), 2)

        assert master.retrieveResult() == (task_id, "echo", (1, 2))
        master.deleteGlobalState(state)


def test_what_a_handler_raises_is_raised_where_the_result_is_taken(master, manager):
    with working(Roots("job", manager)):
        task_id = master.request_task("sqrt", -1)

        with pytest.raises(TaskRaisedException) as caught:
            master.retrieve_result(timeout=LIMIT)

    assert (caught.value.task_id, caught.value.tag) == (task_id, "sqrt")
    assert isinstance(caught.value.exception, ValueError)
    assert caught.value.traceback.count('File "') == 1
    assert "ValueError: -1" in caught.value.traceback


def test_a_master_process_that_was_taken_for_dead_goes_on(master, manager):
    lost = master.process_id
    manager.unregister_process(lost)

    master.request_task("sqrt", 9.0)

    assert master.process_id != lost
    assert manager.number_of_tasks() == ({"sqrt": 1}, {}, {})


def test_a_handler_that_exits_has_failed(master, manager):
    def leave():
        raise SystemExit(0)

    with working(SlaveProcess("job", manager), {"do_leave": leave}):
        master.request_task("leave")

        with pytest.raises(TaskRaisedException, match="SystemExit"):
            master.retrieve_result(timeout=LIMIT)


def test_a_task_goes_to_a_slave_that_has_its_handler(master, manager):
    with working(Doubles("job", manager)), working(Roots("job", manager)):
        for number in range(10):
            master.request_task("double", number)
            master.request_task("sqrt", number * number)
        results = {master.retrieve_result("double", LIMIT)[2] for _ in range(10)}
        roots = {master.retrieve_result("sqrt", LIMIT)[2] for _ in range(10)}

    assert (results, roots) == ({2 * number for number in range(10)}, set(range(10)))


def test_a_task_that_no_slave_has_a_handler_for_keeps_nobody_from_the_others(master, manager):
    with working(Roots("job", manager)):
        master.request_task("unknown")
        master.request_task("sqrt", 4)

        assert master.retrieve_result(timeout=LIMIT)[2] == 2
        assert manager.number_of_tasks() == ({"unknown": 1}, {}, {})


@pytest.mark.parametrize("wrap", [dict, lambda given: types.SimpleNamespace(**given)])
def test_functions_of_a_namespace_are_handlers_too(wrap, master, manager):
    with working(Roots("job", manager), wrap({"do_half": lambda number: number / 2, "do_nothing": None})):
        master.request_task("half", 3)
        master.request_task("sqrt", 4)

        assert {master.retrieve_result(timeout=LIMIT)[1:] for _ in range(2)} == {("half", 1.5), ("sqrt", 2)}


def test_a_global_state_value_is_fetched_once_by_each_slave_process(master, manager):
    with working(Roots("job", manager)):
        state = master.set_global_state(grid=[1, 2, 3], step=0.5)
        for _ in range(5):
            master.request_task("echo", GlobalStateValue(state, "grid"), GlobalStateValue(state, "step"))
        results = [master.retrieve_result(timeout=LIMIT)[2] for _ in range(5)]

    assert results == [([1, 2, 3], 0.5)] * 5
    assert sorted(manager.fetched) == [f"state_{state}_grid", f"state_{state}_step"]


def test_values_of_a_deleted_state_are_gone_for_slaves_that_know_them_too(master, manager):
    with working(Roots("job", manager)):
        first, second = master.set_global_state(a=1), master.set_global_state(a=2)
        results = []
        for state in (first, second):
            master.request_task("echo", GlobalStateValue(state, "a"))
            results.append(master.retrieve_result(timeout=LIMIT)[2])
            master.delete_global_state(state)
        third = master.set_global_state(a=3)
        for state in (third, first):
            master.request_task("echo", GlobalStateValue(state, "a"))
        results.append(master.retrieve_result(timeout=LIMIT)[2])

        with pytest.raises(TaskRaisedException, match="or was deleted"):
            master.retrieve_result(timeout=LIMIT)

    assert results == [(1,), (2,), (3,)]
    with pytest.raises(LookupError, match="there is no global state"):
        master.delete_global_state(first)


def test_a_slave_that_tests_for_its_end_takes_no_more_tasks(master, manager):
    class Twice(Roots):
        done = 0

        def terminationTest(self):  # noqa: N802 - the public name
            self.done += 1
            return self.done > 2

    for number in range(4):
        master.request_task("sqrt", number)

    Twice("job", manager).start()

    assert manager.number_of_tasks() == ({"sqrt": 2}, {}, {"sqrt": 2})
    assert manager.number_of_active_processes() == 1


def test_ctrl_c_in_a_slave_hands_its_task_back_before_those_that_wait(master, manager):
    def interrupt(number):
        raise KeyboardInterrupt

    for number in range(3):
        master.request_task("root", number)

    with pytest.raises(KeyboardInterrupt):
        SlaveProcess("job", manager).start({"do_root": interrupt})

    assert manager.number_of_tasks() == ({"root": 3}, {}, {})
    assert manager.get_any_task()[2] == (0,)
    assert manager.number_of_active_processes() == 1


def test_a_slave_that_was_taken_for_dead_registers_again_and_goes_on(master, manager, caplog):
    calls = []

    def be_lost(number):
        if not calls:
            manager.unregister_process(max(manager.active_processes()))
        calls.append(number)
        return number

    with working(SlaveProcess("job", manager, watchdog_period=None), {"do_pass": be_lost}):
        for number in range(3):
            master.request_task("pass", number)
        results = [master.retrieve_result(timeout=LIMIT)[2] for _ in range(3)]

    assert (results, calls) == ([0, 1, 2], [0, 0, 1, 2])
    assert "nobody waits for what came of task" in caplog.text
    assert "is registered again" in caplog.text


def test_a_slave_pings_while_a_handler_works(master, manager, monkeypatch):
    monkeypatch.setattr(registration, "PINGS_PER_PERIOD", 100_000)
    release, pings = threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(manager, "ping", lambda process_id: pings.release())

    with working(SlaveProcess("job", manager, watchdog_period=3600.0), {"do_wait": release.wait}):
        master.request_task("wait")
        pinged = [pings.acquire(timeout=LIMIT) for _ in range(3)]
        running = manager.number_of_tasks()[1]
        release.set()

        assert (pinged, running) == ([True] * 3, {"wait": 1})
        assert master.retrieve_result(timeout=LIMIT)[2] is True


def test_start_runs_the_job_and_ends_its_slaves(manager):
    class Sum(MasterProcess):
        def run(self):
            for number in range(4):
                self.request_task("sqrt", number * number)
            return sum(self.retrieve_result("sqrt", LIMIT)[2] for _ in range(4))

    slave = threading.Thread(target=Roots("job", manager).start, daemon=True)
    slave.start()

    total = Sum("job", manager).start()

    slave.join(LIMIT)
    assert total == 6
    assert not slave.is_alive()
    assert manager.number_of_active_processes() == 0


def test_a_job_that_raises_ends_all_the_same(manager):
    class Failing(MasterProcess):
        def run(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Failing("job", manager).start()

    with pytest.raises(TaskManagerTermination):
        manager.get_any_task(timeout=0)


def test_after_the_end_nothing_is_waited_for(manager):
    master = MasterProcess("job", manager)
    master.shutdown()
    master.shutdown()

    with pytest.raises(TaskManagerTermination):
        master.retrieve_result()
    with pytest.raises(TaskManagerTermination):
        master.request_task("sqrt", 1)


def test_a_master_without_run_says_so(manager):
    with pytest.raises(NotImplementedError, match="write what the job does"):
        MasterProcess("job", manager).start()


@pytest.mark.parametrize("label", ["", None, 3])
def test_a_label_is_a_text(label, manager):
    with pytest.raises(ConfigError, match="the label of a job is a text"):
        MasterProcess(label, manager)
    with pytest.raises(ConfigError, match="the label of a job is a text"):
        SlaveProcess(label, manager)


@pytest.mark.parametrize("period", [0, -1])
def test_a_watchdog_period_is_above_0(period):
    with pytest.raises(ConfigError, match="watchdog_period must be"):
        SlaveProcess("job", watchdog_period=period)


def test_slaves_of_a_job_in_one_process_are_not_launched(master):
    with pytest.raises(ConfigError, match="start its slaves as threads"):
        master.launch_slave_jobs()


@pytest.mark.parametrize(
    ("code", "end"),
    [(3, "ended with exit code 3"), (-9, "was killed by SIGKILL"), (-63, "was killed by signal 63")],
)
def test_the_end_of_a_slave_process_is_told_by_the_name_of_its_signal(code, end):
    assert describe_end(code) == end


def test_the_label_of_a_job_that_runs_is_refused_without_a_traceback_of_ours():
    class Refused(MasterProcess):
        def __init__(self, label):
            raise LabelInUseError(label)

    with pytest.raises(LabelInUseError) as caught:
        run_job("job", Refused, SlaveProcess)

    assert [frame.name for frame in traceback.extract_tb(caught.tb)][1:] == ["run_job"]


def test_a_method_with_the_prefix_alone_handles_nothing(master, manager):
    class Slave(Doubles):
        def do_(self):
            raise AssertionError

    with working(Slave("job", manager)):
        master.request_task("double", 2)

        assert master.retrieve_result("double", LIMIT)[2] == 4
