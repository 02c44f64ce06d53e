"""A handle on a system, by itself."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future

import pytest

from concurro.errors import HostLost, SystemFailedError
from concurro.nodes.control import Control
from concurro.nodes.handle import SystemHandle
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling


class Asked(Control):
    """Notes what a handle asks for."""

    def __init__(self):
        self.cancelled = []

    def cancel_system(self, system_id):
        self.cancelled.append(system_id)

    def request(self, name, arguments):
        answer = Future()
        answer.set_result(f"{name} of {arguments[0]}")
        return answer


@pytest.fixture
def control():
    return Asked()


@pytest.fixture
def handle(control):
    return SystemHandle("job", "Job", control)


@pytest.fixture
def packer():
    return Packer(BlobStore(), Travelling())


def test_a_running_system_is_running(handle, control):
    assert (handle.state, handle.running(), handle.done(), handle.gathered) == ("running", True, False, None)
    assert handle.explain() == "explain of job"
    assert "job" in repr(handle)


def test_a_cancel_asks_the_master_and_waits_for_its_word(handle, control):
    assert handle.cancel()

    assert control.cancelled == ["job"]
    assert not handle.done()


def test_a_cancel_of_an_ended_system_asks_nobody(handle, control, packer):
    handle.take_end("complete", [0, packer.dumps((1, None))[0], None], packer)

    assert not handle.cancel()
    assert control.cancelled == []
    assert handle.explain() == "System job (Job) ended: complete."


def test_the_first_end_counts(handle, packer):
    handle.take_end("complete", [0, packer.dumps((1, None))[0], None], packer)

    handle.end_failed(RuntimeError("too late"))
    handle.end_cancelled()

    assert handle.result(0) == 1


def test_a_lost_host_is_named(handle, packer):
    failure = ["HostLost", "the process that ran system job (Job) died: killed by SIGKILL", "", None]

    handle.take_end("failed", [1, failure, None], packer)

    with pytest.raises(HostLost, match="SIGKILL"):
        handle.result(0)
    assert handle.state == "failed"
    assert handle.explain() == (
        "System job (Job) ended: failed, HostLost: the process that ran system job (Job) died: killed by SIGKILL."
    )


def test_an_exit_that_was_gathered_does_not_end_the_program_of_who_waits(handle, packer):
    handle.take_end("complete", [0, packer.dumps((1, SystemExit(3)))[0], None], packer)

    with pytest.raises(SystemFailedError, match="SystemExit: 3"):
        handle.result(0)


def test_a_master_that_does_not_accept_in_time_is_a_timeout(handle):
    with pytest.raises(TimeoutError, match="did not accept system job"):
        handle.wait_accepted(0.0)


def test_an_end_wakes_whoever_waits_for_partial_results(handle):
    values = []
    thread = threading.Thread(target=lambda: values.extend(handle.partial_results()))
    thread.start()

    handle.take_published("first")
    handle.end_cancelled()
    thread.join(10)

    assert values == ["first"]
    with pytest.raises(CancelledError):
        handle.result(0)
    assert handle.state == "cancelled"


def test_a_handle_is_awaited_in_a_loop(handle, packer):
    async def main():
        threading.Timer(0.01, lambda: handle.take_end("complete", [0, *packer.dumps((42, None))], packer)).start()
        return await handle

    assert asyncio.run(main()) == 42


def test_who_is_cancelled_while_it_awaits_cancels_the_system(handle, control):
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle, 0.01)

    asyncio.run(main())

    assert control.cancelled == [handle.system_id]
