"""One blob that arrives in chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurro.errors import ProtocolError
from concurro.ids import BlobRef
from concurro.wire.assembly import Assembly
from concurro.wire.blobs import BlobStore, digest_of
from concurro.wire.messages import CHUNK_SIZE
from concurro.wire.pages import HUGE_FROM, copy_of, new_buffer
from concurro.wire.segments import Descriptor, SegmentPool

if TYPE_CHECKING:
    import random


def requests_of(assembly, most=1000):
    """Ask for everything that may be asked for."""
    return [request for _ in range(most) if (request := assembly.next_request()) is not None]


@given(
    size=st.sampled_from([0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE, HUGE_FROM + CHUNK_SIZE + 5]),
    order=st.randoms(use_true_random=False),
)
def test_a_blob_is_whole_whatever_the_order_of_its_chunks(size, order: random.Random):
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assembly = Assembly(BlobRef(digest_of(content), size))
    waiting = requests_of(assembly)

    while waiting:
        offset, length = waiting.pop(order.randrange(len(waiting)))
        assembly.add(offset, content[offset : offset + length])
        if order.random() < 0.5:
            assembly.settle()

    assert assembly.finish() == content


def test_wrong_bytes_are_noticed_at_the_end():
    assembly = Assembly(BlobRef(digest_of(b"abc"), 3))
    assembly.next_request()
    assembly.add(0, b"abd")

    with pytest.raises(ProtocolError, match="digest"):
        assembly.finish()


@pytest.mark.parametrize(("offset", "chunk"), [(1, b"ab"), (0, b"ab"), (0, b"abcd"), (CHUNK_SIZE, b"")])
def test_chunks_that_nobody_asked_for_are_refused(offset, chunk):
    assembly = Assembly(BlobRef(digest_of(b"abc"), 3))
    assembly.next_request()

    with pytest.raises(ProtocolError):
        assembly.add(offset, chunk)


def test_an_incomplete_or_too_large_blob_is_refused():
    with pytest.raises(ProtocolError, match="0 of 3"):
        Assembly(BlobRef(digest_of(b"abc"), 3)).finish()
    with pytest.raises(ProtocolError, match="limit"):
        Assembly(BlobRef(b"", 11), size_limit=10)


def test_only_what_was_not_answered_is_asked_again_after_a_restart():
    content = bytes(4 * CHUNK_SIZE)
    assembly = Assembly(BlobRef(digest_of(content), len(content)))
    for _ in range(3):
        assembly.next_request()
    assembly.add(0, content[:CHUNK_SIZE])
    assembly.add(2 * CHUNK_SIZE, content[:CHUNK_SIZE])

    assembly.restart()

    assert assembly.in_flight == 0
    assert requests_of(assembly) == [(CHUNK_SIZE, CHUNK_SIZE), (3 * CHUNK_SIZE, CHUNK_SIZE)]


def test_a_blob_is_put_together_in_a_segment_whatever_the_order_of_its_chunks():
    content = bytes(range(256)) * (5 * CHUNK_SIZE // 256) + b"end"
    store = BlobStore(pool=SegmentPool())
    assembly = Assembly(BlobRef(digest_of(content), len(content)), place=store.place)

    for offset, length in reversed(requests_of(assembly)):
        assembly.add(offset, content[offset : offset + length])
    descriptor = assembly.finish()

    assert isinstance(descriptor, Descriptor)
    assert descriptor.read(0, len(content)) == content


def test_what_was_put_together_here_is_read_in_parts_and_stays_as_cache():
    content = bytes(range(256)) * (5 * CHUNK_SIZE // 256)
    ref = BlobRef(digest_of(content), len(content))
    store = BlobStore(pool=SegmentPool())
    place = store.place(ref.size)
    place.write(0, content)

    store.put_arrived(place.finish(), ref, "owner")
    parts = [bytes(store.read(ref.digest, offset, 10)) for offset in (0, 256, ref.size - 5, ref.size, 2 * ref.size)]
    store.release("owner")
    store.release("nobody")

    assert parts == [content[:10], content[256:266], content[-5:], b"", b""]
    assert store.cached == ref.size


def test_an_announced_size_alone_takes_no_memory():
    before = resident()

    assembly = Assembly(BlobRef(bytes(32), 2**30))

    assert resident() - before < 2**24
    assert not assembly.complete


def test_a_size_that_no_memory_holds_is_refused():
    assembly = Assembly(BlobRef(bytes(32), 2**62))
    offset, length = assembly.next_request()
    assembly.add(offset, bytes(length))

    with pytest.raises(ProtocolError, match=f"no memory for {2**62} B"):
        assembly.settle()


@pytest.mark.parametrize("size", [0, 1, HUGE_FROM - 1, HUGE_FROM, 3 * HUGE_FROM + 1])
def test_a_copy_can_be_written_to_and_leaves_the_original_alone(size):
    original = b"x" * size

    copy = copy_of(original)
    before = bytes(copy)
    copy[:] = bytes(size)

    assert before == original == b"x" * size
    assert bytes(new_buffer(size)) == bytes(size)


def resident():
    """Return the bytes of this process that are in memory [B]."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - no path of ours
        return int(file.read().split()[1]) * 4096
