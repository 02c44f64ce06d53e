r"""Payloads: values on their way, as opaque bytes and their blobs.

    value --> plain pickle ----- mentions nothing that travels ------> payload
                   \--- fails, or mentions a travelling module --> by value (wire/code.py)

Buffers of 64 KiB and more (numpy arrays) leave the pickle and become blobs; so does a pickle
that is larger itself, and the code of classes that travel by value.

A buffer of 1 MiB or more that belongs to a task is read-only where the task runs: all tasks
that use it there see the same pages. Everything else arrives as the receiver's own.
"""

from __future__ import annotations

import copy
import io
import pickle
import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import msgpack

from concurro.errors import NotPicklableError
from concurro.system import TaskSystem
from concurro.task import RUNTIME_FIELDS, Task
from concurro.wire.code import CodeTable
from concurro.wire.culprit import find_culprit
from concurro.wire.libraries import mentioned
from concurro.wire.loader import Loader
from concurro.wire.messages import INLINE_LIMIT, BlobPurpose
from concurro.wire.picklers import ValuePickler, large_only
from concurro.wire.segments import MAP_THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.wire.blobs import BlobStore
    from concurro.wire.travelling import Travelling

PAYLOAD_LIMIT = 2 * 1024**3
"""Largest value that travels, its buffers included [B]."""

Blobs = list[list[Any]]
"""Blobs of a payload as they travel: [[purpose, digest, size], ...]."""

# A plain pickle starts with 0x80. These marks stand in front of others, also when the pickle itself is a blob.
_WHOLE = b"\x01"  # a task that pickles itself, not its state alone
_CODE = b"\x02"  # a pickle that needs our loader
_PLAIN_START = 0x80
_STACK_GLOBAL = b"\x93"  # the opcode of every class and function; most states have none, and no scan
_CODE_START = 0x02
_ARRAY_START = 0x93  # msgpack's array of three

_SCALARS = frozenset({type(None), bool, int, float})
"""What many tasks return: it names nothing, and has no buffers."""

_plain_dumps = pickle.dumps
_plain_loads = pickle.loads
_no_runtime_fields = RUNTIME_FIELDS.isdisjoint
_new = object.__new__


class Packer:
    """Turns values into payloads and back, for one process. Thread-safe.

    Args:
        blobs: Where blobs are put and looked for. What `loads` needs must be there.
        travelling: Which modules travel by value from here.
        limit: Largest value that travels [B].
    """

    def __init__(self, blobs: BlobStore, travelling: Travelling, *, limit: int = PAYLOAD_LIMIT) -> None:
        self.blobs = blobs
        self.code = CodeTable(blobs, travelling)
        self._travelling = travelling
        self._mentioned = travelling.mentioned
        self._limit = limit
        self._plain_classes: WeakKeyDictionary[type, bool] = WeakKeyDictionary()
        self._with_buffers: WeakSet[type] = WeakSet()  # classes of tasks that had some lately

    def dumps(self, value: Any, owner: Hashable | None = None, name: str = "value") -> tuple[bytes, Blobs | None]:
        """Return the payload of `value` and its blobs.

        Args:
            value: Anything that pickles, and lambdas, closures, local and `__main__` classes.
            owner: Who keeps the blobs until `blobs.release(owner)`. None: they are cache, and safe
                only until somebody else puts a blob.
            name: What the path of a culprit starts with, e.g. `task`.

        Raises:
            NotPicklableError: It cannot travel; names the culprit and its path.
            RecursionError: The calls from which it is sent are nested so deep that none is left for pickling.
        """
        if value.__class__ in _SCALARS and (value.__class__ is not int or value.bit_length() <= 64):  # noqa: PLR2004 - no long one
            return _plain_dumps(value, 5), None
        if isinstance(value, TaskSystem):
            # A notebook changes its globals between two submissions.
            self.code.refresh()
        buffers: list[pickle.PickleBuffer] = []
        try:
            pickled = _plain_dumps(value, 5, buffer_callback=buffers.append)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - __reduce__ is user code, and even an exit is tried again by value
            return self._dumps_by_value(value, owner, name)
        if _STACK_GLOBAL in pickled and self._mentioned(pickled):
            return self._dumps_by_value(value, owner, name)
        if not buffers and len(pickled) <= INLINE_LIMIT:
            return pickled, None
        if any(buffer.raw().nbytes < INLINE_LIMIT for buffer in buffers):
            # Small buffers go back into the pickle; this does not copy the large ones.
            buffers = []
            pickled = _plain_dumps(value, 5, buffer_callback=large_only(buffers))
        return self._with_blobs(pickled, buffers, [], owner, name)

    def loads(self, payload: bytes, blobs: Blobs | None = None, *, shared: bool = False) -> Any:
        """Return the value of a payload.

        Loading runs code of users: it may raise anything, BaseException included. An ImportError
        is made readable by `failures.explain_import`.

        Args:
            payload: What `dumps` returned.
            blobs: Its blobs.
            shared: Whether others read the same large buffers, which then nobody may write to.
        """
        if not blobs and payload[0] == _PLAIN_START:
            return _plain_loads(payload)
        buffers: list[Any] = []
        needs_loader = payload[:1] == _CODE
        pickled: bytes | memoryview = payload[1:] if needs_loader else payload
        for purpose, digest, size in blobs or ():
            if purpose == BlobPurpose.BUFFER:
                # A task may write to its small array, and the blob is everybody's.
                buffers.append(self.blobs.lend(digest, private=not shared or size < MAP_THRESHOLD))
            elif purpose == BlobPurpose.PICKLE:
                pickled = self.blobs.get(digest)
        if needs_loader:
            return Loader(io.BytesIO(pickled), self.code, buffers).load()
        return _plain_loads(pickled, buffers=buffers)

    def modules_of(self, payload: bytes, blobs: Blobs | None) -> set[str]:
        """Return the top-level modules that a payload names. For messages.

        Nothing is loaded. What code by value in it imports is not among them.
        """
        pickled: bytes | memoryview = payload.removeprefix(_WHOLE).removeprefix(_CODE)
        try:
            for purpose, digest, _ in blobs or ():
                if purpose == BlobPurpose.PICKLE:
                    pickled = self.blobs.get(digest)
        except LookupError:
            return set()
        return mentioned(pickled)

    def dumps_whole(self, value: Any) -> bytes:
        """Return `value` as bytes that hold its blobs too: for small things."""
        owner = object()
        payload, blobs = self.dumps(value, owner)
        if blobs is None:
            return payload
        try:
            parts = [bytes(self.blobs.get(digest)) for _, digest, _ in blobs]
        finally:
            self.blobs.release(owner)
        packed: bytes = msgpack.packb([payload, blobs, parts], use_bin_type=True)
        return packed

    def carries_code(self, packed: bytes) -> bool:
        """Say whether something in what `dumps_whole` packed travels by value."""
        payload = packed if packed[0] != _ARRAY_START else msgpack.unpackb(packed, raw=False)[0]
        return bool(payload[:1] == _CODE)

    def loads_whole(self, packed: bytes) -> Any:
        """Return the value that `dumps_whole` packed."""
        if packed[0] != _ARRAY_START:
            return self.loads(packed, None)
        payload, blobs, parts = msgpack.unpackb(packed, raw=False)
        owner = object()
        try:
            for (_, digest, _), part in zip(blobs, parts, strict=True):
                self.blobs.put(part, owner, digest)
            return self.loads(payload, blobs)
        finally:
            self.blobs.release(owner)

    def for_guest(self, blobs: Any) -> Packer:
        """Return a packer with the same code and another store of blobs."""
        guest = copy.copy(self)
        guest.blobs = blobs
        return guest

    # Tasks

    def dump_task_class(self, cls: type[Task], owner: Hashable | None = None) -> tuple[bytes, Blobs]:
        """Return how a worker gets a class: by name if it can import it."""
        payload, blobs = self.dumps(cls, owner, cls.__qualname__)
        return payload, blobs or []

    def load_task_class(self, payload: bytes, blobs: Blobs | None) -> type[Task]:
        """Return a task class."""
        cls = self.loads(payload, blobs)
        if not (isinstance(cls, type) and issubclass(cls, Task)):
            message = f"expected a task class, got {cls!r}"
            raise TypeError(message)
        return cls

    def dump_task(self, task: Task, owner: Hashable | None = None) -> tuple[bytes, Blobs | None]:
        """Return a task's state; its class travels once, by `dump_task_class`.

        Raises:
            NotPicklableError: An attribute cannot travel; names it.
        """
        if not self.is_plain(task):
            payload, blobs = self.dumps(task, owner, "task")
            return _WHOLE + payload, blobs
        state = task.__dict__
        if not _no_runtime_fields(state):
            state = {name: value for name, value in state.items() if name not in RUNTIME_FIELDS}
        cls = task.__class__
        if cls not in self._with_buffers:
            plain = self.dump_fields(state)
            if plain is not None:
                return self.part(plain, owner)
        payload, blobs = self._dump_state(task, state, owner)
        if blobs:
            self._with_buffers.add(cls)
        else:
            self._with_buffers.discard(cls)
        return payload, blobs

    def is_plain(self, task: Task) -> bool:
        """Say whether the state of a task is its `__dict__`, and no more."""
        cls = task.__class__
        is_plain = self._plain_classes.get(cls)
        if is_plain is None:
            is_plain = self._plain_classes[cls] = _keeps_state_plainly(cls)
        return is_plain

    def dump_fields(self, fields: dict[str, Any]) -> bytes | None:
        """Return the pickle of a usual task's state; None of another one.

        `part` makes the payload of it.
        """
        try:
            # Without a list for buffers: the usual task has none, and with a large one it is pickled again.
            pickled = _plain_dumps(fields, 5, buffer_callback=_stop_at_large)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - __reduce__ is user code, and even an exit is tried again by value
            return None
        return None if _STACK_GLOBAL in pickled and self._mentioned(pickled) else pickled

    def part(self, pickled: bytes, owner: Hashable | None) -> tuple[bytes, Blobs | None]:
        """Return the payload and the blobs of what `dump_fields` pickled.

        Raises:
            NotPicklableError: It is over the limit.
        """
        if len(pickled) <= INLINE_LIMIT:
            return pickled, None
        return self._with_blobs(pickled, [], [], owner, "task")

    def load_task(self, cls: type[Task], payload: bytes, blobs: Blobs | None) -> Task:
        """Return a task of class `cls`, as `dump_task` wrote it."""
        if payload[:1] == _WHOLE:
            task: Task = self.loads(payload[1:], blobs, shared=True)
            return task
        plain = not blobs and payload[0] == _PLAIN_START
        state = _plain_loads(payload) if plain else self.loads(payload, blobs, shared=True)
        task = _new(cls)
        task.__dict__ = state
        return task

    def _dump_state(self, task: Task, state: dict[str, Any], owner: Hashable | None) -> tuple[bytes, Blobs | None]:
        try:
            return self.dumps(state, owner, "task")
        except NotPicklableError as error:
            culprit = find_culprit(task, "task", self._pickles)
            raise _not_picklable(task, culprit.path, culprit.type_name, error.__cause__ or error) from error.__cause__

    # By value

    def _dumps_by_value(self, value: Any, owner: Hashable | None, name: str) -> tuple[bytes, Blobs | None]:
        file = io.BytesIO()
        buffers: list[pickle.PickleBuffer] = []
        pickler = ValuePickler(file, self.code, large_only(buffers))
        try:
            pickler.dump(value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
                _refuse_deep_calls(name, error)
            culprit = find_culprit(value, name, self._pickles)
            raise _not_picklable(value, culprit.path, culprit.type_name, error) from error
        code = [[int(BlobPurpose.CODE), ref.digest, ref.size] for ref in pickler.needs.values()]
        payload, blobs = self._with_blobs(file.getvalue(), buffers, code, owner, name)
        return _CODE + payload, blobs

    def _with_blobs(
        self,
        pickled: bytes,
        buffers: list[pickle.PickleBuffer],
        code: Blobs,
        owner: Hashable | None,
        name: str,
    ) -> tuple[bytes, Blobs | None]:
        views = [buffer.raw() for buffer in buffers]
        size = len(pickled) + sum(view.nbytes for view in views)
        if size > self._limit:
            message = f"{name} is too large to travel: {size} B, the limit is {self._limit} B"
            raise NotPicklableError(message, name)
        # The holder keeps what is put here until all of it is, whatever the cache's size.
        holder = owner if owner is not None else object()
        blobs: Blobs = []
        for view in views:
            ref = self.blobs.put_buffer(view, holder)
            blobs.append([int(BlobPurpose.BUFFER), ref.digest, ref.size])
        if owner is not None:
            for _, digest, _ in code:
                self.blobs.own(digest, owner)
        blobs += code
        if len(pickled) > INLINE_LIMIT:
            ref = self.blobs.put_buffer(pickled, holder)
            blobs.append([int(BlobPurpose.PICKLE), ref.digest, ref.size])
            pickled = b""
        if owner is None and (views or not pickled):
            self.blobs.release(holder)
        return pickled, blobs or None

    def _pickles(self, value: object) -> bool:
        try:
            ValuePickler(io.BytesIO(), self.code, _drop).dump(value)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - __reduce__ is user code and may do anything, exit included
            return False
        return True


def _drop(buffer: pickle.PickleBuffer) -> None:
    buffer.release()


class _LargeBuffer(Exception):  # noqa: N818 - it ends an attempt, it is no error
    """There is a buffer that does not go into the pickle."""


def _stop_at_large(buffer: pickle.PickleBuffer) -> bool:
    """Leave a small buffer in the pickle; copy nothing of a large one."""
    if buffer.raw().nbytes >= INLINE_LIMIT:
        raise _LargeBuffer
    return True


def _keeps_state_plainly(cls: type) -> bool:
    """Say whether pickle sees no more of an instance than its `__dict__`."""
    hooks = ("__getstate__", "__reduce__", "__reduce_ex__", "__new__")
    return (
        all(getattr(cls, hook) is getattr(object, hook) for hook in hooks)
        and not any(hasattr(cls, hook) for hook in ("__setstate__", "__getnewargs__", "__getnewargs_ex__"))
        and cls.__basicsize__ == Task.__basicsize__  # no slots, no builtin base
        and cls.__itemsize__ == 0
    )


def _refuse_deep_calls(name: str, error: BaseException) -> None:
    """Refuse to pickle where no calls are left for that.

    It is not the fault of the value.

    Raises:
        RecursionError: So it is.
    """
    depth, frame = 0, sys._getframe()  # noqa: SLF001 - the way to count the calls
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    limit = sys.getrecursionlimit()
    if depth > limit // 2:
        message = f"{name} cannot be pickled within calls that are nested {depth} deep: the limit is {limit}"
        raise RecursionError(message) from error


def _not_picklable(value: object, path: str, culprit: str, error: BaseException) -> NotPicklableError:
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - a __str__ of a user
        text = "?"
    message = f"{type(value).__qualname__} cannot travel: {path} is a {culprit} ({type(error).__name__}: {text})"
    return NotPicklableError(message, path, culprit)
