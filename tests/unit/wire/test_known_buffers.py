"""What is known of buffers that were sent before."""

from __future__ import annotations

from array import array

import numpy as np

from concurro.wire.known_buffers import KnownBuffers

NAME, OTHER = b"name", b"other"


def test_a_blob_has_all_the_places_of_its_bytes():
    known = KnownBuffers()
    first, second = memoryview(array("d", [1.0])), memoryview(array("d", [1.0]))
    known.note(first, NAME)
    known.note(second, NAME)

    assert (known.find(first), known.find(second)) == ((NAME, False), (NAME, False))
    known.forget(NAME)

    assert (known.find(first), known.find(second)) == (None, None)


def test_a_blob_lives_while_one_of_its_buffers_does():
    known = KnownBuffers()
    first, second = memoryview(array("d", [1.0])), memoryview(array("d", [1.0]))
    known.note(first, NAME)
    known.note(second, NAME)

    second.release()
    del second
    lives_with_the_first = known.lives(NAME)
    first.release()
    del first

    assert lives_with_the_first
    assert not known.lives(NAME)


def test_what_is_known_of_one_place_says_nothing_of_another():
    known = KnownBuffers()
    fixed = memoryview(np.frombuffer(b"12345678"))
    writable = memoryview(bytearray(b"12345678"))
    known.note(writable, NAME)
    known.note(fixed, NAME)

    assert known.find(fixed) == (NAME, True)
    assert known.find(writable) == (NAME, False)


def test_a_place_that_has_other_bytes_now_is_none_of_the_blob_before():
    known = KnownBuffers()
    buffer = memoryview(array("d", [1.0]))
    known.note(buffer, NAME)
    known.note(buffer, OTHER)

    known.forget(NAME)

    assert known.find(buffer) == (OTHER, False)
    assert known.lives(OTHER)
    assert not known.lives(NAME)
