"""The thread that writes a journal: order, groups, and disks that fail."""

from __future__ import annotations

import errno
import queue
import sqlite3
import threading

import pytest

from concurro.journal import writer as writer_module
from concurro.journal.writer import COMMIT_BYTES, JournalWriter
from concurro.scheduling.rows import AttemptIntended

DEADLINE = 10.0


class StoreStandIn:
    """Takes batches, or raises what it is told to."""

    def __init__(self):
        self.batches = []
        self.faults = []
        self.gate = threading.Event()
        self.gate.set()

    def apply(self, rows):
        self.gate.wait(DEADLINE)
        if self.faults:
            raise self.faults.pop(0)
        self.batches.append(list(rows))


@pytest.fixture
def store():
    return StoreStandIn()


@pytest.fixture
def posted():
    return queue.Queue()


@pytest.fixture
def writer(store, posted):
    writer = JournalWriter(store, posted.put)
    yield writer
    store.gate.set()
    writer.close()


def row(number):
    return AttemptIntended(1, number, 1)


def disk_full():
    return OSError(errno.ENOSPC, "No space left on device")


def test_calls_back_once_the_rows_are_written(writer, store, posted):
    told = []

    writer.write([row(1)], lambda: told.append("written"))

    posted.get(timeout=DEADLINE)()
    assert told == ["written"]
    assert store.batches == [[row(1)]]


def test_rows_that_came_during_a_commit_are_the_next_group(writer, store, posted):
    store.gate.clear()
    writer.write([row(0)], lambda: None, COMMIT_BYTES)
    told = []

    for number in range(1, 100):
        writer.write([row(number)], lambda number=number: told.append(number))
    store.gate.set()
    while len(told) < 99:
        posted.get(timeout=DEADLINE)()

    assert told == list(range(1, 100))
    assert [one for batch in store.batches for one in batch] == [row(number) for number in range(100)]
    assert len(store.batches) < 10


def test_f73_a_full_disk_delays_rows_and_loses_none(writer, store, posted, monkeypatch):
    monkeypatch.setattr(writer_module, "RETRY_PERIOD", 0.01)
    full = []
    writer.on_full = full.append
    store.faults = [disk_full(), disk_full()]
    told = []

    writer.write([row(1)], lambda: told.append("written"))
    while not told:
        posted.get(timeout=DEADLINE)()

    assert full == [True, False]
    assert store.batches == [[row(1)]]


def test_f74_a_failed_sync_is_told_and_nothing_is_tried_again(writer, store, posted):
    failed = []
    writer.on_failed = failed.append
    store.faults = [sqlite3.OperationalError("disk I/O error")]
    told = []

    writer.write([row(1)], lambda: told.append("written"))
    posted.get(timeout=DEADLINE)()
    writer.write([row(2)], lambda: told.append("written"))
    writer.close()

    assert failed == ["disk I/O error"]
    assert (store.batches, told) == ([], [])


def test_f75_a_slow_disk_keeps_nobody_who_writes(writer, store, posted):
    store.gate.clear()

    for number in range(1000):
        writer.write([row(number)], size=100)

    assert writer.waiting() == 100_000
    assert store.batches == []


def test_writes_what_waits_before_it_ends(writer, store):
    for number in range(10):
        writer.write([row(number)])

    writer.close()

    assert sum(map(len, store.batches)) == 10


def test_a_row_that_cannot_be_written_is_told_and_nobody_waits_for_a_thread_that_is_gone(writer, store, posted, caplog):
    told = []
    writer.on_failed = told.append
    store.faults = [RuntimeError("dictionary changed size during iteration")]

    writer.write([row(1)], lambda: told.append("written"))

    posted.get(timeout=DEADLINE)()
    assert told == ["dictionary changed size during iteration"]
    assert "cannot be written" in caplog.text
