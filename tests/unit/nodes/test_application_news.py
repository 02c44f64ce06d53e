"""News of systems as an application takes them: in order, confirmed, none lost without a word."""

from __future__ import annotations

import logging

import pytest

from concurro.wire.messages import Kind
from tests.unit.nodes.application_driver import LARGE, Application


@pytest.fixture
def application():
    return Application()


def test_two_handles_of_one_system_both_hear_everything(application):
    first = application.submitted()
    second = application.submit()
    assert application.take(Kind.SUBMIT) == []

    application.event("published")
    application.end(3)

    assert [handle.result(0) for handle in (first, second)] == [3, 3]
    assert [list(handle.partial_results()) for handle in (first, second)] == [["published"], ["published"]]
    second.wait_accepted(0)


def test_partial_results_come_in_order_and_end_with_the_system(application):
    handle = application.submitted()

    application.event(1)
    application.event(bytes(LARGE))
    application.event(3)
    application.end("result")
    assert not handle.done()
    application.chunks()
    application.chunks()

    assert list(handle.partial_results()) == [1, bytes(LARGE), 3]
    assert handle.result(0) == "result"


def test_the_master_hears_what_was_taken_once_its_parts_are_here(application):
    application.submitted()

    application.event("small", event=1)
    application.event(bytes(LARGE), event=2)
    application.event("small", event=3)
    before = application.take()
    application.sent = [one for one in before if one[0] == Kind.BLOB_GET]
    application.chunks()

    assert [body for kind, body in before if kind == Kind.TAKEN] == [[1, 1]]
    assert application.take(Kind.TAKEN) == [[1, 2], [1, 3]]


def test_news_of_a_system_that_is_not_followed_any_more_are_taken_as_well(application):
    application.event("small", number=5, event=9)

    assert application.take(Kind.TAKEN) == [[5, 9]]


def test_news_of_a_lost_connection_are_not_confirmed_over_the_next(application):
    handle = application.submitted()
    application.event(bytes(LARGE))
    application.core.lost("for a test")
    application.core.joined(10, 1 << 26)

    application.chunks()

    assert application.take(Kind.TAKEN) == []
    assert not handle.done()


def test_a_partial_result_that_does_not_arrive_is_told_and_only_that_one_is_missing(application, caplog):
    handle = application.submitted()

    application.event(bytes(LARGE), event=1)
    application.event("fine", event=2)
    digest, size = application.take(Kind.BLOB_GET)[0][:2]
    application.hear(Kind.BLOB_MISSING, digest, size)
    application.end(1)

    assert list(handle.partial_results()) == ["fine"]
    assert "a partial result did not arrive" in caplog.text
    assert "nobody has it any more" in caplog.text
    assert application.take(Kind.TAKEN) == [[1, 1], [1, 2]]


def test_a_partial_result_that_cannot_be_rebuilt_does_not_stop_the_others(application, caplog):
    handle = application.submitted()

    with caplog.at_level(logging.WARNING):
        application.hear(Kind.EVENT, 1, [[b"\x80\x05no pickle", None]], None, {}, 1.0)
    application.event("fine")
    application.end(1)

    assert list(handle.partial_results()) == ["fine"]
    assert "could not be rebuilt" in caplog.text
