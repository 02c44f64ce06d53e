"""The worker: a process that runs tasks, one after the other.

    agent                          worker
      | tokens (eventfd)  -------> | one is claimed before each task
      | CHUNK, BLOB, FORGET -----> | load, call, clean up, dump
      | <---- RESULTS, BLOB, GET   | at the end of a chunk, of several that were joined, or 1 to 4 ms after the first
      | <---- SPEAKS ... HEARD --> | a task wrote: its output is read before another task runs
      | <-------------- RECYCLE    | a task changed the process: it ends, another takes over

It is forked by the launcher with what it needs imported. It only reads and answers: one
thread, one blocking channel. Messages between agent and worker are private to this machine
and version: frame 0 is a msgpack array that starts with a `Note`.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

import msgpack

from concurro.execution.inside import this_process
from concurro.execution.memory import resident_size
from concurro.execution.native_trace import keep_trace
from concurro.execution.native_writes import NativeWrites
from concurro.execution.process_state import ProcessState, taker_of_signal
from concurro.execution.root_logging import RootLogging
from concurro.execution.service import WorkerDoor
from concurro.execution.standard_streams import StandardStreams, flush_prints
from concurro.execution.task_runner import RESULT, TaskRunner
from concurro.execution.voice import Voice, text_stream
from concurro.ids import BlobRef, format_task_id
from concurro.transport.stream import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_CHANNEL_LOST = 70
"""Exit code of a worker whose channel broke: a task closed it."""

TIDY_PERIOD = 2.0
"""How often an idle worker looks which pages of its results come back [s]."""

BLOB_PIECE = 4 * 1024 * 1024
"""Bytes of a blob in one message between agent and worker [B]."""

NUDGE_SIGNAL = signal.SIGURG
"""Asks a worker inside a long task for the results before it.

It is ignored by default, and a program that takes it must expect it at any time. A task may
take it: from then on results leave at once, and behind the chunk the worker is replaced.
"""

FLUSH_AFTER = 1_000_000
"""Results wait at most so long for those of the next tasks [ns]."""

JOINED_FLUSH_AFTER = 4_000_000
"""The same where many more tasks wait at the slave, so that nobody waits for these results [ns]."""

NATIVE_AFTER = 100_000
"""Of tasks that take longer, what programs and native code write is told apart, in a burst too [ns]."""

NAME_LIMIT = 100
"""Characters of a task's name that are told."""

_ARRIVED = "arrived"  # the owner of blobs until the end of their chunk
_MAPPED = "mapped"  # the owner of those whose pages are the agent's, until it says that they are not


class Note(IntEnum):
    """The kinds of messages between an agent and its worker."""

    READY = 0  # []
    IDENTITY = 1  # [slave id, memory limit]
    CHUNK = 2  # [classes, entries, devices, timed, joined]
    RESULTS = 3  # [ended, results]: how many chunks have ended, and what their tasks and the next one's gave
    BLOB = 4  # [digest, size, offset], and the bytes as frame 1
    GET = 5  # [digest, ...]
    FORGET = 6  # [system]
    RECYCLE = 7  # [reason]
    SPEAKS = 8  # [lease, name]: the task writes to a standard stream, or has written past it
    HEARD = 9  # []: what it wrote was read; sent after its result
    STARTS = 10  # [lease]: a task of a timed chunk is loaded and begins
    MAPPED = 11  # [digest, size], and a descriptor of its pages as frame 1
    UNMAP = 12  # [digest, ...]: of blobs that came so, and are not kept any more


_BLOB_NOTES = frozenset({Note.BLOB, Note.MAPPED, Note.UNMAP})


class Worker:
    """Serves one channel until it ends.

    Args:
        channel: The stream to the agent.
        tokens: An eventfd semaphore: one token per posted task.
        voice: Notices what is printed.
        trace: Where a death in native code leaves its trace.
        service: The service channel, for what tasks submit.
        native: Notices what is written past the voice.
    """

    def __init__(  # noqa: PLR0913 - what a worker is given
        self, channel: Channel, tokens: int, voice: Voice, trace: int, service: int, native: NativeWrites
    ) -> None:
        self._channel = channel
        self._tokens = tokens
        self._trace = trace
        self._inode = os.fstat(channel.fileno()).st_ino
        self._later: deque[list[bytes]] = deque()
        self._parts: dict[bytes, bytearray] = {}
        self._pid = os.getpid()
        self._at_agent: set[bytes] = set()
        self._held_back: list[Any] = []
        self._ended = 0  # chunks that have ended, and that the agent was not told of
        self._first = 0  # when the first of what is held back began [ns]
        self._current: list[Any] | None = None  # the entry that runs; None while a message is being sent
        self._voice = voice
        self._native = native
        self._told_speaker = False
        self._memory_limit: int | None = None
        self._runner = TaskRunner()
        self._door = this_process.door = WorkerDoor(service, self._runner.packer, self._attempt)
        self._tainted = ""
        voice.on_use = self._speak
        os.register_at_fork(after_in_child=self._leave_to_parent)
        signal.signal(NUDGE_SIGNAL, self._report_held_back)
        self._state = ProcessState.now()
        self._streams = StandardStreams()
        self._logging = RootLogging()
        self._runner.on_loaded = this_process.on_prepared = self._keep_surroundings

    def run(self) -> NoReturn:
        """Serve until the channel ends."""
        self._send([Note.READY])
        while True:
            frames = self._later.popleft() if self._later else self._receive()
            self._handle(frames)

    def _handle(self, frames: list[bytes]) -> None:
        note, *body = msgpack.unpackb(frames[0], strict_map_key=False)
        if note == Note.CHUNK:
            self._run_chunk(*body)
        elif note in _BLOB_NOTES:
            self._take_blob(note, body, frames[1] if len(frames) > 1 else b"")
        elif note == Note.FORGET:
            self._runner.forget(body[0])
            self._at_agent.clear()
        elif note == Note.IDENTITY:
            self._runner.slave_id, self._memory_limit = body

    def _run_chunk(  # noqa: C901, PLR0912, PLR0915 - a call per task costs
        self,
        announcements: list[Any],
        entries: list[Any],
        devices: list[str],
        timed: bool,  # noqa: FBT001 - as it travels
        joined: bool,  # noqa: FBT001 - likewise: another chunk follows, whose results may leave with these
    ) -> None:
        keep_trace(self._trace)  # whatever the last task did to it
        for announcement in announcements:
            self._runner.announce(announcement)
            self._at_agent.update(digest for _, digest, _ in announcement[4] or ())
        self._get_blobs([blob for each in announcements for blob in each[4] or ()])
        claim, tokens, run, clock = os.eventfd_read, self._tokens, self._runner.run, time.perf_counter_ns
        nudge, taker_of, report_held_back = int(NUDGE_SIGNAL), taker_of_signal, self._report_held_back
        process_id, own = os.getpid, self._pid
        results = self._held_back
        loaded = self._runner.loaded
        many = len(entries) > 1
        limit = JOINED_FLUSH_AFTER if joined or results else FLUSH_AFTER
        voice, door, wrote, last = self._voice, self._door, self._native.happened, entries[-1]
        if devices:
            self._state.show_devices(devices)
        start = clock()
        first = self._first if results else start
        for entry in entries:
            try:
                claim(tokens)
            except BlockingIOError:
                break  # the rest was taken back
            except OSError:
                os._exit(EXIT_CHANNEL_LOST)
            if entry[6]:
                self._get_blobs(entry[6])
            if timed:
                self._runner.prepare(entry)
                self._send([Note.STARTS, entry[0]])
            self._current = entry
            outcome, value, blobs = run(entry)
            self._current = None
            if process_id() != own:
                # A copy of this process that a task made: it must not answer for us.
                _end(0)
            if door.application is not None and not door.end_attempt():
                self._tainted = "what a task submitted did not end with it"
            now = clock()
            if not results:
                first = start
            took = now - start
            results.append((entry[0], outcome, value, blobs, took))
            start = now
            if blobs:
                self._send_blobs(blobs, entry[6])
            if voice.used or (took > NATIVE_AFTER and entry is not last and wrote()):
                self._finish_speaking(entry, last=entry is last)
                start = clock()
            elif many and (now - first > limit or taker_of(nudge) != report_held_back) and entry is not last:
                if wrote():
                    self._finish_speaking(entry, last=False)
                    start = clock()
                else:
                    self._send_results()
        if devices:
            self._state.hide_devices()
        self._first = first
        self._end_chunk(entries, loaded, joined=joined and start - first < JOINED_FLUSH_AFTER)

    def _attempt(self) -> tuple[int, str]:
        """Return lease and id of the task that runs; 0 when none does."""
        entry = self._current
        if entry is None:
            return 0, ""
        announcement = self._runner.announced(entry[1], entry[2])
        return entry[0], format_task_id(announcement[5] if announcement else str(entry[1]), entry[3])

    def _report_held_back(self, number: int, frame: object) -> None:  # noqa: ARG002 - the signature of a signal's taker
        """Send the results before a long task, from inside it."""
        entry = self._current
        if entry is None or not (self._held_back or self._ended) or self._is_copy():
            return
        self._current = None
        self._send_results()
        self._current = entry

    def _send_results(self) -> None:
        """Send what is held back."""
        self._send([Note.RESULTS, self._ended, self._held_back])
        self._held_back.clear()
        self._ended = 0

    def _speak(self) -> None:
        """Say that the task prints, from inside its first call that does."""
        entry = self._current
        # Another thread, or a process that the task forked, must not write to the channel.
        if entry is not None and not self._is_copy() and threading.get_ident() == threading.main_thread().ident:
            self._current = None
            self._tell_speaker(entry)
            self._current = entry

    def _tell_speaker(self, entry: list[Any]) -> None:
        task = self._runner.task
        name = ""
        if task is not None and task.task_id is not None and task.task_id.endswith(f":{entry[3]}"):
            name = str(task.name)[:NAME_LIMIT]
        self._told_speaker = True
        self._send([Note.SPEAKS, entry[0], name])

    def _finish_speaking(self, entry: list[Any], *, last: bool) -> None:
        """Let the output of a task be read as its own before another task runs."""
        flush_prints()
        if not self._told_speaker:
            self._tell_speaker(entry)
        if not last:  # else its result leaves with the end of the chunk
            self._send_results()
            self._wait_until_heard()

    def _wait_until_heard(self) -> None:
        """Wait until the agent has read the pipes.

        What else arrives is served later.
        """
        self._voice.used = self._told_speaker = False
        while True:
            frames = self._receive()
            if msgpack.unpackb(frames[0], strict_map_key=False)[0] == Note.HEARD:
                self._native.forget()
                return
            self._later.append(frames)

    def _end_chunk(self, entries: list[Any], loaded: int, *, joined: bool) -> None:
        flush_prints()
        results = self._held_back
        if results and not self._told_speaker and self._native.happened():
            for entry in entries:
                if entry[0] == results[-1][0]:
                    self._tell_speaker(entry)
        self._ended += 1
        if not joined or self._told_speaker:
            self._send_results()
        self._runner.task = None
        if self._told_speaker:
            self._wait_until_heard()
        self._runner.blobs.release(_ARRIVED)
        if self._runner.loaded != loaded:
            # What a module's import leaves behind belongs to the worker, not to the task.
            self._state = self._state.after_import()
        self._logging.put_back()
        changed = self._tainted or self._streams.put_back() or self._state.compare()
        if self._memory_limit is not None and not changed and resident_size(self._pid) > self._memory_limit:
            # Before its next task, which would be blamed for it.
            changed = f"its memory, by what it left beyond the limit of {self._memory_limit} B"
        if changed:
            if self._ended:
                self._send_results()
            self._send([Note.RECYCLE, changed])
            _tidy_multiprocessing()
            _end(0)

    def _keep_surroundings(self) -> None:
        """Let what is now be what a task must leave: it belongs to the worker."""
        self._state = self._state.prepared()
        self._streams = StandardStreams()
        self._logging.take()

    def _get_blobs(self, blobs: Sequence[Any]) -> None:
        """Wait for blobs; what else arrives meanwhile is served later."""
        missing = self._runner.blobs.missing(list(blobs))
        if not missing:
            return
        self._send([Note.GET, [ref.digest for ref in missing]])
        while any(ref.digest not in self._runner.blobs for ref in missing):
            frames = self._receive()
            note, *body = msgpack.unpackb(frames[0], strict_map_key=False)
            if note in _BLOB_NOTES:
                self._take_blob(note, body, frames[1] if len(frames) > 1 else b"")
            else:
                self._later.append(frames)

    def _take_blob(self, note: int, place: list[Any], piece: Any) -> None:
        if note == Note.UNMAP:
            for digest in place[0]:
                self._runner.blobs.discard(digest)
            return
        if note == Note.MAPPED:
            if piece.fileno() >= 0:  # else it was lost, for want of a number for it; what is missing is asked for
                self._runner.blobs.put_descriptor(piece, BlobRef(*place), _MAPPED)
            return
        digest, size, offset = place
        if offset == 0 and len(piece) == size:
            self._runner.blobs.put(piece, _ARRIVED, digest)
            return
        part = self._parts.setdefault(digest, bytearray())
        part += piece
        if len(part) == size:
            del self._parts[digest]
            self._runner.blobs.put(memoryview(part).toreadonly(), _ARRIVED, digest)

    def _send_blobs(self, blobs: list[Any], given: list[Any] | None) -> None:
        """Send the blobs of a result that the agent does not have."""
        there = self._at_agent.union(digest for _, digest, _ in given or ())
        for _, digest, size in blobs:
            if digest in there:
                continue
            descriptor = self._runner.blobs.descriptor(digest)
            if descriptor is not None:
                self._send([Note.MAPPED, digest, size], descriptor)
                self._let_go(digest)
                continue
            view = self._runner.blobs.get(digest)
            for offset in range(0, max(size, 1), BLOB_PIECE):
                self._send([Note.BLOB, digest, size, offset], view[offset : offset + BLOB_PIECE])
        self._runner.blobs.release(RESULT)

    def _let_go(self, digest: bytes) -> None:
        """Leave the pages of a result to those who get it."""
        if not self._runner.blobs.owned_by(digest, _MAPPED):
            self._runner.blobs.discard(digest)

    def _send(self, body: list[Any], *frames: Any) -> None:
        try:
            # Somebody may have closed the descriptor, and opened a file of his own under its number.
            if self._is_copy() or os.fstat(self._channel.fileno()).st_ino != self._inode:
                _end(EXIT_CHANNEL_LOST)
            self._channel.send([msgpack.packb(body), *frames])
        except OSError:
            _end(EXIT_CHANNEL_LOST)

    def _receive(self) -> list[bytes]:
        if (self._ended or self._held_back) and not self._channel.pending():
            self._send_results()  # they never wait while this waits
        try:
            if self._runner.blobs.lends:
                self._tidy_while_idle()
            frames = self._channel.receive()
        except OSError:
            _end(EXIT_CHANNEL_LOST)
        if frames is None:
            _end(0)
        return frames

    def _tidy_while_idle(self) -> None:
        """Give up pages that nobody has any more, until something comes."""
        while self._runner.blobs.lends and not self._channel.wait(TIDY_PERIOD):
            self._runner.blobs.tidy()

    def _is_copy(self) -> bool:
        """Say whether this is a process that a task forked.

        In Python or native code.
        """
        return os.getpid() != self._pid

    def _leave_to_parent(self) -> None:
        """Run in a process that a task forked: the channel is not its own."""
        for fd in (self._channel.fileno(), self._tokens, self._door.fileno()):
            try:
                os.close(fd)
            except OSError:
                continue


def run_worker(  # noqa: PLR0913 - the descriptors of `WorkerLink.child_fds`, in its order
    stream_fd: int, tokens_fd: int, output_fd: int, errors_fd: int, trace_fd: int, service_fd: int, reads_fd: int
) -> NoReturn:
    """Be a worker, in a process that was just forked for it."""
    os.dup2(output_fd, 1)
    os.dup2(errors_fd, 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    if null > 2:  # noqa: PLR2004 - the three standard descriptors
        os.close(null)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    voice = Voice()
    sys.stdout, sys.stderr = text_stream(1, voice), text_stream(2, voice)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]  # as at start-up
    stream_high, tokens_high = _raised(stream_fd), _raised(tokens_fd)
    trace_high, service_high = _raised(trace_fd), _raised(service_fd)
    native = NativeWrites(reads_fd, (_raised(output_fd), _raised(errors_fd)))
    keep_trace(trace_high)
    for fd in (stream_fd, tokens_fd, output_fd, errors_fd, trace_fd, service_fd, reads_fd):
        os.close(fd)
    Worker(Channel(socket.socket(fileno=stream_high)), tokens_high, voice, trace_high, service_high, native).run()


def _raised(fd: int) -> int:
    """Return a duplicate with a high number, out of the way of tasks."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = max(3, min(soft, 4096) - 16)
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)


def _tidy_multiprocessing() -> None:
    """Let multiprocessing, if a task used it, remove its sockets and folders."""
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        try:
            util._run_finalizers()  # noqa: SLF001 - what a process of multiprocessing does at its end
        except BaseException as error:  # noqa: BLE001 - finalizers are code of users; this process ends anyway
            sys.stderr.write(f"tidying multiprocessing failed: {error!r}\n")


def _end(code: int) -> NoReturn:
    """End at once: threads that a task left must not keep the process alive."""
    flush_prints()
    os._exit(code)
