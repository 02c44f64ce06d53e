"""What memory and wires give for W3, MiB that are there and back counted once.

copy           from one array into another that exists
fresh-pages    into shared memory that was just made: every page is the kernel's work
reused-pages   into shared memory that was written before
tcp-echo       to a process and back over TCP, zmq with CURVE
"""

from __future__ import annotations

import mmap
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq

from benchmarks.echoes import LARGE, LARGE_COUNT, MIB, SMALL, SMALL_COUNT, arrays_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workload import Setting

WARM_UP = 2


def small_copy(setting: Setting) -> dict[str, float]:
    """Copy 1 MiB."""
    return _copy(SMALL, setting.count or SMALL_COUNT)


def large_copy(setting: Setting) -> dict[str, float]:
    """Copy 64 MiB."""
    return _copy(LARGE, setting.count or LARGE_COUNT)


def small_fresh(setting: Setting) -> dict[str, float]:
    """Write 1 MiB into fresh pages."""
    return _write_fresh(SMALL, setting.count or SMALL_COUNT)


def large_fresh(setting: Setting) -> dict[str, float]:
    """Write 64 MiB into fresh pages."""
    return _write_fresh(LARGE, setting.count or LARGE_COUNT)


def small_reused(setting: Setting) -> dict[str, float]:
    """Write 1 MiB into reused pages."""
    return _write_reused(SMALL, setting.count or SMALL_COUNT)


def large_reused(setting: Setting) -> dict[str, float]:
    """Write 64 MiB into reused pages."""
    return _write_reused(LARGE, setting.count or LARGE_COUNT)


def small_tcp(setting: Setting) -> dict[str, float]:
    """Echo 1 MiB."""
    return _echo(SMALL, setting.count or SMALL_COUNT)


def large_tcp(setting: Setting) -> dict[str, float]:
    """Echo 64 MiB."""
    return _echo(LARGE, setting.count or LARGE_COUNT)


def _rate(mebibytes: int, count: int, move: Callable[[Any], object]) -> dict[str, float]:
    arrays = arrays_of(mebibytes, min(count, LARGE_COUNT), 0.5)
    for array in arrays[:WARM_UP]:
        move(array)
    started = time.perf_counter()
    for number in range(count):
        move(arrays[number % len(arrays)])
    seconds = time.perf_counter() - started
    return {"rate": count * mebibytes / seconds, "seconds": seconds}


def _copy(mebibytes: int, count: int) -> dict[str, float]:
    target = np.ones(mebibytes * MIB // 8)
    return _rate(mebibytes, count, lambda array: np.copyto(target, array))


def _write_fresh(mebibytes: int, count: int) -> dict[str, float]:
    def move(array: Any) -> None:
        with _shared_memory(mebibytes) as pages:
            pages.write(array.data.cast("B"))

    return _rate(mebibytes, count, move)


def _write_reused(mebibytes: int, count: int) -> dict[str, float]:
    with _shared_memory(mebibytes) as pages:

        def move(array: Any) -> None:
            pages.seek(0)
            pages.write(array.data.cast("B"))

        return _rate(mebibytes, count, move)


def _shared_memory(mebibytes: int) -> mmap.mmap:
    descriptor = os.memfd_create("limit")
    try:
        os.ftruncate(descriptor, mebibytes * MIB)
        return mmap.mmap(descriptor, mebibytes * MIB)
    finally:
        os.close(descriptor)


def _echo(mebibytes: int, count: int) -> dict[str, float]:
    keys = zmq.curve_keypair()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(keys, writer)
    context = zmq.Context()
    end = context.socket(zmq.DEALER)
    try:
        end.curve_serverkey = keys[0]
        end.curve_publickey, end.curve_secretkey = zmq.curve_keypair()
        end.connect(f"tcp://127.0.0.1:{int(os.read(reader, 16))}")

        def move(array: Any) -> None:
            end.send(array, copy=False)
            end.recv(copy=False)

        return _rate(mebibytes, count, move)
    finally:
        context.destroy(0)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def _answer(keys: tuple[bytes, bytes], writer: int) -> None:
    end = zmq.Context().socket(zmq.DEALER)
    end.curve_server = True
    end.curve_publickey, end.curve_secretkey = keys
    os.write(writer, b"%d" % end.bind_to_random_port("tcp://127.0.0.1"))
    while True:
        end.send(end.recv(copy=False), copy=False)
