"""Blobs that pass through the master: who is asked, who gets what."""

from __future__ import annotations

import pytest

from concurro.errors import ProtocolError
from concurro.nodes.relay import MOST_ASKED, BlobRelay
from concurro.wire.blobs import BlobStore, digest_of
from concurro.wire.messages import CHUNK_SIZE, Kind, Message
from concurro.wire.segments import MAP_THRESHOLD, SegmentPool

CONTENT = bytes(range(256)) * 4
DIGEST = digest_of(CONTENT)
SIZE = len(CONTENT)
BLOBS = [[0, DIGEST, len(CONTENT)]]
HOST = ("host", 1)
NORTH, SOUTH, EAST = ("slave", "north"), ("slave", "south"), ("slave", "east")


class Network:
    """A relay and what it sent; peers in `gone` hear nothing."""

    def __init__(self):
        self.spool = BlobStore()
        self.sent = []
        self.gone = set()
        self.relay = BlobRelay(self.spool, self.send)

    def send(self, peer, kind, body, frames):
        if peer in self.gone:
            return False
        self.sent.append((peer, kind, body, [bytes(frame) for frame in frames]))
        return True

    def take(self):
        taken, self.sent = self.sent, []
        return taken

    def get(self, peer, offset=0, digest=DIGEST, size=SIZE):
        self.relay.handle(peer, Message(Kind.BLOB_GET, 0, 0, [digest, size, offset, min(size, CHUNK_SIZE)]))

    def chunk(self, peer, content=CONTENT, offset=0, digest=DIGEST, size=SIZE):
        self.relay.handle(peer, Message(Kind.BLOB_CHUNK, 0, 0, [digest, size, offset], (content,)))

    def missing(self, peer):
        self.relay.handle(peer, Message(Kind.BLOB_MISSING, 0, 0, [DIGEST, len(CONTENT)]))


GET = [DIGEST, len(CONTENT), 0, len(CONTENT)]
CHUNK = [DIGEST, len(CONTENT), 0]
MISSING = [DIGEST, len(CONTENT)]


@pytest.fixture
def network():
    return Network()


def test_asks_the_holder_and_forwards_the_chunk_untouched(network):
    network.relay.offer(HOST, BLOBS, 1)

    network.get(NORTH)
    assert network.take() == [(HOST, Kind.BLOB_GET, GET, [])]

    network.chunk(HOST)
    assert network.take() == [(NORTH, Kind.BLOB_CHUNK, CHUNK, [CONTENT])]


def test_several_who_wait_get_one_stream_of_chunks(network):
    network.relay.offer(HOST, BLOBS, 1)

    network.get(NORTH)
    network.get(SOUTH)
    assert network.take() == [(HOST, Kind.BLOB_GET, GET, [])]

    network.chunk(HOST)
    assert [(peer, frames) for peer, _, _, frames in network.take()] == [(NORTH, [CONTENT]), (SOUTH, [CONTENT])]


def test_says_that_nobody_has_a_blob(network):
    network.get(NORTH)

    assert network.take() == [(NORTH, Kind.BLOB_MISSING, MISSING, [])]


def test_does_not_ask_the_peer_that_asks(network):
    network.relay.offer(NORTH, BLOBS, 1)

    network.get(NORTH)

    assert network.take() == [(NORTH, Kind.BLOB_MISSING, MISSING, [])]


def test_asks_another_holder_when_the_first_one_leaves(network):
    network.relay.offer(NORTH, BLOBS, 1)
    network.relay.offer(SOUTH, BLOBS, 1)
    network.get(HOST)
    network.take()

    network.relay.peer_left(NORTH)
    assert network.take() == [(SOUTH, Kind.BLOB_GET, GET, [])]

    network.chunk(SOUTH)
    assert network.take() == [(HOST, Kind.BLOB_CHUNK, CHUNK, [CONTENT])]


def test_asks_another_holder_when_the_first_one_has_it_no_more(network):
    network.relay.offer(NORTH, BLOBS, 1)
    network.relay.offer(SOUTH, BLOBS, 1)
    network.get(HOST)
    network.take()

    network.missing(NORTH)
    assert network.take() == [(SOUTH, Kind.BLOB_GET, GET, [])]

    network.missing(SOUTH)
    assert network.take() == [(HOST, Kind.BLOB_MISSING, MISSING, [])]


def test_tells_who_waits_when_the_last_holder_leaves(network):
    network.relay.offer(NORTH, BLOBS, 1)
    network.get(HOST)
    network.get(SOUTH)
    network.take()

    network.relay.peer_left(NORTH)

    assert network.take() == [(HOST, Kind.BLOB_MISSING, MISSING, []), (SOUTH, Kind.BLOB_MISSING, MISSING, [])]


def test_who_wants_a_blob_waits_for_the_only_holder_to_come_back(network):
    network.relay.offer(HOST, BLOBS, 1)
    network.get(NORTH)
    network.take()
    network.relay.peer_away(HOST)
    network.get(SOUTH)
    before = network.take()

    network.relay.peer_back(HOST)
    asked = network.take()
    network.chunk(HOST)

    assert before == []
    assert asked == [(HOST, Kind.BLOB_GET, GET, [])]
    assert [peer for peer, *_ in network.take()] == [NORTH, SOUTH]


def test_another_holder_is_asked_while_the_first_one_is_away(network):
    network.relay.offer(HOST, BLOBS, 1)
    network.relay.offer(SOUTH, BLOBS, 1)
    network.relay.peer_away(HOST)

    network.get(NORTH)

    assert network.take() == [(SOUTH, Kind.BLOB_GET, GET, [])]


def test_who_waits_for_a_holder_that_never_comes_back_is_told(network):
    network.relay.offer(HOST, BLOBS, 1)
    network.relay.peer_away(HOST)
    network.get(NORTH)

    network.relay.peer_left(HOST)

    assert network.take() == [(NORTH, Kind.BLOB_MISSING, MISSING, [])]


def test_what_is_kept_for_another_owner_outlives_the_first(network):
    network.spool.put(CONTENT, "result", DIGEST)

    network.relay.keep([DIGEST, b"of nobody"], 1)
    network.relay.drop("result")
    stays = DIGEST in network.spool
    network.relay.drop(1)

    assert stays


def test_a_holder_that_was_gone_when_it_was_offered_keeps_nobody_waiting(network):
    network.gone.add(NORTH)
    network.relay.offer(NORTH, BLOBS, 1)

    network.get(HOST)

    assert network.take() == [(HOST, Kind.BLOB_MISSING, MISSING, [])]


def test_who_left_gets_no_chunk(network):
    network.relay.offer(HOST, BLOBS, 1)
    network.get(NORTH)
    network.get(SOUTH)
    network.take()

    network.relay.peer_left(NORTH)
    network.chunk(HOST)

    assert [peer for peer, *_ in network.take()] == [SOUTH]


def test_a_chunk_that_nobody_waits_for_is_dropped(network):
    network.relay.offer(HOST, BLOBS, 1)

    network.chunk(HOST)

    assert network.take() == []


def test_a_chunk_of_somebody_who_was_not_asked_is_dropped(network):
    network.relay.offer(HOST, BLOBS, 1)
    network.get(NORTH)
    network.take()

    network.chunk(SOUTH, b"forged" * 100)

    assert network.take() == []


def test_what_no_owner_has_any_more_is_forgotten(network):
    network.relay.offer(HOST, BLOBS, 1)
    network.relay.offer(HOST, BLOBS, 2)

    network.relay.drop(1)
    network.get(NORTH)
    assert network.take()[0][0] == HOST

    network.relay.drop(2)
    network.get(SOUTH, offset=CHUNK_SIZE)
    assert network.take() == [(SOUTH, Kind.BLOB_MISSING, MISSING, [])]


def test_fetches_blobs_into_the_spool_and_serves_them_itself(network):
    outcome = []
    network.relay.spool(HOST, BLOBS, 1, outcome.append)
    assert network.take() == [(HOST, Kind.BLOB_GET, GET, [])]

    network.chunk(HOST)
    network.relay.peer_left(HOST)
    network.get(NORTH)

    assert outcome == [None]
    assert network.take() == [(NORTH, Kind.BLOB_CHUNK, CHUNK, [CONTENT])]


def test_what_is_in_the_spool_already_is_there_at_once(network):
    network.spool.put(CONTENT)
    outcome = []

    network.relay.spool(HOST, BLOBS, 1, outcome.append)

    assert outcome == [None]
    assert network.take() == []


def test_the_spool_and_a_peer_share_one_stream_of_chunks(network):
    outcome = []
    network.relay.spool(HOST, BLOBS, 1, outcome.append)
    network.get(NORTH)
    assert [kind for _, kind, *_ in network.take()] == [Kind.BLOB_GET]

    network.chunk(HOST)

    assert outcome == [None]
    assert network.take() == [(NORTH, Kind.BLOB_CHUNK, CHUNK, [CONTENT])]


def test_says_why_blobs_did_not_reach_the_spool(network):
    outcome = []
    network.relay.spool(HOST, BLOBS, 1, outcome.append)

    network.relay.peer_left(HOST)

    assert len(outcome) == 1
    assert "nobody has it" in outcome[0]


def test_the_spool_asks_another_holder_too(network):
    outcome = []
    network.relay.offer(NORTH, BLOBS, 1)
    network.relay.spool(HOST, BLOBS, 1, outcome.append)
    network.relay.peer_left(NORTH)

    network.chunk(HOST)

    assert outcome == [None]


def test_a_large_blob_reaches_the_spool_in_pieces(network):
    content = bytes(3 * CHUNK_SIZE + 5)
    digest = digest_of(content)
    outcome = []
    network.relay.spool(HOST, [[0, digest, len(content)]], 1, outcome.append)
    requests = [body for _, _, body, _ in network.take()]

    for _, _, offset, length in requests:
        network.chunk(HOST, content[offset : offset + length], offset, digest, len(content))

    assert outcome == [None]
    assert bytes(network.spool.get(digest)) == content


@pytest.mark.parametrize("chunks", [1, 3])
def test_what_is_kept_elsewhere_comes_into_the_spool_without_its_holder(network, chunks):
    content = bytes(range(256)) * (CHUNK_SIZE // 256 * chunks)
    digest, done = digest_of(content), []
    network.relay.fallback = {digest: content}.get

    network.relay.spool(HOST, [[0, digest, len(content)]], 1, done.append)

    assert done == [None]
    assert bytes(network.spool.get(digest)) == content
    assert network.take() == []


def test_what_is_kept_elsewhere_meanwhile_ends_the_way_into_the_spool(network):
    content = bytes(range(256)) * (CHUNK_SIZE // 256 * 12)
    digest, size, done = digest_of(content), len(content), []
    network.relay.spool(HOST, [[0, digest, size]], 1, done.append)
    asked = [body[2] for _, _, body, _ in network.take()]
    network.relay.fallback = {digest: content}.get

    network.get(NORTH, 11 * CHUNK_SIZE, digest, size)
    for offset in asked:
        network.chunk(HOST, content[offset : offset + CHUNK_SIZE], offset, digest, size)

    assert len(asked) < 11
    assert done == [None]


def test_what_is_kept_elsewhere_is_given_when_the_holder_that_came_back_has_it_not(network):
    network.relay.offer(HOST, BLOBS, 1)
    network.get(NORTH)
    network.get(SOUTH)
    network.relay.peer_away(HOST)
    network.relay.peer_back(HOST)
    network.relay.fallback = {DIGEST: CONTENT}.get
    network.take()

    network.missing(HOST)

    assert network.take() == [(peer, Kind.BLOB_CHUNK, CHUNK, [CONTENT]) for peer in (NORTH, SOUTH)]


def test_a_peer_that_waits_for_too_many_chunks_is_refused_more_and_others_are_not(network):
    network.relay.offer(HOST, BLOBS, 1)
    for number in range(MOST_ASKED):
        network.get(NORTH, offset=number * CHUNK_SIZE)

    with pytest.raises(ProtocolError, match=f"behind {MOST_ASKED} that have not come"):
        network.get(NORTH, offset=MOST_ASKED * CHUNK_SIZE)
    network.take()
    network.get(SOUTH, offset=MOST_ASKED * CHUNK_SIZE)

    assert [peer for peer, *_ in network.take()] == [HOST]


def test_what_was_answered_or_asked_again_does_not_count_against_a_peer(network):
    network.relay.offer(HOST, BLOBS, 1)
    for number in range(3 * MOST_ASKED):
        network.get(NORTH, offset=number * CHUNK_SIZE)
        network.get(NORTH, offset=number * CHUNK_SIZE)
        network.chunk(HOST, offset=number * CHUNK_SIZE)

    answered = [kind for peer, kind, *_ in network.take() if peer == NORTH]

    assert answered == [Kind.BLOB_CHUNK] * (3 * MOST_ASKED)


def test_nothing_is_remembered_of_what_a_peer_asked_for_that_left(network):
    network.relay.offer(HOST, BLOBS, 1)
    for number in range(MOST_ASKED):
        network.get(NORTH, offset=number * CHUNK_SIZE)

    network.relay.peer_left(NORTH)
    network.get(NORTH, offset=MOST_ASKED * CHUNK_SIZE)

    assert network.relay._asked_by == {NORTH: {(DIGEST, MOST_ASKED * CHUNK_SIZE)}}


# Descriptors

LARGE = digest_of(b"large")
LARGE_SIZE = 2 * MAP_THRESHOLD


class OneMachine(Network):
    """A relay all of whose peers take descriptors, but EAST."""

    def __init__(self):
        super().__init__()
        self.relay = BlobRelay(self.spool, self.send, passes=lambda peer: peer != EAST)

    def send(self, peer, kind, body, frames):
        self.sent.append((peer, kind, body, list(frames)))
        return True

    def map(self, peer):
        self.relay.handle(peer, Message(Kind.BLOB_MAP, 0, 0, [LARGE, LARGE_SIZE]))

    def mapped(self, peer, *frames):
        self.relay.handle(peer, Message(Kind.BLOB_MAPPED, 0, 0, [LARGE, LARGE_SIZE], frames))


@pytest.fixture
def machine():
    return OneMachine()


def segment():
    descriptor = SegmentPool().fill(bytes(LARGE_SIZE))
    if descriptor is None:
        pytest.skip("this system has no segments")
    return descriptor


def test_a_descriptor_is_asked_for_once_and_goes_to_all_who_wait(machine):
    machine.relay.offer(HOST, [[0, LARGE, LARGE_SIZE]], 1)
    machine.map(NORTH)
    machine.map(SOUTH)
    assert machine.take() == [(HOST, Kind.BLOB_MAP, [LARGE, LARGE_SIZE], [])]

    descriptor = segment()
    machine.mapped(HOST, descriptor)

    assert [(peer, kind, frames) for peer, kind, _, frames in machine.take()] == [
        (NORTH, Kind.BLOB_MAPPED, [descriptor]),
        (SOUTH, Kind.BLOB_MAPPED, [descriptor]),
    ]


def test_a_holder_elsewhere_is_not_asked_for_a_descriptor(machine):
    machine.relay.offer(EAST, [[0, LARGE, LARGE_SIZE]], 1)

    machine.map(NORTH)

    assert machine.take() == [(NORTH, Kind.BLOB_MAPPED, [LARGE, LARGE_SIZE], [])]


def test_when_the_holder_of_a_descriptor_leaves_another_is_asked(machine):
    machine.relay.offer(NORTH, [[0, LARGE, LARGE_SIZE]], 1)
    machine.relay.offer(SOUTH, [[0, LARGE, LARGE_SIZE]], 1)
    machine.map(HOST)
    machine.take()

    machine.relay.peer_left(NORTH)

    assert machine.take() == [(SOUTH, Kind.BLOB_MAP, [LARGE, LARGE_SIZE], [])]


def test_the_spool_keeps_a_descriptor_and_gives_it_on(machine):
    ends = []
    machine.relay.spool(NORTH, [[0, LARGE, LARGE_SIZE]], 1, ends.append)
    descriptor = segment()
    machine.take()
    machine.mapped(NORTH, descriptor)
    assert ends == [None]

    machine.map(SOUTH)

    assert machine.take() == [(SOUTH, Kind.BLOB_MAPPED, [LARGE, LARGE_SIZE], [descriptor])]


def test_what_the_spool_has_as_a_descriptor_goes_elsewhere_in_chunks(machine):
    machine.relay.spool(NORTH, [[0, LARGE, LARGE_SIZE]], 1, lambda error: None)
    machine.mapped(NORTH, segment())
    machine.take()

    machine.get(EAST, digest=LARGE, size=LARGE_SIZE)

    assert [(peer, kind, len(frames[0])) for peer, kind, _, frames in machine.take()] == [
        (EAST, Kind.BLOB_CHUNK, CHUNK_SIZE)
    ]


def test_an_answer_that_nobody_asked_for_is_dropped(machine):
    machine.mapped(NORTH, segment())

    assert machine.take() == []


def test_a_peer_that_does_not_answer_holds_up_no_other(network):
    done = []
    names = [digest_of(b"%d" % number) for number in range(1000)]
    network.relay.spool(HOST, [[0, name, CHUNK_SIZE] for name in names], "news", done.append)

    network.relay.spool(NORTH, BLOBS, "result", done.append)
    asked = network.take()
    network.chunk(NORTH)

    assert asked[-1] == (NORTH, Kind.BLOB_GET, GET, [])
    assert done == [None]
