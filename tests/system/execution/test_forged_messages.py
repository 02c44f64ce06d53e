"""A task that writes on its worker's channel ends its worker, and nothing else."""

from __future__ import annotations

import os

import msgpack
import pytest

from concurro.execution.agent import SlaveAgent
from concurro.execution.worker import Note
from concurro.ids import Outcome
from concurro.transport.framing import frame_header, pack_single
from concurro.wire.payload import PAYLOAD_LIMIT
from tests.system.execution import tasks
from tests.system.execution.agent_driver import AgentDriver

FORGED = 2
"""The lease of the task that writes; that of its neighbour is 1."""

NOTES = {
    "not a note": 5,
    "a note that there is not": [42],
    "a note of the agent": [Note.CHUNK, [], []],
    "too few fields": [Note.RESULTS, 1],
    "results that are none": [Note.RESULTS, 1, 7],
    "a result without a payload": [Note.RESULTS, 1, [[FORGED, 0, "text", None, 1]]],
    "a result that took no number of seconds": [Note.RESULTS, 1, [[FORGED, 0, b"", None, "soon"]]],
    "a result of somebody else": [Note.RESULTS, 1, [[1, 0, b"", None, 1]]],
    "an end without a result": [Note.RESULTS, 1, []],
    "speaking without a name": [Note.SPEAKS, FORGED, 5],
    "speaking for somebody else": [Note.SPEAKS, 1, "name"],
    "a blob without a digest": [Note.BLOB, b"short", 1, 0],
    "a blob that begins in the middle": [Note.BLOB, bytes(32), 100, 50],
    "wanting what is no digest": [Note.GET, [7]],
    "a change of no kind": [Note.RECYCLE, None],
}


@pytest.fixture
def driver(leaves_nothing_behind):
    driver = AgentDriver(lambda loop, send: SlaveAgent(loop, send=send, workers=2, name="slave-1"))
    yield driver
    driver.close()


def assert_costs_its_task_only(driver, written, gate, write=tasks.write_on_the_channel):
    """Let a task write beside another; prove that the other one, and the agent, go on."""
    neighbour = driver.lease(tasks.wait_for, gate)
    driver.turn_until(lambda: os.path.exists(gate + ".started"), "the neighbour to start")  # noqa: PTH110
    forging = driver.lease(write, written)

    outcome, failure = driver.result(forging)
    with open(gate, "w", encoding="ascii"):  # noqa: PTH123
        survived = driver.result(neighbour)
    after = driver.result(driver.lease(tasks.square, 3))

    assert (forging, outcome, failure[0]) == (FORGED, Outcome.LOST, "WorkerLost")
    assert survived[0] == after[0] == Outcome.DONE
    assert after[1] == 9
    return failure[1]


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES.keys())
def test_a_forged_note_costs_its_task_only_and_says_so(driver, tmp_path, note):
    message = assert_costs_its_task_only(driver, pack_single(msgpack.packb(note)), str(tmp_path / "go"))

    assert "since it sent what no worker sends" in message


def message_of(*frames):
    return frame_header(frames) + b"".join(frames)


BEGUN = f"begins, over {PAYLOAD_LIMIT} B or before another one was complete"
UNFINISHED = {
    "a second blob before the end of the first": ([(bytes(32), 100), (bytes([1]) * 32, 100)], BEGUN),
    "a blob beyond all limits": ([(bytes(32), PAYLOAD_LIMIT + 1)], BEGUN),
    "more than was announced": ([(bytes(32), 7), (bytes(32), 7)], "bytes 5 to 10 of a blob of 7, after 5"),
}


@pytest.mark.parametrize(("parts", "why"), UNFINISHED.values(), ids=UNFINISHED.keys())
def test_what_a_worker_begins_and_does_not_end_is_bounded(driver, tmp_path, parts, why):
    arrived, written = {}, b""
    for digest, size in parts:
        offset = arrived.get(digest, 0)
        written += message_of(msgpack.packb([Note.BLOB, digest, size, offset]), b"begun")
        arrived[digest] = offset + len(b"begun")

    message = assert_costs_its_task_only(driver, written, str(tmp_path / "go"), tasks.write_on_the_work_channel)

    assert why in message


@pytest.mark.parametrize("written", [b"garbage" * 10, pack_single(b"\xc1\xc1")], ids=["raw", "framed"])
def test_garbage_costs_its_task_only(driver, tmp_path, written):
    assert_costs_its_task_only(driver, written, str(tmp_path / "go"))
