"""Devices: which ones an attempt gets, and that none is given twice."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurro.execution.devices import Devices, choose_worker, device_names

AMOUNTS = st.one_of(
    st.sampled_from([0.1, 0.25, 0.3, 1 / 3, 0.5, 1.0, 1.5, 2.0, 3.0]), st.floats(0.001, 4, allow_nan=False)
)


@dataclass
class Worker:
    """What devices need to know of one."""

    devices: tuple[str, ...] = ()


def test_a_whole_amount_is_so_many_devices():
    devices = Devices("012")

    assert devices.take(2).devices == ("0", "1")
    assert devices.take(1).devices == ("2",)
    assert devices.take(1) is None


def test_parts_share_the_device_that_is_busiest_and_has_room():
    devices = Devices("01")

    first = devices.take(0.5)
    second = devices.take(0.5)
    third = devices.take(0.6)
    fourth = devices.take(0.5)

    assert first.devices == second.devices == ("0",)
    assert third.devices == ("1",)
    assert fourth is None


@pytest.mark.parametrize("count", [3, 6, 7, 15, 17])
def test_equal_parts_that_add_up_to_a_device_fit_on_it(count):
    devices = Devices("0")

    shares = [devices.take(1 / count) for _ in range(count)]

    assert None not in shares
    assert devices.take(1 / count) is None


def test_ten_tenths_fill_a_device_exactly():
    devices = Devices("0")

    shares = [devices.take(0.1) for _ in range(10)]

    assert None not in shares
    assert devices.take(0.1) is None


def test_one_and_a_half_is_a_device_and_a_share_of_another():
    devices = Devices("01")

    share = devices.take(1.5)

    assert share.devices == ("0", "1")
    assert devices.free == {"0": 0.0, "1": 0.5}


@given(
    count=st.integers(0, 4),
    steps=st.lists(st.tuples(st.booleans(), AMOUNTS, st.integers(0, 20)), max_size=60),
)
def test_no_device_is_ever_given_twice_and_all_come_back(count, steps):
    devices = Devices([str(index) for index in range(count)])
    taken = []
    for takes, amount, pick in steps:
        if takes:
            share = devices.take(amount)
            if share is not None:
                taken.append(share)
        elif taken:
            devices.give_back(taken.pop(pick % len(taken)))
        used = dict.fromkeys(devices.free, 0)
        for share in taken:
            assert len(set(share.devices)) == len(share.devices)
            for name, part in zip(share.devices, share.parts, strict=True):
                used[name] += part
        assert all(0 <= part <= 1_000_000 for part in used.values())
        assert devices.free == {name: (1_000_000 - part) / 1_000_000 for name, part in used.items()}

    for share in taken:
        devices.give_back(share)

    assert set(devices.free.values()) <= {1.0}


def test_prefers_a_worker_that_is_bound_to_a_free_set():
    devices, bound, fresh = Devices("01"), Worker(("1",)), Worker()

    worker, share = choose_worker(devices, 1, [fresh, bound])

    assert worker is bound
    assert share.devices == ("1",)


def test_of_workers_that_are_bound_the_one_with_the_busiest_device_that_has_room():
    devices, bound = Devices("012"), [Worker((name,)) for name in "012"]
    devices.take_these(("1",), 0.3)
    devices.take_these(("2",), 0.8)

    worker, share = choose_worker(devices, 0.5, bound)

    assert worker is bound[1]
    assert share.devices == ("1",)


def test_a_bound_worker_comes_before_a_device_that_would_be_a_better_fit():
    devices, fresh, bound = Devices("01"), Worker(), Worker(("1",))
    devices.take_these(("0",), 0.1)

    worker, share = choose_worker(devices, 0.1, [fresh, bound])

    assert worker is bound
    assert share.devices == ("1",)
    assert devices.take(1) is None


def test_on_fresh_workers_parts_leave_whole_devices_free():
    devices = Devices("01")

    for _ in range(3):
        choose_worker(devices, 0.1, [Worker()])

    assert devices.take(1).devices == ("1",)


def test_else_one_that_was_never_bound():
    devices, fresh = Devices("01"), Worker()
    devices.take_these(("1",), 1)

    worker, share = choose_worker(devices, 1, [Worker(("1",)), fresh])

    assert worker is fresh
    assert share.devices == ("0",)


def test_else_one_is_to_be_replaced_and_nothing_is_taken():
    devices, bound = Devices("01"), Worker(("1",))
    devices.take_these(("1",), 1)

    assert choose_worker(devices, 1, [bound]) == (bound, None)
    assert devices.free == {"0": 1.0, "1": 0.0}


def test_nobody_runs_it_without_devices_or_workers():
    devices = Devices("0")

    assert choose_worker(devices, 1, []) == (None, None)
    assert choose_worker(devices, 2, [Worker()]) == (None, None)
    assert devices.free == {"0": 1.0}


@pytest.mark.parametrize(
    ("amount", "visible", "names"),
    [
        (2, None, ["0", "1"]),
        (2, "", ["0", "1"]),
        (2, "3, 5,7", ["3", "5"]),
        (1, "GPU-8932f937", ["GPU-8932f937"]),
        (0.5, None, ["0"]),
        (0, "0", []),
    ],
)
def test_devices_are_what_the_slave_may_see_itself(amount, visible, names):
    assert device_names(amount, visible) == names


def test_a_slave_cannot_offer_more_devices_than_it_sees():
    with pytest.raises(ValueError, match=r"gpu = 2 is offered, but CUDA_VISIBLE_DEVICES names only 3"):
        device_names(2, "3")
