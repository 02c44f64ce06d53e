"""Messages given to zmq, large frames without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_COPY_FROM = 64 * 1024
"""Frames of this size and more are not copied; for smaller ones it would cost more [B]."""


def send_frames(socket: zmq.Socket[bytes], frames: Sequence[Any], size: int) -> None:
    """Give a message of `size` bytes to zmq, which takes all of it or nothing.

    Large frames must not be written to afterwards. One that came from zmq goes on as it is.

    Raises:
        zmq.Again: It takes nothing now.
        zmq.ZMQError: Of a ROUTER: the peer is gone.
    """
    if size < NO_COPY_FROM:
        socket.send_multipart(frames, zmq.NOBLOCK, copy=True)
        return
    last = len(frames) - 1
    for number, frame in enumerate(frames):
        flags = zmq.NOBLOCK if number == last else zmq.NOBLOCK | zmq.SNDMORE
        if len(frame) < NO_COPY_FROM:
            socket.send(frame, flags, copy=True)
        else:
            socket.send(_as_it_came(frame), flags, copy=False)


def _as_it_came(frame: Any) -> Any:
    """Return the frame that a view is all of, if zmq made it; else the view."""
    whole: Any = frame.obj if isinstance(frame, memoryview) else None
    return whole if isinstance(whole, zmq.Frame) and len(whole) == len(frame) else frame
