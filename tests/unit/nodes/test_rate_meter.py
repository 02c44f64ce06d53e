"""How fast something counts up."""

from __future__ import annotations

import pytest

from concurro.nodes.rate_meter import WINDOW, RateMeter


def counted(meter, *, until, every, step=1, since=0.0, count=0):
    """Count up, once in a while; return the last count."""
    at = since
    while at + every <= until:
        at += every
        count += step
        meter.note(at, count)
    return count


def test_nothing_is_known_of_what_has_not_moved():
    meter = RateMeter(0.0, 0)

    meter.note(10.0, 0)

    assert meter.rate(10.0) is None


def test_nothing_is_known_at_once():
    meter = RateMeter(0.0, 0)

    meter.note(0.1, 1000)

    assert meter.rate(0.1) is None


def test_a_steady_count_has_its_rate():
    meter = RateMeter(0.0, 0)

    counted(meter, until=100.0, every=0.1, step=5)

    assert meter.rate(100.0) == pytest.approx(50.0, rel=0.05)


def test_what_was_long_ago_does_not_count():
    meter = RateMeter(0.0, 0)

    count = counted(meter, until=100.0, every=0.1, step=100)
    counted(meter, until=200.0, every=0.1, since=100.0, count=count)

    assert meter.rate(200.0) == pytest.approx(10.0, rel=0.05)


def test_something_slow_has_a_rate_as_well():
    meter = RateMeter(0.0, 0)

    counted(meter, until=3600.0, every=60.0)

    assert meter.rate(3600.0) == pytest.approx(1 / 60.0, rel=0.01)


def test_what_stands_still_slows_down():
    meter = RateMeter(0.0, 0)

    counted(meter, until=10.0, every=1.0)

    assert meter.rate(100.0) == pytest.approx(0.1)


def test_a_count_that_begins_anew_does_too():
    meter = RateMeter(0.0, 1000)

    meter.note(5.0, 0)
    meter.note(7.0, 4)

    assert meter.rate(7.0) == pytest.approx(2.0)


def test_it_keeps_no_more_the_longer_it_counts():
    meter = RateMeter(0.0, 0)

    counted(meter, until=1000 * WINDOW, every=0.1)

    assert len(meter._seen) < 100
