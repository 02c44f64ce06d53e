"""Two ends of a line: order, window, large values, nonsense."""

from __future__ import annotations

from collections import deque

import msgpack
import pytest

from concurro.errors import NotPicklableError, ProtocolError
from concurro.wire.blobs import BlobStore
from concurro.wire.lines import ENTRY_BYTES, WINDOW, LineEnd, Said
from concurro.wire.parcels import PackedValues, Parcel, PlainValues
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling


class Pair:
    """Two ends, and what is on its way between them."""

    def __init__(self, *, with_blobs: bool = True) -> None:
        self.stores = [BlobStore() if with_blobs else None for _ in range(2)]
        self.ways = [deque(), deque()]
        self.heard = [[], []]
        self.ends = [LineEnd(way.append, store) for way, store in zip(self.ways, self.stores, strict=True)]
        for end, heard in zip(self.ends, self.heard, strict=True):
            end.on_entry = lambda number, entry, fault, heard=heard: heard.append((number, entry, fault))

    def carry(self, *, limit: int = 1000) -> None:
        """Deliver what is on its way, and what follows from it."""
        while any(self.ways):
            for index, way in enumerate(self.ways):
                if way:
                    self.ends[1 - index].take(way.popleft())
            limit -= 1
            assert limit, "the ends go on for ever"


def call(payload: bytes = b"x", blobs=None):
    return [int(Said.CALL), "method", payload, blobs]


def large(store: BlobStore, size: int, owner: object):
    ref = store.put_buffer(memoryview(bytes(size)), owner)
    return [[0, ref.digest, ref.size]]


def test_delivers_in_the_order_in_which_entries_were_added():
    pair = Pair()
    for index in range(1000):
        pair.ends[0].add(call(str(index).encode()))

    pair.ends[0].flush()
    pair.carry()

    assert [number for number, _, _ in pair.heard[1]] == list(range(1, 1001))
    assert [entry[2] for _, entry, _ in pair.heard[1]] == [str(index).encode() for index in range(1000)]


def test_entries_of_one_flush_are_one_message():
    pair = Pair()
    for _ in range(100):
        pair.ends[0].add(call())

    pair.ends[0].flush()

    assert len(pair.ways[0]) == 1


def test_a_small_value_waits_for_the_large_one_before_it():
    pair = Pair()
    blobs = large(pair.stores[0], 3_000_000, "owner")
    pair.ends[0].add(call(b"large", blobs), "owner")
    pair.ends[0].add(call(b"small"))

    pair.ends[0].flush()
    pair.ends[1].take(pair.ways[0].popleft())
    before = list(pair.heard[1])
    pair.carry()

    assert before == []
    assert [entry[2] for _, entry, _ in pair.heard[1]] == [b"large", b"small"]


def test_what_was_packed_while_the_line_ended_keeps_no_blob():
    pair = Pair()
    store = pair.stores[0]
    blobs = large(store, 200_000, "owner")
    pair.ends[0].close("the peer is gone")

    pair.ends[0].add(call(b"large", blobs), "owner")

    assert store.cached == store.total == 200_000
    assert pair.ends[0].waiting_bytes == 0


def test_the_sender_keeps_a_blob_until_the_other_end_has_it_and_no_longer():
    pair = Pair()
    store = pair.stores[0]
    blobs = large(store, 200_000, "owner")
    digest = blobs[0][1]
    pair.ends[0].add(call(b"large", blobs), "owner")

    pair.ends[0].flush()
    while_away = store.owned_by(digest, "owner")
    pair.carry()

    assert while_away
    assert not store.owned_by(digest, "owner")


def test_what_is_not_acknowledged_is_bounded():
    pair = Pair()
    payload = bytes(1_000_000)
    for _ in range(40):
        pair.ends[0].add(call(payload))

    pair.ends[0].flush()
    on_their_way = sum(len(frames[0]) for frames in pair.ways[0])
    waiting = pair.ends[0].waiting_bytes
    pair.carry()

    assert WINDOW <= on_their_way <= WINDOW + 1_000_000 + 40 * ENTRY_BYTES
    assert waiting + on_their_way >= 40 * 1_000_000
    assert len(pair.heard[1]) == 40
    assert pair.ends[0].waiting_bytes == 0


def test_a_blob_that_its_sender_lost_is_told_as_a_fault_of_that_entry():
    pair = Pair()
    pair.ends[0].add(call(b"gone", [[0, b"d" * 32, 100_000]]))
    pair.ends[0].add(call(b"next"))

    pair.ends[0].flush()
    pair.carry()

    assert [(entry[2], bool(fault)) for _, entry, fault in pair.heard[1]] == [(b"gone", True), (b"next", False)]


def test_an_end_that_was_closed_keeps_no_blob_and_delivers_nothing():
    pair = Pair()
    store = pair.stores[0]
    sent, unsent = large(store, 200_000, "sent"), large(store, 300_000, "unsent")
    pair.ends[0].add(call(b"1", sent), "sent")
    pair.ends[0].flush()
    pair.ends[0].add(call(b"2", unsent), "unsent")

    pair.ends[0].close("enough")
    pair.ends[1].close("enough")
    pair.carry()

    assert not store.owned_by(sent[0][1], "sent")
    assert not store.owned_by(unsent[0][1], "unsent")
    assert pair.heard == [[], []]


def test_without_a_store_a_large_value_is_a_fault():
    pair = Pair(with_blobs=False)
    pair.ends[0].add(call(b"x", [[0, b"d" * 32, 100_000]]))

    pair.ends[0].flush()
    pair.carry()

    assert pair.heard[1][0][2] == "there is no way for large values here"


@pytest.mark.parametrize(
    "message",
    [
        b"\xc1",
        msgpack.packb(5),
        msgpack.packb([]),
        msgpack.packb([0]),
        msgpack.packb([0, "1", []]),
        msgpack.packb([0, 7, []]),
        msgpack.packb([0, 0, [5]]),
        msgpack.packb([0, 0, [[0, "method", "no bytes", None]]]),
        msgpack.packb([0, 0, [[7, "method", b"", None]]]),
        msgpack.packb([0, 0, [[0, "method", b"", [[0, b"short", 1]]]]]),
        msgpack.packb([0, 0, [[2, 1, False, b"no failure", None]]]),
        msgpack.packb([0, 0, [[2, 1, False, ["a", "b", "c", 1], None]]]),
        msgpack.packb([80, [b"d" * 32, 1, 0]]),
        msgpack.packb([42, []]),
    ],
)
def test_refuses_what_no_other_end_sends(message: bytes):
    end = Pair().ends[0]

    with pytest.raises(ProtocolError):
        end.take([message])


# Values


def packed(store: BlobStore | None = None) -> tuple[PackedValues, Packer]:
    packer = Packer(BlobStore() if store is None else store, Travelling())
    return PackedValues(packer), packer


def test_a_parcel_travels_unopened_with_all_its_parts():
    values, packer = packed()
    content = [bytes(range(256)) * 1000, {"a": 1}]

    payload, blobs = values.pack({"inside": [Parcel.of(content, packer)]}, "owner")
    again = values.load(payload, blobs)["inside"][0]

    assert isinstance(again, Parcel)
    assert again.open() == content
    assert again.size >= 256_000


def test_a_parcel_in_a_parcel_brings_its_parts_along():
    values, packer = packed()
    inner = Parcel.of(bytes(100_000), packer)
    outer = Parcel.of([inner], packer)

    _, blobs = values.pack(outer, "owner")

    assert sum(size for _, _, size in blobs) >= 100_000
    assert outer.open()[0].open() == bytes(100_000)


def test_a_parcel_keeps_its_parts_as_long_as_it_lives():
    _, packer = packed()
    parcel = Parcel.of(bytes(100_000), packer)
    digest = parcel._blobs[0][1]
    kept = [owner for owner in packer.blobs._of_owner if digest in packer.blobs._of_owner[owner]]

    del parcel

    assert kept
    assert not any(digest in digests for digests in packer.blobs._of_owner.values())


def test_a_parcel_that_was_spilled_is_taken_back_when_it_is_wanted(tmp_path):
    values, packer = packed()
    content = [bytes(100_000), bytearray(2_000_000)]
    parcel = Parcel.of(content, packer)
    held = parcel._owner

    with (tmp_path / "spilled").open("w+b") as file:
        assert parcel.spill(file) >= 100_000
        assert held not in packer.blobs._of_owner
        assert parcel.spill(file) == 0
        payload, blobs = values.pack([parcel], "owner")

    assert file.closed
    assert values.load(payload, blobs)[0].open() == parcel.open() == content


def test_a_spilled_parcel_that_is_gone_closes_its_file(tmp_path):
    _, packer = packed()
    parcel = Parcel.of(bytes(100_000), packer)
    file = (tmp_path / "spilled").open("w+b")
    parcel.spill(file)

    del parcel

    assert file.closed


class Spilling:
    """Does something when it is pickled, as another thread may then."""

    def __init__(self, spill):
        self.spill = spill

    def __reduce__(self):
        self.spill()
        return int, ()


def test_a_parcel_may_be_moved_to_its_file_while_it_is_packed_or_opened(tmp_path, monkeypatch):
    values, packer = packed(BlobStore(cache_limit=0))
    parcel = Parcel.of(bytes(100_000), packer)
    load = PackedValues.load
    files = iter(["packed", "opened"])

    def spill():
        parcel.spill((tmp_path / next(files)).open("w+b"))
        packer.blobs.put(b"what was only cached makes room for this")

    def load_spilled(self, *packed):
        spill()
        return load(self, *packed)

    payload, blobs = values.pack([parcel, Spilling(spill)], "owner")
    travelled = values.load(payload, blobs)[0].open()
    monkeypatch.setattr(PackedValues, "load", load_spilled)
    opened = parcel.open()

    assert travelled == opened == bytes(100_000)
    packer.blobs.release("owner")
    assert packer.blobs._of_owner == {}


def test_nothing_is_kept_of_parcels_among_what_does_not_pickle():
    values, packer = packed()
    parcel = Parcel.of(bytes(100_000), packer)

    with pytest.raises(NotPicklableError):
        values.pack([parcel, (number for number in ())], "owner")

    del parcel
    assert packer.blobs._of_owner == {}


def test_a_parcel_travels_nowhere_else():
    _, packer = packed()

    with pytest.raises(NotPicklableError, match="among the arguments"):
        packer.dumps(Parcel.of(1, packer))


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, 1 << 70, lambda: 1])
def test_plain_values_refuse_what_is_not_plain(value: object):
    with pytest.raises(NotPicklableError, match="plain values"):
        PlainValues.pack([value], None)


def test_plain_values_refuse_what_is_too_large_for_the_master():
    with pytest.raises(NotPicklableError, match="the limit is"):
        PlainValues.pack(bytes(5_000_000), None)
