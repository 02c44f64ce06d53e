"""The door: what is ours passes, anything else is a ProtocolError that names kind and field."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurro.errors import ProtocolError
from concurro.wire import entries
from concurro.wire.messages import CHUNK_SIZE, PROTOCOL, Kind, Message, pack_message, unpack_message
from concurro.wire.schema import SCHEMA, Sender, check_message
from tests.support.messages import BLOBS, DIGEST, LEASE, SAMPLES, hello_body, mutated
from tests.unit.scheduling.system_driver import ALICE, HOST, Master

LISTS = {Kind.INVENTORY, Kind.RESULTS, Kind.OUTPUT, Kind.CLASSES, Kind.LEASES, Kind.PRINTED}

by_name = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.kind.name}-{sample.sender.value}")


def check(kind, sender, body, *frames):
    check_message(Message(kind, 1, 0, body, frames), sender)


def fault_of(kind, sender, body, *frames):
    with pytest.raises(ProtocolError) as caught:
        check(kind, sender, body, *frames)
    return str(caught.value)


def out(**fields):
    body = {
        "system": 1,
        "n": 1,
        "first": 0,
        "classes": [],
        "tasks": [],
        "cancelled": [],
        "publications": [],
        "progress": None,
        "end": None,
        "facts": {},
    }
    return [*(body | fields).values()]


def test_every_kind_of_message_has_a_rule_and_a_sample():
    assert set(SCHEMA) == set(Kind) == {sample.kind for sample in SAMPLES}


@by_name
def test_a_valid_message_passes(sample):
    arrived = unpack_message([pack_message(sample.kind, sample.body, 1), *sample.frames])

    check_message(arrived, sample.sender)


@pytest.mark.parametrize(
    "sample", [sample for sample in SAMPLES if sample.kind not in LISTS], ids=lambda sample: sample.kind.name
)
def test_fields_that_a_later_version_appends_are_ignored(sample):
    check(sample.kind, sample.sender, [*sample.body, "later"], *sample.frames)


@pytest.mark.parametrize(
    ("kind", "sender", "body", "fault"),
    [
        (Kind.HELLO, Sender.STRANGER, hello_body()[:7], "HELLO must be an array of 8 fields or more"),
        (Kind.HELLO, Sender.STRANGER, [*hello_body()[:7], 5], "HELLO.facts must be a table, got 5"),
        (Kind.HELLO, Sender.STRANGER, [*hello_body()[:7], {}], "HELLO.facts.workers is missing"),
        (Kind.HELLO, Sender.STRANGER, hello_body(workers=-1), "HELLO.facts.workers must be an integer from 0"),
        (Kind.HELLO, Sender.STRANGER, hello_body(resources="abc"), "HELLO.facts.resources must be a table"),
        (Kind.HELLO, Sender.STRANGER, hello_body("host"), "HELLO.role must be one of slave, application, admin"),
        (Kind.SLAVE_STATE, Sender.SLAVE, ["x", [], "", {}], "SLAVE_STATE.slots must be an integer"),
        (Kind.SLAVE_STATE, Sender.SLAVE, [1, [], "", {"gpu": -1}], "SLAVE_STATE.resources['gpu'] must be a finite"),
        (Kind.RESULTS, Sender.SLAVE, [5], "RESULTS[0] must be an array of 5 fields, got 5"),
        (Kind.RESULTS, Sender.SLAVE, [[1, 0, b"", None, 5], [1, 0, b"", None, "soon"]], "RESULTS[1].duration must"),
        (Kind.RESULTS, Sender.SLAVE, [[1, 0, b"", None, -5]], "RESULTS[0].duration must be an integer of 0 or more"),
        (Kind.RESULTS, Sender.SLAVE, [[1, 0, "text", None, 5]], "RESULTS[0].value must be bytes, got 'text'"),
        (Kind.RESULTS, Sender.SLAVE, [[1, 1, b"", None, 5]], "RESULTS[0].value must be an array of 2 to 5"),
        (Kind.RESULTS, Sender.SLAVE, [[1, 99, b"", None, 5]], "RESULTS[0].outcome must be an integer from 0 to 8"),
        (Kind.RESULTS, Sender.SLAVE, [[1, 0, b"", [5], 5]], "RESULTS[0].blobs[0] must be an array of 3 fields"),
        (Kind.RESULTS, Sender.SLAVE, [[1, 0, b"", [[0, b"short", 5]], 5]], "RESULTS[0].blobs[0].digest must be 32"),
        (Kind.RESULTS, Sender.SLAVE, [[1, 0, b"", [[0, DIGEST, -5]], 5]], "RESULTS[0].blobs[0].size must be"),
        (Kind.RESULTS, Sender.SLAVE, [[True, 0, b"", None, 5]], "RESULTS[0].lease must be an integer, got True"),
        (Kind.RETURNED, Sender.SLAVE, [[[1]], ""], "RETURNED.leases[0] must be an integer"),
        (Kind.STARTED, Sender.SLAVE, [], "STARTED must be an array of 1 fields or more"),
        (Kind.LEASES, Sender.MASTER, [[1, 1, 0, 3, 1, None, None]], "LEASES[0].payload must be bytes, got None"),
        (Kind.OUT, Sender.HOST, out(facts=[]), "OUT.facts must be a table, got list"),
        (Kind.OUT, Sender.HOST, out(first=2**64 - 1), "OUT.first must be an integer from 0 to"),
        (Kind.OUT, Sender.HOST, out(tasks=[[0, b"x"], [0]]), "OUT.tasks[1] must be an array of 2 fields or more"),
        (Kind.OUT, Sender.HOST, out(tasks=[[0, b"x", 5]]), "OUT.tasks[0].blobs must be a list"),
        (Kind.OUT, Sender.HOST, out(end=["running", [0, b"", None]]), "OUT.end.state must be one of complete"),
        (
            Kind.OUT,
            Sender.HOST,
            out(classes=[[0, "c", 0, "soon", None, {}, b"", None]]),
            "OUT.classes[0].timeout must be a finite number of 0 or more, got 'soon'",
        ),
        (
            Kind.OUT,
            Sender.HOST,
            out(classes=[[0, "c", "high", None, None, {}, b"", None]]),
            "OUT.classes[0].priority must be an integer, got 'high'",
        ),
        (
            Kind.OUT,
            Sender.HOST,
            out(classes=[[0, "c", 0, float("nan"), None, {}, b"", None]]),
            "OUT.classes[0].timeout must be a finite number",
        ),
        (Kind.SUBMIT, Sender.APPLICATION, [1, "s", "n", b"", [5], {}], "SUBMIT.blobs[0] must be an array"),
        (Kind.SUBMIT, Sender.APPLICATION, [1, "s", "n", b"", None, []], "SUBMIT.options must be a table"),
        (Kind.SUBMIT, Sender.APPLICATION, [1, "s", "n", b"", None, {"restarts": -1}], "SUBMIT.options.restarts must"),
        (Kind.REQUEST, Sender.APPLICATION, [1, "status", [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]], "nested more than 16"),
        (Kind.BLOB_GET, Sender.SLAVE, [b"short", 1, 0, 1], "BLOB_GET.digest must be 32 bytes, got bytes of length 5"),
        (Kind.BLOB_GET, Sender.SLAVE, [DIGEST, 1, -1, 1], "BLOB_GET.offset must be an integer of 0 or more, got -1"),
        (Kind.BLOB_CHUNK, Sender.SLAVE, [DIGEST, 1, 0], "BLOB_CHUNK.frames must hold the bytes"),
        (99, Sender.SLAVE, [], "there is no message of kind 99"),
    ],
)
def test_a_wrong_field_is_named(kind, sender, body, fault):
    assert fault in fault_of(kind, sender, body)


def test_a_chunk_that_is_too_large_is_refused():
    fault = fault_of(Kind.BLOB_CHUNK, Sender.HOST, [DIGEST, 2**30, 0], bytes(CHUNK_SIZE + 1))

    assert "at most" in fault


@pytest.mark.parametrize(
    ("kind", "sender"),
    [
        (Kind.SUBMIT, Sender.SLAVE),
        (Kind.SUBMIT, Sender.HOST),
        (Kind.OUT, Sender.SLAVE),
        (Kind.OUT, Sender.ADMIN),
        (Kind.RESULTS, Sender.APPLICATION),
        (Kind.RESULTS, Sender.HOST),
        (Kind.HELLO, Sender.SLAVE),
        (Kind.REQUEST, Sender.HOST),
        (Kind.RESULTS, Sender.MASTER),
        *((Kind.START, sender) for sender in (Sender.SLAVE, Sender.HOST, Sender.APPLICATION, Sender.ADMIN)),
    ],
)
def test_a_message_of_the_wrong_role_is_refused(kind, sender):
    body = next(sample.body for sample in SAMPLES if sample.kind is kind)

    assert f"{kind.name} is no message of a peer that is {sender.value}" in fault_of(kind, sender, body)


def test_a_hello_of_another_protocol_passes_so_that_it_is_refused_by_its_number():
    check(Kind.HELLO, Sender.STRANGER, [PROTOCOL + 1, None, None, None, None, None, "later", "facts of its own"])


def test_what_a_stranger_says_instead_of_hello_is_left_to_be_refused():
    check(Kind.OUT, Sender.STRANGER, ["nonsense"])


@settings(max_examples=300)
@given(st.sampled_from(SAMPLES), st.data())
def test_a_mutated_message_gives_only_protocol_errors(sample, data):
    body = data.draw(mutated(sample.body))

    fault = ""
    try:
        check(sample.kind, sample.sender, body, *sample.frames)
    except ProtocolError as error:
        fault = str(error)

    assert not fault or fault.startswith(sample.kind.name)


@pytest.mark.parametrize(
    ("quick", "slow", "entry"),
    [
        (entries.results, entries._RESULT, [LEASE, 0, b"v", None, 5]),
        (entries.finished, entries._FINISHED, [3, 0, b"v", None, "north-1", 1, 5]),
        (entries.tasks, entries._TASK, [0, b"p"]),
        (entries.leases, entries._LEASE, [LEASE, 1, 0, 3, 1, b"p", None]),
    ],
)
@given(data=st.data())
def test_the_quick_way_lets_nothing_pass_that_the_slow_way_refuses(quick, slow, entry, data):
    body = data.draw(mutated([entry]))

    assert bool(quick(body)) == any(slow(one) for one in body)


class Door:
    """A master's cores behind the door, with a system of a host, plain tasks and a slave."""

    def __init__(self):
        self.master = master = Master()
        master.join("north", 2)
        master.start()
        master.table.open(ALICE, 1, "tasks", "tasks", master.now)
        classes = [[0, "m.T", 0, None, None, {}, b"code", None], [1, "m.U", 1, 5.0, 2, {"gpu": 1.0}, b"", BLOBS]]
        master.out(1, classes=classes, tasks=[[0, b"a"], [0, b"b"], [1, b"c"]])
        master.pass_time()

    def leases(self):
        return list(self.master.core.slaves["north"].leases)

    def take(self, message, sender):
        """Do as a master: check, hand to the cores, decide, pack what follows."""
        with contextlib.suppress(ProtocolError):
            check_message(message, sender)
            self._apply(message.kind, message.body)
        for _ in range(3):
            self.master.core.tick(self.master.now)
            commands = self.master.core.take_commands()
            for orders in commands.orders.values():
                pack_message(Kind.LEASES, orders.leases)
                pack_message(Kind.CLASSES, orders.classes)
            for number, entries_ in commands.finished.items():
                self.master.table.finished(number, entries_, commands.leases_of.get(number, []))
            self.master.now += 1.0
            self.master.table.advance(self.master.now, 1e9)
            for send in self.master.take(Kind.IN) + self.master.take(Kind.EVENT):
                pack_message(send.kind, send.body)

    def _apply(self, kind, body):
        core, table, now = self.master.core, self.master.table, self.master.now
        takers = {
            Kind.RESULTS: lambda: core.results("north", body),
            Kind.RETURNED: lambda: core.returned("north", body[0]),
            Kind.STARTED: lambda: core.started("north", body[0]),
            Kind.SLAVE_STATE: lambda: core.slave_changed("north", body[0], body[2], body[3]),
            Kind.OUT: lambda: table.output(HOST, body, now),
            Kind.SUBMIT: lambda: table.submit(ALICE, *body[:6], now, 7),
            Kind.OPEN: lambda: table.open(ALICE, *body[:3], now),
            Kind.ATTACH: lambda: table.attach(ALICE, *body[:2], now),
            Kind.CANCEL_SYSTEM: lambda: table.cancel(body[0], "cancelled", now),
            Kind.RELEASE: lambda: table.release(ALICE, body[0]),
            Kind.TAKEN: lambda: table.taken(ALICE, *body[:2], now),
        }
        takers[kind]()


STORED = [
    sample
    for sample in SAMPLES
    if (sample.sender is Sender.SLAVE and sample.kind in range(Kind.SLAVE_STATE, Kind.OUTPUT))
    or (sample.sender is Sender.APPLICATION and sample.kind in range(Kind.SUBMIT, Kind.REQUEST))
    or sample.kind in (Kind.OUT, Kind.TAKEN)
]


@settings(max_examples=300)
@given(st.sampled_from(STORED), st.data())
def test_what_passes_the_door_can_be_stored_decided_on_and_sent_on(sample, data):
    door = Door()
    held = door.leases()
    body = data.draw(mutated(sample.body))
    if sample.kind is Kind.RESULTS:
        for entry, lease in zip(body, held, strict=False):
            if isinstance(entry, list) and entry and entry[0] in (LEASE, LEASE + 1):
                entry[0] = lease

    door.take(Message(sample.kind, 1, 0, body), sample.sender)

    assert door.master.table.find("tasks") is not None
