"""Whose turn it is at a tessera."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import pytest

from concurro_tessera.records import Call, Outbox
from concurro_tessera.residents import INIT, Tessera

MANY = 1000


class Counting(deque):
    """Counts how many of its elements were looked at."""

    looked_at = 0

    def __iter__(self):
        for element in super().__iter__():
            self.looked_at += 1
            yield element


class Waiting(Tessera):
    """Notes what would run."""

    def __init__(self):
        super().__init__(SimpleNamespace(), "tess-1", 1, {}, an_outbox())
        self._mailbox = Counting()
        self.begun = []

    def _dispatch(self, call):
        self.begun.append(call)


def an_outbox():
    return Outbox(SimpleNamespace(name="peer", gone=""), lambda callback: None)


def a_call(outbox, method="add", blocked=0):
    call = Call("uid", outbox, "tess-1", method, None, 0)
    call.blocked = blocked
    return call


@pytest.mark.parametrize("method", [INIT, "add"])
def test_calls_behind_one_that_waits_for_its_arguments_are_not_looked_at_again_and_again(method):
    tessera, caller = Waiting(), an_outbox()
    tessera._constructed = method is not INIT
    first = a_call(caller, method, blocked=1)
    tessera.arrive(first)

    for _ in range(MANY):
        tessera.arrive(a_call(caller))

    assert tessera.begun == []
    assert tessera._mailbox.looked_at <= 2
    first.blocked = 0
    tessera.advance()
    assert tessera.begun == [first]


def test_the_calls_of_others_are_not_held_up():
    tessera, caller = Waiting(), an_outbox()
    tessera._constructed = True
    tessera.arrive(a_call(caller, blocked=1))
    tessera.arrive(a_call(caller))
    others = a_call(an_outbox())

    tessera.arrive(others)

    assert tessera.begun == [others]
