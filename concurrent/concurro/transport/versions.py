"""Which version of the carrier's library is in use."""

from __future__ import annotations

import sys


def libzmq_version(*, load: bool = False) -> str:
    """Return the version of libzmq here; empty when it is not loaded.

    Args:
        load: Whether to load it: not in a node that speaks over AF_UNIX only.
    """
    if not load and "zmq" not in sys.modules:
        return ""
    import zmq  # noqa: PLC0415 - only where it is there

    return str(zmq.zmq_version())
