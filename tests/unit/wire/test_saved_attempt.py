"""Saved attempts: whole or refused, for their owner alone."""

from __future__ import annotations

import pickle
import stat
import sys

import numpy as np
import pytest

from concurro.errors import NothingToSaveError, SavedAttemptError, TaskError
from concurro.task import Task
from concurro.wire import saved_attempt
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.saved_attempt import read_attempt, save_attempt
from concurro.wire.travelling import Travelling

HERE = "{}.{}".format(*sys.version_info[:2])


class Halving(Task):
    def __init__(self, values):
        super().__init__("halving")
        self.values = values


@pytest.fixture
def packer():
    return Packer(BlobStore(), Travelling())


@pytest.fixture
def error():
    return TaskError("system:7", "ValueError", "odd \udc80", "the traceback", "slave-1", 3)


@pytest.fixture
def saved_file(packer, error, tmp_path):
    path = tmp_path / "failed.task"
    save_attempt(packer, Halving(np.arange(20_000.0)), error, path)
    return path


def test_a_saved_attempt_holds_who_failed_how_and_the_task_with_its_large_parts(saved_file):
    blobs = BlobStore()

    saved = read_attempt(saved_file, blobs)

    facts = (saved.task_id, saved.name, saved.attempt, saved.slave_id, saved.type_name, saved.message, saved.traceback)
    assert facts == ("system:7", "halving", 3, "slave-1", "ValueError", "odd \udc80", "the traceback")
    receiver = Packer(blobs, Travelling())
    cls = receiver.load_task_class(saved.class_payload, saved.class_blobs)
    task = receiver.load_task(cls, saved.payload, saved.blobs)
    assert cls is Halving
    assert np.array_equal(task.values, np.arange(20_000.0))


def test_a_saved_attempt_is_for_its_owner_alone_and_nothing_lies_beside_it(saved_file):
    assert stat.S_IMODE(saved_file.stat().st_mode) == 0o600
    assert list(saved_file.parent.iterdir()) == [saved_file]


def test_a_file_that_cannot_be_written_whole_leaves_the_one_before(packer, error, saved_file, monkeypatch):
    before = saved_file.read_bytes()

    def disk_full(descriptor):
        del descriptor
        message = "no space left"
        raise OSError(message)

    monkeypatch.setattr(saved_attempt.os, "fsync", disk_full)
    with pytest.raises(OSError, match="no space left"):
        save_attempt(packer, Halving(1), error, saved_file)

    assert saved_file.read_bytes() == before
    assert list(saved_file.parent.iterdir()) == [saved_file]


@pytest.mark.parametrize("left", [0, 1, 15, 16, 19, 23, 24, 60, 400, -33, -32, -1])
def test_a_truncated_file_is_refused(saved_file, left):
    saved_file.write_bytes(saved_file.read_bytes()[:left])

    with pytest.raises(SavedAttemptError):
        read_attempt(saved_file, BlobStore())


@pytest.mark.parametrize("place", [0, 16, 18, 19, 21, 23, 24, 100, 700, 5_000, -40, -32, -1])
def test_a_flipped_bit_is_found(saved_file, place):
    content = bytearray(saved_file.read_bytes())
    content[place] ^= 4
    saved_file.write_bytes(content)

    with pytest.raises(SavedAttemptError):
        read_attempt(saved_file, BlobStore())


def test_another_file_is_no_saved_task(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk, and whatever else there is to buy")

    with pytest.raises(SavedAttemptError, match=r"notes\.txt is no saved task"):
        read_attempt(path, BlobStore())


def test_another_python_is_refused_with_both_versions(saved_file):
    content = bytearray(saved_file.read_bytes())
    content[19] = 5
    saved_file.write_bytes(content)

    with pytest.raises(SavedAttemptError, match=rf"saved by Python 3\.5, this is Python {HERE}"):
        read_attempt(saved_file, BlobStore())


def test_another_format_is_refused_with_both(saved_file):
    content = bytearray(saved_file.read_bytes())
    content[17] = 9
    saved_file.write_bytes(content)

    with pytest.raises(SavedAttemptError, match="has format 9, this version of Concurrent reads format 1"):
        read_attempt(saved_file, BlobStore())


def test_an_error_that_has_travelled_has_nothing_to_save(error, tmp_path):
    error.saver = lambda saved, path: path.write_text(saved.type_name)
    travelled = pickle.loads(pickle.dumps(error))
    error.save(tmp_path / "here")

    with pytest.raises(NothingToSaveError, match="nothing is known of task system:7 here"):
        travelled.save(tmp_path / "there")

    assert [path.name for path in tmp_path.iterdir()] == ["here"]
