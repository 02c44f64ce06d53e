"""What goes wrong around a task manager, as exceptions."""

from __future__ import annotations

import pickle

from concurro import ConcurroError
from concurro_tagqueue import (
    TaskManagerTermination,
    TaskRaisedException,
    UnknownDataError,
    UnknownProcessError,
    UnknownTaskError,
    WaitTimeoutError,
)


def test_a_raised_exception_pickles_with_its_facts():
    raised = pickle.loads(pickle.dumps(TaskRaisedException("7", "a", ValueError("no"), "trace")))

    assert (raised.task_id, raised.tag, str(raised.exception), raised.traceback) == ("7", "a", "no", "trace")


def test_every_error_is_one_of_concurrent():
    kinds = (TaskManagerTermination, UnknownDataError, UnknownProcessError, UnknownTaskError, WaitTimeoutError)

    assert all(issubclass(kind, ConcurroError) for kind in (*kinds, TaskRaisedException))
