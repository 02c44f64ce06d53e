"""Dialling a master: until it answers, it refuses, or patience ends."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from concurro.errors import AddressError, MasterUnreachable, RefusedError
from concurro.ids import Role
from concurro.nodes import dialer as dialer_module
from concurro.nodes.dialer import Dialer
from concurro.nodes.machine import machine_id
from concurro.nodes.peer import Peer, python_version
from concurro.transport.addresses import Listener
from concurro.wire.messages import PROTOCOL, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

WELCOME = [7, "application-1", 0, 100, 1000, {}]


class Caller:
    """Dials, and keeps what came of it."""

    def __init__(self, turner, url, patience):
        self.joined = []
        self.errors = []
        self.dialer = Dialer(turner.loop, url, Role.APPLICATION, "here", {"pid": 5}, patience=patience)
        self.dialer.on_joined = lambda peer, welcome: self.joined.append((peer, welcome))
        self.dialer.on_failed = self.errors.append

    @property
    def waits(self):
        timer = self.dialer._timer
        return timer is not None and timer.callback is not None and timer.when > self.dialer._loop.now()


@pytest.fixture
def dial(turner):
    """Return a function that dials an address."""
    callers = []

    def start(url, patience=10.0):
        caller = Caller(turner, url, patience)
        callers.append(caller)
        caller.dialer.start()
        return caller

    yield start
    for caller in callers:
        caller.dialer.stop()
        for peer, _ in caller.joined:
            peer.on_closed = lambda reason: None
            peer.close()


class Master:
    """Answers everybody in one way."""

    def __init__(self, turner, url, kind=None, body=None):
        self.hellos = []
        self.peers = []
        self.left = []
        self._turner, self._kind, self._body = turner, kind, body
        self._listener = Listener(turner.loop, url, self._link)
        self.url = self._listener.url

    def _link(self, link):
        peer = Peer(self._turner.loop, link)
        peer.on_message = lambda message: self._answer(peer, message)
        peer.on_closed = self.left.append
        self.peers.append(peer)

    def _answer(self, peer, message):
        self.hellos.append(message.body)
        if self._kind is not None:
            peer.send(self._kind, self._body)

    def close(self):
        for peer in self.peers:
            peer.close("the test is over")
        self._listener.close()


@pytest.fixture
def serve(turner, runtime_folder):  # whose check comes after the masters are closed
    """Return a function that starts a master."""
    masters = []

    def start(url="tcp://127.0.0.1:0", kind=None, body=None):
        masters.append(Master(turner, url, kind, body))
        return masters[-1]

    yield start
    for master in masters:
        master.close()


@pytest.fixture(params=["ipc", "tcp"])
def url(request, runtime_folder) -> str:
    """Give an address of each kind to listen on."""
    return f"ipc://{runtime_folder}/socket" if request.param == "ipc" else "tcp://127.0.0.1:0"


@pytest.fixture
def deaf() -> Iterator[str]:
    """Give the address of a service that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_says_hello_and_hands_over_the_peer_that_answered(turner, dial, serve, url):
    master = serve(url, Kind.WELCOME, WELCOME)

    caller = dial(master.url)
    turner.until(lambda: caller.joined)

    assert caller.joined[0][1] == WELCOME
    ((protocol, python, role, session, _, _, name, facts),) = master.hellos
    assert (protocol, python, role) == (PROTOCOL, python_version(), "application")
    assert (len(session), name, facts["pid"], facts["machine"]) == (16, "here", 5, machine_id())


def test_the_peer_that_was_handed_over_is_left_alone_by_stop(turner, dial, serve, url):
    master = serve(url, Kind.WELCOME, WELCOME)
    caller = dial(master.url)
    turner.until(lambda: caller.joined)

    caller.dialer.stop()
    turner.settle()

    assert not caller.joined[0][0].closed
    assert not caller.waits


def test_a_refusal_is_final_and_says_why(turner, dial, serve, url):
    master = serve(url, Kind.REFUSED, ["python", "it runs Python 3.11, you 3.12"])

    caller = dial(master.url)
    turner.until(lambda: caller.errors and master.left)

    (error,) = caller.errors
    assert isinstance(error, RefusedError)
    assert error.code == "python"
    assert str(error) == f"the master at {master.url} refused: it runs Python 3.11, you 3.12"
    assert len(master.hellos) == 1
    assert not caller.waits


@pytest.mark.parametrize("address", ["tcp://nowhere", "ipc://", "carrier-pigeon://loft", "ipc:///tmp/" + "x" * 200])
def test_a_malformed_address_fails_at_once(turner, dial, address):
    caller = dial(address, patience=None)

    assert [type(error) for error in caller.errors] == [AddressError]
    assert not turner.loop._timers


def test_where_nobody_listens_patience_ends_saying_what_was_tried(turner, dial):
    address = closed_port()

    caller = dial(address, patience=0.3)
    turner.until(lambda: caller.errors)

    (error,) = caller.errors
    assert isinstance(error, MasterUnreachable)
    assert f"no master at {address}: tried " in str(error)
    assert "Connection refused" in str(error)
    assert str(error).endswith(f"start one with: concurrent-master --listen {address}")
    assert caller.dialer._attempts > 1


def test_a_host_whose_name_is_not_known_is_no_reason_to_start_a_master(turner, dial, monkeypatch):
    def refuse(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(dialer_module, "connect", refuse)
    caller = dial("tcp://nosuchhost:8081", patience=0.1)

    turner.until(lambda: caller.errors)

    assert str(caller.errors[0]).endswith("the last time: Name or service not known; check the name of the host")


@pytest.mark.parametrize(("patience", "said"), [(3.0, 0), (30.0, 1), (None, 1)])
def test_only_who_waits_long_hears_that_it_waits(turner, dial, monkeypatch, caplog, patience, said):
    monkeypatch.setattr(dialer_module, "TELL_AFTER", 0.0)
    caller = dial(closed_port(), patience=patience)

    turner.until(lambda: caller.dialer._attempts > 2)

    assert len([record for record in caplog.records if " yet (" in record.getMessage()]) == said


def test_a_path_where_nothing_is_is_tried_again_too(turner, dial, runtime_folder):
    caller = dial(f"ipc://{runtime_folder}/socket", patience=0.1)

    turner.until(lambda: caller.errors)

    assert "No such file" in str(caller.errors[0])


def test_a_master_that_comes_later_is_joined(turner, dial, serve, runtime_folder):
    address = f"ipc://{runtime_folder}/socket"
    caller = dial(address)
    turner.until(lambda: caller.dialer._attempts > 1)
    assert caller.joined == caller.errors == []

    serve(address, Kind.WELCOME, WELCOME)
    turner.until(lambda: caller.joined)

    assert caller.errors == []


def test_a_service_that_does_not_answer_is_not_taken_for_a_master(turner, dial, deaf, monkeypatch):
    monkeypatch.setattr(dialer_module, "HELLO_PATIENCE", 0.05)

    caller = dial(deaf, patience=0.1)
    turner.until(lambda: caller.errors)

    assert "does not answer as a Concurrent master would" in str(caller.errors[0])


def test_a_listener_that_accepts_and_says_nothing_is_not_taken_for_a_master(turner, dial, serve, url, monkeypatch):
    monkeypatch.setattr(dialer_module, "HELLO_PATIENCE", 0.05)
    master = serve(url)

    caller = dial(master.url, patience=0.1)
    turner.until(lambda: caller.errors)

    assert "does not answer as a Concurrent master would" in str(caller.errors[0])


def test_another_service_is_not_taken_for_a_master(turner, dial):
    greetings = []

    def greet(server):
        with contextlib.suppress(OSError):  # it was shut down
            while True:
                stream, _ = server.accept()
                with stream:
                    greetings.append(stream.send(b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(64), socket.MSG_NOSIGNAL))

    with socket.create_server(("127.0.0.1", 0)) as server:
        greeter = threading.Thread(target=greet, args=[server])
        greeter.start()
        caller = dial(f"tcp://127.0.0.1:{server.getsockname()[1]}", patience=0.3)
        turner.until(lambda: caller.errors)
        server.shutdown(socket.SHUT_RDWR)
        greeter.join()

    assert greetings
    assert "something else" in str(caller.errors[0])


def test_a_master_that_answers_nonsense_is_given_up(turner, dial, serve, url, monkeypatch):
    monkeypatch.setattr(dialer_module, "HELLO_PATIENCE", 0.05)
    master = serve(url, Kind.LEASES, ["nonsense"])

    caller = dial(master.url, patience=0.1)
    turner.until(lambda: caller.errors)

    assert isinstance(caller.errors[0], MasterUnreachable)


def test_who_stops_dialling_hears_nothing_more(turner, dial):
    caller = dial(closed_port(), patience=0.2)

    caller.dialer.stop()
    caller.dialer.stop()
    turner.settle()

    assert not caller.waits
    assert caller.joined == caller.errors == []


def test_who_stops_between_hello_and_answer_says_goodbye(turner, dial, serve, url):
    master = serve(url)
    caller = dial(master.url)
    turner.until(lambda: master.hellos)

    caller.dialer.stop()
    turner.until(lambda: master.left)

    assert caller.joined == caller.errors == []
    assert not caller.waits


def test_waits_a_little_longer_each_time_and_not_for_ever(turner, dial, monkeypatch):
    monkeypatch.setattr(dialer_module.random, "random", lambda: 0.5)
    delays = []
    monkeypatch.setattr(turner.loop, "after", lambda delay, call: delays.append((delay, call)))
    caller = dial(closed_port(), patience=None)

    for _ in range(15):
        delays[-1][1]()

    waits = [delay for delay, _ in delays]
    assert waits == sorted(waits)
    assert waits[0] == dialer_module.FIRST_DELAY
    assert waits[-1] == dialer_module.LONGEST_DELAY
    assert caller.errors == []
    monkeypatch.undo()
    caller.dialer._timer = None
