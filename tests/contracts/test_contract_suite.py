"""`check_component` finds what it is there to find."""

from __future__ import annotations

import pytest

from concurro import (
    Component,
    FloatOption,
    ITaskManager,
    ITaskScheduler,
    ITaskScheduleStrategy,
    ITaskSystem,
    TaskSystem,
    implementer,
)
from concurro.errors import ContractError
from concurro.execution.inline import InlineTasks
from concurro.scheduling.rated import RatedScheduler
from concurro.scheduling.strategies import LeastLoaded
from concurro.testing import check_component


def faults_of(cls, interface=None):
    with pytest.raises(ContractError) as caught:
        check_component(cls, interface)
    return "\n".join(caught.value.faults)


def strategy(**methods):
    return implementer(ITaskScheduleStrategy)(type("Odd", (LeastLoaded,), {"name": "odd", **methods}))


@pytest.mark.parametrize(
    ("methods", "fault"),
    [
        ({"rate": lambda self, slave: float("nan")}, "rate returns nan, which is not a finite number"),
        ({"rate": lambda self, slave: None}, "rate returns None, which is not a finite number"),
        ({"get_next_slave": lambda self, task=None, slaves=None: "north"}, "chooses a slave when there is none"),
        ({"get_next_slave": lambda self, task=None, slaves=None: "north"}, "that it may not choose"),
        ({"get_next_slave": lambda self, task=None, slaves=None: None}, "chooses none of three idle slaves"),
        ({"get_next_slave": lambda self, task=None, slaves=None: 7}, "returns a int, which is not a slave's id"),
        ({"get_next_slave": lambda self, slaves=None: None}, "argument 1 is called 'slaves' instead of 'task'"),
        ({"rate": lambda self, slave: 1 / 0}, "raised ZeroDivisionError"),
        ({"half_life": FloatOption(-1.0, "Half-life [s].", minimum=0)}, "has the default -1.0: must be 0 or more"),
        ({"half_life": FloatOption(1.0)}, "option 'half_life' has no documentation"),
        ({"name": "Odd Name"}, "give it one in kebab-case"),
    ],
)
def test_a_faulty_strategy_is_found_out(methods, fault):
    assert fault in faults_of(strategy(**methods))


def test_a_strategy_that_remembers_slaves_that_left_is_found_out():
    class Forgetless(LeastLoaded):
        name = "forgetless"

        def get_next_slave(self, task=None, slaves=None):
            return super().get_next_slave(task, slaves) if slaves is not None or self._master.slaves else None

    @implementer(ITaskScheduleStrategy)
    class Stubborn(Forgetless):
        name = "stubborn"

        def get_next_slave(self, task=None, slaves=None):
            return "south" if slaves is None and self._heap else super().get_next_slave(task, slaves)

    assert "chooses a slave that is not there, or has left" in faults_of(Stubborn)


def test_a_strategy_that_takes_the_slaves_for_a_list_is_found_out():
    class First(LeastLoaded):
        name = "first"

        def get_next_slave(self, task=None, slaves=None):
            return slaves[0] if slaves else super().get_next_slave(task, slaves)

    assert "is not subscriptable" in faults_of(First)


def test_a_strategy_that_waits_while_everybody_is_idle_is_found_out():
    class Tired(LeastLoaded):
        name = "tired"

        def get_next_slave(self, task=None, slaves=None):
            finished = any(slave.finished for slave in self._master.slaves.values())
            return None if finished else super().get_next_slave(task, slaves)

    assert "chooses none of three slaves that are idle again" in faults_of(Tired)


def test_a_strategy_that_waits_while_everybody_is_busy_is_none_the_worse():
    class Patient(LeastLoaded):
        name = "patient"

        def get_next_slave(self, task=None, slaves=None):
            busy = all(slave.leases for slave in self._master.slaves.values())
            return None if busy else super().get_next_slave(task, slaves)

    check_component(Patient)


def test_a_strategy_that_takes_nobody_back_is_found_out():
    class Grudging(LeastLoaded):
        name = "grudging"

        def setup(self, scheduler, master):
            super().setup(scheduler, master)
            self.gone = set()

        def get_next_slave(self, task=None, slaves=None):
            self.gone |= self._latest.keys() - self._master.slaves.keys()
            chosen = super().get_next_slave(task, slaves)
            return None if chosen in self.gone else chosen

    assert "never chooses a slave that left and came back" in faults_of(Grudging)


def test_all_faults_are_listed_at_once():
    odd = strategy(rate=lambda self: 0.0, setup=lambda self, scheduler, node: None)

    faults = faults_of(odd)

    assert "argument 'slave' is missing" in faults
    assert "argument 2 is called 'node' instead of 'master'" in faults
    assert all(fault.startswith(f"{__file__}:") for fault in faults.splitlines())


@pytest.mark.parametrize(
    ("methods", "fault"),
    [
        ({"tick": lambda self, now: None}, "left 4 of 4 tasks queued beside an idle slave"),
        ({"handle_task": lambda self, task: None}, "handle_task does not lead to another lease"),
        ({"explain": lambda self, task_id: None}, "explain does not return a sentence"),
    ],
)
def test_a_faulty_scheduler_is_found_out(methods, fault):
    odd = implementer(ITaskScheduler)(type("Odd", (RatedScheduler,), {"name": "odd", **methods}))

    assert fault in faults_of(odd)


@pytest.mark.parametrize(
    ("methods", "fault"),
    [
        ({"update_pool": lambda self, num_workers: None}, "takes 0 workers without a ValueError"),
        ({"get_num_workers": lambda self: 0}, "returns 0, which is not a number of workers"),
        ({"cancel": lambda self, task_id: True}, "says that an unknown task was open"),
    ],
)
def test_a_faulty_task_manager_is_found_out(methods, fault):
    odd = implementer(ITaskManager)(type("Odd", (InlineTasks,), {"name": "odd", **methods}))

    assert fault in faults_of(odd)


def test_a_task_system_says_which_callbacks_are_not_written():
    class Half(TaskSystem):
        name = "half"

        def generate_tasks(self, master):
            return None

        def is_complete(self, master):
            return True

    faults = faults_of(Half, ITaskSystem)

    assert "Half.task_finished is not written" in faults
    assert "Half.gather_result is not written" in faults
    assert "generate_tasks" not in faults


def test_something_that_is_no_class_is_told_so():
    with pytest.raises(ContractError, match="is not a class"):
        check_component(LeastLoaded())


def test_a_component_of_an_interface_without_a_suite_is_checked_by_its_methods():
    with pytest.raises(ContractError, match="declare"):
        check_component(type("Plain", (Component,), {"name": "plain"}), ITaskManager)
