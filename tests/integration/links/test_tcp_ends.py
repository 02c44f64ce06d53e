"""Links over TCP: nothing is lost before the end, and the end is noticed."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
import zmq

from concurro.errors import AddressError, ProtocolError
from concurro.transport import framing, tcp
from concurro.transport.tcp import TcpLink, TcpListener
from tests.integration.links.turning import Inbox
from tests.support.keys import MemoryRing, dealer_with, say_and_leave

if TYPE_CHECKING:
    from collections.abc import Iterator


class Side:
    """The owner of all links of one side."""

    def __init__(self, turner):
        self.inboxes = []
        self._turner = turner

    def take(self, link):
        self.inboxes.append(Inbox(link))

    @property
    def links(self):
        return [inbox.link for inbox in self.inboxes]

    @property
    def messages(self):
        return [message for inbox in self.inboxes for message in inbox.messages]

    @property
    def reasons(self):
        return [reason for inbox in self.inboxes for reason in inbox.closed]

    def await_links(self, count):
        self._turner.until(lambda: len(self.inboxes) >= count)

    def await_messages(self, count):
        self._turner.until(lambda: len(self.messages) >= count)

    def await_end(self):
        self._turner.until(lambda: self.reasons)


@pytest.fixture
def loop(turner):
    return turner.loop


@pytest.fixture
def here(turner) -> Iterator[Side]:
    side = Side(turner)
    yield side
    for link in side.links:
        link.close()


@pytest.fixture
def there(turner):
    return Side(turner)


@pytest.fixture
def ring():
    return MemoryRing()


@pytest.fixture
def key(ring):
    return ring.grant("slave", "here")


@pytest.fixture
def listener(loop, there, ring) -> Iterator[TcpListener]:
    listener = TcpListener(loop, "127.0.0.1", 0, there.take, ring)
    yield listener
    listener.close()


@pytest.fixture
def dial(loop, listener, here, key):
    """Return a function that gives a new link to the listener, which said hello already."""

    def connect() -> TcpLink:
        link = TcpLink(loop, "127.0.0.1", listener.port, key)
        here.take(link)
        link.send([b"hello"])
        return link

    return connect


def test_messages_arrive_in_order_both_ways(dial, here, there):
    link = dial()
    for number in range(100):
        link.send([b"%d" % number, b"raw"])
    there.await_messages(101)

    there.links[0].send([b"answer", b"", b"more"])
    here.await_messages(1)

    assert there.messages == [[b"hello"], *([b"%d" % number, b"raw"] for number in range(100))]
    assert here.messages == [[b"answer", b"", b"more"]]


def test_a_large_frame_arrives(dial, there):
    content = bytes(range(256)) * 4 * 4096

    dial().send([b"header", content])
    there.await_messages(2)

    assert there.messages[1] == [b"header", content]


def test_the_end_of_a_peer_is_noticed_at_once(dial, there):
    link = dial()
    there.await_messages(1)

    link.close()
    there.await_end()

    assert there.reasons == ["the connection ended"]


def test_everything_that_was_sent_before_the_end_arrives_before_it(turner, dial, here, there):
    seen_at_the_end = []
    link = dial()
    there.await_messages(1)
    there.links[0].on_closed = lambda reason: seen_at_the_end.append(len(there.messages))
    for number in range(5000):
        link.send([b"%d" % number])
    turner.until(lambda: not link.backlog())

    link.close()
    turner.until(lambda: seen_at_the_end)

    assert seen_at_the_end == [5001]
    assert len(there.links) == 1


def test_the_end_of_a_listener_is_noticed_at_once(dial, listener, here, there):
    dial()
    there.await_messages(1)

    listener.close()
    here.await_end()

    assert here.reasons == ["the connection ended"]


def test_what_a_listener_sent_last_arrives_before_the_end(turner, dial, listener, here, there):
    seen_at_the_end = []
    link = dial()
    link.on_closed = lambda reason: seen_at_the_end.append(len(here.messages))
    there.await_messages(1)

    for number in range(500):
        there.links[0].send([b"%d" % number])
    there.links[0].close()
    listener.close()
    turner.until(lambda: seen_at_the_end)

    assert seen_at_the_end == [500]


def test_a_new_connection_survives_the_end_of_an_older_one_with_the_same_descriptor(turner, dial, listener, there):
    for round_number in range(20):
        link = dial()
        there.await_links(round_number + 1)

        link.close()
    survivor = dial()
    there.await_links(21)
    turner.until(lambda: len(there.reasons) == 20)

    survivor.send([b"still here"])
    there.await_messages(22)

    assert there.messages[-1] == [b"still here"]
    assert [link.closed for link in there.links] == [True] * 20 + [False]


def test_a_connection_that_the_listener_closed_does_not_come_back_as_a_new_one(turner, dial, there):
    link = dial()
    there.await_links(1)
    there.links[0].close()
    other = dial()

    link.send([b"I did not hear that"])
    turner.until(lambda: not link.backlog())
    there.await_messages(2)
    other.send([b"after it"])
    there.await_messages(3)

    assert there.messages == [[b"hello"], [b"hello"], [b"after it"]]
    assert len(there.links) == 2


def test_a_closed_link_takes_nothing_any_more(dial, there):
    link = dial()
    there.await_messages(1)
    for end in (link, there.links[0]):
        end.close()
        end.close()

        end.send([b"too late"])

        assert end.backlog() == 0


def test_the_backlog_is_what_zmq_did_not_take(dial, there):
    link = dial()
    there.await_messages(1)

    link.send([b"x" * 1000, b"y" * 24])
    waiting = link.backlog()
    there.await_messages(2)

    assert (waiting, link.backlog()) == (1024, 0)


def test_a_peer_that_does_not_read_holds_up_only_itself(loop, listener, key, dial, here, there):
    before = len([timer for _, _, timer in loop._timers if timer.callback])
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        stuck = TcpLink(loop, *deaf.getsockname(), key)
        here.take(stuck)
        for _ in range(2000):
            stuck.send([b"nobody reads this"])
        link = dial()

        for number in range(200):
            link.send([b"%d" % number])
            there.await_messages(number + 2)

    assert 0 < stuck.backlog() < 2000 * 17
    assert len([timer for _, _, timer in loop._timers if timer.callback]) <= before + 1


@pytest.mark.parametrize("count", [1, 3, 65])
def test_a_frame_over_the_limit_is_refused_at_the_sender(dial, there, monkeypatch, count):
    link = dial()
    there.await_messages(1)
    monkeypatch.setattr(framing, "MESSAGE_LIMIT", 100)

    for end in (link, there.links[0]):
        with pytest.raises(ProtocolError, match="over the limits"):
            end.send([b"header"] * (count - 1) + [b"x" * 101])

        assert end.backlog() == 0


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\xff" * 200])
def test_another_service_on_the_port_gives_a_clear_reason(loop, here, key, greeting):
    with socket.create_server(("127.0.0.1", 0)) as server:
        here.take(TcpLink(loop, *server.getsockname(), key))
        server.settimeout(10)
        stream, _ = server.accept()

        with stream:
            stream.sendall(greeting)
            with contextlib.suppress(OSError):  # the link may have hung up already
                stream.shutdown(socket.SHUT_WR)
            here.await_end()

    assert len(here.reasons) == 1
    assert "something else" in here.reasons[0]


def test_a_closed_port_gives_a_reason(loop, here, key):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    link = TcpLink(loop, *address, key)
    here.take(link)
    link.send([b"hello"])

    here.await_end()

    assert here.reasons == ["nobody listens there"]


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 200, b"\xff\0\0\0\0\0\0\0\1\x7f\3" + b"\xee" * 100]
)
def test_garbage_on_the_port_disturbs_nobody(loop, dial, listener, there, garbage):
    link = dial()
    there.await_messages(1)

    with socket.create_connection(("127.0.0.1", listener.port)) as stranger:
        stranger.settimeout(10)
        with contextlib.suppress(OSError):  # the listener may hang up at the first byte
            stranger.sendall(garbage)
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(4096):
                pass
    link.send([b"still here"])
    there.await_messages(2)

    assert there.messages == [[b"hello"], [b"still here"]]
    assert there.reasons == []


@pytest.fixture
def small_frames(monkeypatch):
    monkeypatch.setattr(tcp, "MESSAGE_LIMIT", 1 << 20)


@pytest.mark.usefixtures("small_frames")
def test_a_peer_that_sends_a_huge_frame_is_cut_off(dial, listener, there, key):
    link = dial()
    there.await_messages(1)

    with dealer_with(key, listener.port) as stranger:
        stranger.send(b"small")
        there.await_messages(2)
        stranger.send(bytes(2 << 20))
        there.await_end()
    link.send([b"still here"])
    there.await_messages(3)

    assert sorted(there.messages) == [[b"hello"], [b"small"], [b"still here"]]
    assert there.reasons == ["the connection ended"]


def test_a_stranger_who_announces_a_huge_frame_instead_of_a_handshake_is_cut_off(dial, listener, there):
    link = dial()
    there.await_messages(1)
    greeting = b"\xff" + bytes(8) + b"\x7f" + b"\3\0" + b"CURVE".ljust(20, b"\0") + bytes(32)
    huge = b"\6" + (4 << 30).to_bytes(8, "big")  # only the announcement

    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as stranger:
        stranger.sendall(greeting + huge)
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(4096):
                pass
    link.send([b"still here"])
    there.await_messages(2)

    assert there.messages == [[b"hello"], [b"still here"]]


def test_a_taken_port_is_refused_saying_so(loop, listener, there):
    with pytest.raises(AddressError, match="another process listens there already"):
        TcpListener(loop, "127.0.0.1", listener.port, there.take, MemoryRing())


def test_a_peer_that_chose_its_own_routing_id_is_not_heard(dial, listener, there, key):
    with dealer_with(key, listener.port, routing_id=b"somebody else") as stranger:
        stranger.send(b"let me in")
        for number in range(50):
            dial().send([b"%d" % number])
        there.await_messages(100)

    assert [b"let me in"] not in there.messages
    assert len(there.links) == 50


def test_a_peer_that_says_something_and_dies_before_it_is_heard_is_noticed(listener, there, key):
    speaker = say_and_leave(key, listener.port, b"hello and goodbye")

    there.await_end()
    speaker.join()

    assert there.messages == [[b"hello and goodbye"]]
    assert there.reasons == ["the connection ended"]


def test_connections_that_share_a_descriptor_one_after_the_other_all_end(turner, listener, there, key):
    for _ in range(5):
        speaker = say_and_leave(key, listener.port, b"hello")
        turner.until(lambda speaker=speaker: not speaker.is_alive())

    turner.until(lambda: len(there.reasons) == 5)

    assert there.messages == [[b"hello"]] * 5
    assert listener._links == {}


class Part:
    """A frame as pyzmq gives it."""

    def __init__(self, content, descriptor, key):
        self.bytes = self.buffer = content
        self._facts = {zmq.MessageOption.SRCFD: descriptor, "User-Id": key.pair.public}

    def get(self, option):
        return self._facts[option]


@pytest.mark.parametrize("first_id", [1, 0xFFFFFFFE])
@pytest.mark.parametrize("newer_is_read_first", [True, False])
def test_of_two_connections_with_one_descriptor_the_newer_lives(
    turner, listener, there, key, newer_is_read_first, first_id
):
    older, newer = (b"\0" + ((first_id + number) % 2**32).to_bytes(4, "big") for number in (0, 3))
    for event in (zmq.Event.ACCEPTED, zmq.Event.DISCONNECTED, zmq.Event.ACCEPTED):
        listener._event({"event": event, "value": 7})

    for routing_id in (newer, older) if newer_is_read_first else (older, newer):
        listener._frames([Part(routing_id, 7, key), Part(routing_id, 7, key)])
    turner.until(lambda: there.reasons)
    turner.settle()

    assert {link.routing_id: link.closed for link in there.links} == {older: True, newer: False}
    assert sorted(there.messages) == sorted([[older], [newer]])
