"""What an application makes of a master that says goodbye."""

from __future__ import annotations

import threading
import time

import pytest

from concurro import ApplicationNode, MasterUnreachable
from concurro.nodes.peer import Peer
from concurro.transport.addresses import Listener
from concurro.wire.messages import Farewell, Kind
from concurro.wire.schema import Sender


class FakeMaster:
    """Welcomes whoever says HELLO, and nothing else."""

    def __init__(self, turner, url):
        self.peers = []
        self._turner = turner
        self._listener = Listener(turner.loop, url, self._take)
        self.url = self._listener.url

    def _take(self, link):
        peer = Peer(self._turner.loop, link)
        peer.on_message = lambda message: self._welcome(peer, message)

    def _welcome(self, peer, message):
        if message.kind == Kind.HELLO:
            peer.sender = Sender.APPLICATION
            peer.send(Kind.WELCOME, [1, f"application-{len(self.peers) + 1}", 0, 1000, 1 << 20, {}])
            self.peers.append(peer)

    def wait_for_peers(self, count):
        self._turner.until(lambda: len(self.peers) == count)

    def close(self):
        for peer in self.peers:
            peer.close()
        self._listener.close()


@pytest.fixture
def master(turner, tmp_path):
    """Give a master that an application dials."""
    fake = FakeMaster(turner, f"ipc://{tmp_path}/m")
    yield fake
    fake.close()


@pytest.fixture
def application(turner, master):
    """Give an application that has joined."""
    node = ApplicationNode(master.url)
    dialling = threading.Thread(target=node.connect)
    dialling.start()
    master.wait_for_peers(1)
    turner.settle()
    dialling.join(30)
    yield node
    node.close()


@pytest.mark.parametrize("code", [Farewell.STOPPED, Farewell.FAILED])
def test_a_master_that_ended_is_not_dialled_again(turner, master, application, code):
    answer = application.request("status", [])

    master.peers[0].close("it is late", code)
    deadline = time.monotonic() + 5
    while not answer.done() and time.monotonic() < deadline:
        turner.loop.turn(0.01)

    with pytest.raises(MasterUnreachable, match="it is late"):
        answer.result(0)
    assert len(master.peers) == 1


@pytest.mark.parametrize("reason", ["the master was stopped", "the master failed"])
def test_no_words_keep_an_application_from_dialling_again(master, application, reason):
    answer = application.request("status", [])

    master.peers[0].close(reason, Farewell.LEFT)

    master.wait_for_peers(2)
    assert not answer.done()
