"""How `locality` follows the bytes, and for how long it waits for them."""

from __future__ import annotations

import pytest

from concurro.scheduling.expectation import ASSUMED_RATE
from concurro.scheduling.locality import LOOKS, Locality
from tests.unit.scheduling.strategy_driver import Field

MIB = 2**20


@pytest.fixture
def field():
    return Field(Locality())


def with_blobs(task, *parts):
    """Let a task need blobs of these digests and sizes."""
    task.blobs = [["buffer", digest, size] for digest, size in parts]
    return task


def test_chooses_the_slave_that_has_the_bytes(field):
    field.join("a", "b", "c", workers=4)
    field.have("b", b"large")
    field.hold("b", 2)

    assert field.choose(with_blobs(field.task(), (b"large", MIB))) == "b"


def test_compares_bytes_not_numbers_of_blobs(field):
    field.join("many", "large", workers=4)
    field.have("many", b"1", b"2", b"3")
    field.have("large", b"L")

    task = with_blobs(field.task(), (b"1", 10), (b"2", 10), (b"3", 10), (b"L", MIB))

    assert field.choose(task) == "large"


def test_follows_the_code_of_a_class_as_well(field):
    field.join("a", "b", workers=4)
    field.have("b", b"code")
    heavy = field.task_class(1, "Heavy")
    heavy.code = (b"", [["code", b"code", MIB]])

    assert field.choose(field.task(heavy)) == "b"


def test_takes_the_least_loaded_of_equals(field):
    field.join("a", "b", "c", workers=4)
    field.hold("a", 2)
    field.hold("b", 1)
    field.have("a", b"large")
    field.have("b", b"large")

    assert field.choose(with_blobs(field.task(), (b"large", MIB))) == "b"
    assert field.choose(field.task()) == "c"


def test_finds_a_holder_among_thousands_that_are_less_loaded(field):
    field.join(*(f"slave-{number}" for number in range(5000)), workers=4)
    field.have("slave-4321", b"large")
    field.hold("slave-4321", 3)

    assert field.choose(with_blobs(field.task(), (b"large", MIB))) == "slave-4321"


def test_finds_a_holder_of_a_blob_that_many_have(field):
    names = [f"slave-{number}" for number in range(5000)]
    field.join(*names, workers=4)
    for name in names[100:1000]:
        field.have(name, b"large")

    assert field.choose(with_blobs(field.task(), (b"large", MIB))) in names[100:1000]


def test_works_with_a_host_that_does_not_list_holders(field):
    field.join("a", "b", workers=4)
    field.have("b", b"large")
    del field.host.holders

    assert field.choose(with_blobs(field.task(), (b"large", MIB))) == "b"


def test_waits_for_a_busy_holder_for_as_long_as_its_patience(field):
    field.join("holder", "other")
    field.have("holder", b"large")
    field.hold("holder", 1)
    task = with_blobs(field.task(), (b"large", 100 * MIB))

    answers = []
    for tenths in range(8):
        field.host.time = tenths / 10
        answers.append(field.choose(task, ["other"]))

    assert answers == [None] * 5 + ["other"] * 3


def test_says_when_to_ask_again_until_the_task_is_placed(field):
    field.join("holder", "other")
    field.have("holder", b"large")
    field.hold("holder", 1)
    task = with_blobs(field.task(), (b"large", 100 * MIB))
    field.choose(task, ["other"])

    waiting = field.strategy.wake_at
    field.host.lease(task, "holder")

    assert waiting == pytest.approx(0.5)
    assert field.strategy.wake_at is None


def test_an_attempt_that_is_tried_again_may_wait_again(field):
    field.join("holder", "other")
    field.have("holder", b"large")
    field.hold("holder", 1)
    task = with_blobs(field.task(), (b"large", 100 * MIB))
    field.choose(task, ["other"])
    field.host.time = 1.0
    waited = field.choose(task, ["other"])

    task.attempt += 1

    assert waited == "other"
    assert field.choose(task, ["other"]) is None


def test_never_waits_for_few_bytes_nor_without_any(field):
    field.join("holder", "other")
    field.have("holder", b"small")
    field.hold("holder", 1)

    assert field.choose(with_blobs(field.task(), (b"small", MIB - 1)), ["other"]) == "other"
    assert field.choose(field.task(), ["other"]) == "other"


def test_waits_no_longer_than_the_bytes_would_be_on_their_way(field):
    field.join("holder", "other")
    field.have("holder", b"large")
    field.hold("holder", 1)
    task = with_blobs(field.task(), (b"large", int(ASSUMED_RATE / 5)))

    answers = []
    for tenths in range(4):
        field.host.time = tenths / 10
        answers.append(field.choose(task, ["other"]))

    assert answers == [None, None, "other", "other"]


def test_never_waits_without_patience(field):
    field.strategy.patience = 0.0
    field.join("holder", "other")
    field.have("holder", b"large")
    field.hold("holder", 1)

    assert field.choose(with_blobs(field.task(), (b"large", MIB)), ["other"]) == "other"


def test_does_not_wait_when_who_may_be_chosen_has_nearly_as_much(field):
    field.join("holder", "other")
    field.have("holder", b"1", b"2")
    field.have("other", b"1")
    field.hold("holder", 1)

    task = with_blobs(field.task(), (b"1", 50 * MIB), (b"2", MIB - 1))

    assert field.choose(task, ["other"]) == "other"


@pytest.mark.parametrize("why", ["it left", "it is sick", "it is leaving", "it is idle"])
def test_waits_for_no_holder_that_will_not_be_free(field, why):
    field.join("holder", "other")
    field.have("holder", b"large")
    field.hold("holder", 1)
    holder = field.host.slaves["holder"]
    if why == "it left":
        field.leave("holder")
    elif why == "it is sick":
        holder.sick = "its workers die"
    elif why == "it is leaving":
        holder.draining = True
    else:
        holder.leases.clear()

    assert field.choose(with_blobs(field.task(), (b"large", MIB)), ["other"]) == "other"


def test_a_blob_that_everybody_has_costs_no_look_at_everybody(field):
    class Holders(set):
        looked = 0

        def __iter__(self):
            for one in super().__iter__():
                self.looked += 1
                yield one

    field.join(*(f"slave-{number}" for number in range(5000)))
    holders = field.host.holders[b"large"] = Holders(field.host.slaves)

    chosen = field.choose(with_blobs(field.task(), (b"large", MIB)))

    assert chosen in field.host.slaves
    assert holders.looked <= LOOKS
