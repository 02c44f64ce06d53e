"""Large buffers as blobs: one for the same bytes, shared with tasks, dropped when nobody needs them."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from concurro.errors import ProtocolError
from concurro.ids import BlobRef
from concurro.task import Task
from concurro.wire.assembly import Assembly
from concurro.wire.blobs import LASTING, BlobStore, digest_of, is_digest, store_with_segments
from concurro.wire.messages import Kind, Message
from concurro.wire.payload import Packer
from concurro.wire.segments import MAP_THRESHOLD, Descriptor, SegmentPool
from concurro.wire.transfer import BlobTransfer
from concurro.wire.travelling import Travelling

COUNT = MAP_THRESHOLD // 8


class Reads(Task):
    def __init__(self, array):
        super().__init__("reads")
        self.array = array


@pytest.fixture
def store():
    return store_with_segments()


def packer_of(store):
    return Packer(store, Travelling())


def arrived(store, content):
    """Return a store that got all of another's `blobs`, as descriptors where they can be."""
    there = store_with_segments()
    give(there, store, content, "arrived")
    return there


def give(there, store, content, owner):
    """Pass blobs on from a store to another one."""
    for _, digest, size in content:
        descriptor = store.descriptor(digest)
        if descriptor is not None:
            there.put_descriptor(descriptor, BlobRef(digest, size), owner)
        else:
            there.put(bytes(store.get(digest)), owner, digest)


def test_a_large_buffer_has_a_name_of_its_own_and_a_small_one_its_digest(store):
    large, small = store.put_buffer(bytes(MAP_THRESHOLD)), store.put_buffer(b"small")

    assert not is_digest(large.digest)
    assert small.digest == digest_of(b"small")


def test_a_store_of_a_host_names_large_buffers_by_their_digest_too():
    store = BlobStore(pool=SegmentPool())

    assert store.put_buffer(bytes(MAP_THRESHOLD)).digest == digest_of(bytes(MAP_THRESHOLD))


def test_the_same_array_is_one_blob_until_it_changes(store):
    array = np.zeros(COUNT)
    first, same = store.put_buffer(array, "one"), store.put_buffer(array, "two")

    array[-1] = 1
    changed = store.put_buffer(array, "three")

    assert same == first
    assert changed != first
    assert not any(store.get(first.digest))
    assert any(store.get(changed.digest))


def test_what_a_second_look_kept_goes_with_its_owners(store):
    array = np.zeros(COUNT)
    for owner in ("one", "two"):
        ref = store.put_buffer(array, owner)
    array[0] = 1
    store.put_buffer(array, "two")

    store.release("one")
    store.release("two")
    del array
    store.put(b"next")

    assert ref.digest not in store
    assert len(store) == 1


def test_an_array_of_bytes_is_known_without_being_compared(store, monkeypatch):
    array = np.frombuffer(bytes(MAP_THRESHOLD))
    first = store.put_buffer(array, "one")
    monkeypatch.setattr("concurro.wire.mapping.same_bytes", lambda *_: pytest.fail("compared"))

    assert store.put_buffer(array, "two") == first


def test_a_read_only_view_of_what_others_write_to_is_compared(store):
    array = np.zeros(COUNT)
    view = array[:]
    view.flags.writeable = False
    first = store.put_buffer(view, "one")

    array[0] = 1

    assert store.put_buffer(view, "two") != first


@pytest.mark.parametrize("view_of", [lambda array: array, lambda array: array[:]], ids=["itself", "a view"])
def test_a_read_only_array_that_was_writable_in_between_is_another_blob(store, view_of):
    array = np.zeros(COUNT)
    array.flags.writeable = False
    view = view_of(array)
    first = store.put_buffer(view, "one")

    array.flags.writeable = True
    array[0] = 1
    array.flags.writeable = False

    assert store.put_buffer(view, "two") != first


@pytest.mark.parametrize("size", [MAP_THRESHOLD // 2, MAP_THRESHOLD])
def test_a_view_that_nobody_writes_through_travels_as_it_was_when_it_was_put(size):
    store = BlobStore(by_content=False)  # without segments
    array = np.zeros(size // 8)
    view = array[:]
    view.flags.writeable = False
    ref = store.put_buffer(view, "one")

    array[0] = 1

    assert not any(store.get(ref.digest))


def test_another_array_at_the_place_of_one_that_is_gone_is_another_blob(store):
    array = np.zeros(COUNT)
    first = store.put_buffer(array, "one")
    array = None
    others = [np.full(COUNT, float(number)) for number in range(1, 4)]

    names = {store.put_buffer(other, "two").digest for other in others}

    assert len(names) == 3
    assert first.digest not in names


def test_an_idle_blob_stays_while_its_array_lives_and_not_longer(store):
    array = np.zeros(COUNT)
    ref = store.put_buffer(array, "task")
    store.release("task")
    store.put(b"one")
    assert ref.digest in store

    del array
    store.put(b"two")

    assert ref.digest not in store


def test_somebody_elses_blob_goes_with_its_last_owner_and_is_told(store):
    ref = store.put_buffer(bytes(MAP_THRESHOLD), "here")
    there = arrived(store, [[0, *ref]])
    dropped = []
    there.on_dropped = dropped.append

    there.release("arrived")
    assert ref.digest in there  # it may change hands
    there.put(b"next")

    assert dropped == [ref.digest]


def test_a_tasks_large_array_is_read_only_and_the_same_for_all_tasks(store):
    here = packer_of(store)
    payload, blobs = here.dump_task(Reads(np.arange(COUNT, dtype=float)), "task")
    there = packer_of(arrived(store, blobs))

    first, second = (there.load_task(Reads, payload, blobs).array for _ in range(2))

    assert not first.flags.writeable
    assert np.shares_memory(first, second)
    assert first[-1] == COUNT - 1


def test_a_result_is_its_receivers_own(store):
    payload, blobs = packer_of(store).dumps(np.zeros(COUNT), "result")
    there = packer_of(arrived(store, blobs))
    mine, other = there.loads(payload, blobs), there.loads(payload, blobs)

    mine[0] = 1

    assert other[0] == 0


def test_a_task_that_gives_back_what_it_was_given_sends_nothing_again(store):
    payload, blobs = packer_of(store).dump_task(Reads(np.zeros(COUNT)), "task")
    there = packer_of(arrived(store, blobs))
    task = there.load_task(Reads, payload, blobs)

    _, again = there.dumps(task.array)

    assert again == blobs


def test_arrays_of_other_layouts_and_types_arrive(store):
    values = [np.asfortranarray(np.arange(2.0 * COUNT).reshape(2, -1)), bytearray(b"x" * MAP_THRESHOLD), b"y" * 2**21]
    payload, blobs = packer_of(store).dumps(values, "task")

    arrays = packer_of(arrived(store, blobs)).loads(payload, blobs)

    assert np.array_equal(arrays[0], values[0])
    assert arrays[1:] == values[1:]


def test_where_there_are_no_segments_everything_arrives_in_chunks():
    store = BlobStore(by_content=False)
    payload, blobs = packer_of(store).dumps(np.arange(COUNT), "task")

    assert store.descriptor(blobs[0][1]) is None
    assert np.array_equal(packer_of(store).loads(payload, blobs), np.arange(COUNT))


def test_an_unhashed_name_is_not_compared_with_the_bytes():
    ref = store_with_segments().put_buffer(bytes(MAP_THRESHOLD))
    assembly = Assembly(ref)
    while (request := assembly.next_request()) is not None:
        assembly.add(request[0], bytes(request[1]))

    assert assembly.finish() == bytes(MAP_THRESHOLD)


class End:
    """One end of a way that takes descriptors, or not."""

    def __init__(self, *, maps=True):
        self.store = store_with_segments()
        self.sent = []
        self.ends = []
        self.transfer = BlobTransfer(self.store, lambda *message: self.sent.append(message))
        self.transfer.maps = lambda: maps

    def take(self):
        taken, self.sent = self.sent, []
        return taken


def exchange(here, there):
    kinds = []
    while here.sent or there.sent:
        for sender, receiver in ((here, there), (there, here)):
            for kind, body, frames in sender.take():
                kinds.append(kind)
                receiver.transfer.handle(Message(kind, 0, 0, body, frames))
    return kinds


@pytest.mark.parametrize("maps", [True, False])
def test_a_large_blob_comes_as_a_descriptor_where_one_can_be_passed(maps):
    here, there = End(maps=maps), End()
    ref = there.store.put_buffer(b"x" * MAP_THRESHOLD, "kept")

    here.transfer.fetch([[0, *ref]], "me", here.ends.append)
    kinds = exchange(here, there)

    assert here.ends == [None]
    assert bytes(here.store.get(ref.digest)) == b"x" * MAP_THRESHOLD
    assert (kinds == [Kind.BLOB_MAP, Kind.BLOB_MAPPED]) is maps


@pytest.mark.parametrize("answer", [(), (Descriptor(-1),)], ids=["none", "lost"])
def test_without_a_descriptor_it_comes_in_chunks(answer):
    here, there = End(), End()
    ref = there.store.put_buffer(b"x" * MAP_THRESHOLD, "kept")
    here.transfer.fetch([[0, *ref]], "me", here.ends.append)
    here.take()

    here.transfer.handle(Message(Kind.BLOB_MAPPED, 0, 0, [*ref], answer))
    kinds = exchange(here, there)

    assert here.ends == [None]
    assert Kind.BLOB_CHUNK in kinds


def test_a_descriptor_of_too_few_bytes_ends_the_fetch():
    here, there = End(), End()
    short = there.store.put_buffer(bytes(MAP_THRESHOLD), "kept")
    ref = BlobRef(b"unhashed" + bytes(24), 2 * MAP_THRESHOLD)
    here.transfer.fetch([[0, *ref]], "me", here.ends.append)

    here.transfer.handle(Message(Kind.BLOB_MAPPED, 0, 0, [*ref], (there.store.descriptor(short.digest),)))

    assert "no segment" in here.ends[0]
    with pytest.raises(ProtocolError, match="no segment"):
        here.store.put_descriptor(there.store.descriptor(short.digest), ref)


def test_what_is_mapped_is_asked_for_again_over_a_new_connection():
    here, there = End(), End()
    ref = there.store.put_buffer(bytes(MAP_THRESHOLD), "kept")
    here.transfer.fetch([[0, *ref]], "me", here.ends.append)
    here.take()

    here.transfer.restart()
    exchange(here, there)

    assert here.ends == [None]


def test_the_loss_of_the_peer_ends_what_waits_for_a_descriptor():
    here = End()
    here.transfer.fetch([[0, b"unhashed" + bytes(24), MAP_THRESHOLD]], "me", here.ends.append)

    here.transfer.fail_all("gone")

    assert "gone" in here.ends[0]


def test_a_result_that_nobody_changed_is_sent_on_under_its_name(store, monkeypatch):
    payload, blobs = packer_of(store).dumps(np.arange(COUNT), "result")
    there = packer_of(arrived(store, blobs))
    array = there.loads(payload, blobs)
    assert int(array.sum()) > 0
    monkeypatch.setattr("concurro.wire.mapping.same_bytes", lambda *_: pytest.fail("compared"))

    _, again = there.dumps(array, "task")

    assert again == blobs


def test_a_result_that_was_changed_is_another_blob(store):
    payload, blobs = packer_of(store).dumps(np.arange(COUNT), "result")
    there = packer_of(arrived(store, blobs))
    array = there.loads(payload, blobs)

    array[COUNT // 2] = -1
    changed, again = there.dumps(array, "task")

    assert again != blobs
    assert there.loads(changed, again)[COUNT // 2] == -1


def test_a_host_finds_a_blob_by_its_name_only_if_every_replay_does(store):
    payload, blobs = packer_of(store).dumps(np.arange(COUNT), "system")
    host = BlobStore(pool=SegmentPool())
    host.put_descriptor(store.descriptor(blobs[0][1]), BlobRef(*blobs[0][1:]), ("input", 1))
    passing = packer_of(host).loads(payload, blobs)
    assert is_digest(packer_of(host).dumps(passing, "task")[1][0][1])

    host.own(blobs[0][1], LASTING)
    lasting = packer_of(host).loads(payload, blobs)

    assert packer_of(host).dumps(lasting, "task")[1] == blobs


def test_beyond_some_descriptors_the_bytes_are_kept_and_not_more_descriptors(store, monkeypatch):
    monkeypatch.setattr("concurro.wire.blobs.most_descriptors", lambda: 2)
    arrays = [np.full(COUNT, float(number)) for number in range(4)]
    refs = [store.put_buffer(array, "here") for array in arrays]
    gc.collect()  # what earlier tests left must not go meanwhile
    before = len(list(Path("/proc/self/fd").iterdir()))

    there = arrived(store, [[0, *ref] for ref in refs])

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert all(bytes(there.get(ref.digest)) == array.tobytes() for ref, array in zip(refs, arrays, strict=True))
    there.release("arrived")
    there.put(b"next")
    assert sum(ref.digest in there for ref in refs) == 2


def test_a_blob_below_a_mebibyte_is_shared_and_copied_out(store):
    array = np.arange(50_000.0)
    packer = packer_of(store)
    payload, blobs = packer.dumps(array, "mine")
    there = arrived(store, blobs)

    mine = packer_of(there).loads(payload, blobs, shared=True)
    mine[0] = 5

    assert store.descriptor(blobs[0][1]) is not None
    assert packer_of(there).loads(payload, blobs, shared=True)[0] == 0


def test_a_blob_that_is_passed_on_has_one_owner_at_a_time(store):
    refs = [store.put_buffer(bytes([number]) * MAP_THRESHOLD, "worker") for number in range(3)]
    for ref in refs:  # as it came from another process
        store._kept[ref.digest].passing = True

    for number, ref in enumerate(refs[:2]):
        store.pass_on(ref.digest, "worker", ("result", number))
        store.release(("result", number))
    store.pass_on(b"unknown", "worker", "somebody")
    store.tidy()

    assert [ref.digest in store for ref in refs] == [False, False, True]
    assert store.owned_by(refs[2].digest, "worker")


def test_a_blob_goes_with_the_array_that_it_was_made_of(store):
    array = np.zeros(COUNT)
    ref = store.put_buffer(array, "task")
    store.release("task")
    store.tidy()
    while_it_lives = ref.digest in store

    del array
    store.tidy()

    assert while_it_lives
    assert ref.digest not in store


def test_what_came_from_others_is_not_written_again_when_it_is_sent_on(store):
    array = np.arange(50_000.0)
    packer = packer_of(store)
    _, blobs = packer.dumps(array, "mine")
    there = arrived(store, blobs)

    _, again = packer_of(there).dumps(array.copy(), "result")

    assert again == blobs
    assert there.owned_by(blobs[0][1], "result")
    assert not there.lends


def arrays_of(blobs):
    """Return the blobs that are as large as an array of these tests."""
    return [digest for _, digest, size in blobs if size == 8 * COUNT]


def test_a_large_array_in_a_closure_is_a_blob_of_its_own(store):
    array = np.arange(float(COUNT))
    first, second = (lambda: array[1]), (lambda: array[2])

    payload, blobs = packer_of(store).dumps([first, second], "mine")
    there = packer_of(arrived(store, blobs))
    functions = there.loads(payload, blobs)

    assert [function() for function in functions] == [1.0, 2.0]
    assert len(arrays_of(blobs)) == 1
    assert sum(size for _, _, size in blobs) < 8 * COUNT + 10_000


def test_a_function_may_write_to_the_array_that_came_with_it_and_nobody_else_sees_that(store):
    array = np.zeros(COUNT)

    def adds():
        array[0] += 1
        return array[0]

    payload, blobs = packer_of(store).dumps(adds, "mine")
    content = arrived(store, blobs)
    one, other = (packer_of(content).loads(payload, blobs) for _ in range(2))

    assert [one(), one(), other()] == [1.0, 2.0, 1.0]
    assert array[0] == 0


def test_an_array_that_changed_makes_the_function_another_one(store):
    array = np.zeros(COUNT)
    packer = packer_of(store)

    def first():
        return array[0]

    payload, blobs = packer.dumps(first, "one")
    array[0] = 1
    packer.code.refresh()
    again, other = packer.dumps(first, "two")
    there = packer_of(arrived(store, [*blobs, *other]))

    assert (there.loads(payload, blobs)(), there.loads(again, other)()) == (0.0, 1.0)


def test_a_function_whose_array_is_given_back_travels_on_all_the_same(store):
    array = np.arange(float(COUNT))
    payload, blobs = packer_of(store).dumps(lambda: array[3], "mine")
    content = arrived(store, blobs)
    middle = packer_of(content)
    function = middle.loads(payload, blobs)
    for digest in arrays_of(blobs):
        content.discard(digest)

    payload, blobs = middle.dumps(function, "on")
    there = packer_of(arrived(content, blobs))

    assert there.loads(payload, blobs)() == 3.0


def test_functions_that_arrived_do_not_keep_many_large_arrays(store, monkeypatch):
    monkeypatch.setattr("concurro.wire.code._KEPT_BYTES", 3 * 8 * COUNT)
    packer, there = packer_of(store), packer_of(store_with_segments())
    dead = []

    for number in range(6):
        array = np.full(COUNT, float(number))
        payload, blobs = packer.dumps(lambda array=array: array[0], number)
        give(there.blobs, store, blobs, number)
        function = there.loads(payload, blobs)
        assert function() == number
        dead.append(weakref.ref(function))
        there.blobs.release(number)
        del function
    gc.collect()

    assert [reference() is None for reference in dead] == [True] * 3 + [False] * 3


def test_a_value_with_a_large_array_comes_back_whole(store):
    packer = packer_of(store)

    value = packer.loads_whole(packer.dumps_whole(np.arange(float(COUNT))))

    assert np.array_equal(value, np.arange(float(COUNT)))
