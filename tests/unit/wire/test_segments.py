"""Segments: pages that are shared, held as long as somebody has them, and then used again."""

from __future__ import annotations

import errno
import fcntl
import gc
import mmap
import os
from pathlib import Path

import pytest

from concurro.wire import segments
from concurro.wire.places import SegmentPlace
from concurro.wire.segments import MAP_THRESHOLD, Descriptor, Segment, SegmentPool

SIZE = MAP_THRESHOLD
CONTENT = os.urandom(SIZE)


@pytest.fixture
def pool():
    pool = SegmentPool()
    if pool.take(1) is None:
        pytest.skip("this system has no segments")
    yield pool
    pool.close()


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def shared_memory():
    """Return how much shared memory counts in this process [KiB]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssShmem"))


def inode(descriptor):
    return os.fstat(descriptor.fileno()).st_ino


def test_what_was_filled_in_is_mapped_read_only_by_others(pool):
    descriptor = pool.fill(CONTENT)

    pages = descriptor.map(SIZE)

    assert bytes(pages) == CONTENT
    assert pages.readonly


def test_nobody_can_write_to_a_published_segment(pool):
    descriptor = pool.fill(CONTENT)

    for flags in (os.O_RDONLY, os.O_RDWR):
        fd = os.open(f"/proc/self/fd/{descriptor.fileno()}", flags)
        with pytest.raises(OSError, match=r"denied|not permitted|bad|Bad"):
            mmap.mmap(fd, SIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(OSError, match=r"not permitted|Bad"):
            os.write(fd, b"x")
        os.close(fd)
    with pytest.raises(OSError, match=r"Invalid|not permitted"):
        os.ftruncate(descriptor.fileno(), 0)


def test_a_private_mapping_is_written_for_oneself_only(pool):
    descriptor = pool.fill(CONTENT)
    mine, theirs = descriptor.map(SIZE, private=True), descriptor.map(SIZE)

    mine[:4] = b"mine"

    assert bytes(theirs) == CONTENT
    assert bytes(descriptor.read(0, 4)) == CONTENT[:4]


@pytest.mark.parametrize("held", ["descriptor", "mapping", "private mapping", "array", "copy in another process"])
def test_pages_are_not_used_again_while_somebody_has_them(pool, held):
    descriptor = pool.fill(CONTENT)
    first = inode(descriptor)
    holder = None
    if held == "descriptor":
        holder = descriptor
    elif held == "copy in another process":
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
        holder = writing
    else:
        holder = descriptor.map(SIZE, private=held == "private mapping")
        if held == "array":
            holder = memoryview(holder)[10:20]
    del descriptor

    other = pool.fill(bytes(SIZE))

    assert inode(other) != first
    if held == "copy in another process":
        os.close(holder)
        os.waitpid(child, 0)
    elif held != "descriptor":
        assert bytes(holder[:10]) in CONTENT
    del holder, other
    assert {inode(pool.fill(CONTENT)), inode(pool.fill(CONTENT))} >= {first}


def test_pages_are_used_again_and_new_ones_are_the_exception(pool):
    inodes = set()
    for number in range(20):
        descriptor = pool.fill(bytes([number]) * SIZE)
        assert bytes(descriptor.map(SIZE)) == bytes([number]) * SIZE
        inodes.add(inode(descriptor))
        del descriptor

    assert len(inodes) == 1


@pytest.mark.parametrize("resident", [False, True])
def test_pages_that_are_used_again_count_in_the_memory_of_their_owner_if_wanted(resident):
    pool = SegmentPool(resident=resident)
    size = 8 * SIZE
    before, inodes = shared_memory(), set()

    for number in range(3):
        descriptor = pool.fill(bytes([number]) * size)
        inodes.add(inode(descriptor))
        last = descriptor.read(size - 5, 5)
        del descriptor

    assert last == bytes([2]) * 5
    assert len(inodes) == 1
    assert (shared_memory() - before >= size // 1024) == resident


def test_what_is_free_is_bounded_by_bytes():
    pool = SegmentPool(free_limit=3 * SIZE)
    before = open_descriptors()
    held = [pool.fill(CONTENT) for _ in range(10)]

    held.clear()
    again = [pool.fill(CONTENT) for _ in range(2)]

    assert len(open_descriptors() - before) <= 3 + 2 * len(again)


def test_there_are_no_more_segments_than_descriptors_allow():
    pool = SegmentPool(most=2)

    held = [pool.fill(CONTENT) for _ in range(3)]

    assert [descriptor is None for descriptor in held] == [False, False, True]


def test_without_memory_there_is_no_segment(pool, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)

    before = open_descriptors()

    assert pool.fill(CONTENT) is None
    assert open_descriptors() == before


def test_a_forked_process_leaves_the_segments_to_its_parent(pool):
    pool.fill(CONTENT)
    child = os.fork()
    if not child:
        os._exit(0 if pool.fill(CONTENT) is None else 1)

    _, status = os.waitpid(child, 0)

    assert status == 0


def test_what_could_shrink_below_its_readers_is_not_mapped(tmp_path):
    place = tmp_path / "file"
    place.write_bytes(CONTENT)
    unsealed = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, SIZE)

    descriptors = [Descriptor(os.open(place, os.O_RDONLY)), Descriptor(unsealed), Descriptor(-1)]

    assert [descriptor.size() for descriptor in descriptors] == [0, 0, 0]
    for descriptor in descriptors:
        with pytest.raises(OSError, match="cannot be mapped"):
            descriptor.map(SIZE)
    fcntl.fcntl(unsealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    assert descriptors[1].size() == SIZE


def test_what_the_system_reads_in_parts_is_read_whole(pool, monkeypatch):
    descriptor = pool.fill(CONTENT)
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: read(fd, min(length, 300_000), offset))

    assert descriptor.read(1, SIZE) == CONTENT[1:]


def test_nothing_stays_open():
    before = open_descriptors()
    pool = SegmentPool()
    kept = [pool.fill(CONTENT).map(SIZE) for _ in range(5)]

    kept.clear()
    pool.close()
    del pool

    assert open_descriptors() == before


def test_without_a_descriptor_nothing_is_left_of_a_segment_that_was_not_made(monkeypatch):
    def none_left(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    unraised = []
    monkeypatch.setattr("sys.unraisablehook", unraised.append)
    monkeypatch.setattr("os.memfd_create", none_left)

    with pytest.raises(OSError, match="Too many"):
        Segment(1)

    gc.collect()
    assert not unraised


def test_a_blob_that_cannot_be_shared_for_want_of_a_descriptor_is_put_together_all_the_same(pool, monkeypatch):
    place = SegmentPlace(pool, pool.take(SIZE), SIZE)
    place.write(0, CONTENT[: SIZE // 2])
    place.write(SIZE // 2, CONTENT[SIZE // 2 :])
    before = open_descriptors()

    def no_number(segment):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Segment, "publish", no_number)
    content = place.finish()

    assert bytes(content) == CONTENT
    assert content.readonly
    assert len(open_descriptors()) < len(before)


def test_an_idle_pool_gives_back_what_nobody_has_at_the_second_look(pool):
    before = open_descriptors()
    kept, gone = pool.fill(CONTENT), pool.fill(CONTENT)
    del gone

    looks = []
    for look in range(3):
        if look == 2:
            del kept
        pool.tidy()
        looks.append((pool.lends, len(open_descriptors() - before)))

    assert looks == [(True, 3), (True, 2), (False, 0)]  # a segment, and what was published of it


def test_a_pool_that_is_used_between_two_looks_keeps_what_is_free(pool):
    inodes = set()
    for number in range(4):
        descriptor = pool.fill(bytes([number]) * SIZE)
        inodes.add(inode(descriptor))
        del descriptor
        pool.tidy()

    assert len(inodes) == 1


def test_what_is_free_is_bounded_by_number_too(monkeypatch):
    monkeypatch.setattr(segments, "_MOST_FREE", 3)
    pool = SegmentPool()
    before = open_descriptors()
    held = [pool.fill(CONTENT[: SIZE // 8]) for _ in range(10)]

    held.clear()
    pool.tidy()

    assert len(open_descriptors() - before) == 3
