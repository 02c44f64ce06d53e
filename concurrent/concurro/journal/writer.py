"""The thread that writes a journal: what waits is committed together.

    loop --- write(rows, done) ---> queue ---> thread: one transaction ---> post(done) ---> loop

Idle, rows are committed at once; under load what came during a commit, and for some
milliseconds after its start, is the next one. A full disk stops nothing: rows wait, and it is
tried again. A failed sync is the end: what the disk has is not known any more.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from concurro.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.journal.store import JournalStore
    from concurro.scheduling.rows import Row

    Done = Callable[[], None]

log = logging.getLogger("concurro.journal")

Answer = TypeVar("Answer")

COMMIT_PERIOD = 0.005
"""Commits start at most so often [s]."""

COMMIT_BYTES = 1024 * 1024
"""So much waits for no period [B]."""

RETRY_PERIOD = 1.0
"""How often a full disk is tried again [s]."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class JournalWriter:
    """Writes rows in the order in which they came. Thread-safe.

    Args:
        store: Where to; used by the thread alone until `close` returns.
        post: Runs a callable in the loop of the master.

    Attributes:
        on_full: Called in the loop with True when the disk is full, with False when it has room again.
        on_failed: Called in the loop with a sentence when nothing can be written any more.
    """

    def __init__(self, store: JournalStore, post: Callable[[Done], None]) -> None:
        self.on_full: Callable[[bool], None] = lambda full: None  # noqa: ARG005
        self.on_failed: Callable[[str], None] = lambda reason: None  # noqa: ARG005
        self._store = store
        self._post = post
        self._wanted = threading.Condition()
        self._rows: list[Row] = []
        self._done: list[Done] = []
        self._reads: list[Callable[[], None]] = []
        self._size = 0
        self._closing = False
        self._full = False
        self._thread = threading.Thread(target=self._run, name="concurro-journal", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether the disk is full: rows wait."""
        return self._full

    def waiting(self) -> int:
        """Return the bytes that are not written yet [B]."""
        return self._size

    def write(self, rows: Sequence[Row], done: Done | None = None, size: int = 0) -> None:
        """Queue rows; `done` is called once all queued so far are on disk.

        Args:
            rows: What to write; all in one transaction.
            done: What to call.
            size: Bytes of the rows, about [B].
        """
        with self._wanted:
            self._rows += rows
            self._size += size
            if done is not None:
                self._done.append(done)
            self._wanted.notify()

    def read(self, query: Callable[[JournalStore], Answer], done: Callable[[Answer], None]) -> None:
        """Read behind everything that was queued so far.

        Args:
            query: Called with the store, in the thread.
            done: Called in the loop with what it returned.
        """

        def answer() -> None:
            found = query(self._store)
            self._post(lambda: done(found))

        with self._wanted:
            self._reads.append(answer)
            self._wanted.notify()

    def close(self) -> None:
        """Write what waits, and end. Idempotent."""
        with self._wanted:
            self._closing = True
            self._wanted.notify()
        self._thread.join()

    def _run(self) -> None:
        started = 0.0
        while True:
            with self._wanted:
                while not (self._rows or self._done or self._reads or self._closing):
                    self._wanted.wait()
                while not self._closing and self._size < COMMIT_BYTES:
                    rest = started + COMMIT_PERIOD - time.monotonic()
                    if rest <= 0:
                        break
                    self._wanted.wait(rest)
                rows, self._rows = self._rows, []
                done, self._done = self._done, []
                reads, self._reads = self._reads, []
                size = self._size
                if not rows and not done and not reads:
                    return  # closing
            started = time.monotonic()
            if rows and not self._commit(rows):
                return
            with self._wanted:
                self._size -= size
            if done:
                self._post(lambda finished=tuple(done): _call_all(finished))  # type: ignore[misc]
            if not self._answer(reads):
                return

    def _answer(self, reads: list[Callable[[], None]]) -> bool:
        """Read what is wanted; return False when nothing can be read any more."""
        try:
            for read in reads:
                read()
        except (sqlite3.Error, JournalError) as error:
            log.critical("the journal cannot be read: %s", error)
            self._post(lambda reason=str(error): self.on_failed(reason))  # type: ignore[misc]
            return False
        return True

    def _commit(self, rows: list[Row]) -> bool:
        """Write rows, however long the disk is full.

        Return False when that is hopeless.
        """
        while True:
            try:
                self._store.apply(rows)
            except Exception as error:  # whatever it is: without this thread everybody would wait for ever
                if not _is_full(error):
                    usual = isinstance(error, (sqlite3.Error, OSError))
                    log.critical("the journal cannot be written: %s", error, exc_info=not usual)
                    self._post(lambda reason=str(error): self.on_failed(reason))  # type: ignore[misc]
                    return False
                if not self._tell_full(error) or self._closing:
                    return False
                with self._wanted:
                    self._wanted.wait(RETRY_PERIOD)
            else:
                if self._full:
                    self._full = False
                    log.warning("the journal has room again")
                    self._post(lambda: self.on_full(False))  # noqa: FBT003 - a callback of one argument
                return True

    def _tell_full(self, error: BaseException) -> bool:
        if not self._full:
            self._full = True
            log.error("the journal's disk is full (%s); what ends now is kept at the slaves until there is room", error)
            self._post(lambda: self.on_full(True))  # noqa: FBT003 - a callback of one argument
        return True


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    return bool(getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL)


def _call_all(callbacks: tuple[Done, ...]) -> None:
    for callback in callbacks:
        callback()
