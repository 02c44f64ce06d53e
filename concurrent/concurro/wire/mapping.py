"""Pages of a descriptor in this process, and the addresses of buffers.

Imported at the first large buffer: most programs have none, and `ctypes` takes its time.
`mmap.mmap` is not used since it keeps a descriptor for every mapping.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

_PAGE = mmap.PAGESIZE
_PAGE_MAP = "/proc/self/pagemap"  # of the process that opens it: a descriptor of it must not outlive a fork
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, since Linux 5.14
_LET_GO = 4  # MADV_DONTNEED: of shared pages, nothing is lost
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_munmap = _libc.munmap
_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_madvise = _libc.madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_memcmp = _libc.memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class _Buffer(ctypes.Structure):
    """`Py_buffer`."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = [ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int]
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = [ctypes.POINTER(_Buffer)]
_release_buffer.restype = None


def map_shared(fd: int, size: int) -> memoryview:
    """Return the pages of a descriptor, read-only.

    They are unmapped with the last view of them.

    Raises:
        OSError: There is no room, or too much is mapped already.
    """
    return _mapped(fd, size, mmap.PROT_READ, mmap.MAP_SHARED).toreadonly()


def map_private(fd: int, size: int) -> memoryview:
    """Return the pages of a descriptor, to be written for oneself only.

    Raises:
        OSError: As `map_shared`.
    """
    return _mapped(fd, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE)


def map_writable(fd: int, size: int) -> memoryview:
    """Return the pages of a descriptor, to be written for everybody.

    Raises:
        OSError: As `map_shared`, or the descriptor is sealed or not open for writing.
    """
    return _mapped(fd, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED)


def touch(address: int, size: int) -> None:
    """Fault pages in for writing at once, which is several times faster."""
    _madvise(address, size, _POPULATE_WRITE)  # an older kernel refuses, and faults come one by one


def leave(address: int, size: int) -> None:
    """Have shared pages in reach no more, until they are touched again."""
    _madvise(address, size, _LET_GO)


def address_of(view: memoryview) -> int:
    """Return where the bytes of a contiguous buffer are."""
    buffer = _Buffer()
    _get_buffer(view, ctypes.byref(buffer), 0)
    address = int(buffer.buf or 0)
    _release_buffer(ctypes.byref(buffer))
    return address


def copy_to(address: int, view: memoryview) -> None:
    """Copy a contiguous buffer; other threads run meanwhile."""
    ctypes.memmove(address, address_of(view), view.nbytes)


def same_bytes(view: memoryview, other: memoryview) -> bool:
    """Compare two contiguous buffers of one size; other threads run meanwhile."""
    return bool(_memcmp(address_of(view), address_of(other), view.nbytes) == 0)


def is_as_mapped(address: int, size: int) -> bool:
    """Say whether nobody has written to a private mapping.

    The kernel knows it by page: what was written to is a page of its own, and no file's any more.
    """
    first = address // _PAGE
    count = -(-(address + size) // _PAGE) - first
    try:
        pages = os.open(_PAGE_MAP, os.O_RDONLY | os.O_CLOEXEC)
        try:
            entries = os.pread(pages, 8 * count, 8 * first)
        finally:
            os.close(pages)
    except OSError:
        return False
    # Of each entry the last byte: absent, or present and of a file, alone or not (pagemap.rst of Linux).
    return len(entries) == 8 * count and not entries[7::8].translate(None, b"\x00\xa0\xa1")


def _mapped(fd: int, size: int, protection: int, flags: int) -> memoryview:
    address = _mmap(None, size, protection, flags, fd, 0)
    if address is None or address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot map {size} B: {os.strerror(number)}")
    pages = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(pages, _munmap, address, size).atexit = False
    return memoryview(pages).cast("B")
