"""A listener on a path: who comes in, and what happens when nobody can."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from concurro.errors import AddressError, AuthenticationError
from concurro.transport.addresses import Listener, connect
from concurro.transport.stream import StreamLink, StreamListener, connect_stream
from tests.integration.links.turning import Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def path(runtime_folder) -> str:
    return f"{runtime_folder}/socket"


@pytest.fixture
def inboxes() -> Iterator[list[Inbox]]:
    """Give the list of the links that came in."""
    inboxes: list[Inbox] = []
    yield inboxes
    for inbox in inboxes:
        inbox.link.close()


@pytest.fixture
def listener(turner, path, inboxes) -> Iterator[StreamListener]:
    listener = StreamListener(turner.loop, path, lambda link: inboxes.append(Inbox(link)))
    yield listener
    listener.close()


NOBODY = 65534
SPEAK = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
stream = socket.socket(socket.AF_UNIX)
stream.connect(sys.argv[1])
stream.settimeout(10)
print("heard", stream.recv(100))
"""
LISTEN = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("ready", flush=True)
stream, _ = server.accept()
print("heard", stream.recv(100))
"""

as_another_user = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def run_as_nobody(program, path):
    return subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)


@as_another_user
def test_another_user_who_reaches_the_path_is_not_let_in(turner, listener, path, inboxes, runtime_folder, caplog):
    runtime_folder.chmod(0o755)
    Path(path).chmod(0o666)

    with run_as_nobody(SPEAK, path) as stranger:
        turner.until(lambda: stranger.poll() is not None)
        said = stranger.stdout.read()

    assert said == b"heard b''\n"
    assert inboxes == []
    assert f"refused a connection of user {NOBODY}" in caplog.text


@as_another_user
def test_a_master_of_another_user_is_not_trusted(turner, path, runtime_folder):
    runtime_folder.chmod(0o777)

    with run_as_nobody(LISTEN, path) as imposter:
        imposter.stdout.readline()
        with pytest.raises(AuthenticationError, match=f"user {NOBODY} listens on"):
            connect_stream(turner.loop, path)
        said = imposter.stdout.read()
    Path(path).unlink()

    assert said == b"heard b''\n"


def test_who_is_not_our_user_is_not_let_in(turner, listener, path, inboxes, monkeypatch, caplog):
    monkeypatch.setattr(StreamLink, "peer_uid", lambda link: os.geteuid() + 1)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(path)
        turner.settle()
        answer = stranger.recv(100)

    assert answer == b""
    assert inboxes == []
    assert f"refused a connection of user {os.geteuid() + 1}" in caplog.text


@pytest.fixture
def stopped(path) -> Iterator[None]:
    """Let a process that accepts nobody any more listen at the path."""
    waiting = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        while True:
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            waiting.append(stream)
            if stream.connect_ex(path) == errno.EAGAIN:
                break
        yield
        for stream in waiting:
            stream.close()
    os.unlink(path)  # noqa: PTH108


@pytest.mark.usefixtures("stopped")
def test_a_listener_that_is_stopped_keeps_nobody_who_connects(turner, path):
    with pytest.raises(BlockingIOError):
        connect_stream(turner.loop, path)


@pytest.mark.usefixtures("stopped")
def test_a_listener_that_is_stopped_keeps_nobody_who_wants_to_listen(turner, path):
    with pytest.raises(AddressError, match="accepts nobody"):
        StreamListener(turner.loop, path, lambda link: None)


class OutOfDescriptors:
    """A listening socket while there are no descriptors left."""

    def __init__(self, listening):
        self.listening = listening
        self.attempts = 0

    def __getattr__(self, name):
        return getattr(self.listening, name)

    def accept(self):
        self.attempts += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_without_descriptors_the_loop_rests_and_lets_them_in_later(turner, listener, path, inboxes, caplog):
    listening = listener._socket
    listener._socket = exhausted = OutOfDescriptors(listening)
    client = connect_stream(turner.loop, path)
    client.send([b"hello"])

    turner.settle()
    assert exhausted.attempts == 1
    assert "out of file descriptors" in caplog.text

    listener._socket = listening
    turner.until(lambda: inboxes and inboxes[0].messages)
    client.close()


def test_a_listener_that_rests_can_be_closed(turner, listener, path):
    listener._socket = OutOfDescriptors(listener._socket)
    client = connect_stream(turner.loop, path)
    turner.settle()

    listener.close()
    turner.until(lambda: not turner.loop._timers)
    client.close()

    assert not os.path.lexists(path)


def test_does_not_remove_a_path_that_is_another_listeners_by_now(turner, listener, path):
    os.unlink(path)  # noqa: PTH108
    heir = StreamListener(turner.loop, path, lambda link: None)

    listener.close()

    assert os.path.lexists(path)
    heir.close()


def test_the_url_of_an_ipv6_listener_can_be_dialled(turner, inboxes):
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")

    listener = Listener(turner.loop, "tcp://[::1]:0", lambda link: inboxes.append(Inbox(link)))
    client = connect(turner.loop, listener.url)

    client.send([b"hello"])
    turner.until(lambda: inboxes and inboxes[0].messages)

    client.close()
    listener.close()
