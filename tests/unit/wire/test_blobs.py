"""Blobs: kept while wanted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from concurro.ids import BlobRef
from concurro.wire.blobs import BlobStore, digest_of


def test_a_blob_is_found_by_its_digest():
    store = BlobStore()

    ref = store.put(b"abc")

    assert ref == BlobRef(digest_of(b"abc"), 3)
    assert bytes(store.get(ref.digest)) == b"abc"
    assert ref.digest in store


def test_a_writable_buffer_is_copied_and_a_read_only_one_is_not():
    store = BlobStore()
    writable, fixed = bytearray(b"abc"), b"xyz"
    first, second = store.put(writable), store.put(fixed)

    writable[0] = 0

    assert bytes(store.get(first.digest)) == b"abc"
    assert store.get(second.digest).obj is fixed


def test_what_one_of_two_owners_releases_stays():
    store = BlobStore(cache_limit=0)
    ref = store.put(b"abc", "one")
    store.own(ref.digest, "two")

    store.release("one")
    store.put(b"other")

    assert ref.digest in store


def test_what_nobody_owns_goes_when_the_cache_is_full_oldest_first():
    store = BlobStore(cache_limit=20)
    first, second = store.put(b"a" * 10), store.put(b"b" * 10)
    store.get(first.digest)

    third = store.put(b"c" * 10)

    assert [ref.digest in store for ref in (first, second, third)] == [True, False, True]
    assert store.total == store.cached == 20


def test_discard_takes_a_blob_from_its_owners_too():
    store = BlobStore()
    ref = store.put(b"abc", "one")

    store.discard(ref.digest)
    store.discard(ref.digest)
    store.release("one")

    assert len(store) == store.total == 0


def test_missing_lists_each_absent_blob_once():
    store = BlobStore()
    here = store.put(b"abc")

    missing = store.missing([[0, here.digest, 3], [0, b"x", 5], [1, b"x", 5]])

    assert missing == [BlobRef(b"x", 5)]
    assert store.missing(None) == []


@given(st.lists(st.tuples(st.sampled_from(["put", "own", "release", "discard"]), st.integers(0, 5), st.integers(0, 2))))
def test_the_byte_counts_are_those_of_what_is_kept(steps):
    store = BlobStore(cache_limit=12)
    contents = [bytes([n]) * (n + 1) for n in range(6)]
    owned: dict[int, set[int]] = {}
    for action, blob, owner in steps:
        digest = digest_of(contents[blob])
        if action == "put":
            store.put(contents[blob], owner)
            owned.setdefault(blob, set()).add(owner)
        elif action == "own" and digest in store:
            store.own(digest, owner)
            owned.setdefault(blob, set()).add(owner)
        elif action == "release":
            store.release(owner)
            for owners in owned.values():
                owners.discard(owner)
        elif action == "discard":
            store.discard(digest)
            owned.pop(blob, None)

    kept = [content for content in contents if digest_of(content) in store]
    assert store.total == sum(map(len, kept))
    assert store.cached == sum(len(content) for content in kept if not owned.get(contents.index(content)))
    assert all(contents[blob] in kept for blob, owners in owned.items() if owners)
