"""What a session with a task manager says when it does not come back."""

from __future__ import annotations

import pytest

from concurro import MasterUnreachable
from concurro_tagqueue.connection import Connection
from concurro_tagqueue.errors import QueueLostError


class Unreachable(Connection):
    """A session whose task manager cannot be reached any more."""

    def __init__(self, error):
        self.label = "lab2"
        self.error = error

    def _reach(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (QueueLostError("the task manager 'lab2' is gone"), "the task manager 'lab2' is gone"),
        (MasterUnreachable("no master"), "the task manager 'lab2' is not reached any more: no master"),
    ],
    ids=["gone", "not reached"],
)
def test_why_a_session_ended_is_said_once(caplog, error, said):
    Unreachable(error)._come_back()

    assert caplog.messages == [said]
