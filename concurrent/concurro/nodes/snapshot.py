"""How a host pickles itself without stopping: a forked child does it.

    SNAPSHOT_GET n --> fork --> child: pickles, loads that again, writes it to memory --> ends
                        |                                                                  |
    IN n+1 ... go on <--+             SNAPSHOT n: state, its large parts here  <-----------+

The child has the host as it was behind IN n, whatever the host does next. It has nothing else
of it: no channel, no output. It ends with its host, or when it takes too long. Whatever goes
wrong is told in the answer and costs nothing: the state is as the child found it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import mmap
import os
import signal
import stat
import sys
import warnings
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.execution.native_trace import unnamed_file
from concurro.wire.messages import Kind
from concurro.wire.orders import reordered_set

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.nodes.host_core import HostCore
    from concurro.transport.loop import Loop, Timer
    from concurro.wire.payload import Blobs, Packer

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""How long the child may take [s]."""

LARGEST_STATE = 256 * 1024 * 1024
"""A larger one is no snapshot: it passes through the memory of the master [B]."""

NICENESS = 10
"""The child takes what time the tasks leave."""

MOST_FAULT = 500
"""Of a fault so much is told [characters]."""

_HEAD_BYTES = 8


class SnapshotTaker:
    """Takes snapshots of one host, one after the other. Loop thread only.

    Args:
        loop: The host's.
        packer: The host's; its store keeps the large parts until `release`.
        send: Sends a message to the master.
    """

    def __init__(self, loop: Loop, packer: Packer, send: Callable[[Kind, list[Any]], None]) -> None:
        self._loop = loop
        self._packer = packer
        self._send = send
        self._child: _Child | None = None

    def take(self, core: HostCore, n: int) -> None:
        """Answer SNAPSHOT_GET n, behind IN n."""
        fault = "the one before is still being taken" if self._child is not None else fault_of(core) or _company()
        child = None if fault else self._fork(core, n)
        if child is None:
            self._refuse(core.number, n, fault or "no child could be forked")
            return
        self._child = child
        self._loop.watch(child.ended, lambda: self._finish(core.number, n, child))
        child.timer = self._loop.after(PATIENCE, lambda: self._stop(core.number, n, child))

    def release(self, n: int) -> None:
        """Let go of the large parts of a snapshot. Idempotent."""
        self._packer.blobs.release(owner_of(n))

    def _fork(self, core: HostCore, n: int) -> _Child | None:
        """Return the child; None when there is no room for one."""
        try:
            memory = unnamed_file("snapshot")
        except OSError:
            return None
        try:
            ended, ending = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(memory)
            return None
        published, parent = core.published, os.getpid()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of native threads; ours is the only one of Python
                pid = os.fork()
        except OSError:
            for fd in (memory, ended, ending):
                os.close(fd)
            return None
        if pid == 0:
            _be_child(core, self._packer, n, (memory, ending), parent)
        os.close(ending)
        return _Child(pid, memory, _end_of(pid, ended), published)

    def _stop(self, number: int, n: int, child: _Child) -> None:
        """End a child that takes too long, and tell what it left."""
        child.kill()
        self._finish(number, n, child)

    def _finish(self, number: int, n: int, child: _Child) -> None:
        """Tell what the child left."""
        self._child = None
        self._loop.unwatch(child.ended)
        if child.timer is not None:
            child.timer.cancel()
        os.close(child.ended)
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        except ChildProcessError:  # a callback waited for every child: what it wrote says how it went
            code = 0
        try:
            fault, payload, blobs = read_state(child.memory, self._packer, n) if not code else ("", b"", None)
        finally:
            os.close(child.memory)
        if code or fault:
            self._refuse(number, n, fault or f"the child that pickled ended with {code}")
        else:
            self._send(Kind.SNAPSHOT, [number, n, payload, blobs, child.published, ""])

    def _refuse(self, number: int, n: int, fault: str) -> None:
        self._send(Kind.SNAPSHOT, [number, n, b"", None, 0, fault[:MOST_FAULT]])


class _Child:
    """A child that pickles."""

    __slots__ = ("ended", "memory", "pid", "published", "timer")

    def __init__(self, pid: int, memory: int, ended: int, published: int) -> None:
        self.pid = pid
        self.memory = memory
        self.ended = ended
        self.published = published
        self.timer: Timer | None = None

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def _end_of(pid: int, pipe: int) -> int:
    """Return what can be read once a child has ended.

    Its descriptor, or the pipe, which it has: but what it forked has that as well, and may live on.
    """
    try:
        process = os.pidfd_open(pid)
    except (AttributeError, OSError):  # an older kernel, another system
        return pipe
    os.close(pipe)
    return process


def owner_of(n: int) -> Hashable:
    """Return who owns the large parts of a snapshot in its host."""
    return "snapshot", n


def fault_of(core: HostCore) -> str:
    """Say why no snapshot can be taken now; empty when one may be tried."""
    if core.ended:
        return "the system has ended"
    if isinstance(core.iterator, GeneratorType):
        return "a generator is open, which does not pickle"
    return ""


def _company() -> str:
    """Say what else runs in this process.

    A fork would have the locks that it holds. Threads of native code are theirs to care for: those
    of numpy's libraries end before a fork.
    """
    others = len(sys._current_frames()) - 1  # noqa: SLF001 - documented; those that `threading` did not start as well
    return f"{others} threads run beside the callbacks" if others else ""


def pickle_state(core: HostCore, packer: Packer, owner: Hashable) -> tuple[bytes, Blobs | None]:
    """Return a host as a payload that was seen to load.

    Raises:
        BaseException: It does not pickle, or is another one when it is loaded again.
    """
    with core.frozen() as state:
        payload, blobs = packer.dumps(state, owner, "host")
        size = len(payload) + sum(blob[2] for blob in blobs or ())
        if size > LARGEST_STATE:
            message = f"the state has {size} B, the limit is {LARGEST_STATE} B"
            raise ValueError(message)
        reordered = reordered_set(state, packer.code)
        if reordered:
            message = f"{reordered} would come back in another order"
            raise ValueError(message)
        again = packer.loads(payload, blobs)
        _compare("system", state["system"], again["system"])
        _compare("iterator", state["iterator"], again["iterator"])
        for number, task in state["ledger"][0].items():
            _compare(f"task {number}", task, again["ledger"][0][number])
    return payload, blobs


def write_state(core: HostCore, packer: Packer, n: int, memory: int) -> None:
    """Write what `read_state` reads: a snapshot, or why there is none."""
    known = set(packer.blobs.digests())
    try:
        payload, blobs = pickle_state(core, packer, owner_of(n))
        new = {digest: size for _, digest, size in blobs or () if digest not in known}
        head: list[Any] = ["", payload, blobs, list(new.items())]
    except BaseException as fault:  # noqa: BLE001 - pickling runs user code, which may do anything
        head, new = [f"{type(fault).__name__}: {fault}"[:MOST_FAULT], b"", None, []], {}
    packed = msgpack.packb(head)
    _write(memory, len(packed).to_bytes(_HEAD_BYTES, "little"))
    _write(memory, packed)
    for digest in new:
        _write(memory, packer.blobs.get(digest))


def read_state(memory: int, packer: Packer, n: int) -> tuple[str, bytes, Blobs | None]:
    """Return `(fault, payload, blobs)` of what was written.

    Its large parts are in the store then.
    """
    size = os.fstat(memory).st_size
    start = _HEAD_BYTES + int.from_bytes(os.pread(memory, _HEAD_BYTES, 0), "little")
    if size < max(start, _HEAD_BYTES + 1):
        return "nothing, or not all of it, was written", b"", None
    view = memoryview(mmap.mmap(memory, size, access=mmap.ACCESS_READ))
    fault, payload, blobs, parts = msgpack.unpackb(view[_HEAD_BYTES:start])
    if size < start + sum(length for _, length in parts):
        return "not all of its large parts were written", b"", None
    for digest, length in parts:
        packer.blobs.put(view[start : start + length], owner_of(n), digest)
        start += length
    if not all(packer.blobs.claim(digest, owner_of(n)) for _, digest, _ in blobs or ()):
        packer.blobs.release(owner_of(n))
        return "a large part of it is not here any more", b"", None
    return fault, payload, blobs


def _compare(name: str, value: Any, again: Any) -> None:
    """Refuse what pickling leaves out.

    `init_system` is not called to make it again.

    Raises:
        ValueError: Names it.
    """
    if not hasattr(value, "__dict__"):
        return
    before, after = vars(value), vars(again)
    lost = sorted(attribute for attribute in before if _kind(before, attribute) != _kind(after, attribute))
    if lost:
        message = f"pickled, the {name} ({type(value).__qualname__}) has not the same {', '.join(lost)} any more"
        raise ValueError(message)


def _kind(attributes: dict[str, Any], name: str) -> str:
    """Return the name of an attribute's type.

    One that travels by value may be loaded as another.
    """
    return type(attributes[name]).__qualname__ if name in attributes else ""


def _be_child(core: HostCore, packer: Packer, n: int, fds: tuple[int, int], parent: int) -> None:
    """Pickle into the first of `fds`, and end; never return.

    The second one tells of the end.
    """
    code = 1
    try:
        # No host needs it to start.
        from concurro.execution.process_controls import end_with_parent, offer_to_kernel  # noqa: PLC0415

        end_with_parent(parent, code)
        offer_to_kernel()
        gc.disable()
        os.nice(NICENESS)
        _close_all_but(*fds)
        write_state(core, packer, n, fds[0])
        code = 0
    finally:
        os._exit(code)


def _close_all_but(*kept: int) -> None:
    """Let go of what the host has open.

    Nobody must wait for us to see its end. Files stay: large parts of the state may be such.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    for fd in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - numbers, not paths
        if fd > 2 and fd not in kept:  # noqa: PLR2004 - the last standard one
            with contextlib.suppress(OSError):
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    os.close(fd)


def _write(fd: int, content: Any) -> None:
    view = memoryview(content).cast("B")
    while len(view):
        view = view[os.write(fd, view) :]
