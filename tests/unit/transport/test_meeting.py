"""Processes of one machine and user meet by an invitation, and nobody else comes in."""

from __future__ import annotations

import os
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


def test_another_user_is_not_met_whatever_is_shown(point, monkeypatch):
    invitation = point.invite()
    guest = come_to(invitation)
    monkeypatch.setattr(meeting, "user_of", lambda stream: os.geteuid() + 1)

    host = point.take(invitation)

    assert host is None
    with guest, pytest.raises(ConnectionResetError):  # what it shows is not even read
        guest.recv(10)


def test_nothing_is_shown_where_another_user_invites(point, monkeypatch):
    invitation = point.invite()
    monkeypatch.setattr(meeting, "user_of", lambda stream: os.geteuid() + 1)

    guest = come_to(invitation)

    monkeypatch.undo()
    assert guest is None
    assert point.take(invitation) is None


def test_many_who_show_nothing_keep_nobody_out(point, monkeypatch):
    monkeypatch.setattr(meeting, "_MOST_SILENT", 3)
    invitation = point.invite()
    silent = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for stranger in silent:
        stranger.connect("\0" + invitation.partition("/")[0])
    guest = come_to(invitation)

    host = point.take(invitation)

    guest.send(b"here I am")
    assert host.recv(100) == b"here I am"
    assert silent[0].recv(10) == b""
    for end in (*silent, guest, host):
        end.close()


def test_however_many_were_invited_before_each_is_met(point):
    invitations = [point.invite() for _ in range(300)]
    guests = []
    for invitation in invitations:  # a place has room for some at once, and lets them in when it is asked
        guests.append(come_to(invitation))
        point.take("nobody's")

    hosts = [point.take(invitation) for invitation in invitations]

    assert None not in guests
    assert None not in hosts
    for end in (*guests, *hosts):
        end.close()


def test_who_comes_when_nobody_waits_any_more_or_a_second_time_is_turned_away(point):
    given_up, invitation = point.invite(), point.invite()
    point.take(given_up)
    guests = [come_to(given_up), come_to(invitation), come_to(invitation)]

    host = point.take(invitation)

    guests[1].send(b"the first")
    assert host.recv(100) == b"the first"
    assert [guest.recv(10) for guest in (guests[0], guests[2])] == [b"", b""]
    for end in (*guests, host):
        end.close()
