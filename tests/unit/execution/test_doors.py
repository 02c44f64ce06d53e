"""Who waits for the application of a process, and when it may be had."""

from __future__ import annotations

from concurro.execution.inside import Door


def test_who_waits_for_a_door_is_called_when_it_opens_although_another_one_raises():
    door = Door()
    called = []
    door.wait_for_it([].pop)
    door.wait_for_it(lambda: called.append("first"))
    before = list(called)

    door.let_in()

    assert (before, called) == ([], ["first"])


def test_a_door_that_opened_in_between_keeps_nobody_waiting():
    door = Door()
    called = []
    door.let_in()

    door.wait_for_it(lambda: called.append("late"))

    assert called == ["late"]
