"""Links over TCP: both ends, and how each hears that the other is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from concurro.errors import AddressError
from concurro.transport.addresses import Listener, connect, is_loopback
from concurro.transport.keys_folder import KeyFolder
from tests.integration.links.turning import Inbox

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


class Server:
    """A listener and an inbox per connection."""

    def __init__(self, turner, url="tcp://127.0.0.1:0"):
        self.inboxes = []
        self.listener = Listener(turner.loop, url, lambda link: self.inboxes.append(Inbox(link)))
        self.url = self.listener.url

    @property
    def messages(self):
        return [message for inbox in self.inboxes for message in inbox.messages]

    @property
    def closed(self):
        return [reason for inbox in self.inboxes for reason in inbox.closed]


@pytest.fixture
def server(turner):
    """Give a listening server."""
    server = Server(turner)
    yield server
    server.listener.close()


@pytest.fixture
def client(turner, server):
    """Give the inbox of a link to it."""
    client = Inbox(connect(turner.loop, server.url))
    yield client
    client.link.close()


def test_names_the_port_that_it_got(server):
    assert server.url.startswith("tcp://127.0.0.1:")
    assert int(server.url.rpartition(":")[2]) > 0


def test_brings_messages_both_ways_in_order(turner, server, client):
    for number in range(2000):
        client.link.send([b"%d" % number, b"part"])
    turner.until(lambda: len(server.messages) == 2000)
    server.inboxes[0].link.send([b"answer", b""])
    turner.until(lambda: client.messages)

    assert server.messages == [[b"%d" % number, b"part"] for number in range(2000)]
    assert client.messages == [[b"answer", b""]]
    assert client.link.backlog() == server.inboxes[0].link.backlog() == 0


def test_brings_large_messages(turner, server, client):
    content = os.urandom(1024) * (16 * 1024)

    client.link.send([b"large", content])
    turner.until(lambda: server.messages)
    server.inboxes[0].link.send([b"back", content])
    turner.until(lambda: client.messages)

    assert server.messages == [[b"large", content]]
    assert client.messages == [[b"back", content]]


def test_tells_connections_apart(turner, server):
    clients = [Inbox(connect(turner.loop, server.url)) for _ in range(3)]
    for number, client in enumerate(clients):
        client.link.send([b"%d" % number])
    turner.until(lambda: len(server.messages) == 3)

    for inbox in server.inboxes:
        inbox.link.send([b"you said", inbox.messages[0][0]])
    turner.until(lambda: all(client.messages for client in clients))

    assert [client.messages for client in clients] == [[[b"you said", b"%d" % number]] for number in range(3)]
    for client in clients:
        client.link.close()


def test_the_master_hears_what_a_peer_said_and_then_that_it_left(turner, server, client):
    for number in range(50):
        client.link.send([b"%d" % number])
    turner.until(lambda: server.messages)

    client.link.send([b"last words"])
    client.link.close()
    turner.until(lambda: server.closed)

    assert server.messages[-1] == [b"last words"]
    assert len(server.inboxes) == 1
    assert server.closed == ["the connection ended"]


def test_a_peer_hears_that_the_master_is_gone(turner, server, client):
    client.link.send([b"hello"])
    turner.until(lambda: server.messages)

    server.listener.close()
    turner.until(lambda: client.closed)

    assert client.closed == ["the connection ended"]


def test_the_death_of_a_peer_process_is_seen(turner, server):
    code = (
        "import sys, os, signal\n"
        "from concurro.transport.addresses import connect\n"
        "from concurro.transport.loop import Loop\n"
        "loop = Loop()\n"
        "link = connect(loop, sys.argv[1])\n"
        "link.on_message = lambda frames: os.kill(os.getpid(), signal.SIGKILL)\n"
        "link.send([b'hello'])\n"
        "loop.run()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, server.url])
    turner.until(lambda: server.messages)

    server.inboxes[0].link.send([b"die"])
    turner.until(lambda: server.closed)
    child.wait(30)

    assert server.messages == [[b"hello"]]
    assert len(server.closed) == 1


def test_sending_to_a_peer_that_left_leaves_no_backlog(turner, server, client):
    client.link.send([b"hello"])
    turner.until(lambda: server.messages)
    link = server.inboxes[0].link
    client.link.close()

    for _ in range(20):
        link.send([bytes(1000)])
        turner.loop.turn(0.01)
    turner.until(lambda: server.closed)

    assert link.backlog() == 0


def test_another_service_on_the_address_is_told_apart(turner, tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    folder.create()
    key = folder.add("slave", "here")
    service = socket.create_server(("127.0.0.1", 0))
    client = Inbox(connect(turner.loop, f"tcp://127.0.0.1:{service.getsockname()[1]}", key))
    client.link.send([b"hello"])
    probe, _ = service.accept()
    stream, _ = service.accept()
    probe.close()

    stream.sendall(b"SSH-2.0-OpenSSH_9.7\r\n" + bytes(64))
    turner.until(lambda: client.closed)

    assert "answers there" in client.closed[0]
    stream.close()
    service.close()


def test_garbage_does_not_disturb_the_others(turner, server, client):
    port = int(server.url.rpartition(":")[2])
    stranger = socket.create_connection(("127.0.0.1", port))

    stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
    client.link.send([b"hello"])
    turner.until(lambda: server.messages)

    assert server.messages == [[b"hello"]]
    stranger.close()


def test_connecting_where_nobody_listens_is_refused_at_once(turner):
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()

    with pytest.raises(ConnectionRefusedError):
        connect(turner.loop, f"tcp://127.0.0.1:{port}")


def test_refuses_an_address_that_is_taken(turner, server):
    with pytest.raises(AddressError, match="another process listens there already"):
        Listener(turner.loop, server.url, lambda link: None)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "[::]", "example.org"])  # noqa: S104 - that it is refused is the test
def test_refuses_to_listen_where_strangers_could_connect(turner, host):
    with pytest.raises(AddressError, match="without keys"):
        Listener(turner.loop, f"tcp://{host}:0", lambda link: None)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *[("127.0.0.1", True), ("127.8.9.10", True), ("localhost", True), ("::1", True)],
        *[("10.0.0.1", False), ("localhost.example.org", False), ("", False)],
    ],
)
def test_knows_what_is_this_machine_only(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("host", ["*", "0.0.0.0", socket.gethostname()])  # noqa: S104 - with keys
def test_with_keys_it_listens_where_strangers_could_connect(turner, tmp_path, host):
    folder = KeyFolder(tmp_path / "keys")
    folder.create()
    key = folder.add("slave", "node7")
    inboxes = []
    listener = Listener(turner.loop, f"tcp://{host}:0", lambda link: inboxes.append(Inbox(link)), folder.path)
    reached = host if host == socket.gethostname() else "127.0.0.1"

    client = Inbox(connect(turner.loop, f"tcp://{reached}:{listener.url.rpartition(':')[2]}", key))
    client.link.send([b"hello"])
    turner.until(lambda: inboxes)
    client.link.close()
    listener.close()

    assert inboxes[0].messages == [[b"hello"]]
    assert inboxes[0].link.identity.name == "node7"


def test_a_name_that_nobody_knows_is_refused(turner, tmp_path):
    folder = KeyFolder(tmp_path / "keys")
    folder.create()

    with pytest.raises(AddressError, match=r"cannot listen on tcp://no\.such\.host\.invalid:0"):
        Listener(turner.loop, "tcp://no.such.host.invalid:0", lambda link: None, folder.path)


def test_listens_on_localhost_by_name(turner):
    server = Server(turner, "tcp://localhost:0")
    client = Inbox(connect(turner.loop, server.url))

    client.link.send([b"hello"])
    turner.until(lambda: server.messages)

    client.link.close()
    server.listener.close()
    assert server.messages == [[b"hello"]]
