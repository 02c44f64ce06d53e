"""A worker for services and a caller on this machine: what happens when their line ends."""

from __future__ import annotations

import os
import socket

import msgpack
import pytest

from concurro.execution import tidying
from concurro.execution.hosted_service import HostedService
from concurro.execution.inside import this_process
from concurro.execution.service_worker import ServiceProcess
from concurro.execution.staff_notes import StaffNote
from concurro.transport.stream import StreamLink
from concurro.wire.blobs import BlobStore
from concurro.wire.lines import LineEnd, Said
from concurro.wire.messages import LineCode
from concurro.wire.parcels import PackedValues
from concurro.wire.payload import Packer
from concurro.wire.segments import Descriptor
from concurro.wire.travelling import Travelling
from tests.integration.links.turning import Inbox

LINE = 7


class Diary:
    """A service that notes what it is told, and who leaves."""

    methods = ("note",)

    def __init__(self):
        self.noted = []
        self.left = []

    def note(self, peer, number, what):
        self.noted.append(number)

    def peer_left(self, peer, reason):
        self.left.append((len(self.noted), reason))


class Agent:
    """What a worker for services speaks to, with a caller of its diary on a straight line."""

    def __init__(self, loop):
        self.diary = Diary()
        ours, theirs = socket.socketpair()
        self.masters_end, service = socket.socketpair()
        self.inbox = Inbox(StreamLink(loop, ours, "worker"))
        process = ServiceProcess(loop, theirs, service.detach())
        values = PackedValues(Packer(BlobStore(), Travelling()))
        process._services["diary"] = HostedService("diary", self.diary, values, loop)
        self.process = process
        mine, its = socket.socketpair()
        self.caller = Inbox(StreamLink(loop, mine, "diary"))
        self.end = LineEnd(self.caller.link.send)
        self.values = values
        self.say(StaffNote.OPEN, LINE, "diary", "me", frames=(Descriptor(its.detach()),))

    def say(self, note, *body, frames=()):
        self.process._message([msgpack.packb((note, *body)), *frames])

    def tell(self, *arguments):
        payload, _ = self.values.pack(arguments, None)
        self.end.add([int(Said.TELL), "note", payload, None])

    def close(self):
        self.say(StaffNote.END, LINE, LineCode.CLOSED.value, "the test is over")
        for inbox in (self.inbox, self.caller):
            inbox.link.close()
        self.process._link.close()
        os.close(self.process._door._fd)
        self.masters_end.close()


@pytest.fixture
def agent(turner, monkeypatch):
    monkeypatch.setattr(tidying, "PERIOD", 0.01)
    door = this_process.door
    agent = Agent(turner.loop)
    yield agent
    agent.close()
    this_process.door = door


def test_what_was_said_before_the_end_of_a_line_is_heard_although_the_end_comes_another_way(agent):
    for number in range(40):
        agent.tell(number, b"x" * 10_000)
    agent.end.flush()
    agent.caller.link.close()

    agent.say(StaffNote.END, LINE, LineCode.CLOSED.value, "its caller closed the line")

    assert agent.diary.noted == list(range(40))
    assert agent.diary.left == [(40, "its caller closed the line")]


def test_a_caller_that_is_cut_off_from_the_master_alone_learns_of_the_end(agent, turner):
    agent.say(StaffNote.END, LINE, LineCode.LOST.value, "its caller is gone")

    turner.until(lambda: agent.caller.closed)

    assert agent.diary.left == [(0, "its caller is gone")]


def test_pages_of_answers_go_back_to_the_system_while_nobody_calls(turner, agent):
    store = agent.process._store
    store.put_buffer(memoryview(bytearray(2**21)), "an answer")
    lent = store.lends
    store.release("an answer")

    turner.until(lambda: not store.lends)

    assert lent
