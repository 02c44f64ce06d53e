"""Standard streams that notice when something is written to them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _nobody_listens() -> None:
    """Drop the news: nobody wants it yet."""


class Voice:
    """Whether the task that runs wrote through Python's streams.

    Attributes:
        used: Set at the first write; whoever looks takes it back.
        on_use: Called at that write, before its text is anywhere.
    """

    __slots__ = ("on_use", "used")

    def __init__(self) -> None:
        self.used = False
        self.on_use: Callable[[], None] = _nobody_listens


class _SpokenText(io.TextIOWrapper):
    """A text stream with a voice."""

    voice: Voice

    def write(self, text: str, /) -> int:
        """Write; raise the voice first."""
        voice = self.voice
        if not voice.used:
            voice.used = True
            voice.on_use()
        return super().write(text)


def text_stream(fd: int, voice: Voice) -> io.TextIOWrapper:
    """Return a stream of lines on a descriptor that stays open."""
    raw = open(fd, "wb", closefd=False)  # noqa: SIM115 - it lives as long as the process
    stream = _SpokenText(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    stream.voice = voice
    return stream
