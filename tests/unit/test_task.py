"""Tasks: their fields, and what is refused when one is emitted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from concurro.errors import InvalidTaskError
from concurro.task import Task, check_task, task_class_key


class Plain(Task):
    pass


class Urgent(Task):
    priority = 5
    timeout = 2.5
    max_retries = 0
    requires = {"gpu": 1}  # noqa: RUF012 - as users write it


class Forgetful(Task):
    def __init__(self):
        self.n = 1


@dataclass
class Generated(Task):
    n: int


def test_a_new_task_belongs_to_nobody():
    task = Task("a")

    facts = (task.task_id, task.system_id, task.client_id, task.slave_id, task.attempt, task.attempt_duration)

    assert task.name == "a"
    assert facts == (None, None, None, None, 0, None)
    assert (task.priority, task.timeout, task.max_retries, task.requires) == (0, None, None, None)


def test_fields_may_be_arguments_or_class_attributes():
    given = Plain("a", "system", "client", priority=1, timeout=2, max_retries=3, requires={"gpu": 1})
    inherited, overridden = Urgent("b"), Urgent("c", priority=9, timeout=1.0)

    assert (given.system_id, given.client_id, given.priority, given.timeout) == ("system", "client", 1, 2)
    assert (given.max_retries, given.requires) == (3, {"gpu": 1})
    assert (inherited.priority, inherited.timeout, inherited.max_retries) == (5, 2.5, 0)
    assert inherited.requires == {"gpu": 1}
    assert (overridden.priority, overridden.timeout, overridden.max_retries) == (9, 1.0, 0)


def test_the_keyword_fields_are_keyword_only():
    with pytest.raises(TypeError):
        Task("a", None, None, 3)


def test_a_task_must_say_what_it_does():
    with pytest.raises(NotImplementedError, match=r"Plain\.__call__"):
        Plain("a")()


def test_the_hooks_do_nothing_by_default():
    task = Plain("a")

    assert task.clean_up() is None
    assert task.finished(1, None) is None


def test_a_usable_task_passes_unchanged():
    tasks = [Plain("a"), Urgent("b"), Plain("c", timeout=1, requires={})]

    assert [check_task(task) for task in tasks] == tasks


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (42, r"got 42 \(int\)"),
        (None, "NoneType"),
        (Plain, "the class was given"),
        ("x" * 1000, r"x\.\.\."),
        (Forgetful(), r"Forgetful\.__init__ must call super\(\)\.__init__\(name\)"),
        (Generated(3), "__post_init__"),
    ],
)
def test_what_is_no_task_is_refused_by_name(value, named):
    with pytest.raises(InvalidTaskError, match=named):
        check_task(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 3),
        ("priority", 1.5),
        ("priority", True),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("timeout", "5"),
        ("max_retries", -1),
        ("max_retries", 1.0),
        ("requires", ["gpu"]),
        ("requires", {"gpu": -1}),
        ("requires", {1: 1}),
        ("requires", {"": 1}),
        ("requires", {" ": 1}),
    ],
)
def test_a_field_without_a_usable_value_is_named(field, value):
    task = Plain("a")
    setattr(task, field, value)

    with pytest.raises(InvalidTaskError, match=field):
        check_task(task)


def test_tasks_of_one_kind_have_one_key():
    same = [Urgent("a"), Urgent("b", timeout=2.5), Urgent("c", requires={"gpu": 1.0})]
    different = [Urgent("d", timeout=3), Plain("e"), Urgent("f", requires={"gpu": 2})]

    keys = {task_class_key(task) for task in same}

    assert len(keys) == 1
    assert len(keys | {task_class_key(task) for task in different}) == 4
