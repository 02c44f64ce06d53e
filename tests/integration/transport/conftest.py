"""A loop that the test turns itself, and what its links heard."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from concurro.transport.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro.transport.link import Link

DEADLINE = 10.0


class Turner:
    """A loop, turned in the test's own thread."""

    def __init__(self) -> None:
        self.loop = Loop()

    def until(self, predicate: Callable[[], Any], what: str = "the condition") -> None:
        """Turn until `predicate` is true.

        Raises:
            AssertionError: It was not in time.
        """
        deadline = time.monotonic() + DEADLINE
        while not predicate():
            left = deadline - time.monotonic()
            assert left > 0, f"waited {DEADLINE:g} s for {what}"
            self.loop.turn(left)

    def settle(self) -> None:
        """Turn until nothing is ready any more."""
        for _ in range(20):
            self.loop.turn(0.0)


class Inbox:
    """Owns a link: keeps its messages and the reason of its end."""

    def __init__(self, link: Link) -> None:
        self.link: Any = link
        self.messages: list[list[bytes]] = []
        self.closed: list[str] = []
        link.on_message = lambda frames: self.messages.append([bytes(frame) for frame in frames])
        link.on_closed = self.closed.append


@pytest.fixture
def turner() -> Iterator[Turner]:
    turner = Turner()
    yield turner
    turner.loop.close()
