"""Values of the warehouse: where they are, and what they take."""

from __future__ import annotations

import queue
from types import SimpleNamespace

import pytest

from concurro import Parcel
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling
from concurro_monitor.shelves import WarehouseService
from concurro_monitor.stock import Stock
from tests.support.played_service_host import PlayedServiceHost


def test_whoever_looks_for_a_value_later_waits_as_long_as_the_first():
    host = PlayedServiceHost()
    stock = Stock(host.after)
    first = stock.look_up("value")
    host.pass_time(1.0)
    second = stock.look_up("value")

    host.pass_time(1.0)
    stock.put_down("value", "s/1")

    assert (first.result(0), second.result(0)) == ("", "s/1")


@pytest.fixture
def warehouse():
    return WarehouseService()


def test_a_value_that_is_kept_again_is_counted_once(warehouse):
    packer = Packer(BlobStore(), Travelling())
    parcel = Parcel.of(bytes(100_000), packer)

    for _ in range(3):
        warehouse.keep(None, "value", parcel)

    assert warehouse.usage(None) == [1, 0, parcel.size]
    warehouse.forget(None, "value")
    assert warehouse.usage(None) == [0, 0, 0]


@pytest.mark.parametrize("dropped_first", [False, True])
def test_copies_of_a_value_are_forgotten_with_it(warehouse, monkeypatch, dropped_first):
    told = queue.SimpleQueue()
    application = SimpleNamespace(service=lambda *which: SimpleNamespace(tell=lambda *what: told.put((*which, *what))))
    monkeypatch.setattr("concurro_monitor.shelves.current_application", lambda: application)
    warehouse.keep(None, "value", Parcel.of(1, Packer(BlobStore(), Travelling())))

    steps = [lambda: warehouse.copied(None, "value", ["s/2"]), lambda: warehouse.forget(None, "value")]
    for step in reversed(steps) if dropped_first else steps:
        step()

    assert told.get(timeout=30) == ("warehouse", "s/2", "forget", "value")
