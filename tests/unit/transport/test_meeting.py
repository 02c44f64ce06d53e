"""Processes of one machine and user meet by an invitation, and nobody else comes in."""

from __future__ import annotations

import socket

import pytest

from concurro.transport import meeting
from concurro.transport.meeting import CAN_MEET, MeetingPoint, come_to

pytestmark = pytest.mark.skipif(not CAN_MEET, reason="sockets without a path are those of Linux")


@pytest.fixture
def point():
    point = MeetingPoint()
    yield point
    point.close()


def test_who_has_the_invitation_is_met(point):
    invitation, other = point.invite(), point.invite()

    guest = come_to(invitation)
    host = point.take(invitation)

    guest.send(b"here I am")
    assert host.recv(100) == b"here I am"
    assert point.take(other) is None
    assert point.take(invitation) is None
    guest.close()
    host.close()


def test_who_shows_nothing_or_something_else_is_not_met(point):
    invitation = point.invite()
    strangers = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for stranger, shown in zip(strangers, (b"", b"x" * 7), strict=True):
        stranger.connect("\0" + invitation.partition("/")[0])
        stranger.send(shown)

    assert point.take(invitation) is None

    assert strangers[1].recv(10) == b""
    for stranger in strangers:
        stranger.close()


@pytest.mark.parametrize("invitation", ["", "concurro-x/y", "elsewhere/0", f"concurro-{'0' * 32}/{'0' * 32}"])
def test_where_nobody_invited_nobody_is_met(invitation):
    assert come_to(invitation) is None


def test_who_was_not_taken_is_gone_with_the_place():
    point = MeetingPoint()
    invitation = point.invite()
    guest = come_to(invitation)

    point.close()
    point.close()

    guest.close()
    assert come_to(invitation) is None


def test_many_who_wait_keep_nobody_out(point, monkeypatch):
    monkeypatch.setattr(meeting, "_MOST_GUESTS", 3)
    invitation = point.invite()
    silent = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for stranger in silent:
        stranger.connect("\0" + invitation.partition("/")[0])
    never_taken = [come_to(point.invite()) for _ in range(5)]
    guest = come_to(invitation)

    host = point.take(invitation)

    guest.send(b"here I am")
    assert host.recv(100) == b"here I am"
    for end in (*silent, *never_taken, guest, host):
        end.close()
