"""Links over AF_UNIX streams: large messages, many, and the death of the other end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from concurro.errors import AddressError, ProtocolError
from concurro.transport.addresses import Listener, connect
from concurro.transport.stream import PATH_LIMIT, Channel, StreamLink, connect_stream
from concurro.wire.messages import MESSAGE_LIMIT
from tests.integration.links.turning import Inbox


@pytest.fixture
def pair(turner):
    """Give two connected links with their inboxes."""
    left, right = socket.socketpair()
    inboxes = Inbox(StreamLink(turner.loop, left, "left")), Inbox(StreamLink(turner.loop, right, "right"))
    yield inboxes
    for inbox in inboxes:
        inbox.link.close()


def test_brings_messages_in_order(turner, pair):
    left, right = pair
    sent = [[b"%d" % number] for number in range(1000)]

    for frames in sent:
        left.link.send(frames)
    turner.until(lambda: len(right.messages) == 1000)

    assert right.messages == sent


def test_sends_with_the_flush_not_before(turner, pair):
    left, right = pair

    left.link.send([b"hello"])
    assert left.link.backlog() > 0

    turner.until(lambda: right.messages)
    assert left.link.backlog() == 0


@pytest.mark.parametrize("frames", [[b""], [b"a", b""], [b"", b"b", b"", b"d"], [b"x"] * 64])
def test_brings_any_number_of_frames_empty_ones_too(turner, pair, frames):
    left, right = pair

    left.link.send(frames)
    turner.until(lambda: right.messages)

    assert right.messages == [frames]


def test_brings_buffers_of_any_kind(turner, pair):
    left, right = pair

    left.link.send([b"head", memoryview(b"view"), bytearray(b"array"), memoryview(bytearray(8)).cast("d")])
    turner.until(lambda: right.messages)

    assert right.messages == [[b"head", b"view", b"array", bytes(8)]]


def test_large_messages_both_ways_at_once(turner, pair):
    left, right = pair
    content = os.urandom(1024) * (20 * 1024)

    left.link.send([b"there", content])
    right.link.send([b"back", content])
    turner.until(lambda: left.messages and right.messages)

    assert right.messages == [[b"there", content]]
    assert left.messages == [[b"back", content]]


def test_what_the_kernel_does_not_take_waits_as_backlog(turner, pair):
    left, right = pair
    turner.loop.pause_read(right.link._fd, paused=True)
    for _ in range(20):
        left.link.send([bytes(1024 * 1024)])

    turner.settle()
    assert 10 * 1024 * 1024 < left.link.backlog() < 21 * 1024 * 1024

    turner.loop.pause_read(right.link._fd, paused=False)
    turner.until(lambda: len(right.messages) == 20)
    assert left.link.backlog() == 0


def test_small_messages_may_follow_large_ones(turner, pair):
    left, right = pair
    sent = [[bytes(3_000_000)], [b"small"], [b"many", bytes(1_000_000), b"frames"], [b"end"]]

    for frames in sent:
        left.link.send(frames)
    turner.until(lambda: len(right.messages) == 4)

    assert right.messages == sent


def test_a_message_over_the_limit_is_refused_by_the_sender(pair):
    left, _ = pair

    class Huge(bytes):
        def __len__(self):
            return MESSAGE_LIMIT + 1

    with pytest.raises(ProtocolError):
        left.link.send([Huge()])


def test_close_sends_what_waits(turner, pair):
    left, right = pair
    left.link.send([b"last words"])

    left.link.close()
    turner.until(lambda: right.closed)

    assert right.messages == [[b"last words"]]
    assert right.closed == ["the other end closed the connection"]


def test_the_owner_who_closes_is_not_told(turner, pair):
    left, _ = pair

    left.link.close()
    left.link.close()
    turner.settle()

    assert left.closed == []
    assert left.link.closed


def test_closing_towards_a_dead_peer_tells_nobody(turner, pair):
    left, right = pair
    right.link.send([b"unread"])
    turner.settle()
    left.link.send([b"too late"])
    right.link._stream.shutdown(socket.SHUT_RDWR)

    left.link.close()

    assert left.closed == []


def test_sending_on_a_closed_link_is_ignored(turner, pair):
    left, right = pair
    left.link.close()

    left.link.send([b"nothing"])
    turner.until(lambda: right.closed)

    assert right.messages == []


def test_no_message_comes_after_the_owner_closed(turner, pair):
    left, right = pair
    heard = []

    def hear(frames):
        heard.append(frames)
        right.link.close()

    right.link.on_message = hear
    for number in range(5):
        left.link.send([b"%d" % number])
    turner.until(lambda: left.closed)

    assert len(heard) == 1


def test_garbage_closes_the_link_and_says_so(turner):
    ours, theirs = socket.socketpair()
    inbox = Inbox(StreamLink(turner.loop, ours))

    theirs.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    turner.until(lambda: inbox.closed)

    assert inbox.messages == []
    assert inbox.closed[0].startswith("not our protocol")
    theirs.close()


def test_the_death_of_a_process_is_seen_after_what_it_said(turner):
    ours, theirs = socket.socketpair()
    inbox = Inbox(StreamLink(turner.loop, ours))
    code = (
        "import os, signal, socket, sys\n"
        "stream = socket.socket(fileno=int(sys.argv[1]))\n"
        "stream.sendall(b'\\x01\\0\\0\\0\\x05\\0\\0\\0hello' + b'\\x01\\0\\0\\0\\x05\\0\\0\\0hal')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()

    turner.until(lambda: inbox.closed)
    child.wait(30)

    assert inbox.messages == [[b"hello"]]
    assert len(inbox.closed) == 1


def test_what_a_peer_said_before_it_went_counts_although_writing_fails_first(turner, pair):
    left, right = pair
    right.link.send([b"last words"])
    right.link.close()

    left.link.send([b"hello?"])
    left.link._flush()

    assert left.messages == [[b"last words"]]
    assert len(left.closed) == 1


def test_a_blocking_channel_speaks_with_a_link(turner):
    ours, theirs = socket.socketpair()
    inbox = Inbox(StreamLink(turner.loop, ours))
    channel = Channel(theirs)

    channel.send([b"one"])
    channel.send([b"two", b"parts"])
    turner.until(lambda: len(inbox.messages) == 2)
    inbox.link.send([b"answer", b"", b"in parts"])
    inbox.link.send([b"another"])
    turner.settle()
    answers = [channel.receive(), channel.receive()]
    inbox.link.close()

    assert inbox.messages == [[b"one"], [b"two", b"parts"]]
    assert answers == [[b"answer", b"", b"in parts"], [b"another"]]
    assert channel.receive() is None
    channel.close()


# Listening


def test_a_listener_gives_a_link_per_connection(turner, runtime_folder):
    inboxes = []
    listener = Listener(turner.loop, f"ipc://{runtime_folder}/socket", lambda link: inboxes.append(Inbox(link)))
    links = [connect(turner.loop, listener.url) for _ in range(3)]

    for number, link in enumerate(links):
        link.send([b"%d" % number])
    turner.until(lambda: len([inbox for inbox in inboxes if inbox.messages]) == 3)

    assert sorted(inbox.messages[0] for inbox in inboxes) == [[b"0"], [b"1"], [b"2"]]
    assert inboxes[0].link.peer_uid() == os.getuid()
    for link in [*links, *(inbox.link for inbox in inboxes)]:
        link.close()
    listener.close()


def test_a_listener_leaves_no_socket_behind_and_lets_only_its_user_in(turner, runtime_folder):
    path = runtime_folder / "socket"
    listener = Listener(turner.loop, f"ipc://{path}", lambda link: None)
    assert path.stat().st_mode & 0o777 == 0o600

    listener.close()
    listener.close()

    assert not path.exists()


def test_refuses_an_address_where_somebody_listens(turner, runtime_folder):
    url = f"ipc://{runtime_folder}/socket"
    listener = Listener(turner.loop, url, lambda link: link.close())

    with pytest.raises(AddressError, match="another process listens there already"):
        Listener(turner.loop, url, lambda link: None)

    turner.settle()
    listener.close()


def test_removes_a_socket_that_nobody_listens_on_any_more(turner, runtime_folder):
    path = runtime_folder / "socket"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    assert path.exists()

    listener = Listener(turner.loop, f"ipc://{path}", lambda link: None)

    listener.close()
    assert not path.exists()


def test_leaves_alone_what_is_no_socket(turner, runtime_folder):
    path = runtime_folder / "precious"
    path.write_text("results of a year")

    with pytest.raises(AddressError, match="not a socket"):
        Listener(turner.loop, f"ipc://{path}", lambda link: None)

    assert path.read_text() == "results of a year"
    path.unlink()


def test_refuses_a_path_that_the_kernel_would_cut(turner, runtime_folder):
    path = str(runtime_folder / ("x" * PATH_LIMIT))

    with pytest.raises(AddressError, match="the path has"):
        Listener(turner.loop, f"ipc://{path}", lambda link: None)
    with pytest.raises(AddressError, match="choose a shorter folder"):
        connect_stream(turner.loop, path)


def test_refuses_a_folder_that_is_not_there(turner, runtime_folder):
    with pytest.raises(AddressError, match="cannot listen"):
        Listener(turner.loop, f"ipc://{runtime_folder}/nowhere/socket", lambda link: None)


def test_connecting_where_nobody_listens_is_an_os_error(turner, runtime_folder):
    with pytest.raises(OSError, match="No such file"):
        connect(turner.loop, f"ipc://{runtime_folder}/socket")


def test_a_paused_link_delivers_when_it_goes_on(turner, pair):
    left, right = pair
    right.link.pause(paused=True)
    left.link.send([b"waits"])
    right.link.send([b"goes"])
    turner.until(lambda: left.messages)
    before = list(right.messages)

    right.link.pause(paused=False)
    turner.until(lambda: right.messages)

    assert before == []
    assert right.messages == [[b"waits"]]


def test_a_stand_in_sends_behind_what_was_queued_before(turner, pair):
    left, right = pair
    left.link.send([b"first"])

    turner.loop.stand_in(lambda: left.link.send([b"second"]))
    turner.until(lambda: len(right.messages) == 2)

    assert right.messages == [[b"first"], [b"second"]]


def test_an_end_that_a_stand_in_finds_is_told_by_the_loop(turner, pair):
    left, right = pair
    told = []
    left.link.on_closed = lambda reason: told.append(turner.loop.lent)
    turner.loop.unwatch(left.link._fd)
    right.link.close()

    turner.loop.stand_in(lambda: left.link.send([b"too late"]))
    assert told == []

    turner.until(lambda: told)
    assert told == [False]
