"""Payloads: values on their way, as opaque bytes and the blobs that belong to them.

    value --> plain pickle ----- mentions nothing that travels ------> payload
                   \\--- fails, or mentions a travelling module --> by value (wire/code.py)

Buffers of 64 KiB and more (numpy arrays) leave the pickle and become blobs; so does a pickle
that is larger itself, and the code of classes that travel by value.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.errors import NotPicklableError
from concurro.system import TaskSystem
from concurro.task import RUNTIME_FIELDS, Task
from concurro.wire.code import CodeTable, Loader, ValuePickler
from concurro.wire.culprit import find_culprit
from concurro.wire.messages import INLINE_LIMIT, BlobPurpose

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.wire.blobs import BlobStore
    from concurro.wire.travelling import Travelling

PAYLOAD_LIMIT = 2 * 1024**3
"""Largest value that travels, its buffers included [B]."""

Blobs = list[list[Any]]
"""Blobs of a payload as they travel: [[purpose, digest, size], ...]."""

_WHOLE = b"\x01"  # in front of a task that pickles itself; a pickle of the state alone starts with 0x80
_PICKLE_START = 0x80

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
        self._plain_classes: dict[type, bool] = {}

    def dumps(self, value: Any, owner: Hashable | None = None, name: str = "value") -> tuple[bytes, Blobs | None]:
        """Return the payload of `value` and its blobs.

        Args:
            value: Anything that pickles, and lambdas, closures, local and `__main__` classes.
            owner: Who keeps the blobs until `blobs.release(owner)`. None: they are cache, and safe
                only until somebody else puts a blob.
            name: What the path of a culprit starts with, e.g. `task`.

        Raises:
            NotPicklableError: It cannot travel; names the culprit and its path.
        """
        if isinstance(value, TaskSystem):
            # A notebook changes its globals between two submissions.
            self.code.refresh()
        buffers: list[pickle.PickleBuffer] = []
        try:
            pickled = _plain_dumps(value, 5, buffer_callback=buffers.append)
        except Exception:  # noqa: BLE001 - whatever fails plainly is tried by value
            return self._dumps_by_value(value, owner, name)
        if self._mentioned(pickled):
            return self._dumps_by_value(value, owner, name)
        if not buffers and len(pickled) <= INLINE_LIMIT:
            return pickled, None
        return self._with_blobs(value, pickled, buffers, [], owner, name)

    def loads(self, payload: bytes, blobs: Blobs | None = None) -> Any:
        """Return the value of a payload.

        Loading runs code of users: it may raise anything, BaseException included. An ImportError
        is made readable by `failures.explain_import`.
        """
        if not blobs:
            # A function that is used once rides inline, and only our loader knows it.
            return self._load(payload, []) if b"concurro.wire.rebuild" in payload else _plain_loads(payload)
        buffers: list[Any] = []
        has_code = False
        for purpose, digest, _ in blobs:
            if purpose == BlobPurpose.BUFFER:
                # A copy, because a task may write to its array and the blob is everybody's.
                buffers.append(bytearray(self.blobs.get(digest)))
            elif purpose == BlobPurpose.PICKLE:
                payload = bytes(self.blobs.get(digest))
            else:
                has_code = True
        if has_code or b"concurro.wire.rebuild" in payload:
            return self._load(payload, buffers)
        return _plain_loads(payload, buffers=buffers)

    def dumps_whole(self, value: Any) -> bytes:
        """Return `value` as one text of bytes that holds its blobs too: for small things."""
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

    def loads_whole(self, packed: bytes) -> Any:
        """Return the value that `dumps_whole` packed."""
        if packed[0] == _PICKLE_START:
            return self.loads(packed, None)
        payload, blobs, parts = msgpack.unpackb(packed, raw=False)
        owner = object()
        try:
            for part in parts:
                self.blobs.put(part, owner)
            return self.loads(payload, blobs)
        finally:
            self.blobs.release(owner)

    # Tasks

    def dump_task_class(self, cls: type[Task], owner: Hashable | None = None) -> tuple[bytes, Blobs]:
        """Return how a worker gets a task class: by name where it can be imported, else by value."""
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
        """Return the state of a task; its class travels once, by `dump_task_class`.

        Raises:
            NotPicklableError: An attribute cannot travel; names it.
        """
        cls = task.__class__
        is_plain = self._plain_classes.get(cls)
        if is_plain is None:
            is_plain = self._plain_classes[cls] = _keeps_state_plainly(cls)
        if not is_plain:
            payload, blobs = self.dumps(task, owner, "task")
            return _WHOLE + payload, blobs
        state = task.__dict__
        if not _no_runtime_fields(state):
            state = {name: value for name, value in state.items() if name not in RUNTIME_FIELDS}
        try:
            # Without a list for buffers: the usual task has none, and a large one is pickled again.
            payload = _plain_dumps(state, 5)
        except Exception:  # noqa: BLE001 - whatever fails plainly is tried by value
            return self._dump_state(task, state, owner)
        if len(payload) > INLINE_LIMIT or self._mentioned(payload):
            return self._dump_state(task, state, owner)
        return payload, None

    def load_task(self, cls: type[Task], payload: bytes, blobs: Blobs | None) -> Task:
        """Return a task of class `cls`, as `dump_task` wrote it."""
        if payload[:1] == _WHOLE:
            task: Task = self.loads(payload[1:], blobs)
            return task
        state = _plain_loads(payload) if not blobs and payload.find(b"concurro.wire.rebuild") < 0 else self.loads(payload, blobs)
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

    def _load(self, payload: bytes, buffers: list[Any]) -> Any:
        return Loader(io.BytesIO(payload), self.code, buffers).load()

    def _dumps_by_value(self, value: Any, owner: Hashable | None, name: str) -> tuple[bytes, Blobs | None]:
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        pickler = ValuePickler(file, self.code, buffers.append)
        try:
            pickler.dump(value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            culprit = find_culprit(value, name, self._pickles)
            raise _not_picklable(value, culprit.path, culprit.type_name, error) from error
        pickled = file.getvalue()
        if not buffers and not pickler.needs and len(pickled) <= INLINE_LIMIT:
            return pickled, None
        needs = [[int(BlobPurpose.CODE), ref.digest, ref.size] for ref in pickler.needs.values()]
        return self._with_blobs(value, pickled, buffers, needs, owner, name)

    def _with_blobs(  # noqa: PLR0913 - the parts of a payload
        self,
        value: Any,
        pickled: bytes,
        buffers: list[pickle.PickleBuffer],
        code: Blobs,
        owner: Hashable | None,
        name: str,
    ) -> tuple[bytes, Blobs]:
        views = [buffer.raw() for buffer in buffers]
        if any(view.nbytes < INLINE_LIMIT for view in views):
            # Small buffers go back into the pickle; the large ones are not copied by this.
            buffers = []
            file = io.BytesIO()
            ValuePickler(file, self.code, lambda buffer: _stays_inline(buffer, buffers)).dump(value)
            pickled = file.getvalue()
            views = [buffer.raw() for buffer in buffers]
        size = len(pickled) + sum(view.nbytes for view in views)
        if size > self._limit:
            message = f"{name} is too large to travel: {size} B, the limit is {self._limit} B"
            raise NotPicklableError(message, name, type(value).__qualname__)
        # The holder keeps what is put here until all of it is, whatever the cache's size.
        holder = owner if owner is not None else object()
        blobs: Blobs = []
        for view in views:
            ref = self.blobs.put(view, holder)
            blobs.append([int(BlobPurpose.BUFFER), ref.digest, ref.size])
        for entry in code:
            if entry[1] in self.blobs:
                self.blobs.own(entry[1], holder)
        blobs += code
        if len(pickled) > INLINE_LIMIT:
            ref = self.blobs.put(pickled, holder)
            blobs.append([int(BlobPurpose.PICKLE), ref.digest, ref.size])
            pickled = b""
        if owner is None:
            self.blobs.release(holder)
        return pickled, blobs

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


def _stays_inline(buffer: pickle.PickleBuffer, large: list[pickle.PickleBuffer]) -> bool:
    if buffer.raw().nbytes < INLINE_LIMIT:
        return True
    large.append(buffer)
    return False


def _keeps_state_plainly(cls: type) -> bool:
    """Say whether instances are fully described by their `__dict__`, as pickle sees it."""
    hooks = ("__getstate__", "__reduce__", "__reduce_ex__", "__new__")
    return (
        all(getattr(cls, hook) is getattr(object, hook) for hook in hooks)
        and not any(hasattr(cls, hook) for hook in ("__setstate__", "__getnewargs__", "__getnewargs_ex__"))
        and cls.__basicsize__ == Task.__basicsize__  # no slots, no builtin base
        and cls.__itemsize__ == 0
    )


def _not_picklable(value: object, path: str, culprit: str, error: BaseException) -> NotPicklableError:
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - a __str__ of a user
        text = "?"
    message = f"{type(value).__qualname__} cannot travel: {path} is a {culprit} ({type(error).__name__}: {text})"
    return NotPicklableError(message, path, culprit)
