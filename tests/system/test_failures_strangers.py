"""Strangers at the port of a master: lines 55 and 56 of the failure matrix."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from concurro.ids import Role
from concurro.transport.keys_folder import key_in
from concurro.wire.messages import Kind, pack_message, unpack_message
from tests.support.far_cluster import far_node
from tests.support.jobs import (
    Square,
)
from tests.support.keys import dealer_with
from tests.support.messages import hello_body

GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        bytes(range(256)) * 16,
        GREETING + bytes(4096),
        GREETING + b"\x02" + (1 << 62).to_bytes(8, "big") + bytes(100),
    ],
    ids=["http", "garbage", "greeting", "huge frame"],
)
def test_f55_strangers_who_talk_nonsense_are_hung_up_on_and_nobody_else_notices(far, words):
    with ExitStack() as stack:
        streams = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(far.url)), timeout=10))
            for _ in range(20)
        ]
        for stream in streams:
            stream.sendall(words)
            with suppress(OSError):  # the master may have hung up already
                stream.shutdown(socket.SHUT_WR)

        assert far.node.push_task(Square(4)).result(30) == 16
        assert all(ends(stream) for stream in streams)


@pytest.mark.slow
@pytest.mark.parametrize(
    "frames",
    [[b"garbage"], [b""], [b"\xc1" * 100], [pack_message(Kind.LEASES, [])], [pack_message(Kind.HELLO, [1, 2, 3])]],
    ids=["garbage", "nothing", "no msgpack", "wrong kind", "wrong fields"],
)
def test_f55_a_peer_with_a_key_that_talks_nonsense_is_hung_up_on_and_nobody_else_notices(far, frames):
    key = key_in(Path(far.security["keys"]), Role.SLAVE)
    before = psutil.Process(far.master.pid).memory_info().rss
    with dealer_with(key, port_of(far.url)) as dealer:
        for _ in range(50):
            dealer.send_multipart(frames)
        answered = dealer.poll(5000)

        assert far.node.push_task(Square(4)).result(30) == 16

    assert answered
    assert len(far.slaves()) == 1
    assert psutil.Process(far.master.pid).memory_info().rss - before < 50e6


@pytest.mark.slow
def test_f55_who_has_the_key_of_an_application_is_no_slave(far):
    key = key_in(Path(far.security["keys"]), Role.APPLICATION)
    with dealer_with(key, port_of(far.url)) as dealer:
        dealer.send(pack_message(Kind.HELLO, hello_body("slave")))
        assert dealer.poll(5000)
        answer = unpack_message(dealer.recv_multipart())

    assert (answer.kind, answer.body[0]) == (Kind.REFUSED, "role")


@pytest.mark.slow
def test_f56_thousands_of_half_open_connections_keep_nobody_out(far):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with ExitStack() as stack:
        for _ in range(min(2000, limit // 3)):
            stream = stack.enter_context(socket.socket())
            stream.settimeout(0)
            stream.connect_ex(("127.0.0.1", port_of(far.url)))

        square = far.node.push_task(Square(5)).result(30)
        with far_node(far) as another:
            again = another.push_task(Square(6)).result(30)

    assert (square, again) == (25, 36)
    assert len(far.slaves()) == 1


def port_of(url):
    return int(url.rsplit(":", 1)[1])


def ends(stream):
    """Say whether the other end hangs up in time."""
    try:
        while stream.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True
