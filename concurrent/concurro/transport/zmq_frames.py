"""Messages given to zmq; frames that came from it go on without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_COPY_FROM = 64 * 1024
"""Frames of this size and more are not copied on; for smaller ones it would cost more [B]."""

_LAST = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


def send_frames(socket: zmq.Socket[bytes], frames: Sequence[Any], size: int) -> None:
    """Give a message of `size` bytes to zmq, which takes all of it or nothing.

    A large frame that came from zmq goes on as it is. Others are copied: pyzmq would start a
    thread to learn when zmq is done with them, and that one outlives every node.

    Raises:
        zmq.Again: It takes nothing now.
        zmq.ZMQError: Of a ROUTER: the peer is gone.
    """
    last = len(frames) - 1
    if size < NO_COPY_FROM:
        for number, frame in enumerate(frames):
            socket.send(frame, _LAST if number == last else _MORE)
        return
    for number, frame in enumerate(frames):
        flags = _LAST if number == last else _MORE
        whole = _as_it_came(frame) if len(frame) >= NO_COPY_FROM else None
        if whole is None:
            socket.send(frame, flags, copy=True)
        else:
            socket.send(whole, flags, copy=False)


def _as_it_came(frame: Any) -> zmq.Frame | None:
    """Return the frame of zmq's that a view is all of; None: it is none."""
    whole: Any = frame.obj if isinstance(frame, memoryview) else None
    return whole if isinstance(whole, zmq.Frame) and len(whole) == len(frame) else None
