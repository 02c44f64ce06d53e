"""Results within a budget of memory, the rest in a file whose pages are used again."""

from __future__ import annotations

import random

import pytest

from concurro import Parcel
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling
from concurro_tessera.shelf import Shelf, SpillFile


@pytest.fixture
def packer():
    return Packer(BlobStore(), Travelling())


def test_what_was_asked_for_longest_ago_is_in_the_file(packer):
    shelf = Shelf(250_000)
    values = {f"call {number}": bytes([number]) * 100_000 for number in range(5)}
    parcels = {uid: Parcel.of(value, packer) for uid, value in values.items()}
    for uid, parcel in parcels.items():
        shelf.put(uid, [1, parcel, "plain"])
    shelf.want("call 0")

    assert shelf.held <= 250_000
    assert shelf.held + shelf.spilled == sum(parcel.size for parcel in parcels.values())
    assert 2 < shelf.spilled // 100_000 < 4
    assert {uid: parcel.open() for uid, parcel in parcels.items()} == values


def test_what_is_dropped_is_counted_no_more(packer):
    shelf = Shelf(250_000)
    for number in range(5):
        shelf.put(f"call {number}", [Parcel.of(bytes(50_000 * (number + 1)), packer)])
    for number in range(5):
        shelf.drop(f"call {number}")
        shelf.drop(f"call {number}")

    assert (shelf.held, shelf.spilled) == (0, 0)


def test_small_values_are_in_the_file_too(packer):
    shelf = Shelf(20_000)
    parcels = [Parcel.of([number] * 2_000, packer) for number in range(20)]
    for number, parcel in enumerate(parcels):
        shelf.put(str(number), [parcel])

    assert shelf.held <= 20_000
    assert [parcel.open()[0] for parcel in parcels] == list(range(20))


def test_pages_of_the_file_are_used_again(tmp_path):
    file = SpillFile(str(tmp_path))
    rng = random.Random(7)
    kept = {}
    for number in range(400):
        pages = file.open()
        content = bytes([number % 251]) * rng.randrange(1, 5_000)
        pages.writelines([content[:100], content[100:]])
        kept[number] = pages, content
        if len(kept) > 10:
            gone, _ = kept.pop(rng.choice(list(kept)))
            gone.close()

    for pages, content in kept.values():
        pages.seek(0)
        assert pages.read(len(content)) == content
    assert file._end < 20 * 5_000
    assert list(tmp_path.iterdir()) == []
    for pages, _ in kept.values():
        pages.close()
    assert (file._end, file._free) == (0, [])


def test_results_stay_in_memory_where_no_file_can_be_made(packer, tmp_path, caplog):
    shelf = Shelf(100, str(tmp_path / "missing"))
    parcels = [Parcel.of(bytes(100_000), packer) for _ in range(3)]
    for number, parcel in enumerate(parcels):
        shelf.put(str(number), [parcel])

    assert shelf.spilled == 0
    assert "stay in memory" in caplog.text
    assert parcels[0].open() == bytes(100_000)
