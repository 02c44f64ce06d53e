"""Strangers and impostors at the open port of a real master: they get neither code nor data in or out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import zmq

from concurro import ApplicationNode
from concurro.nodes.peer import PROTOCOL_ERROR_LIMIT
from concurro.transport.keys import PeerKey, new_pair, read_peer
from concurro.transport.keys_folder import KeyFolder
from concurro.wire.messages import Farewell, Kind, pack_message, unpack_message
from concurro.wire.schema import Sender
from concurro.wire.session import OF_A_CONNECTION
from tests.fuzz.test_cores import SPEAKERS
from tests.support.keys import dealer_with
from tests.support.leftovers import watch_leftovers
from tests.support.messages import SAMPLES, hello_body
from tests.support.nodes import node_process

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 20_000
"""How long an answer may take [ms]."""

ROLES = ("slave", "application", "admin")
REFUSED = zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL


class Port(NamedTuple):
    """A master with keys, whom it knows, and an application of it."""

    number: int
    folder: KeyFolder
    keys: dict[str, PeerKey]
    node: ApplicationNode

    def assert_untouched(self) -> None:
        """Prove that nobody got in, and that the master works."""
        status: dict[str, Any] = self.node.status()
        assert (status["slaves"], status["systems"]) == ([], [])


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[Port]:
    folder = KeyFolder(tmp_path_factory.mktemp("port") / "keys")
    folder.create()
    keys = {role: read_peer(folder.add(role, f"the-{role}")) for role in ROLES}
    config = {"master": {"listen": "tcp://127.0.0.1:0"}, "security": {"keys": str(folder.path)}}
    with watch_leftovers(), node_process("MasterNode", config) as master:
        url = master.stdout.readline().split()[1]
        own = folder.path / "the-application.key"
        with ApplicationNode(url, config={"security": {"keys": str(own)}}) as node:
            yield Port(int(url.rpartition(":")[2]), folder, keys, node)


def unknown(port: Port, role: str) -> PeerKey:
    """Return a key that this master never gave, although it says otherwise."""
    return replace(port.keys[role], pair=new_pair())


def revoked(port: Port, role: str) -> PeerKey:
    name = f"once-{role}"
    key = read_peer(port.folder.add(role, name))
    port.folder.revoke(name)
    return key


def of_another_master(port: Port, role: str) -> PeerKey:
    return replace(port.keys[role], master=new_pair().public)


STRANGERS = {
    "no key": lambda port, role: None,
    "unknown key": unknown,
    "revoked key": revoked,
    "key of another master": of_another_master,
}


@pytest.mark.parametrize("make_key", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("role", ROLES)
def test_a_stranger_is_not_even_answered(port, role, make_key):
    with dealer_with(make_key(port, role), port.number) as dealer:
        events = dealer.get_monitor_socket(REFUSED | zmq.Event.DISCONNECTED)
        dealer.send(pack_message(Kind.HELLO, hello_body(role)))
        dealer.send(pack_message(Kind.SUBMIT, [1, "system-x", "Job", b"p", None, {}], 1))

        hung_up = events.poll(PATIENCE)
        heard = dealer.poll(0)
        dealer.disable_monitor()
        events.close(0)

    assert hung_up
    assert not heard
    port.assert_untouched()


@pytest.mark.parametrize(
    ("role", "claimed"), [("slave", "application"), ("slave", "admin"), ("application", "slave"), ("admin", "slave")]
)
def test_a_key_gives_no_other_role(port, role, claimed):
    with dealer_with(port.keys[role], port.number) as dealer:
        dealer.send(pack_message(Kind.HELLO, hello_body(claimed, client_id="c")))
        assert dealer.poll(PATIENCE)
        answer = unpack_message(dealer.recv_multipart())

    assert (answer.kind, answer.body[0]) == (Kind.REFUSED, "role")
    port.assert_untouched()


def foreign(role: Sender) -> list[Any]:
    """Return a valid message of each kind that a peer of this role must not send."""
    return [
        sample
        for sample in SAMPLES
        if role not in SPEAKERS.get(sample.kind, {sample.sender}) and sample.kind not in (Kind.HELLO, Kind.BIND)
    ]


@pytest.mark.parametrize("role", ROLES)
def test_a_peer_that_says_what_only_others_say_is_hung_up_on_after_ten(port, role):
    messages = foreign(Sender(role))
    assert len(messages) >= PROTOCOL_ERROR_LIMIT
    with dealer_with(port.keys[role], port.number) as dealer:
        dealer.send(pack_message(Kind.HELLO, hello_body(role, client_id="c", workers=0)))
        seq = 0
        for sample in messages:
            seq += sample.kind not in OF_A_CONNECTION
            number = seq if sample.kind not in OF_A_CONNECTION else 0
            dealer.send_multipart([pack_message(sample.kind, sample.body, number), *sample.frames])

        heard = []
        while not heard or heard[-1].kind != Kind.GOODBYE:
            assert dealer.poll(PATIENCE), heard
            heard.append(unpack_message(dealer.recv_multipart()))

    assert heard[0].kind == Kind.WELCOME
    assert heard[-1].body[1] == Farewell.PROTOCOL
    assert {message.kind for message in heard} <= {Kind.WELCOME, Kind.HEARTBEAT, Kind.GOODBYE}
    port.assert_untouched()
