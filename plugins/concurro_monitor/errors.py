"""What goes wrong between runtimes."""

from __future__ import annotations

from concurro import ConcurroError


class RuntimeDisconnectedError(ConcurroError, ConnectionError, RuntimeError):
    """A worker, and what lived there, is gone, or the way to it."""
