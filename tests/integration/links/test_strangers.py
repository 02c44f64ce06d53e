"""Nobody gets in without a key, whatever he says and whatever breaks."""

from __future__ import annotations

import contextlib
import socket
from types import NoneType
from typing import TYPE_CHECKING

import pytest
import zmq

from concurro.errors import AuthenticationError
from concurro.transport import authenticator as authenticator_module
from concurro.transport import tcp
from concurro.transport.addresses import connect
from concurro.transport.authenticator import Authenticator
from concurro.transport.greeting import speaks_curve
from concurro.transport.keys import PeerKey, new_pair
from concurro.transport.tcp import TcpLink, TcpListener
from tests.integration.links.turning import Inbox
from tests.support.keys import MemoryRing, dealer_with

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ring():
    return MemoryRing()


@pytest.fixture
def inboxes() -> list[Inbox]:
    return []


@pytest.fixture
def listener(turner, ring, inboxes) -> Iterator[TcpListener]:
    listener = TcpListener(turner.loop, "127.0.0.1", 0, lambda link: inboxes.append(Inbox(link)), ring, 40)
    yield listener
    listener.close()


@pytest.fixture
def dial(turner, listener) -> Iterator[Inbox]:
    """Return a function that says hello with a key."""
    links = []

    def call(key):
        link = TcpLink(turner.loop, "127.0.0.1", listener.port, key)
        links.append(link)
        inbox = Inbox(link)
        link.send([b"hello"])
        return inbox

    yield call
    for link in links:
        link.close()


@pytest.fixture
def friend(turner, ring, dial, inboxes) -> Inbox:
    """Give a link that is let in; whoever else was not."""
    friend = dial(ring.grant("slave", "friend"))
    turner.until(lambda: inboxes)
    return friend


def stranger_to(ring, role="slave"):
    return PeerKey("stranger", role, new_pair(), ring.pair.public, place="nowhere")


def heard(inboxes):
    return [message for inbox in inboxes for message in inbox.messages]


@pytest.mark.parametrize("role", ["slave", "application", "admin", "local"])
def test_a_link_knows_whose_key_it_has(turner, ring, dial, inboxes, role):
    key = ring.grant(role, "node7")

    dial(key)
    turner.until(lambda: inboxes)

    assert inboxes[0].link.identity == key.known.identity
    assert inboxes[0].link.peer == "key node7"


def test_many_may_share_a_key(turner, ring, dial, inboxes):
    key = ring.grant("slave", "cluster")

    for _ in range(3):
        dial(key)
    turner.until(lambda: len(inboxes) == 3)

    assert {inbox.link.identity.name for inbox in inboxes} == {"cluster"}


def test_an_unknown_key_is_refused_and_told_so(turner, ring, dial, inboxes, caplog):
    refused = dial(stranger_to(ring))

    turner.until(lambda: refused.closed)

    fault = refused.link.fault
    assert isinstance(fault, AuthenticationError)
    assert fault.code == "key"
    assert "the key stranger (slave) of nowhere is not let in" in str(fault)
    assert "concurrent keys list" in str(fault)
    assert inboxes == []
    assert "refused somebody at 127.0.0.1: nobody here knows that key" in caplog.text


def test_a_master_with_another_key_is_not_spoken_to(turner, ring, dial, inboxes, monkeypatch):
    key = ring.grant("slave", "node7")
    monkeypatch.setattr(tcp, "speaks_curve", lambda host, port: True)  # which asks in this very thread

    lost = dial(PeerKey("node7", "slave", key.pair, new_pair().public, place="node7.key"))
    turner.until(lambda: lost.closed)

    assert isinstance(lost.link.fault, AuthenticationError)
    assert lost.link.fault.code == "master"
    assert "it has not the key that node7.key names" in str(lost.link.fault)
    assert inboxes == []


def test_a_master_is_told_from_another_service_by_its_greeting(listener):
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.listen()

        answers = speaks_curve("127.0.0.1", listener.port), speaks_curve(*other.getsockname())

    assert answers == (True, False)


@pytest.mark.usefixtures("runtime_folder")
def test_a_port_on_which_nobody_listens_any_more_is_no_other_service(turner):
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(OSError, match="something else listens there"):
            connect(turner.loop, url, probe=False)

    with pytest.raises(OSError, match="nobody listens there"):
        connect(turner.loop, url, probe=False)


@pytest.mark.slow
def test_a_key_that_is_revoked_drops_its_live_connections_and_no_others(turner, ring, dial, friend, inboxes):
    key = ring.grant("slave", "node7")
    links = [dial(key) for _ in range(2)]
    turner.until(lambda: len(inboxes) == 3)

    ring.revoke(key)
    turner.until(lambda: all(link.closed for link in links))
    friend.link.send([b"still here"])
    turner.until(lambda: [b"still here"] in heard(inboxes))

    assert [inbox.closed for inbox in inboxes] == [[], ["its key was revoked"], ["its key was revoked"]]
    assert [type(inbox.link.fault) for inbox in inboxes] == [NoneType, AuthenticationError, AuthenticationError]


@pytest.mark.slow
def test_who_was_revoked_is_refused_from_then_on(turner, ring, dial, inboxes):
    key = ring.grant("slave", "node7")
    first = dial(key)
    turner.until(lambda: inboxes)
    ring.revoke(key)
    turner.until(lambda: first.closed)

    second = dial(key)
    turner.until(lambda: second.closed)

    assert second.link.fault.code == "key"
    assert len(inboxes) == 1


def test_a_key_revoked_between_the_handshake_and_the_first_word_is_not_heard(turner, ring, dial, listener, inboxes):
    key = ring.grant("slave", "node7")
    silent = TcpLink(turner.loop, "127.0.0.1", listener.port, key)
    turner.until(lambda: silent.connected)
    ring.known.clear()

    late = Inbox(silent)
    silent.send([b"hello"])
    turner.until(lambda: late.closed)

    assert inboxes == []


def test_an_added_key_works_at_once(turner, ring, dial, friend, inboxes):
    dial(ring.grant("application", "new"))

    turner.until(lambda: len(inboxes) == 2)

    assert inboxes[1].link.identity.name == "new"


# Strangers who speak zmq, and others who do not


def test_a_peer_without_any_key_is_not_heard(turner, listener, friend, inboxes):
    with dealer_with(None, listener.port) as stranger:
        stranger.send(b"let me in")
        for number in range(30):
            friend.link.send([b"%d" % number])
            turner.until(lambda number=number: [b"%d" % number] in heard(inboxes))

    assert len(inboxes) == 1
    assert [b"let me in"] not in heard(inboxes)


GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\3\0"
READY = b"\4\x29\5READY\x0bSocket-Type\0\0\0\6DEALER\x08Identity\0\0\0\0"


@pytest.mark.parametrize(
    "words",
    [
        GREETING + b"NULL".ljust(20, b"\0") + bytes(32) + READY + b"\0\5hello",
        GREETING + b"PLAIN".ljust(20, b"\0") + bytes(32) + READY + b"\0\5hello",
        GREETING + b"CURVE".ljust(20, b"\0") + bytes(32) + READY + b"\0\5hello",
        GREETING + b"CURVE".ljust(20, b"\0") + bytes(32) + b"\4\xc8\5HELLO\1\0" + bytes(192),
        b"\xff\0\0\0\0\0\0\0\1\x7f\1\5" + b"\0\0" + b"\0\5hello",  # ZMTP 2.0, which knows no keys
        b"\1\0\6hello",  # ZMTP 1.0
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(1000),
        bytes(range(256)) * 20,
    ],
    ids=["null", "plain", "no handshake", "empty handshake", "ZMTP 2", "ZMTP 1", "http", "zeros", "bytes"],
)
def test_who_speaks_otherwise_is_not_heard(turner, listener, friend, inboxes, words):
    with socket.create_connection(("127.0.0.1", listener.port)) as stranger:
        stranger.settimeout(10)
        with contextlib.suppress(OSError):
            stranger.sendall(words)
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(4096):
                pass
    friend.link.send([b"still here"])
    turner.until(lambda: [b"still here"] in heard(inboxes))

    assert len(inboxes) == 1


@pytest.fixture
def patient(monkeypatch):
    """Let zmq end nobody who says nothing."""
    monkeypatch.setattr(authenticator_module, "HANDSHAKE_LIMIT", 600_000)


@pytest.mark.usefixtures("patient")
def test_of_too_many_who_say_nothing_the_oldest_are_hung_up_on(turner, listener, friend, inboxes):
    strangers = []
    for _ in range(30):
        stranger = socket.create_connection(("127.0.0.1", listener.port))
        stranger.settimeout(30)
        strangers.append(stranger)
        turner.settle()

    turner.until(lambda: listener._connections._dropped == 20)  # those of whom zmq has not told yet are none
    while strangers[0].recv(100):  # waits for the end, and not for ever
        pass
    friend.link.send([b"still here"])
    turner.until(lambda: [b"still here"] in heard(inboxes))

    assert strangers[-1].recv(10)[:1] == b"\xff"
    for stranger in strangers:
        stranger.close()


def test_who_does_not_hang_up_at_a_farewell_is_hung_up_on(turner, ring, listener, inboxes):
    with dealer_with(ring.grant("slave", "stubborn"), listener.port) as stubborn:
        events = stubborn.get_monitor_socket(zmq.Event.DISCONNECTED)
        stubborn.send(b"hello")
        turner.until(lambda: inboxes)

        inboxes[0].link.send([b"goodbye"])
        inboxes[0].link.close()
        turner.until(lambda: events.poll(0))
        heard = stubborn.recv()
        stubborn.disable_monitor()
        events.close(0)

    assert heard == b"goodbye"


# Whatever breaks, nobody gets in by it


def test_an_error_in_the_judgement_is_a_refusal(turner, ring, dial, inboxes, monkeypatch, caplog):
    key = ring.grant("slave", "node7")

    def broken(public):
        raise RuntimeError

    monkeypatch.setattr(ring, "find", broken)
    refused = dial(key)
    turner.until(lambda: refused.closed)
    monkeypatch.undo()
    dial(key)
    turner.until(lambda: inboxes)

    assert "a handshake could not be judged, and is refused" in caplog.text
    assert refused.link.fault is None  # it may be better soon: no reason to give up
    assert len(inboxes) == 1


@pytest.mark.parametrize("death", ["closed", "failing"])
def test_when_the_authenticator_dies_nobody_gets_in_and_the_listener_says_so(
    turner, ring, listener, friend, dial, inboxes, death, monkeypatch
):
    told = []
    listener.on_failed = told.append
    if death == "closed":
        listener._authenticator._socket.close(0)
        turner.until(lambda: told)  # before anybody else is given its descriptor
    else:
        monkeypatch.setattr(listener._authenticator, "_socket", Broken(listener._authenticator._socket))

    late = dial(ring.grant("slave", "late"))
    turner.until(lambda: told and late.closed and friend.closed)

    assert len(inboxes) == 1
    assert "nobody can be let in" in told[0]
    assert inboxes[0].closed == told
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.port)).close()


class Broken:
    """A socket that fails."""

    closed = False

    def __init__(self, real):
        self.close = real.close

    def recv_multipart(self, flags):
        raise zmq.ZMQError(zmq.ETERM)


class NoAuthenticator:
    """One that is not there."""

    def __init__(self, loop, context, find):
        pass

    def check(self):
        pass

    def close(self):
        pass


def test_without_an_authenticator_nobody_gets_in(turner, ring, inboxes, monkeypatch):
    monkeypatch.setattr(tcp, "Authenticator", NoAuthenticator)
    listener = TcpListener(turner.loop, "127.0.0.1", 0, lambda link: inboxes.append(Inbox(link)), ring)

    with dealer_with(ring.grant("slave", "node7"), listener.port) as known:
        known.send(b"hello")
        came = bool(listener.router.poll(500))
    listener.close()

    assert not came


def test_what_keeps_them_out_is_the_demanded_domain(ring):
    """Show that a listener without it lets everybody in, which is why it is set, and set before the bind."""
    came = {}
    for when in ("never", "after", "before"):
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            router.linger = 0
            if when == "before":
                authenticator_module.demand_keys(router, ring)
            else:
                router.curve_server = True
                router.curve_secretkey = ring.pair.secret.encode()
            port = router.bind_to_random_port("tcp://127.0.0.1")
            if when == "after":
                authenticator_module.demand_keys(router, ring)
            with dealer_with(stranger_to(ring), port) as stranger:
                stranger.send(b"let me in")
                came[when] = bool(router.poll(500))

    assert came == {"never": True, "after": True, "before": False}


def test_who_comes_in_without_a_proven_key_is_hung_up_on(turner, ring, inboxes, monkeypatch):
    """Show that a link is made for a proven key only, even if zmq let somebody in."""
    monkeypatch.setattr(tcp, "demand_keys", lambda router, keyring: None)
    listener = TcpListener(turner.loop, "127.0.0.1", 0, lambda link: inboxes.append(Inbox(link)), ring)

    with dealer_with(None, listener.port) as stranger:
        events = stranger.get_monitor_socket(zmq.Event.DISCONNECTED)
        stranger.send(b"let me in")
        turner.until(lambda: events.poll(0))
        stranger.disable_monitor()
        events.close(0)
    listener.close()

    assert inboxes == []


def test_an_answer_names_the_key_and_nothing_else_is_accepted(turner, ring):
    key = ring.grant("slave", "node7")
    raw = zmq.utils.z85.decode(key.pair.public)
    cases = [
        (b"concurro", b"CURVE", [raw], b"200"),
        (b"other", b"CURVE", [raw], b"400"),
        (b"", b"CURVE", [raw], b"400"),
        (b"concurro", b"NULL", [], b"400"),
        (b"concurro", b"NULL", [raw], b"400"),
        (b"concurro", b"PLAIN", [b"node7", b"password"], b"400"),
        (b"concurro", b"CURVE", [bytes(32)], b"400"),
        (b"concurro", b"CURVE", [b"short"], b"500"),
        (b"concurro", b"CURVE", [raw, raw], b"400"),
    ]
    with zmq.Context() as context:
        authenticator = Authenticator(turner.loop, context, ring.find)
        answers = []
        with context.socket(zmq.REQ) as asker:
            asker.connect(authenticator_module.ENDPOINT)
            for domain, mechanism, credentials, _ in cases:
                asker.send_multipart([b"1.0", b"1", domain, b"127.0.0.1", b"", mechanism, *credentials])
                turner.until(lambda: asker.poll(0))
                answers.append(asker.recv_multipart())
        authenticator.close()

    assert [answer[2] for answer in answers] == [status for *_, status in cases]
    assert [answer[4] for answer in answers] == [key.pair.public.encode(), *[b""] * 8]
