"""What the output of a pushed task is before the master knows the task."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from concurro import Task
from concurro.nodes.application import ApplicationNode


@pytest.fixture
def application(monkeypatch):
    """Give an application whose master knows no task."""

    def answer(name, arguments):
        future = Future()
        future.set_exception(LookupError(f"no task {arguments[0]}"))
        return future

    application = ApplicationNode("tcp://127.0.0.1:1", config={})
    monkeypatch.setattr(application, "request", answer)
    yield application
    application.close()


def test_a_task_that_was_just_pushed_has_written_nothing(application):
    future = application._core.plain.push(application, Task("just-pushed"))

    assert future.output() == ""


def test_a_task_that_is_not_there_is_still_unknown(application):
    system_id = application._core.plain.system_id

    with pytest.raises(LookupError, match=f"no task {system_id}:7"):
        application.output_of(f"{system_id}:7")
