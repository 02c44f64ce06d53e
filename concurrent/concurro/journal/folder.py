"""The folder of a journal: whose it is, and that one master uses it.

journal/
    lock          the process id of the master that uses it
    journal.db    SQLite, with its -wal and -shm beside it
    blobs/        bytes under their names: their digest, or what has it behind the bytes
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concurro.errors import JournalDamagedError, JournalError, JournalInUseError
from concurro.wire.blobs import DIGEST_SIZE, digest_of, is_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRIVATE = 0o700
_OTHERS = 0o077


class JournalFolder:
    """A journal's folder, held by this process until `close`.

    Args:
        path: Where it is; made if it is not there.
        must_exist: Whether one that is not there is refused; else it is made.

    Raises:
        JournalError: It is not ours alone, or no folder.
        JournalInUseError: Another process holds it.
    """

    def __init__(self, path: str | os.PathLike[str], *, must_exist: bool = False) -> None:
        self.path = Path(path).absolute()
        self._lock = -1
        if must_exist and not self.path.is_dir():
            message = f"there is no journal folder {self.path}"
            raise JournalError(message)
        try:
            self.path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._check_owner()
            (self.path / "blobs").mkdir(mode=_PRIVATE, exist_ok=True)
        except OSError as error:
            message = f"the journal folder {self.path} cannot be used: {error.strerror}"
            raise JournalError(message) from error
        self._hold()

    @property
    def database(self) -> Path:
        """The file of the database."""
        return self.path / "journal.db"

    def close(self) -> None:
        """Let another master have it. Idempotent."""
        if self._lock >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = -1

    def write_blob(self, digest: bytes, content: Any) -> None:
        """Keep bytes; they are on disk when it returns."""
        place = self._blob_path(digest)
        if place.exists():
            return
        partial = place.with_suffix(".part")
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(content).cast("B")
            _write(fd, view)
            if not is_digest(digest):
                _write(fd, memoryview(digest_of(view)))
            os.fsync(fd)
        finally:
            os.close(fd)
        partial.replace(place)
        self._sync(place.parent)

    def read_blob(self, digest: bytes) -> bytes:
        """Return kept bytes.

        Raises:
            JournalDamagedError: They are gone, or not what their name says.
        """
        place = self._blob_path(digest)
        try:
            content = place.read_bytes()
        except OSError as error:
            message = f"{place}: {error.strerror}"
            raise JournalDamagedError(message, str(place)) from error
        expected = digest
        if not is_digest(digest):  # then it stands behind the bytes
            content, expected = content[:-DIGEST_SIZE], content[-DIGEST_SIZE:]
        if digest_of(content) != expected:
            message = f"{place}: its bytes are not those that its name says"
            raise JournalDamagedError(message, str(place))
        return content

    def drop_blob(self, digest: bytes) -> None:
        """Forget kept bytes."""
        self._blob_path(digest).unlink(missing_ok=True)

    def blobs(self) -> Iterator[bytes]:
        """Yield the digests of all that is kept; unfinished files are removed."""
        for place in (self.path / "blobs").iterdir():
            if place.suffix == ".part":
                place.unlink(missing_ok=True)
            else:
                yield bytes.fromhex(place.name)

    def _blob_path(self, digest: bytes) -> Path:
        return self.path / "blobs" / digest.hex()

    @staticmethod
    def _sync(folder: Path) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _check_owner(self) -> None:
        facts = self.path.stat()
        if facts.st_uid != os.geteuid():
            message = (
                f"the journal folder {self.path} belongs to user {facts.st_uid}, the master runs as {os.geteuid()}"
            )
            raise JournalError(message)
        if stat.S_IMODE(facts.st_mode) & _OTHERS:
            mode = stat.S_IMODE(facts.st_mode)
            message = (
                f"the journal folder {self.path} is open to others (mode {mode:o}): what it holds runs as code; "
                f"close it with: chmod 700 {self.path}"
            )
            raise JournalError(message)

    def _hold(self) -> None:
        place = self.path / "lock"
        fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 32).decode(errors="replace").strip()
            os.close(fd)
            message = f"the journal {self.path} is used by another master (process {holder or '?'}); stop it first"
            raise JournalInUseError(message, int(holder) if holder.isdigit() else None) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock = fd


def _write(fd: int, view: memoryview) -> None:
    while len(view):
        view = view[os.write(fd, view) :]
