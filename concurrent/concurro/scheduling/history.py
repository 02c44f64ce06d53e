"""The answered inputs of a system, kept in memory. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurro.scheduling.rows import InputApplied

HISTORY_BYTES = 64 * 1024 * 1024
"""So much is kept of one system, large parts included [B]."""

ROW_BYTES = 400
"""Of an input without what finished in it, about [B]."""


class History:
    """What one host was given and has answered, in order.

    Attributes:
        rows: Each input, with what was answered.
    """

    __slots__ = ("_size", "rows")

    def __init__(self) -> None:
        self.rows: list[InputApplied] = []
        self._size = 0

    def add(self, row: InputApplied, size: int) -> bool:
        """Take an input; return False when there is no room for it.

        Args:
            row: It.
            size: Bytes of it, large parts included [B].
        """
        self._size += ROW_BYTES + size
        if self._size > HISTORY_BYTES:
            return False
        self.rows.append(row)
        return True
