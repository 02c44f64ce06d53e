"""A forked child pickles its host; the host goes on, whatever becomes of the child."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

from concurro.nodes import snapshot
from concurro.nodes.snapshot import SnapshotTaker
from concurro.transport.loop import Loop
from concurro.wire.messages import Kind
from concurro.wire.segments import SegmentPool
from tests.support.waiting import wait_until
from tests.unit.nodes.host_driver import Driver, Job, numbers

N = 7
LARGE = 2 * 1024 * 1024
"""Bytes that are mapped."""
DEADLINE = 30.0


class Slow(Job):
    """Takes as long to pickle as the test says."""

    def __getstate__(self):
        os.kill(os.getpid(), signal.SIGSTOP)
        return vars(self)


class Parent(Job):
    """Forks a process when it is pickled, which stays until there is a gate."""

    def __init__(self, tasks, folder):
        super().__init__(tasks)
        self.folder = folder

    def __getstate__(self):
        began, gate = self.folder / "began", self.folder / "gate"
        if not began.exists():
            began.touch()
            if os.fork() == 0:
                wait_until(gate.exists, DEADLINE)
                os._exit(0)
        return vars(self)


class Taking:
    """A host that is asked for snapshots."""

    def __init__(self, system):
        self.driver = Driver(system)
        self.loop = Loop()
        self.sent = []
        packer = self.driver.packer
        self.taker = SnapshotTaker(self.loop, packer, lambda kind, body: self.sent.append((kind, body)))

    def take(self):
        self.taker.take(self.driver.core, N)

    def wait(self):
        """Let the loop turn until something was sent; return it."""
        deadline = time.monotonic() + DEADLINE
        while not self.sent and time.monotonic() < deadline:
            self.loop.turn(0.1)
        return self.sent.pop(0)


@pytest.fixture
def make():
    made = []

    def one(system):
        made.append(Taking(system))
        return made[-1]

    yield one
    for each in made:
        each.loop.close()


def test_the_state_is_that_of_the_moment_of_the_fork(make):
    taking = make(Job(numbers(3)))
    taking.driver.pull()

    taking.take()
    taking.driver.finish(0, 1)
    kind, body = taking.wait()

    state = taking.driver.packer.loads(body[2], body[3])
    assert (kind, body[:2], body[4:]) == (Kind.SNAPSHOT, [1, N], [0, ""])
    assert (state["system"].results, len(state["ledger"][0])) == ([], 3)
    assert taking.driver.system.results == [0, 1]


def test_large_parts_stay_until_they_are_released(make):
    taking = make(Job(numbers(1)))
    taking.driver.system.large = b"x" * 500_000

    taking.take()
    _, body = taking.wait()

    blobs = taking.driver.packer.blobs
    assert [size for _, _, size in body[3]] == [blobs.total]
    taking.taker.release(N)
    assert blobs.cached == blobs.total


def test_the_child_leaves_the_segments_of_its_host_alone(make):
    taking = make(Job(numbers(1)))
    pool = SegmentPool()
    taking.driver.packer.blobs._pool = pool
    kept = pool.fill(b"a" * LARGE)
    pages = kept.map(LARGE)
    free = pool.fill(b"b" * LARGE)
    view = free.map(LARGE)
    segment = pool._lent.pop()
    pool._free.append(segment)
    taking.driver.system.large = np.full(LARGE, ord("c"), dtype=np.uint8)

    taking.take()
    _, body = taking.wait()

    state = taking.driver.packer.loads(body[2], body[3])
    assert body[5] == ""
    assert bytes(state["system"].large[:3]) == b"ccc"
    assert (bytes(pages[:1]), bytes(view[:1])) == (b"a", b"b")


def test_one_that_takes_too_long_is_killed_and_told(make, monkeypatch):
    monkeypatch.setattr(snapshot, "PATIENCE", 0.2)
    taking = make(Slow(numbers(1)))

    taking.take()
    _, body = taking.wait()

    assert body[2:5] == [b"", None, 0]
    assert body[5] == f"the child that pickled ended with {-signal.SIGKILL}"


@pytest.mark.parametrize("has_descriptors", [True, False])
def test_a_process_that_the_child_forked_keeps_nobody_waiting(make, monkeypatch, tmp_path, has_descriptors):
    if not has_descriptors:
        monkeypatch.delattr(os, "pidfd_open")
        monkeypatch.setattr(snapshot, "PATIENCE", 0.2)
    taking = make(Parent(numbers(1), tmp_path))

    taking.take()
    _, body = taking.wait()
    (tmp_path / "gate").touch()

    assert body[5] == ""
    assert taking.taker._child is None


def test_another_one_is_refused_meanwhile(make, monkeypatch):
    monkeypatch.setattr(snapshot, "PATIENCE", 0.2)
    taking = make(Slow(numbers(1)))
    taking.take()

    taking.take()

    assert "still being taken" in taking.sent.pop(0)[1][5]
    taking.wait()


def test_nothing_is_forked_beside_another_thread(make):
    taking = make(Job(numbers(1)))
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()

    taking.take()
    ended.set()
    thread.join()

    assert taking.sent == [(Kind.SNAPSHOT, [1, N, b"", None, 0, "1 threads run beside the callbacks"])]


def test_what_pickling_prints_is_seen_nowhere(make, capfd):
    class Loud(Job):
        def __getstate__(self):
            os.write(1, b"loud")
            return vars(self)

    taking = make(Loud(numbers(1)))

    taking.take()

    assert taking.wait()[1][5] == ""
    assert capfd.readouterr().out == ""
