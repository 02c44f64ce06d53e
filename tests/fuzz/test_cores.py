"""Every kind of message to every core: it is taken or refused with a ProtocolError, and the core goes on."""

from __future__ import annotations

import contextlib
import copy
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurro.errors import ProtocolError
from concurro.execution.service_desk import check_service_note
from concurro.execution.worker import Note
from concurro.execution.worker_notes import check_note
from concurro.nodes.relay import BlobRelay
from concurro.wire.blobs import BlobStore, digest_of
from concurro.wire.messages import Kind, Message, pack_message, unpack_message
from concurro.wire.schema import Sender, check_message
from concurro.wire.transfer import BlobTransfer
from tests.support.messages import DIGEST, SAMPLES, mutated
from tests.unit.execution.slave_driver import SlaveDriver, lease, task_class
from tests.unit.nodes.application_driver import Application
from tests.unit.nodes.host_driver import Driver, Job, numbers
from tests.unit.wire.test_schema import Door

fuzzed = settings.get_profile("fuzz")

samples = st.sampled_from(SAMPLES)


@st.composite
def messages(draw, wanted=None):
    """Give one to eight messages of any kinds as they come off the wire, whole or mutated."""
    chosen = draw(st.lists(st.sampled_from(wanted) if wanted else samples, min_size=1, max_size=8))
    arrived = []
    for number, sample in enumerate(chosen, 1):
        body = draw(st.one_of(st.just(copy.deepcopy(sample.body)), mutated(sample.body)))
        try:
            packed = pack_message(sample.kind, body, number)
        except (ValueError, OverflowError, RecursionError):
            continue
        arrived.append(unpack_message([packed, *sample.frames]))
    return arrived


def passes(message, sender):
    """Say whether the door lets a message through, as `Peer` asks it."""
    try:
        check_message(message, sender)
    except ProtocolError:
        return False
    return True


ANYBODY = frozenset(Sender) - {Sender.STRANGER}
STRANGERS, TUNNELLERS = frozenset({Sender.STRANGER}), frozenset({Sender.SLAVE, Sender.MASTER})
APPLICATION, ASKERS = frozenset({Sender.APPLICATION}), frozenset({Sender.APPLICATION, Sender.ADMIN})
SPEAKERS = {
    **dict.fromkeys((Kind.GOODBYE, Kind.HEARTBEAT, Kind.CREDIT, Kind.RESEND), ANYBODY),
    **dict.fromkeys((Kind.BLOB_GET, Kind.BLOB_CHUNK, Kind.BLOB_MISSING, Kind.BLOB_MAP, Kind.BLOB_MAPPED), ANYBODY),
    **dict.fromkeys((Kind.SUBMIT, Kind.OPEN), APPLICATION),
    **dict.fromkeys((Kind.ATTACH, Kind.CANCEL_SYSTEM, Kind.RELEASE, Kind.TAKEN, Kind.REQUEST), ASKERS),
    **dict.fromkeys((Kind.HELLO, Kind.BIND), STRANGERS),
    **dict.fromkeys((Kind.TUNNEL, Kind.TUNNEL_END), TUNNELLERS),
    **dict.fromkeys((Kind.LINE, Kind.LINE_END), TUNNELLERS | APPLICATION),
    Kind.LINE_OPEN: {Sender.APPLICATION, Sender.MASTER},
    Kind.LINE_OPENED: TUNNELLERS,
    Kind.OUT: {Sender.HOST, Sender.APPLICATION},
}
"""Who may say what only one may not say; what else there is belongs to the sender of its sample."""


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.kind.name}-{sample.sender.value}")
def test_nobody_gets_through_with_what_only_others_say(sample):
    speakers = SPEAKERS.get(sample.kind, {sample.sender})

    through = {
        sender
        for sender in ANYBODY | {Sender.STRANGER}
        if (sender is not Sender.STRANGER or sample.kind in (Kind.HELLO, Kind.BIND))
        and passes(Message(sample.kind, 1, 0, copy.deepcopy(sample.body), sample.frames), sender)
    }

    assert through == speakers


# A slave, and what its master and its workers say


class Slave(SlaveDriver):
    """One that hears of a lease as often as it was given."""

    def _hear(self, kind, body):
        if kind == Kind.RESULTS:
            self.results |= {result[0]: result for result in body}
        else:
            super()._hear(kind, body)


def slave():
    """Return a core that runs one task, has one queued and one finished."""
    driver = Slave(workers=2)
    driver.ready()
    driver.give(lease(1), lease(2), lease(3))
    driver.run_one(1)
    return driver


SLAVE_TAKERS = {
    Kind.LEASES: lambda core, body, now: core.leases(body),
    Kind.RESULT_ACK: lambda core, body, now: core.acknowledge(body[0]),
    Kind.CLASSES: lambda core, body, now: core.classes(body),
    Kind.RECALL: lambda core, body, now: core.recall(body[0]),
    Kind.KILL: lambda core, body, now: core.kill(body[0], now),
    Kind.FORGET: lambda core, body, now: core.forget(body[0]),
    Kind.DRAIN: lambda core, body, now: core.drain(),
    Kind.REFUSE_WAIT: lambda core, body, now: core.refuse_wait(),
}
ORDERS = [sample for sample in SAMPLES if sample.kind in SLAVE_TAKERS]


@given(messages(ORDERS))
@settings(fuzzed)
def test_a_slave_bears_whatever_its_master_may_say(said):
    driver = slave()

    for message in said:
        if passes(message, Sender.MASTER):
            SLAVE_TAKERS[message.kind](driver.core, message.body, driver.now)
            driver.step()
        driver.tick(1.0)

    driver.core.classes([task_class(7, system=9)])
    assert driver.core.workers >= 0


NOTES = [
    [Note.READY],
    [Note.RESULTS, 0, [[1, 0, b"v", None, 5]]],
    [Note.RESULTS, 1, [[2, 0, b"v", [[0, DIGEST, 100_000]], 5]]],
    [Note.RESULTS, 1, [[3, 1, ["ValueError", "wrong"], None, 5]]],
    [Note.BLOB, DIGEST, 100_000, 0],
    [Note.GET, [DIGEST]],
    [Note.RECYCLE, "why"],
    [Note.SPEAKS, 2, "task"],
    [Note.STARTS, 2],
]
WORKER_TAKERS = {
    Note.READY: lambda core, now: core.worker_ready(1, now),
    Note.RESULTS: lambda core, now, ended, results: core.worker_results(1, results, ended, now),
    Note.RECYCLE: lambda core, now, reason: core.worker_recycles(1, now),
    Note.STARTS: lambda core, now, number: core.worker_starts(1, number, now),
}


@given(st.lists(st.sampled_from(NOTES).flatmap(lambda note: st.just(note) | mutated(note)), min_size=1, max_size=6))
@settings(fuzzed)
def test_a_slave_bears_whatever_its_workers_may_say(notes):
    driver = slave()

    for note in notes:
        if 1 not in driver.workers:
            break
        try:
            number, *body = note
            check_note(number, body)
            if number in WORKER_TAKERS:
                WORKER_TAKERS[number](driver.core, driver.now, *body)
        except (ProtocolError, ValueError):  # the second when there is nothing to unpack; the agent takes both
            driver.core.worker_misbehaves(1)
        driver.core.take_commands(driver.now)

    driver.core.tick(driver.now + 1.0)


SERVICE_NOTES = [[1, 1, 5], [2, 1], [3, 1], [4, 1, "waits"], [5, 1, [b"x"]], [6, 1]]


@given(st.sampled_from(SERVICE_NOTES).flatmap(mutated))
@settings(fuzzed)
def test_what_a_task_says_on_its_service_channel_is_checked_as_a_whole(note):
    if not note:
        return

    with contextlib.suppress(ProtocolError):
        check_service_note(note[0], note[1:])


# A host


INPUTS = [sample for sample in SAMPLES if sample.kind is Kind.IN]


@pytest.mark.slow
@given(messages(INPUTS), st.booleans())
@settings(fuzzed)
def test_a_host_answers_whatever_input_its_master_may_send(said, fits):
    driver = Driver(Job(numbers(4)))
    driver.pull()

    for message in said:
        if passes(message, Sender.MASTER):
            if fits:
                message.body[:2] = [1, driver.n + 1]
                driver.n += 1
            out = driver.core.take_input(message.body)
            assert passes(Message(Kind.OUT, 1, 0, out), Sender.HOST)


# An application


NEWS = [
    sample
    for sample in SAMPLES
    if sample.sender is Sender.MASTER and (sample.kind in range(Kind.SUBMIT, Kind.TAKEN) or sample.kind is Kind.IN)
]


@pytest.mark.slow
@given(messages(NEWS), st.booleans())
@settings(fuzzed)
def test_an_application_bears_whatever_its_master_may_say(said, fits):
    application = Application()
    first, second = application.submitted("system"), application.submit("system-x")
    for task in numbers(3):
        application.push(task)
    application.open()

    for message in said:
        if passes(message, Sender.MASTER):
            if fits and message.kind is Kind.IN:
                message.body[0] = 7
            application.core.handle(message)
            application.core.flush_plain()

    application.core.lost("cut")
    application.core.close(RuntimeError("over"))
    assert first.done()
    assert second.done()


# The master


@given(messages(), st.sampled_from([Sender.SLAVE, Sender.APPLICATION, Sender.ADMIN, Sender.HOST]))
@settings(fuzzed)
def test_a_masters_cores_bear_every_kind_from_everybody(said, sender):
    door = Door()

    for message in said:
        if message.kind in MASTERS_KINDS:
            door.take(message, sender)

    assert door.master.table.find("tasks") is not None


MASTERS_KINDS = frozenset(
    {Kind.RESULTS, Kind.RETURNED, Kind.STARTED, Kind.SLAVE_STATE, Kind.OUT, Kind.SUBMIT, Kind.OPEN, Kind.ATTACH}
) | {Kind.CANCEL_SYSTEM, Kind.RELEASE, Kind.TAKEN}


# Blobs


CONTENT = bytes(range(256)) * 4
NAME = digest_of(CONTENT)
BLOB_BODIES = [
    (Kind.BLOB_GET, [NAME, 1024, 0, 1024], ()),
    (Kind.BLOB_GET, [DIGEST, 100_000, 0, 1000], ()),
    (Kind.BLOB_CHUNK, [NAME, 1024, 0], (CONTENT,)),
    (Kind.BLOB_CHUNK, [NAME, 1024, 0], (CONTENT[::-1],)),
    (Kind.BLOB_CHUNK, [NAME, 1024, 0], (b"",)),
    (Kind.BLOB_CHUNK, [NAME, 1 << 62, 0], (CONTENT,)),
    (Kind.BLOB_MISSING, [NAME, 1024], ()),
    (Kind.BLOB_MISSING, [DIGEST, 5], ()),
    (Kind.BLOB_MAP, [NAME, 1024], ()),
    (Kind.BLOB_MAPPED, [NAME, 1024], ()),
    (Kind.BLOB_MAPPED, [DIGEST, 1 << 60], ()),
]
blob_traffic = st.lists(
    st.sampled_from(BLOB_BODIES).flatmap(
        lambda one: st.tuples(st.just(one[0]), st.just(one[1]) | mutated(one[1]), st.just(one[2]))
    ),
    min_size=1,
    max_size=8,
)


def hand_over(kind, body, frames, take):
    message = Message(kind, 1, 0, body, frames)
    if passes(message, Sender.SLAVE):
        with contextlib.suppress(ProtocolError):
            take(message)


@given(st.integers(0, 1 << 62) | st.just(1024), blob_traffic)
@settings(fuzzed)
def test_a_fetch_ends_with_the_bytes_of_its_name_or_without_any(size, traffic):
    store, asked, ends = BlobStore(), [], []
    transfer = BlobTransfer(store, lambda kind, body, frames: asked.append((kind, body)))
    transfer.fetch([[0, NAME, size]], "me", ends.append)

    for kind, body, frames in traffic:
        hand_over(kind, body, frames, transfer.handle)
    transfer.restart()
    transfer.fail_all("over")

    assert len(ends) == 1
    assert (ends[0] is None) == (NAME in store)
    assert NAME not in store or bytes(store.get(NAME)) == CONTENT
    assert sum(kind == Kind.BLOB_GET for kind, _ in asked) <= 8 * (len(traffic) + 2)


@given(st.lists(st.sampled_from(["offer", "spool", "left", "lost", "drop"]), max_size=4), blob_traffic, st.data())
@settings(fuzzed)
def test_a_relay_bears_any_traffic_and_keeps_nothing_but_what_has_its_name(deeds, traffic, data):
    spool, ends = BlobStore(), []
    relay = BlobRelay(spool, lambda peer, kind, body, frames: peer != "gone")
    peers = st.sampled_from(["north", "south", "gone"])
    blobs = [[0, NAME, 1024], [0, DIGEST, 1 << 60]]
    takers = {
        "offer": lambda: relay.offer(data.draw(peers), blobs, 1),
        "spool": lambda: relay.spool(data.draw(peers), blobs, 1, ends.append),
        "left": lambda: relay.peer_left(data.draw(peers)),
        "lost": lambda: relay.chunks_lost(data.draw(peers)),
        "drop": lambda: relay.drop(1),
    }

    for deed, one in itertools.zip_longest(deeds, traffic):
        if deed is not None:
            takers[deed]()
        if one is not None:
            peer = data.draw(peers)
            hand_over(*one, lambda message, peer=peer: relay.handle(peer, message))

    assert NAME not in spool or bytes(spool.get(NAME)) == CONTENT
    assert DIGEST not in spool
    assert spool.total <= 1024
