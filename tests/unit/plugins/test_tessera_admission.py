"""Calls and memory: who runs, who waits, who is told that there is no room."""

from __future__ import annotations

from collections import deque

import pytest

from concurro_tessera import MemoryLimitError
from concurro_tessera.admission import LOOKED_AT, Admission
from concurro_tessera.records import Call

MIB = 1024 * 1024


class PlayedMemory:
    """A worker of 100 MiB, of which 10 are used at rest."""

    def __init__(self):
        self.committed = 0

    def fits_in_memory(self, nbytes):
        return self.memory_in_use() + nbytes <= self.memory_limit()

    def inc_committed_mem(self, nbytes):
        self.committed += nbytes

    def dec_committed_mem(self, nbytes):
        self.committed -= nbytes

    def memory_in_use(self):
        return 10 * MIB + self.committed

    def memory_limit(self):
        return 100.0 * MIB


class PlayedTessera:
    """A tessera with one call, which runs when it may."""

    def __init__(self, played, size, waits=()):
        self.played = played
        self.call = Call(f"call-{len(played.tesserae)}", None, "tess", "add", Packed(size), 0)
        self.call.waits = list(waits)
        self.running = None
        self.is_busy = False
        self.failed = None
        played.tesserae.append(self)

    def advance(self):
        if not self.is_busy and self.call is not None and self.played.admission.admit(self.call, self):
            self.running, self.is_busy = self.call, True

    def end(self):
        self.running, self.is_busy = None, False
        call, self.call = self.call, None
        self.played.admission.release(call)

    def fail_waiting(self, call, error):
        self.failed, self.call = error, None
        self.played.admission.release(call)


class Packed:
    """A parcel of some size."""

    def __init__(self, size):
        self.size = size


class Probed:
    """A call that another one waits for."""

    def __init__(self):
        self.origins = []

    def probe(self, origin):
        self.origins.append(origin)


class Played:
    """An admission, its memory and its tesserae; what it wants called is called by `settle`."""

    def __init__(self):
        self.memory = PlayedMemory()
        self.tesserae = []
        self.posted = deque()
        self.later = []
        self.freed = 0
        self.admission = Admission(
            self.memory, lambda: self.tesserae, self.posted.append, lambda _, call: self.later.append(call), self.free
        )

    def free(self):
        self.freed += 1

    def settle(self):
        while self.posted:
            self.posted.popleft()()

    def tessera(self, size, **options):
        one = PlayedTessera(self, size, **options)
        one.advance()
        self.settle()
        return one


@pytest.fixture
def played():
    return Played()


def test_calls_run_that_fit_beside_each_other(played):
    first, second = played.tessera(40 * MIB), played.tessera(50 * MIB)

    assert first.is_busy
    assert second.is_busy
    assert played.memory.committed == 90 * MIB


def test_a_call_that_does_not_fit_waits_for_the_end_of_another(played):
    first, second = played.tessera(60 * MIB), played.tessera(50 * MIB)

    assert (first.is_busy, second.is_busy) == (True, False)
    first.end()
    played.settle()
    assert second.is_busy
    assert played.memory.committed == 50 * MIB
    second.end()
    assert played.memory.committed == 0


def test_a_smaller_one_passes_by(played):
    played.tessera(60 * MIB)
    waiting, small = played.tessera(50 * MIB), played.tessera(20 * MIB)

    assert (waiting.is_busy, small.is_busy) == (False, True)


def test_what_is_small_is_not_reckoned_with(played):
    played.tessera(89 * MIB)

    assert played.tessera(LOOKED_AT - 1).is_busy
    assert played.memory.committed == 89 * MIB


def test_a_call_for_which_nobody_can_make_room_fails_with_the_figures(played):
    alone = played.tessera(95 * MIB)

    assert isinstance(alone.failed, MemoryLimitError)
    assert isinstance(alone.failed, MemoryError)
    assert "add() of tess needs 95.0 MiB" in str(alone.failed)
    assert "10.0 MiB of 100.0 MiB" in str(alone.failed)
    assert played.freed == 1
    assert played.admission.waiting == {}


def test_a_call_that_never_fits_waits_as_long_as_something_runs(played):
    small = played.tessera(2 * MIB)
    large = played.tessera(95 * MIB)
    assert large.failed is None

    small.end()
    played.settle()

    assert isinstance(large.failed, MemoryLimitError)


def test_what_is_let_go_first_may_make_room(played):
    used = 20 * MIB
    played.memory.memory_in_use = lambda: used

    def free():
        nonlocal used
        used = 1 * MIB

    played.admission._free = free

    assert played.tessera(90 * MIB).is_busy


def test_a_call_that_waits_for_one_that_has_no_room_breaks_the_circle(played):
    first, second = played.tessera(60 * MIB), played.tessera(50 * MIB)

    played.admission.probe(second, "somebody else")
    assert second.failed is None
    played.admission.probe(second, first.call.uid)

    assert "runs there, waits for it" in str(second.failed)


def test_a_probe_goes_on_to_what_the_running_calls_wait_for(played):
    further = Probed()
    played.tessera(60 * MIB, waits=[further])
    waiting = played.tessera(50 * MIB)

    played.admission.probe(waiting, "call-9")

    assert further.origins == ["call-9"]


def test_while_calls_wait_what_runs_is_asked_again_and_again(played):
    further = Probed()
    running = played.tessera(60 * MIB, waits=[further])
    waiting = played.tessera(50 * MIB)
    for _ in range(2):
        (again,) = played.later
        played.later.clear()
        again()

    assert further.origins == [running.call.uid] * 2
    running.end()
    played.settle()
    assert waiting.is_busy
    played.later.pop()()
    assert played.later == []
