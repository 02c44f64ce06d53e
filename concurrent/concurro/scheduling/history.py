"""The answered inputs of a system, kept in memory. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.scheduling.rows import InputApplied, SnapshotTaken

HISTORY_BYTES = 64 * 1024 * 1024
"""So much is kept of one system, large parts included [B]."""

ROW_BYTES = 400
"""Of an input without what finished in it, about [B]."""


class History:
    """What one host was given and has answered, in order.

    Attributes:
        snapshot: The host as it was before the first of these inputs; None for the submission.
        rows: Each input, with what was answered.
        owners: Of the large parts of these inputs, and of the snapshot.
    """

    __slots__ = ("_size", "_sizes", "owners", "rows", "snapshot")

    def __init__(self) -> None:
        self.snapshot: SnapshotTaken | None = None
        self.rows: list[InputApplied] = []
        self.owners: list[tuple[str, int, int]] = []
        self._sizes: list[int] = []
        self._size = 0

    def add(self, row: InputApplied, size: int) -> bool:
        """Take an input; return False when there is no room for it.

        Args:
            row: It.
            size: Bytes of it, large parts included [B].
        """
        size += ROW_BYTES
        self._size += size
        if self._size > HISTORY_BYTES:
            return False
        self.rows.append(row)
        self._sizes.append(size)
        return True

    def own(self, row: InputApplied) -> Hashable:
        """Return who owns the large parts of an input from now on."""
        owner = ("input", row.system, row.n)
        self.owners.append(owner)
        return owner

    def replace(self, snapshot: SnapshotTaken, size: int) -> list[Hashable]:
        """Take a snapshot in place of the inputs that it has seen.

        Return whose large parts may go. One that is larger than these is not worth its room.

        Args:
            snapshot: It.
            size: Bytes of it, large parts included [B].
        """
        count = sum(row.n <= snapshot.n for row in self.rows)
        owner = owner_of(snapshot)
        before = self._snapshot_size()
        if size > before + sum(self._sizes[:count]):
            return [owner]
        gone: list[Hashable] = [one for one in self.owners if one[0] == "snapshot" or one[2] <= snapshot.n]
        self.owners = [one for one in self.owners if one not in gone] + [owner] * bool(snapshot.blobs)
        self._size += size - before - sum(self._sizes[:count])
        del self.rows[:count], self._sizes[:count]
        self.snapshot = snapshot
        return gone

    def rewind(self) -> list[Hashable]:
        """Forget every input since the snapshot.

        Return whose large parts may go.
        """
        gone: list[Hashable] = [one for one in self.owners if one[0] == "input"]
        self.owners = [one for one in self.owners if one not in gone]
        self._size = self._snapshot_size()
        self.rows.clear()
        self._sizes.clear()
        return gone

    def _snapshot_size(self) -> int:
        return self._size - sum(self._sizes)


def owner_of(snapshot: SnapshotTaken) -> tuple[str, int, int]:
    """Return who owns the large parts of a snapshot in the spool."""
    return "snapshot", snapshot.system, snapshot.n
