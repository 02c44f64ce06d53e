"""Lines of an application to services, without a master."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from concurro.errors import MasterUnreachable, ServiceLostError
from concurro.nodes import service_lines
from concurro.nodes.control import Control
from concurro.nodes.futures import LoopFuture
from concurro.nodes.service_lines import ServiceCaller, ServiceLines
from concurro.wire.blobs import BlobStore
from concurro.wire.messages import Kind, Message
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    from collections.abc import Callable


class NowLoop:
    """Runs at once what is to run in a loop."""

    def post(self, work: Callable[[], object]) -> None:
        work()

    def request_flush(self, flush: Callable[[], object]) -> None:
        flush()

    def flush_now(self) -> None:
        """Nothing waits."""


def test_a_call_of_a_service_that_is_gone_keeps_nothing_of_its_arguments():
    store = BlobStore()
    lines = ServiceLines(Control(), NowLoop(), Packer(store, Travelling()), lambda *_: True, lambda: False)
    proxy = lines.proxy("tally", "north/1")
    lines.close(ServiceLostError("closed", "tally", "north/1"))

    future = proxy.call("add", bytes(200_000))

    assert isinstance(future.exception(10), ServiceLostError)
    assert store.cached == store.total


def test_a_straight_line_whose_socket_cannot_be_taken_ends_with_its_reason_and_the_master_hears_of_it():
    sent: list[tuple[Kind, list[object]]] = []
    packer = Packer(BlobStore(), Travelling())
    lines = ServiceLines(
        Control(), NowLoop(), packer, lambda kind, body, _: sent.append((kind, body)) or True, lambda: False
    )
    lines.joined()
    proxy = lines.proxy("tally", "north/1")
    number = sent[0][1][0]

    lines.handle(Message(Kind.LINE_OPENED, 0, 0, [number, True], ()))

    assert isinstance(proxy.lost, ServiceLostError)
    assert "ulimit -n" in str(proxy.lost)
    assert sent[-1][0] == Kind.LINE_END
    assert isinstance(proxy.call("add", 1).exception(10), ServiceLostError)
    lines.close(ServiceLostError("closed", "tally", "north/1"))


class Caller(ServiceCaller):
    """An application without a master."""

    def __init__(self):
        packer = Packer(BlobStore(), Travelling())
        self.lines = ServiceLines(self, NowLoop(), packer, lambda *_: True, lambda: False)


def test_what_is_registered_while_others_are_is_called_before_the_end():
    caller, called, registered = Caller(), [], []

    def register_another(frame, event, _):
        """Do between any two steps of a registration what another thread may do there."""
        if frame.f_code is not ServiceCaller.before_end.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            registered.append(1)
            caller.before_end(lambda: called.append(1))
        return register_another

    before = sys.gettrace()
    sys.settrace(register_another)
    try:
        caller.before_end(lambda: called.append(1))
    finally:
        sys.settrace(before)
    caller.let_guests_end()

    assert registered
    assert len(called) == len(registered) + 1


def test_what_registers_itself_again_does_not_keep_an_application_from_its_end():
    caller, called = Caller(), []

    def again():
        called.append(1)
        caller.before_end(again)

    caller.before_end(again)
    caller.let_guests_end()

    assert called == [1]


def test_a_master_that_does_not_list_its_workers_is_not_reached(monkeypatch):
    caller = Caller()
    monkeypatch.setattr(caller, "request", lambda *_: LoopFuture(caller), raising=False)
    monkeypatch.setattr(service_lines, "WORKERS_LIMIT", 0.0)

    with pytest.raises(MasterUnreachable, match="did not list its workers for services within 0 s"):
        caller.workers()


def test_why_the_list_of_workers_does_not_come_is_raised_as_it_is(monkeypatch):
    caller, answer = Caller(), LoopFuture(Control())
    answer.set_exception(MasterUnreachable("it is gone"))
    monkeypatch.setattr(caller, "request", lambda *_: answer, raising=False)

    with pytest.raises(MasterUnreachable, match=r"^it is gone$"):
        caller.workers()
