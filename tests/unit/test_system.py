"""Task systems: both spellings, their id, and what a job must write itself."""

from __future__ import annotations

import copy
import pickle
import uuid

import pytest
from zope.interface.verify import verifyObject

from concurro.interfaces import ITaskSystem
from concurro.system import TaskSystem


class One(ITaskSystem):
    def __init__(self, n=3):
        super().__init__()
        self.n = n


class Two(TaskSystem):
    pass


class Forgetful(ITaskSystem):
    def __init__(self):
        self.n = 1


@pytest.mark.parametrize("cls", [One, Two, Forgetful])
def test_both_spellings_are_task_systems(cls):
    system = cls()

    assert isinstance(system, TaskSystem)
    assert cls.__mro__[1] is TaskSystem
    assert verifyObject(ITaskSystem, system)


@pytest.mark.parametrize("cls", [One, Two, Forgetful])
def test_every_system_has_an_id_of_its_own_that_travels(cls):
    system, other = cls(), cls()

    arrived = pickle.loads(pickle.dumps(system))

    assert str(uuid.UUID(system.system_id)) == system.system_id
    assert system.system_id != other.system_id
    assert arrived.system_id == copy.copy(system).system_id == system.get_system_id() == system.system_id


def test_a_system_is_ready_without_init_system():
    assert One().init_system(None) is None
    assert One.speculate is False


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("generate_tasks", (None,)),
        ("task_finished", (None, None, None, None)),
        ("gather_result", (None,)),
        ("is_complete", (None,)),
    ],
)
def test_what_a_job_must_write_says_so(method, arguments):
    with pytest.raises(NotImplementedError, match=rf"Two\.{method} is not written"):
        getattr(Two(), method)(*arguments)
