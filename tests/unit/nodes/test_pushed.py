"""What an application pushed and is not final."""

from __future__ import annotations

import gc
import weakref

import pytest

from concurro.errors import NotPicklableError, TaskError
from concurro.ids import Outcome
from concurro.nodes import ledger
from concurro.nodes.control import Control
from concurro.nodes.pushed import PushedTasks
from concurro.task import Task
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling
from tests.unit.nodes.host_driver import Number

LARGE = 200_000
ROOM = 1 << 30
SEVEN = b"\x80\x05K\x07."


class Quick(Task):
    """A task without anything."""


class Pushing(Task):
    """Does something while it is pickled."""

    on_pickled = None

    def __reduce__(self):
        type(self).on_pickled()
        return Number, (7,)


class Called(Task):
    """A call of an executor."""

    name = "called"


@pytest.fixture
def packer():
    return Packer(BlobStore(), Travelling())


@pytest.fixture
def pushed(packer):
    return PushedTasks(packer, "job", "alice")


def push_call(pushed, packer, *args, pusher=None):
    fields = {"args": args}
    return pushed.push_call(Control(), Called, fields, packer.dump_fields(fields), pusher)


def entry(number, outcome=Outcome.DONE, value=SEVEN):
    return [number, int(outcome), value, None, "north", 2, 1_000_000]


def test_numbers_tasks_and_calls_in_one_order(pushed, packer):
    task = Number(0)

    futures = [pushed.push(Control(), task), push_call(pushed, packer, 1), pushed.push(Control(), Number(2))]

    assert [future.task_id for future in futures] == ["job:0", "job:1", "job:2"]
    assert (task.task_id, task.system_id, task.client_id) == ("job:0", "job", "alice")
    assert [pushed.name_of(number) for number in (1, 3)] == ["called", ""]


def test_a_call_travels_as_a_task_of_its_class(pushed, packer):
    push_call(pushed, packer, 3, "x")

    _, (known,), ((class_number, payload),) = pushed.take(10, ROOM)

    assert known[0] == class_number
    assert packer.load_task(Called, payload, None).args == (3, "x")


def test_gives_no_more_than_the_limit_and_counts_on(pushed):
    for number in range(5):
        pushed.push(Control(), Number(number))

    counts = [(pushed.take(2, ROOM)[0], pushed.waiting) for _ in range(3)]

    assert counts == [(0, 3), (2, 1), (4, 0)]
    assert (pushed.waiting_bytes, pushed.sent) == (0, 5)


def test_gives_no_more_bytes_than_may_be_on_their_way_but_one_task(pushed, packer):
    futures = [push_call(pushed, packer, bytes(1000)) for _ in range(3)]

    counts = [len(pushed.take(10, 2500)[2]) for _ in range(2)]
    pushed.settle(entry(0), seen=False)
    counts += [len(pushed.take(10, 2500)[2])]

    assert counts == [2, 0, 1]
    assert len(futures) == len(pushed.open) == 3
    push_call(pushed, packer, bytes(1000))
    pushed.settle(entry(1), seen=False)
    pushed.settle(entry(2), seen=False)
    assert len(pushed.take(10, 10)[2]) == 1


def test_keeps_a_class_until_a_task_of_it_leaves(pushed):
    pushed.push(Control(), Number(0))

    assert pushed.take(0, ROOM) == (0, [], [])

    _, classes, entries = pushed.take(1, ROOM)
    assert len(classes) == len(entries) == 1


def test_large_parts_count_and_are_kept_until_their_task_is_final(pushed, packer):
    task = Number(0)
    task.content = bytes(LARGE)
    pushed.push(Control(), task)
    assert pushed.waiting_bytes > LARGE

    pushed.take(1, ROOM)
    assert packer.blobs.total - packer.blobs.cached >= LARGE < pushed.sent_bytes

    pushed.settle(entry(0), seen=False)
    assert packer.blobs.total == packer.blobs.cached
    assert (pushed.sent, pushed.sent_bytes) == (0, 0)


def test_a_large_call_travels_as_a_blob_that_is_kept_until_it_is_final(pushed, packer):
    push_call(pushed, packer, list(range(LARGE)))
    size = pushed.waiting_bytes

    _, _, ((_, payload, blobs),) = pushed.take(1, ROOM)

    assert packer.load_task(Called, payload, blobs).args == (list(range(LARGE)),)
    assert blobs[0][2] == size == pushed.sent_bytes == packer.blobs.total - packer.blobs.cached
    pushed.settle(entry(0), seen=False)
    assert (packer.blobs.total - packer.blobs.cached, pushed.sent_bytes) == (0, 0)


def test_a_task_settles_with_what_was_learned(pushed):
    task = Number(0)
    future = pushed.push(Control(), task)

    assert pushed.settle(entry(0), seen=False) == (future, task, 7, None)

    assert (task.slave_id, task.attempt, task.attempt_duration) == ("north", 2, 0.001)


@pytest.mark.parametrize("seen", [False, True])
def test_a_call_has_a_task_where_somebody_sees_it(pushed, packer, seen):
    future = push_call(pushed, packer, 1)

    settled, task, result, error = pushed.settle(entry(0), seen=seen)

    assert (settled, result, error) == (future, 7, None)
    assert (task is not None) == seen
    if seen:
        assert (type(task), task.args, task.task_id, task.attempt) == (Called, (1,), "job:0", 2)


@pytest.mark.parametrize(
    "entry",
    [entry(0, Outcome.RAISED, ["ValueError", "wrong", "Traceback ...", None]), entry(0, value=b"\x80no pickle")],
    ids=["raised", "unloadable"],
)
def test_a_call_that_failed_can_be_saved(pushed, packer, tmp_path, entry):
    push_call(pushed, packer, 1)

    _, task, result, error = pushed.settle(entry, seen=False)

    assert isinstance(error, TaskError)
    assert (error.task_id, error.slave_id, result) == ("job:0", "north", None)
    error.save(tmp_path / "saved.task")
    assert (tmp_path / "saved.task").stat().st_size > 0
    assert task.args == (1,)


def test_a_task_that_cannot_travel_leaves_no_trace(pushed):
    task = Number(0)
    task.lock = (number for number in ())

    with pytest.raises(NotPicklableError, match=r"task\.lock"):
        pushed.push(Control(), task)

    assert (pushed.waiting, pushed.open, task.task_id) == (0, {}, None)
    assert pushed.push(Control(), Number(1)).task_id == "job:0"


def test_tells_who_pushed_what_is_open(pushed, packer):
    mine, other = object(), object()
    first = push_call(pushed, packer, 1, pusher=mine)
    push_call(pushed, packer, 2, pusher=other)
    last = push_call(pushed, packer, 3, pusher=mine)

    assert pushed.futures_of(mine) == [first, last]
    pushed.close(0)
    assert pushed.futures_of(mine) == [last]


def test_nothing_is_left_of_what_is_closed(pushed, packer):
    for number in range(3):
        push_call(pushed, packer, number)
    pushed.take(10, ROOM)

    for number in range(3):
        pushed.settle(entry(number), seen=False)
        pushed.close(number)

    assert (pushed.open, pushed.waiting, pushed.sent, pushed.sent_bytes, pushed.waiting_bytes) == ({}, 0, 0, 0, 0)
    assert pushed.settle(entry(0), seen=False) is None


def test_a_few_tasks_go_although_each_is_as_large_as_what_may_be_on_its_way(pushed, packer):
    for _ in range(5):
        push_call(pushed, packer, bytes(2000))

    counts = [len(pushed.take(10, 2500)[2]) for _ in range(2)]
    pushed.settle(entry(0), seen=False)
    counts += [len(pushed.take(10, 2500)[2])]

    assert counts == [3, 0, 1]


def test_of_tasks_that_are_much_larger_one_goes_at_a_time(pushed, packer):
    for _ in range(3):
        push_call(pushed, packer, bytes(20_000))

    counts = [len(pushed.take(10, 2500)[2]) for _ in range(2)]

    assert counts == [1, 0]


def test_a_task_that_pushes_others_while_it_is_pickled_mixes_up_neither_numbers_nor_classes(pushed, monkeypatch):
    def push_more():
        monkeypatch.setattr(Pushing, "on_pickled", lambda: None)
        futures.append(pushed.push(Control(), Number(1)))
        futures.append(pushed.push(Control(), Pushing("inner")))

    futures = []
    monkeypatch.setattr(Pushing, "on_pickled", push_more)
    task = Pushing("outer")
    futures.append(pushed.push(Control(), task))
    futures.append(pushed.push(Control(), Quick("quick")))

    _, classes, entries = pushed.take(10, ROOM)
    numbers = [entry[0] for entry in classes]
    names = {entry[0]: entry[1].rpartition(".")[2] for entry in classes}
    assert [future.task_id for future in futures] == ["job:0", "job:1", "job:2", "job:3"]
    assert task.task_id == "job:2"
    assert numbers == sorted(set(numbers))
    assert [names[entry[0]] for entry in entries] == ["Number", "Pushing", "Pushing", "Quick"]


def test_a_class_that_pushes_its_tasks_while_it_is_pickled_is_announced_once(pushed):
    class Attribute:
        def __reduce__(self):
            if not futures:
                futures.append(None)
                futures[0] = pushed.push(Control(), Odd("first"))
            return str, ()

    class Odd(Task):
        attribute = Attribute()

    futures = []
    futures.append(pushed.push(Control(), Odd("second")))
    futures.append(pushed.push(Control(), Quick("quick")))

    _, classes, entries = pushed.take(10, ROOM)
    assert [entry[0] for entry in classes] == [0, 1]
    assert [entry[0] for entry in entries] == [0, 0, 1]


@pytest.fixture
def few_classes(monkeypatch):
    monkeypatch.setattr(ledger, "MOST_CLASSES", 3)


def finish(pushed, *numbers):
    for number in numbers:
        pushed.settle(entry(number), seen=False)
        pushed.close(number)


def of_priority(priority):
    task = Quick("quick")
    task.priority = priority
    return task


def test_of_many_classes_those_without_tasks_are_retired_and_their_numbers_never_used_again(few_classes, packer):
    pushed = PushedTasks(packer, "job", "alice")
    for priority in range(3):
        pushed.push(Control(), of_priority(priority))
    pushed.take(10, ROOM)
    assert pushed.take_retired() == []
    finish(pushed, 0, 2)

    pushed.push(Control(), of_priority(3))
    _, classes, entries = pushed.take(10, ROOM)
    retired = pushed.take_retired()
    pushed.push(Control(), of_priority(0))
    _, again, _ = pushed.take(10, ROOM)

    assert [one[0] for one in classes] == [one[0] for one in entries] == [3]
    assert retired == [0, 2]
    assert pushed.take_retired() == []
    assert [one[0] for one in again] == [4]


def test_the_code_of_a_retired_class_is_kept_no_longer(few_classes, packer):
    pushed = PushedTasks(packer, "job", "alice")

    def push_one_more():
        class Local(Task):
            pass

        pushed.push(Control(), Local("local"))
        return weakref.ref(Local)

    classes = []
    for number in range(40):
        classes.append(push_one_more())
        pushed.take(10, ROOM)
        finish(pushed, number)
    gc.collect()

    assert sum(one() is not None for one in classes) < 10
    assert len(packer.blobs._of_owner) < 20


def test_what_is_unwanted_before_it_was_sent_is_told_with_it(pushed):
    for number in range(4):
        pushed.push(Control(), Number(number))
    for number in (2, 0, 3, 1):
        pushed.unwant(number, started=number % 2 == 0)

    told = [(pushed.take(2, ROOM)[0], pushed.take_unwanted()) for _ in range(3)]

    assert told == [(0, ([0], [1])), (2, ([2], [3])), (4, ([], []))]


def test_what_waits_to_be_sent_is_not_looked_at_for_each_message(pushed):
    class Counted(int):
        looks = 0

        def __lt__(self, other):
            Counted.looks += 1
            return int(self) < other

    for number in range(2000):
        pushed.push(Control(), Number(number))
        pushed.unwant(Counted(number), started=False)
    Counted.looks = 0

    for _ in range(20):
        pushed.take(1, ROOM)
        pushed.take_unwanted()

    assert Counted.looks < 2000
