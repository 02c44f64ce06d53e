"""A failed attempt in a file: what `concurrent replay` runs again.

    magic | format, Python | size of the header | header | parts, one after the other | checksum

The header is msgpack: who failed and how, the payloads of class and task as a worker gets them, and
the digests and sizes of the parts, which are their blobs: code, large arguments. So one file holds
whatever the worker had, but for modules that are imported by name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import sys
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.errors import SavedAttemptError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro.errors import TaskError
    from concurro.task import Task
    from concurro.wire.blobs import BlobStore
    from concurro.wire.payload import Packer

FORMAT = 1
"""What this module writes and reads."""

_MAGIC = b"\x89concurro task\r\n"
_PRELUDE = struct.Struct(f">{len(_MAGIC)}sHBBI")
_CHECKSUM_SIZE = 32


@dataclass(frozen=True, slots=True)
class SavedAttempt:
    """A failed attempt, and all that a worker had of it.

    Attributes:
        task_id: The task, `<system_id>:<number>`.
        name: Its name, for people.
        class_name: Its class, for people.
        attempt: Number of the attempt, from 1; 0 when none began.
        slave_id: Where it ran; empty when it did not.
        type_name: What it ended with, as in `TaskError`.
        message: The same in words.
        traceback: The remote traceback; empty when there is none.
        class_payload: The class, as a worker gets it.
        class_blobs: Its blobs, `[[purpose, digest, size], ...]`.
        payload: The task's state, as a worker gets it.
        blobs: Its blobs; None for none.
    """

    task_id: str
    name: str
    class_name: str
    attempt: int
    slave_id: str
    type_name: str
    message: str
    traceback: str
    class_payload: bytes
    class_blobs: list[list[Any]]
    payload: bytes
    blobs: list[list[Any]] | None

    def references(self) -> Iterator[tuple[bytes, int]]:
        """Yield digest and size of each part, in the order of the file."""
        parts = {digest: size for _, digest, size in (*self.class_blobs, *(self.blobs or ()))}
        yield from parts.items()


def save_attempt(packer: Packer, task: Task, error: TaskError, path: str | os.PathLike[str]) -> None:
    """Write a failed attempt; a file of that name is replaced whole, or stays.

    Nobody but its owner may read it. Folders that are missing are made, for their owner alone.

    Args:
        packer: Sent the task.
        task: The task beside its system, as it is now.
        error: How it failed.
        path: The file.

    Raises:
        NotPicklableError: The task has changed, and cannot travel any more.
        OSError: The file cannot be written.
    """
    owner = object()
    cls = type(task)
    try:
        class_payload, class_blobs = packer.dump_task_class(cls, owner)
        payload, blobs = packer.dump_task(task, owner)
        saved = SavedAttempt(
            error.task_id or "",
            str(getattr(task, "name", "")),
            f"{cls.__module__}.{cls.__qualname__}",
            error.attempt,
            error.slave_id or "",
            error.type_name,
            error.message,
            error.traceback,
            class_payload,
            class_blobs,
            payload,
            blobs,
        )
        parts = [packer.blobs.get(digest) for digest, _ in saved.references()]
        write_attempt(saved, parts, Path(path))
    finally:
        packer.blobs.release(owner)


def write_attempt(saved: SavedAttempt, parts: list[memoryview], path: Path) -> None:
    """Write an attempt and the bytes of its parts.

    Raises:
        OSError: The file cannot be written; an older one is as it was.
    """
    header = msgpack.packb(asdict(saved), unicode_errors="surrogatepass")
    prelude = _PRELUDE.pack(_MAGIC, FORMAT, *sys.version_info[:2], len(header))
    checksum = hashlib.blake2b(digest_size=_CHECKSUM_SIZE)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # for its owner alone
    try:
        pieces: tuple[bytes | memoryview, ...] = (prelude, header, *parts)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            for piece in pieces:
                checksum.update(piece)
                file.write(piece)
            file.write(checksum.digest())
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)  # noqa: PTH105 - as texts
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)  # noqa: PTH108 - as texts
        raise


def read_attempt(path: str | os.PathLike[str], blobs: BlobStore) -> SavedAttempt:
    """Return the attempt that a file holds; nothing of it is unpickled.

    Args:
        path: The file.
        blobs: Gets the parts.

    Raises:
        SavedAttemptError: It holds none, is damaged, or of another Python or format.
        OSError: It cannot be read.
    """
    content = memoryview(Path(path).read_bytes())
    if len(content) < _PRELUDE.size or content[: len(_MAGIC)] != _MAGIC:
        message = f"{path} is no saved task"
        raise SavedAttemptError(message)
    _, version, major, minor, header_size = _PRELUDE.unpack_from(content)
    if version != FORMAT:
        message = f"{path} has format {version}, this version of Concurrent reads format {FORMAT}"
        raise SavedAttemptError(message)
    if (major, minor) != sys.version_info[:2]:
        here = "{}.{}".format(*sys.version_info[:2])
        message = (
            f"{path} was saved by Python {major}.{minor}, this is Python {here}; replay it with Python {major}.{minor}"
        )
        raise SavedAttemptError(message)
    end = len(content) - _CHECKSUM_SIZE
    checksum = hashlib.blake2b(content[: max(end, 0)], digest_size=_CHECKSUM_SIZE).digest()
    if end < _PRELUDE.size + header_size or content[end:] != checksum:
        message = f"{path} is damaged: it has not the {len(content)} bytes that were written"
        raise SavedAttemptError(message)
    start = _PRELUDE.size + header_size
    saved = _unpack_header(content[_PRELUDE.size : start], path)
    for digest, size in saved.references():
        if start + size > end:
            message = f"{path} is damaged: a part of {size} B is missing"
            raise SavedAttemptError(message)
        blobs.put(content[start : start + size], "replay", digest)
        start += size
    return saved


def _unpack_header(header: memoryview, path: str | os.PathLike[str]) -> SavedAttempt:
    try:
        values = msgpack.unpackb(header, unicode_errors="surrogatepass")
        return SavedAttempt(**{field.name: values[field.name] for field in fields(SavedAttempt)})
    except (ValueError, KeyError, TypeError) as error:
        message = f"{path} is damaged: its header cannot be read: {error}"
        raise SavedAttemptError(message) from error
