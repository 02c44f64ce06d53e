"""Blobs on their way: both ends, and everything that may come in between."""

from __future__ import annotations

import pytest

from concurro.errors import ProtocolError
from concurro.wire.blobs import BlobStore, digest_of
from concurro.wire.messages import CHUNK_SIZE, Kind, Message
from concurro.wire.transfer import IN_FLIGHT, MOST_REQUESTS, WINDOW, BlobTransfer


class End:
    """One end of a connection."""

    def __init__(self):
        self.store = BlobStore()
        self.sent = []
        self.transfer = BlobTransfer(self.store, lambda kind, body, frames: self.sent.append((kind, body, frames)))
        self.outcomes = []

    def fetch(self, *contents, owner="owner"):
        self.transfer.fetch(blobs_of(*contents), owner, self.outcomes.append)

    def take(self):
        taken, self.sent = self.sent, []
        return taken


class FullPlace:
    """Has no memory for any chunk."""

    def __init__(self, size):
        self.size = size

    def write(self, offset, chunk):
        message = "no memory"
        raise ProtocolError(message)


def blobs_of(*contents):
    return [[0, digest_of(content), len(content)] for content in contents]


def exchange(left, right):
    """Carry messages until nobody has anything to say."""
    while left.sent or right.sent:
        for sender, receiver in ((left, right), (right, left)):
            for kind, body, frames in sender.take():
                receiver.transfer.handle(Message(kind, 0, 0, body, frames))


def carry(sent, receiver):
    for kind, body, frames in sent:
        receiver.transfer.handle(Message(kind, 0, 0, body, frames))


def exchange_until(left, right, ready):
    """Carry messages until something is so."""
    while not ready():
        carry(left.take(), right)
        carry(right.take(), left)


@pytest.fixture
def here():
    return End()


@pytest.fixture
def there():
    return End()


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 10 * CHUNK_SIZE + 7])
def test_brings_a_blob_of_any_size(here, there, size):
    content = bytes(size)
    there.store.put(content, "kept")

    here.fetch(content)
    exchange(here, there)

    assert here.outcomes == [None]
    assert bytes(here.store.get(digest_of(content))) == content


def test_calls_back_at_once_when_nothing_is_missing(here):
    here.store.put(b"here already")

    here.fetch(b"here already")

    assert here.outcomes == [None]
    assert here.sent == []


def test_what_is_here_already_gets_the_new_owner(here):
    here.store.put(b"cached")
    assert here.store.cached == 6

    here.fetch(b"cached")

    assert here.store.cached == 0


def test_asks_for_a_bounded_number_of_chunks_at_once(here):
    here.fetch(bytes(100 * CHUNK_SIZE))

    assert len(here.sent) == IN_FLIGHT


def test_asks_for_a_bounded_number_of_bytes_at_once_however_many_blobs_are_wanted(here, there):
    contents = [bytes([number]) * CHUNK_SIZE for number in range(40)]
    for content in contents:
        there.store.put(content, "kept")

    here.fetch(*contents)
    at_once = sum(body[3] for _, body, _ in here.sent)
    exchange(here, there)

    assert at_once == WINDOW
    assert here.outcomes == [None]


def test_asks_for_a_bounded_number_of_small_blobs_at_once(here, there):
    contents = [number.to_bytes(2, "big") for number in range(3 * MOST_REQUESTS)]
    for content in contents:
        there.store.put(content, "kept")

    here.fetch(*contents)
    at_once = len(here.sent)
    here.transfer.restart()
    again = len(here.sent) - at_once
    exchange(here, there)

    assert at_once == again == MOST_REQUESTS
    assert here.outcomes == [None]


def test_what_was_given_up_makes_room_for_others(here, there):
    lost = [bytes([number]) * CHUNK_SIZE for number in range(40)]
    there.store.put(b"wanted", "kept")
    here.fetch(*lost)
    here.fetch(b"wanted")

    exchange(here, there)

    assert None in here.outcomes


def test_what_there_is_no_memory_for_makes_room_for_others(here, there, monkeypatch):
    monkeypatch.setattr(here.store, "place", FullPlace)
    contents = [bytes([number]) * CHUNK_SIZE for number in range(WINDOW // CHUNK_SIZE)]
    for content in contents:
        there.store.put(content, "owner")
        here.fetch(content)
        carry(here.take(), there)
        carry(there.take(), here)

    here.fetch(b"another")

    assert len(here.outcomes) == len(contents)
    assert all(outcome.endswith(": no memory") for outcome in here.outcomes)
    assert [kind for kind, _, _ in here.take()] == [Kind.BLOB_GET]


def test_a_small_blob_passes_a_large_one(here, there):
    large = bytes(60 * CHUNK_SIZE)
    there.store.put(large, "kept")
    there.store.put(b"small", "kept")
    here.fetch(large)
    here.fetch(b"small", owner="another")

    exchange_until(here, there, lambda: here.outcomes)

    assert bytes(here.store.get(digest_of(b"small"))) == b"small"
    assert digest_of(large) not in here.store


def asked_for(here, there, count):
    """Carry messages until so many chunks were asked for; return whose they are."""
    asked = []
    while len(asked) < count:
        batch = here.take()
        asked += [body[0] for _, body, _ in batch]
        carry(batch, there)
        carry(there.take(), here)
    return asked


def test_of_two_large_blobs_the_older_one_comes_first(here, there):
    contents = [bytes([number]) * (60 * CHUNK_SIZE) for number in range(2)]
    for number, content in enumerate(contents):
        there.store.put(content, "kept")
        here.fetch(content, owner=number)

    asked = asked_for(here, there, 60)

    assert set(asked[:60]) == {digest_of(contents[0])}
    exchange(here, there)
    assert here.outcomes == [None, None]


def test_small_blobs_let_a_large_one_have_every_other_chunk(here):
    large, small = bytes(60 * CHUNK_SIZE), [bytes([number]) for number in range(60)]
    here.fetch(large)
    here.fetch(*small, owner="another")

    asked = [body[0] for _, body, _ in here.take()]

    assert asked.count(digest_of(large)) == IN_FLIGHT
    assert asked[IN_FLIGHT:] == [digest_of(content) for content in small]


def test_a_large_blob_that_was_given_up_lets_the_next_one_come(here, there):
    lost, wanted = (bytes([number]) * (60 * CHUNK_SIZE) for number in range(2))
    there.store.put(wanted, "kept")
    here.fetch(lost, owner="one")
    here.fetch(wanted, owner="other")

    exchange(here, there)

    assert [outcome is None for outcome in here.outcomes] == [False, True]


def test_what_has_come_is_written_and_digested_behind_what_is_asked_for(there):
    content = bytes(20 * CHUNK_SIZE)
    there.store.put(content, "kept")
    here, order = End(), []
    here.transfer = BlobTransfer(here.store, lambda *message: order.append(message), order.append)
    here.fetch(content)
    carry(order[:1], there)
    order.clear()

    carry(there.take(), here)
    request, settle = order

    assert request[0] == Kind.BLOB_GET
    assert callable(settle)


def test_asks_once_for_a_blob_that_two_want(here, there):
    there.store.put(b"wanted", "kept")

    here.fetch(b"wanted", owner="one")
    here.fetch(b"wanted", owner="two")
    assert len(here.sent) == 1
    exchange(here, there)

    assert here.outcomes == [None, None]
    here.store.release("one")
    assert here.store.cached == 0


def test_calls_back_once_when_everything_is_here(here, there):
    there.store.put(b"first", "kept")
    there.store.put(b"second", "kept")

    here.fetch(b"first", b"second", b"first")
    requests = here.take()
    there.transfer.handle(Message(requests[0][0], 0, 0, requests[0][1]))
    for kind, body, frames in there.take():
        here.transfer.handle(Message(kind, 0, 0, body, frames))
    assert here.outcomes == []

    there.transfer.handle(Message(requests[1][0], 0, 0, requests[1][1]))
    exchange(here, there)
    assert here.outcomes == [None]


def test_says_which_blob_nobody_has(here, there):
    here.fetch(b"nowhere")
    exchange(here, there)

    assert here.outcomes == [f"blob {digest_of(b'nowhere').hex()[-12:]}: nobody has it any more"]


def test_refuses_bytes_of_another_blob(here):
    here.fetch(b"wanted")

    here.transfer.handle(Message(Kind.BLOB_CHUNK, 0, 0, [digest_of(b"wanted"), 6, 0], (b"forged",)))

    assert len(here.outcomes) == 1
    assert "not those of its digest" in here.outcomes[0]
    assert digest_of(b"wanted") not in here.store


def test_refuses_to_take_an_empty_blob_for_another(here):
    digest = digest_of(b"not empty")

    here.transfer.fetch([[0, digest, 0]], "owner", here.outcomes.append)

    assert len(here.outcomes) == 1
    assert "not those of its digest" in here.outcomes[0]
    assert digest not in here.store


def test_a_chunk_of_wrong_length_ends_the_fetch(here):
    here.fetch(b"wanted")

    with pytest.raises(ProtocolError, match="expected 6"):
        here.transfer.handle(Message(Kind.BLOB_CHUNK, 0, 0, [digest_of(b"wanted"), 6, 0], (b"short",)))

    assert len(here.outcomes) == 1
    assert "expected 6" in here.outcomes[0]


def test_a_chunk_of_a_blob_that_nobody_wants_is_dropped(here):
    here.transfer.handle(Message(Kind.BLOB_CHUNK, 0, 0, [digest_of(b"unwanted"), 8, 0], (b"unwanted",)))

    assert len(here.store) == 0


def test_the_loss_of_the_peer_fails_every_fetch_with_the_reason(here):
    here.fetch(b"first")
    here.fetch(b"second", b"third")

    here.transfer.fail_all("the peer is gone")

    assert len(here.outcomes) == 2
    assert all("the peer is gone" in outcome for outcome in here.outcomes)


def test_a_blob_may_be_fetched_again_after_a_failure(here, there):
    here.fetch(b"wanted")
    here.transfer.fail_all("the peer is gone")
    here.take()
    there.store.put(b"wanted", "kept")

    here.fetch(b"wanted")
    exchange(here, there)

    assert here.outcomes[1:] == [None]


def test_asks_again_for_what_was_under_way_over_a_new_connection(here, there):
    content = bytes(3 * CHUNK_SIZE)
    there.store.put(content, "kept")
    here.fetch(content)
    first, *_ = here.take()
    there.transfer.handle(Message(first[0], 0, 0, first[1]))
    for kind, body, frames in there.take():
        here.transfer.handle(Message(kind, 0, 0, body, frames))

    here.transfer.restart()
    assert [body[2] for _, body, _ in here.sent] == [CHUNK_SIZE, 2 * CHUNK_SIZE]
    exchange(here, there)

    assert here.outcomes == [None]


def test_serves_no_more_than_a_chunk_at_once(there):
    there.store.put(bytes(10 * CHUNK_SIZE), "kept")
    digest = digest_of(bytes(10 * CHUNK_SIZE))

    there.transfer.handle(Message(Kind.BLOB_GET, 0, 0, [digest, 10 * CHUNK_SIZE, 0, 10 * CHUNK_SIZE]))

    ((_, _, (chunk,)),) = there.take()
    assert len(chunk) == CHUNK_SIZE
