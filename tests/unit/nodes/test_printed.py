"""The master's desk for output: who hears of it, and what is kept."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from concurro.ids import SystemState
from concurro.nodes.printed import BACKLOG_LIMIT, Printed
from concurro.wire.messages import Kind

FOLLOWER, OTHER = ("application", 1), ("application", 2)


class Listener:
    """A peer that keeps what it is sent."""

    def __init__(self):
        self.entries = []
        self.waiting = 0
        self.backlog = lambda: self.waiting

    def send(self, kind, body):
        """Take a message."""
        assert kind == Kind.PRINTED
        self.entries += body


class Table:
    """Knows one system, number 1, of three tasks, that one application follows."""

    def __init__(self):
        self.record = SimpleNamespace(system_id="job", number=1, name="Job")

    def life(self, number):
        """Return the system."""
        return SimpleNamespace(record=self.record) if number == 1 else None

    def listeners(self, number):
        """Return the follower."""
        return (FOLLOWER,) if number == 1 else ()

    def past(self, system_id):
        """Know a forgotten system."""
        return SimpleNamespace(system_id="gone1") if "gone1".startswith(system_id) else None

    def emitted(self, system_id):
        """Return how many tasks there are."""
        return 3 if system_id == "job" else None


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def peers():
    return {FOLLOWER: Listener(), OTHER: Listener()}


@pytest.fixture
def printed(table, peers):
    """Lease 70 of slave vm-1 is task 2 of the system."""
    slave = SimpleNamespace(leases={70: SimpleNamespace(system=table.record, number=2)})
    return Printed(SimpleNamespace(slaves={"vm-1": slave}, epoch=7), table, peers)


def test_output_goes_to_who_follows_the_system_and_to_nobody_else(printed, peers):
    printed.slave_wrote("vm-1", [[70, "square-2", 1, "text\n", 0]])

    assert peers[FOLLOWER].entries == [[1, 2, "square-2", "vm-1", 1, "text\n", 0]]
    assert peers[OTHER].entries == []


def test_output_under_a_lease_that_the_slave_does_not_hold_is_ignored(printed, peers):
    printed.slave_wrote("vm-1", [[71, "square-2", 1, "forged\n", 0]])
    printed.slave_wrote("vm-2", [[70, "square-2", 1, "forged\n", 0]])

    assert peers[FOLLOWER].entries == []
    assert printed.last_lines("job:2") == ""


def test_a_host_speaks_with_the_name_of_its_system(printed, peers):
    printed.host_wrote(1, [[1, 2, "text\n", 5]])
    printed.host_wrote(9, [[9, 1, "of an unknown system\n", 0]])

    assert peers[FOLLOWER].entries == [[1, None, "Job", "", 2, "text\n", 5]]


def test_an_application_that_wants_no_output_gets_none_and_may_ask(printed, peers):
    printed.joined(FOLLOWER, {"output": False})

    printed.slave_wrote("vm-1", [[70, "square-2", 1, "text\n", 0]])

    assert peers[FOLLOWER].entries == []
    assert printed.last_lines("job:2") == "text\n"


def test_an_application_that_does_not_read_loses_output_and_is_told_how_much(printed, peers):
    peers[FOLLOWER].waiting = BACKLOG_LIMIT + 1
    printed.slave_wrote("vm-1", [[70, "square-2", 1, "x" * 100, 7]])
    peers[FOLLOWER].waiting = 0
    printed.slave_wrote("vm-1", [[70, "square-2", 1, "after\n", 0]])
    printed.slave_wrote("vm-1", [[70, "square-2", 1, "later\n", 0]])

    assert [entry[5:] for entry in peers[FOLLOWER].entries] == [["after\n", 107], ["later\n", 0]]


def test_an_application_that_left_is_forgotten(printed, peers):
    peers[FOLLOWER].waiting = BACKLOG_LIMIT + 1
    printed.slave_wrote("vm-1", [[70, "square-2", 1, "x" * 100, 0]])

    printed.left(FOLLOWER)
    peers[FOLLOWER].waiting = 0
    printed.slave_wrote("vm-1", [[70, "square-2", 1, "after\n", 0]])

    assert peers[FOLLOWER].entries[0][6] == 0


@pytest.mark.parametrize("unknown", ["job:3", "another:0"])
def test_the_output_of_an_unknown_task_is_a_lookup_error(printed, unknown):
    with pytest.raises(LookupError, match=unknown):
        printed.last_lines(unknown)


def test_a_task_that_wrote_nothing_has_no_lines(printed):
    assert printed.last_lines("job:0") == ""


def test_the_pages_of_a_system_hold_its_tasks_and_callbacks(printed, table):
    table.find = lambda wanted: table.life(1) if wanted == "jo" else None
    table.record.state = SystemState.RUNNING
    printed.slave_wrote("vm-1", [[70, "square-2", 1, "text\n", 0]])
    printed.host_wrote(1, [[1, 2, "of a callback\n", 0]])

    page = printed.pages("jo", 0)
    rest = printed.pages("jo", page["position"])

    assert page["entries"] == [[2, "square-2", "text\n", False], [None, "Job", "of a callback\n", False]]
    assert (page["system_id"], page["more"], page["ended"]) == ("job", False, False)
    assert page["epoch"] == 7
    assert rest["entries"] == []


def test_the_output_of_a_system_that_is_forgotten_is_there_while_it_is_kept(printed, table):
    table.find = lambda wanted: None
    printed.slave_wrote("vm-1", [[70, "square-2", 1, "text\n", 0]])

    page = printed.pages("job:2", 0)

    assert (page["entries"], page["ended"]) == ([[2, "square-2", "text\n", False]], True)


def test_the_beginning_of_the_id_of_a_forgotten_system_is_enough(printed, table):
    table.find = lambda wanted: None
    table.record.system_id = "gone1"
    printed.slave_wrote("vm-1", [[70, "square-2", 1, "text\n", 0]])

    page = printed.pages("gone", 0)

    assert (page["system_id"], [entry[2] for entry in page["entries"]]) == ("gone1", ["text\n"])


def test_who_follows_a_system_that_wrote_nothing_hears_that_it_ended_when_it_is_forgotten(printed, table):
    table.find = lambda wanted: table.life(1)
    table.record.state = SystemState.RUNNING
    page = printed.pages("job", 0)
    table.find = lambda wanted: None

    last = printed.pages("job", page["position"])

    assert (page["ended"], last["ended"], last["entries"]) == (False, True, [])


def test_the_pages_of_an_unknown_system_are_refused(printed, table):
    table.find = lambda wanted: None

    with pytest.raises(LookupError, match="no system nobody"):
        printed.pages("nobody", 0)
