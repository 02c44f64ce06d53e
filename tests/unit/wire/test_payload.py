"""Payloads: values there and back, large parts beside them, and what cannot travel."""

from __future__ import annotations

import inspect
import pickle
import sys
import threading
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurro.errors import NotPicklableError
from concurro.task import Task
from concurro.wire.blobs import BlobStore
from concurro.wire.messages import INLINE_LIMIT, BlobPurpose
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


class Square(Task):
    def __init__(self, n):
        super().__init__(f"square-{n}")
        self.n = n

    def __call__(self):
        return self.n**2


class Slotted(Task):
    __slots__ = ("n",)


class Custom(Task):
    def __init__(self):
        super().__init__("custom")
        self.n = 1

    def __getstate__(self):
        return {"n": 2, "name": self.name}


class Exits:
    def __reduce__(self):
        raise SystemExit


@given(plain)
def test_plain_values_come_back_equal(value):
    packer = Packer(BlobStore(), Travelling())

    payload, blobs = packer.dumps(value)

    assert packer.loads(payload, blobs) == value


@given(plain)
def test_values_in_a_task_come_back_equal(value):
    packer = Packer(BlobStore(), Travelling())

    payload, blobs = packer.dump_task(Square(value))

    assert packer.load_task(Square, payload, blobs).n == value


@given(plain)
def test_whole_values_come_back_equal(value):
    packer = Packer(BlobStore(), Travelling())

    assert packer.loads_whole(packer.dumps_whole([value, lambda: None]))[0] == value


def test_a_text_that_names_main_travels_like_any_other(packer):
    payload, blobs = packer.dumps(["__main__", "x" * 300, "__mp_main__"])

    assert payload[0] == 0x80
    assert packer.loads(payload, blobs) == ["__main__", "x" * 300, "__mp_main__"]


def test_large_buffers_are_blobs_and_small_ones_stay(packer):
    large, small = np.arange(INLINE_LIMIT, dtype="u1"), np.arange(10.0)

    payload, blobs = packer.dumps([large, small, large + 1])
    arrived = packer.loads(payload, blobs)

    assert [(purpose, size) for purpose, _, size in blobs] == [(BlobPurpose.BUFFER, INLINE_LIMIT)] * 2
    assert len(payload) < 2000
    assert all(np.array_equal(one, two) for one, two in zip(arrived, [large, small, large + 1], strict=True))


def test_an_array_that_changes_after_packing_arrives_as_it_was(packer):
    array = np.zeros(INLINE_LIMIT, dtype="u1")
    payload, blobs = packer.dumps(array)

    array[0] = 1

    assert packer.loads(payload, blobs)[0] == 0


def test_tasks_of_one_class_with_an_array_and_without_arrive_as_they_were(packer):
    array = np.arange(INLINE_LIMIT, dtype=float)
    fields = [1, array, 2, array[:4], array]

    dumped = [packer.dump_task(Square(n)) for n in fields]
    arrived = [packer.load_task(Square, *parts).n for parts in dumped]

    assert [bool(blobs) for _, blobs in dumped] == [False, True, False, False, True]
    assert all(np.array_equal(one, other) for one, other in zip(arrived, fields, strict=True))


def test_an_arrived_array_is_the_receivers_own(packer):
    payload, blobs = packer.dumps(np.zeros(INLINE_LIMIT, dtype="u1"))
    first = packer.loads(payload, blobs)

    first[0] = 1

    assert packer.loads(payload, blobs)[0] == 0


def test_a_large_pickle_is_a_blob(packer):
    value = list(range(INLINE_LIMIT))

    payload, blobs = packer.dumps(value)

    assert payload == b""
    assert [purpose for purpose, _, _ in blobs] == [BlobPurpose.PICKLE]
    assert packer.loads(payload, blobs) == value


def test_a_large_task_with_code_is_blobs_too(packer):
    task = Square(np.zeros(INLINE_LIMIT))
    task.step = lambda n: n + 1

    payload, blobs = packer.dump_task(task)
    arrived = packer.load_task(Square, payload, blobs)

    assert arrived.step(1) == 2
    assert arrived.n.shape == (INLINE_LIMIT,)


def test_blobs_stay_for_their_owner(packer):
    store = BlobStore(cache_limit=0)
    packer = Packer(store, Travelling())
    _, blobs = packer.dumps([np.zeros(INLINE_LIMIT), np.ones(INLINE_LIMIT)], owner="task 1")
    store.put(b"something else")

    kept = [digest in store for _, digest, _ in blobs]
    store.release("task 1")
    store.put(b"another thing")

    assert kept == [True, True]
    assert not any(digest in store for _, digest, _ in blobs)


def test_what_is_too_large_is_refused_with_its_size():
    packer = Packer(BlobStore(), Travelling(), limit=1_000_000)

    with pytest.raises(NotPicklableError, match=r"task is too large to travel: 1000\d\d\d B, the limit is 1000000 B"):
        packer.dumps(b"x" * 1_000_000, name="task")


def test_runtime_fields_do_not_travel_with_a_task(packer):
    task = Square(2)
    task.task_id, task.slave_id, task.attempt = "a:1", "b", 3

    arrived = packer.load_task(Square, *packer.dump_task(task))

    assert (arrived.task_id, arrived.slave_id, arrived.attempt) == (None, None, 0)
    assert (arrived.name, arrived()) == ("square-2", 4)
    assert task.task_id == "a:1"


def test_an_attribute_called_duration_is_the_users_and_travels(packer):
    task = Square(2)
    task.duration = 2.5

    arrived = packer.load_task(Square, *packer.dump_task(task))

    assert arrived.duration == 2.5


def test_a_class_that_pickles_itself_is_asked(packer):
    slotted = Slotted("slotted")
    slotted.n = 4

    custom = packer.load_task(Custom, *packer.dump_task(Custom()))
    arrived = packer.load_task(Slotted, *packer.dump_task(slotted))

    assert custom.n == 2
    assert (arrived.name, arrived.n) == ("slotted", 4)


def test_the_culprit_is_named_with_its_path(packer):
    task = Square(1)
    task.options = {"retries": 3, "lock": threading.Lock()}

    with pytest.raises(NotPicklableError) as caught:
        packer.dump_task(task)

    assert caught.value.path == "task.options['lock']"
    assert caught.value.culprit == "_thread.lock"
    assert "task.options['lock'] is a _thread.lock" in str(caught.value)
    assert isinstance(caught.value, pickle.PicklingError)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda lock: [1, (2, lock)], "value[1][1]"),
        (lambda lock: namedtuple("Pair", "a b")(1, lock), "value.b"),  # noqa: PYI024 - what users write
        (lambda lock: lambda: lock, "value closure lock"),
        (lambda lock: ValueError("no", lock), "value.args[1]"),
        (lambda lock: threading.Thread(), None),
        (lambda lock: Exits(), "value"),
    ],
)
def test_the_path_leads_into_containers_closures_and_exceptions(packer, make, path):
    with pytest.raises(NotPicklableError) as caught:
        packer.dumps(make(threading.Lock()))

    assert caught.value.path.startswith("value")
    assert path is None or caught.value.path == path


def test_nesting_without_end_is_an_error_not_a_crash(packer):
    value: list = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(NotPicklableError, match="recursion"):
        packer.dumps(value)


def test_an_error_survives_its_own_journey(packer):
    error = NotPicklableError("no", "task.x", "_thread.lock")

    arrived = packer.loads(*packer.dumps(error))

    assert (str(arrived), arrived.path, arrived.culprit) == ("no", "task.x", "_thread.lock")


def test_within_calls_nested_too_deep_it_is_the_calls_that_are_blamed(packer):
    def within(calls, value):
        return within(calls - 1, value) if calls else packer.dumps(value)

    used = len(inspect.stack())
    nested = []
    for _ in range(sys.getrecursionlimit()):
        nested = [nested]

    with pytest.raises(RecursionError, match="value cannot be pickled within calls that are nested"):
        within(sys.getrecursionlimit() - used - 20, lambda: 1)
    with pytest.raises(NotPicklableError, match="recursion"):
        packer.dumps(nested)
