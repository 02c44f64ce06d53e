"""The master's end of tunnels, with the slave in memory."""

from __future__ import annotations

import pytest

from concurro.ids import Role
from concurro.nodes.tunnels import MOST_FOR_SERVICES, Tunnels
from concurro.wire.messages import Kind, Message


class Task:
    id = "job:3"
    system = "the record"


class Slave:
    leases = {5: Task(), 7: Task()}  # noqa: RUF012 - a stand-in that nobody changes


class Core:
    slaves = {"north": Slave()}  # noqa: RUF012 - a stand-in that nobody changes


class Bench:
    """Tunnels, and what they do."""

    def __init__(self):
        self.sent = []
        self.welcomed = []
        self.tunnels = Tunnels(
            Core(),
            lambda *message: self.sent.append(message) or True,
            lambda peer: 17 if peer == ("slave", "north") else 0,
            lambda link, outer: self.welcomed.append((link, outer)),
        )

    def take(self, kind, *body, frames=()):
        self.tunnels.take("north", Message(kind, 0, 0, list(body), frames))

    def open(self, number=1, lease=5):
        """Open a tunnel; return the link, what it hears, and how it ends."""
        self.take(Kind.TUNNEL_OPEN, number, lease)
        link = self.welcomed[-1][0]
        heard, ends = [], []
        link.on_message, link.on_closed = heard.append, ends.append
        return link, heard, ends


@pytest.fixture
def bench():
    return Bench()


def test_a_tunnel_is_a_link_that_belongs_to_a_task(bench):
    link, heard, _ = bench.open()
    bench.take(Kind.TUNNEL, 1, frames=(b"hello", b"chunk"))
    link.send([b"welcome"])

    assert bench.welcomed[0][1] == ("the record", "job:3")
    assert heard == [[b"hello", b"chunk"]]
    assert bench.sent == [(("slave", "north"), Kind.TUNNEL, [1], [b"welcome"])]
    assert link.backlog() == 17
    assert link.identity.roles == {Role.APPLICATION}


def test_a_lease_that_is_not_held_opens_nothing(bench):
    bench.take(Kind.TUNNEL_OPEN, 1, 6)

    assert bench.welcomed == []
    assert bench.sent == [(("slave", "north"), Kind.TUNNEL_END, [1, "the attempt is not wanted any more"], ())]


def test_a_number_that_is_in_use_opens_nothing(bench):
    bench.open()

    bench.take(Kind.TUNNEL_OPEN, 1, 5)

    assert len(bench.welcomed) == 1
    assert bench.sent[-1][1] == Kind.TUNNEL_END


def test_an_attempt_has_one_tunnel_at_a_time(bench):
    bench.open(1)
    bench.take(Kind.TUNNEL_OPEN, 2, 5)
    refused = bench.sent[-1]
    bench.take(Kind.TUNNEL_END, 1, "the attempt opened another one")
    bench.open(3)

    assert refused == (("slave", "north"), Kind.TUNNEL_END, [2, "the attempt has a tunnel"], ())
    assert len(bench.welcomed) == 2


def test_a_slave_has_so_many_tunnels_for_services_and_no_more(bench):
    for number in range(MOST_FOR_SERVICES + 1):
        bench.take(Kind.TUNNEL_OPEN, number, 0)

    assert len(bench.welcomed) == MOST_FOR_SERVICES
    assert [message[1:3] for message in bench.sent] == [
        (Kind.TUNNEL_END, [MOST_FOR_SERVICES, f"there are {MOST_FOR_SERVICES} tunnels for services"])
    ]


def test_the_slave_ends_a_tunnel(bench):
    link, heard, ends = bench.open()

    bench.take(Kind.TUNNEL_END, 1, "the attempt ended")
    bench.take(Kind.TUNNEL, 1, frames=(b"late",))
    link.send([b"late"])

    assert ends == ["the attempt ended"]
    assert heard == bench.sent == []


def test_the_master_ends_a_tunnel_once(bench):
    link, _, ends = bench.open()

    link.close()
    link.close()

    assert bench.sent == [(("slave", "north"), Kind.TUNNEL_END, [1, "the master closed it"], ())]
    assert ends == []


def test_every_tunnel_ends_with_its_slave(bench):
    _, _, first = bench.open(1)
    _, _, second = bench.open(2, lease=7)

    bench.tunnels.slave_left("north", "silent")

    assert first == second == ["slave north left: silent"]
