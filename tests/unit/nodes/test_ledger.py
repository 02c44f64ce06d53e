"""The tasks that were emitted and are not final."""

from __future__ import annotations

import pickle

import pytest

from concurro.errors import InvalidTaskError, NotPicklableError, TaskCancelled, TaskTimeout, WorkerLost
from concurro.ids import Outcome
from concurro.nodes.ledger import TaskLedger
from concurro.task import Task
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling
from tests.unit.nodes.host_driver import Number

LARGE = 200_000


@pytest.fixture
def packer():
    return Packer(BlobStore(), Travelling())


@pytest.fixture
def ledger(packer):
    return TaskLedger(packer, "job", "alice")


def entry(number, outcome=Outcome.DONE, value=b"\x80\x05K\x07."):
    return [number, int(outcome), value, None, "north", 2, 1_000_000]


FAILURE = ["ValueError", "wrong", "Traceback ...", None]


def test_numbers_tasks_and_names_them(ledger):
    tasks = [Number(0), Number(1)]

    ids = [ledger.add(task) for task in tasks]

    assert ids == ["job:0", "job:1"] == [task.task_id for task in tasks]
    assert [(task.system_id, task.client_id) for task in tasks] == [("job", "alice")] * 2
    assert ledger.last == 1


def test_gives_what_was_added_once_with_its_classes(ledger):
    ledger.add(Number(0))
    ledger.add(Number(1))

    first, classes, entries = ledger.take()

    assert (first, len(classes), [one[0] for one in entries]) == (0, 1, [0, 0])
    assert ledger.take() == (2, [], [])


def test_a_class_that_changes_its_fields_makes_other_tasks_from_the_next_output_on(ledger):
    class Plain(Task):
        pass

    ledger.add(Plain("first"))
    ledger.take()
    Plain.priority = 5

    ledger.add(Plain("second"))

    _, classes, entries = ledger.take()
    assert [entry[2] for entry in classes] == [5]
    assert [entry[0] for entry in entries] == [1]


def test_a_task_without_a_name_is_refused_behind_others_of_its_class(ledger):
    ledger.add(Number(0))
    nameless = Number(1)
    del nameless.name

    with pytest.raises(InvalidTaskError, match="has no name"):
        ledger.add(nameless)


def test_what_nodes_filled_in_does_not_travel_with_a_task_that_is_added_again(ledger):
    first, again = Number(0), Number(0)
    ledger.add(first)
    ledger.add(again)
    ledger.settle(entry(1))

    ledger.add(again)

    _, _, entries = ledger.take()
    assert entries[2] == entries[0]


@pytest.mark.parametrize(
    "fields", [{"priority": 1}, {"timeout": 2.0}, {"max_retries": 3}, {"requires": {"gpu": 1}}], ids=str
)
def test_tasks_with_other_fields_are_of_another_class(ledger, fields):
    class Plain(Task):
        pass

    ledger.add(Plain("plain"))
    ledger.add(Plain("special", **fields))
    ledger.add(Plain("special too", **fields))

    _, classes, entries = ledger.take()

    assert [one[0] for one in classes] == [0, 1]
    assert [one[0] for one in entries] == [0, 1, 1]
    assert dict(zip(("priority", "timeout", "max_retries", "requires"), classes[1][2:6], strict=True)) == {
        "priority": 0,
        "timeout": None,
        "max_retries": None,
        "requires": {},
        **fields,
    }


def test_counts_the_bytes_that_wait_large_parts_included(ledger):
    small, large = Number(0), Number(1)
    large.content = bytes(LARGE)
    ledger.add(small)
    ledger.add(large)
    assert ledger.waiting_bytes > LARGE

    ledger.take()

    assert ledger.waiting_bytes == 0


def test_large_parts_are_kept_until_their_task_is_final(ledger, packer):
    task = Number(0)
    task.content = bytes(LARGE)
    ledger.add(task)
    assert packer.blobs.total - packer.blobs.cached >= LARGE

    ledger.settle(entry(0))

    assert packer.blobs.total == packer.blobs.cached


def test_gives_back_the_same_task_with_what_was_learned(ledger):
    task = Number(0)
    ledger.add(task)

    settled, result, error = ledger.settle(entry(0))

    assert settled is task
    assert (result, error) == (7, None)
    assert (task.slave_id, task.attempt, task.attempt_duration) == ("north", 2, 0.001)
    assert ledger.open == {}


def test_a_task_settles_once(ledger):
    ledger.add(Number(0))
    ledger.settle(entry(0))

    assert ledger.settle(entry(0)) is None
    assert ledger.settle(entry(5)) is None


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Outcome.TIMEOUT, TaskTimeout),
        (Outcome.LOST, WorkerLost),
        (Outcome.SLAVE_LOST, WorkerLost),
        (Outcome.CANCELLED, TaskCancelled),
    ],
)
def test_the_outcome_decides_the_error(ledger, outcome, kind):
    ledger.add(Number(0))

    _, result, error = ledger.settle(entry(0, outcome, FAILURE))

    assert result is None
    assert type(error) is kind
    assert (error.task_id, error.slave_id, error.attempt) == ("job:0", "north", 2)


def test_what_is_no_task_leaves_no_trace(ledger):
    with pytest.raises(InvalidTaskError):
        ledger.add("no task")

    assert (ledger.waiting, ledger.open, ledger.last) == (0, {}, -1)


def test_a_task_that_cannot_travel_leaves_no_trace(ledger):
    task = Number(0)
    task.lock = (number for number in ())

    with pytest.raises(NotPicklableError, match=r"task\.lock"):
        ledger.add(task)

    assert (ledger.waiting, ledger.open, task.task_id) == (0, {}, None)
    assert ledger.add(Number(1)) == "job:0"


def test_knows_the_numbers_of_its_open_tasks(ledger):
    ledger.add(Number(0))

    assert ledger.number_of("job:0") == 0
    assert ledger.number_of("job:1") is None
    with pytest.raises(ValueError, match="another system"):
        ledger.number_of("other:0")


@pytest.mark.parametrize(
    "fields", [{"priority": 10**30}, {"max_retries": 2**64}, {"requires": {"gpu\ud800": 1}}, {"timeout": 10**30}]
)
def test_refuses_a_task_whose_facts_cannot_be_sent_and_goes_on(ledger, fields):
    task = Number(1)
    vars(task).update(fields)

    with pytest.raises(InvalidTaskError, match="cannot be sent"):
        ledger.add(task)
    ledger.add(Number(2))

    first, classes, entries = ledger.take()
    assert (first, len(classes), len(entries)) == (0, 1, 1)
    assert entries[0][0] == classes[0][0]


def test_what_many_tasks_share_does_not_keep_them_back_and_what_each_has_does(packer):
    ledger = TaskLedger(packer, "system")
    shared = bytearray(200_000)

    for _ in range(10):
        ledger.add(Holding(pickle.PickleBuffer(shared)))
    together = ledger.waiting_bytes
    for number in range(2):
        ledger.add(Holding(pickle.PickleBuffer(bytearray([number + 1]) * 200_000)))

    assert together < 100_000
    assert ledger.waiting_bytes - together > 400_000


class Holding(Task):
    """Holds a buffer."""

    def __init__(self, buffer):
        super().__init__("holding")
        self.buffer = buffer
